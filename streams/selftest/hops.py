"""The way of the canary, hop by hop: what was seen of it, after how long, and what to do where nothing was.

What lives here: the record of a run and how it is told. What does not: the runs (``embedded``, ``live``).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from models.alert import Alert
from models.canary import CanaryMark

State = Literal["ok", "failed", "skipped"]


class Hop(msgspec.Struct, frozen=True):
    """One hop; ``seconds`` since the run began."""

    name: str
    state: State
    seconds: float
    text: str


@dataclass(slots=True)
class Way:
    """The hops so far; each is told as it is reached."""

    quiet: bool = False
    hops: list[Hop] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def note(self, name: str, text: str, state: State = "ok") -> None:
        """Add a hop."""
        hop = Hop(name, state, round(time.monotonic() - self.started, 2), text)
        self.hops.append(hop)
        if not self.quiet:
            sys.stdout.write(
                f"{hop.seconds:>8.2f} s  {state.upper() if state == 'failed' else state:<8}{name}: {text}\n"
            )
            sys.stdout.flush()

    @property
    def failed(self) -> bool:
        """Whether a hop was not reached."""
        return any(hop.state == "failed" for hop in self.hops)

    def told(self, output: str) -> int:
        """Say how it went; the exit code."""
        if output == "json":
            body = {"ok": not self.failed, "hops": self.hops}
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(body), indent=2).decode() + "\n")
        elif self.failed:
            sys.stdout.write(f"FAILED at: {next(hop.name for hop in self.hops if hop.state == 'failed')}\n")
        else:
            sys.stdout.write("the whole way works\n")
        return 1 if self.failed else 0


def strangers(alert: Alert, mark: CanaryMark) -> list[str]:
    """Accounts of an alert that are not of a self-test."""
    return [account_id for account_id in alert.members_sample if not mark.knows(account_id)]
