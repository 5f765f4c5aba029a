"""The one outer form of alerts and signals: JSON bytes, the same in files and on topics.

What lives here: encoding. What does not: what they say (``announce``).
"""

from __future__ import annotations

import msgspec

from models.alert import Alert, Signal

_ENCODER = msgspec.json.Encoder()


def encode_alert(alert: Alert) -> bytes:
    """An alert as one JSON object."""
    return _ENCODER.encode(alert)


def encode_signal(signal: Signal | None) -> bytes | None:
    """A signal as one JSON object; None, a tombstone, where the account is cleared."""
    return None if signal is None else _ENCODER.encode(signal)


def signal_line(account_id: str, signal: Signal | None) -> bytes:
    """A signal as a line of a file, where a tombstone needs to name its account."""
    return encode_signal(signal) or _ENCODER.encode({"account_id": account_id, "tombstone": True})
