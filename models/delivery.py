"""What becomes of one attempt to deliver a notification: delivered, again later, or given up.

What lives here: the judgement of an answer and the waits between attempts. What does not: sending (``streams.sinks``)
and what is sent. Time and chance are arguments, so that the same attempt always gives the same judgement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["delivered", "waiting", "dead"]

FIRST_WAIT_MS = 1_000
WAIT_MS_MAX = 300_000
"""PagerDuty asks for minutes between retries; five keep a page from being later than that once a receiver is back."""
MISTAKEN_WAIT_MS = 60_000
"""A refusal that somebody here must mend (a wrong key, a moved address) is asked again every few minutes, no faster."""
RETRY_AFTER_MS_MAX = 3_600_000
GIVE_UP_MS = 86_400_000
"""After a day a notification is no news; it is kept as dead, with its last answer."""
WRONG_BODY = frozenset({400, 406, 411, 413, 414, 415, 422, 431})
"""The receiver will never take this one, and may well take the next."""
PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt met: a status of HTTP, or 0 and an error in words; never any text of ours or a secret."""

    status: int
    text: str = ""
    retry_after_s: float | None = None
    took_ms: int = 0

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return 200 <= self.status < 300

    @property
    def said(self) -> str:
        """The answer in a line."""
        return f"{self.status} {self.text}".strip() if self.status else self.text


@dataclass(frozen=True, slots=True)
class Judgement:
    """The state after an attempt, and when the next one is due."""

    state: State
    next_ms: int


def judge(answer: Answer, *, attempts: int, queued_ms: int, now_ms: int, chance: float) -> Judgement:
    """Judge the attempt number ``attempts`` (from 1) of a notification queued at ``queued_ms``.

    Args:
        answer: what the attempt met.
        attempts: attempts so far, this one included.
        queued_ms: when the notification was queued.
        now_ms: now, on the same clock.
        chance: a number from 0 to 1 that spreads the retries of many senders.
    """
    if answer.delivered:
        return Judgement("delivered", now_ms)
    if answer.status in WRONG_BODY or now_ms - queued_ms >= GIVE_UP_MS:
        return Judgement("dead", now_ms)
    mistaken = 300 <= answer.status < 500 and answer.status not in PASSING
    first_ms = MISTAKEN_WAIT_MS if mistaken else FIRST_WAIT_MS
    wait_ms = min(first_ms << min(attempts - 1, 20), WAIT_MS_MAX)
    wait_ms = int(wait_ms * (0.5 + chance / 2))
    if answer.retry_after_s is not None:
        # What the receiver asks for is the least; the spread comes on top.
        wait_ms += min(int(max(answer.retry_after_s, 0.0) * 1000), RETRY_AFTER_MS_MAX)
    return Judgement("waiting", now_ms + wait_ms)
