"""The canary: the traffic of a small campaign that cannot be mistaken for anybody's.

What lives here: its accounts and requests. What does not: sending them and looking for what comes of them. Its texts
are drawn anew for each run from made-up words, so no customer's request can fall under its templates and no signal can
name one; its accounts carry a keyed mark, its payment methods the name of the run, and it has no addresses at all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from models.canary import CanaryMark

ACCOUNTS = 120
"""Above the size from which one evaluation is enough to open a campaign, so that nothing waits for a second."""
TEMPLATES = 12
WORDS = 45
PAYMENT_ACCOUNTS = 6
GAP_MS = 320_000
"""Between two requests of an account: more than the five minutes within which a person's next request comes."""
SYLLABLES = [first + second for first in "bdfgklmnpr" for second in "aeio"]
DAY_MS = 86_400_000


class Canary:
    """Accounts and texts of one run; the same run and seed give the same requests."""

    def __init__(self, run: str, mark: CanaryMark) -> None:
        draw = random.Random(run)  # noqa: S311  no secret: texts must only be of this run
        self.accounts = [mark.account(run, number) for number in range(ACCOUNTS)]
        self._run = run
        self._templates = [" ".join(_word(draw) for _ in range(WORDS)) for _ in range(TEMPLATES)]
        self._draw = draw
        self._sent = [0] * ACCOUNTS
        self._due: list[int] = []

    def requests(self, start_ms: int, stop_ms: int) -> Iterator[tuple[str, int, bytes]]:
        """Account, time and record of every request from ``start_ms`` to ``stop_ms``; call with adjoining times."""
        if not self._due:
            step = GAP_MS // ACCOUNTS
            self._due = [start_ms + number * step for number in range(ACCOUNTS)]
        ready = [(due, number) for number, due in enumerate(self._due) if due < stop_ms]
        while ready:
            for due, number in sorted(ready):
                yield self.accounts[number], due, self._record(number, due)
                self._due[number] = due + GAP_MS + self._draw.randrange(GAP_MS // 10)
            ready = [(due, number) for number, due in enumerate(self._due) if due < stop_ms]

    def _record(self, number: int, ts: int) -> bytes:
        sent = self._sent[number]
        self._sent[number] += 1
        text = self._templates[(number + 5 * sent) % TEMPLATES]
        item = " ".join(_word(self._draw) for _ in range(4))
        return msgspec.json.encode(
            {
                "event_id": f"selftest-{self._run}-{number}-{sent}",
                "ts": ts,
                "account_id": self.accounts[number],
                "model": "selftest",
                "prompt": f"{text} {item}",
                "payment_id": f"selftest-{self._run}-{number // PAYMENT_ACCOUNTS}",
                "account_created": ts - DAY_MS,
                "turn": 1,
                "status": 200,
            }
        )

    @property
    def sent(self) -> int:
        """Requests made so far."""
        return sum(self._sent)


def _word(draw: random.Random) -> str:
    return "".join(draw.choice(SYLLABLES) for _ in range(draw.randrange(2, 5)))
