"""The plain composition: what one writes from well-known parts, one event at a time, in the same interpreter.

What lives here: the peer of the throughput bench, and the part of it that the Kafka bench's Faust agent shares. What
does not: any batching of events. It is ``json.loads``, word-3 shingles, a datasketch ``MinHash`` and a ``MinHashLSH``
that is queried and then filled, all as datasketch makes them when nothing is asked for (128 permutations, its own hash,
threshold and bands): that is the peer a mark is held against. The same with our 64 permutations is shown for reference.
A prompt's shingles go in by one call of ``update_batch``, the fastest way datasketch has.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable

from datasketch import MinHash, MinHashLSH

DEFAULT, OURS = 128, 64
"""Permutations that datasketch takes unasked, and those of our own signatures."""
_WORD = re.compile(r"[a-z0-9_]+|[^\W\d_]")


class PlainIndex:
    """Prompts by near-duplicates, and how many accounts share one."""

    def __init__(self, permutations: int = DEFAULT) -> None:
        self._permutations = permutations
        self._lsh = MinHashLSH(num_perm=permutations)
        self._accounts: dict[str, str] = {}

    def add(self, event_id: str, account_id: str, prompt: str) -> int:
        """How many other accounts sent something close to ``prompt``."""
        words = _WORD.findall(prompt.lower())
        sketch = MinHash(num_perm=self._permutations)
        sketch.update_batch([" ".join(words[at : at + 3]).encode() for at in range(max(len(words) - 2, 1))])
        near = {self._accounts[found] for found in self._lsh.query(sketch)} - {account_id}
        if event_id not in self._accounts:
            self._lsh.insert(event_id, sketch)
            self._accounts[event_id] = account_id
        return len(near)


def seconds_per_event(lines: Iterable[bytes], *, permutations: int = DEFAULT, warm: int = 0) -> float:
    """CPU seconds per event of the plain composition over ``lines``, the first ``warm`` of them not counted."""
    index, shared, count = PlainIndex(permutations), 0, 0
    started = time.thread_time()
    for line in lines:
        if count == warm:
            started = time.thread_time()
        event = json.loads(line)
        shared += index.add(event["event_id"], event["account_id"], event["prompt"]) >= 8
        count += 1
    return (time.thread_time() - started) / (count - warm)
