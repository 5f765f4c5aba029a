"""Enforcement: what a limiter does with what it was told about an account.

What lives here: reading a signal's hash, the ladder from observe to block, and when a signal counts. What does not:
deciding signals (``verdict``), counting budgets (``budget``), or asking anybody.

The ladder: ``allow`` and ``observe`` pass; ``throttle`` and ``challenge`` pass while the budget lasts, the second with
a word to the gateway; ``block`` is refused. Only signals of mode ``enforce`` that have not ended count. Whatever cannot
be read passes: a limiter fails open.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple
from zlib import crc32

FIELDS: Final = ("action", "multiplier", "score", "cluster_id", "rule", "alert_id", "mode", "ts", "expires", "seq")
"""What a limiter reads of a signal, in the order ``read_held`` takes it."""
ACTIONS: Final = frozenset(("allow", "observe", "throttle", "challenge", "block"))
TEXT_MAX: Final = 256


class Held(NamedTuple):
    """A signal as a limiter holds it; ``ends_ms`` is by the limiter's own clock."""

    action: str
    multiplier: float
    score: float
    cluster_id: str
    rule: str
    alert_id: str
    mode: str
    ts: int
    expires: int
    seq: int
    ends_ms: int


class Step(Enum):
    """What to do with a request."""

    ADMIT = "admit"
    DRAW = "draw"
    REFUSE = "refuse"


class Ruling(NamedTuple):
    """What to do, and why."""

    step: Step
    reason: str


_NO_SIGNAL = Ruling(Step.ADMIT, "no_signal")
_ENDED = Ruling(Step.ADMIT, "ended")
_NOT_ENFORCED = Ruling(Step.ADMIT, "not_enforced")
_NOT_YET = Ruling(Step.ADMIT, "not_yet")
_BY_ACTION = {
    "allow": Ruling(Step.ADMIT, "allow"),
    "observe": Ruling(Step.ADMIT, "observe"),
    "throttle": Ruling(Step.DRAW, "throttle"),
    "challenge": Ruling(Step.DRAW, "challenge"),
    "block": Ruling(Step.REFUSE, "block"),
}


def read_held(values: Sequence[bytes | None], ends_ms: int) -> Held | None:
    """The signal in the values of ``FIELDS``; None where there is none.

    Raises:
        ValueError: there is something, and it is no signal.
    """
    if values[0] is None:
        return None
    texts = [(value or b"").decode()[:TEXT_MAX] for value in values]
    action, multiplier, score, cluster_id, rule, alert_id, mode, *numbers = texts
    part = float(multiplier)
    if action not in ACTIONS or not 0.0 <= part <= 1.0:
        raise ValueError("no such action or multiplier")
    ts, expires, seq = map(int, numbers)
    return Held(action, part, float(score), cluster_id, rule, alert_id, mode, ts, expires, seq, ends_ms)


def rule_on(account_id: str, held: Held | None, now_ms: int, onset_ms: int = 0) -> Ruling:
    """What to do with a request of the account.

    Args:
        account_id: whose request.
        held: what is known of it.
        now_ms: by the clock of ``ends_ms``.
        onset_ms: a signal starts to count up to this much after its ``ts``, each account at a moment of its own, so
            that the accounts of a cluster do not learn at one moment that they were found together.
    """
    if held is None:
        return _NO_SIGNAL
    if now_ms >= held.ends_ms:
        return _ENDED
    if held.mode != "enforce":
        return _NOT_ENFORCED
    if onset_ms and now_ms < held.ts + _onset(account_id, held, onset_ms):
        return _NOT_YET
    return _BY_ACTION[held.action]


def _onset(account_id: str, held: Held, onset_ms: int) -> int:
    """From 0 to ``onset_ms``; the same for one account and alert wherever it is asked, so no retry moves it."""
    return onset_ms * (crc32(f"{held.alert_id} {account_id}".encode()) & 0xFFFF) >> 16
