"""Bounds on what one input may cost, each with its reason.

What lives here: limits that protect the process whatever the input. What does not: settings an operator tunes.
"""

from __future__ import annotations

from typing import Final

RECORD_BYTES_MAX: Final = 1 << 20
"""One Kafka message or one line. Brokers refuse larger messages by default, so nothing larger is expected."""

BATCH_RECORDS_MAX: Final = 8192
"""Records decoded at once: enough to spread the fixed cost of a batch, few enough to take tenths of a second."""

READ_BYTES: Final = 4 << 20
"""Bytes of a file taken at once, after decompression: some 6,000 records, and the memory a file
may cost is a few of these whatever is inside."""

JSON_DEPTH_MAX: Final = 64
"""Nesting of a record. Deepest real input is about 20 (OTLP); a fixed bound, far below the interpreter's own, makes
every host refuse the same records, whatever its stack looks like."""

ID_BYTES_MAX: Final = 256
"""UTF-8 bytes of an event or account id: they are kept, shown and used as Kafka and Redis keys."""

PROMPT_CHARACTERS_MAX: Final = 1 << 16
"""A longer prompt keeps its first and last halves of this; sketches read 8 KiB at each end, so nothing they see is
lost, and a batch of the largest prompts cannot fill the memory."""

SKETCH_BYTES_MAX: Final = 1 << 14
"""A packed edge sketch is below 1 KiB; the rest is room for later versions."""

EVENTS_PER_RECORD_MAX: Final = 10_000
"""Events in one record (a LiteLLM array, an OTLP batch): 1 MiB holds fewer than this of any use."""

TIME_MIN_MS: Final = 946_684_800_000
"""2000-01-01: an earlier stamp is a unit mistake (seconds) or a broken clock."""

TIME_MAX_MS: Final = 4_102_444_800_000
"""2100-01-01: a later stamp is a unit mistake (microseconds). Stamps ahead of their stream are judged in Observe."""

COUNT_MAX: Final = 2**31 - 1
"""Token counts, turns and status are kept as 32-bit integers."""

UNKNOWN_NAMES_MAX: Final = 256
"""Distinct unknown field names remembered: a producer that puts data into names must not grow our memory."""
