"""What two sets of rules say of the same traffic, paired: the subject of a backtest and of a shadow report.

What lives here: subjects out of alerts, and which of one side is which of the other. What does not: where alerts come
from. A campaign that opens earlier or later under other rules may get another id, so campaigns are paired by what they
share: the id, accounts, digests of templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from models.alert import SEVERITIES, Alert
from models.errors import ConfigError


class Subject(msgspec.Struct):
    """One campaign or account as the alerts of one side tell of it."""

    rule: str
    subject: str
    first_ts: int
    severity: str
    accounts: int
    alerts: int = 0
    signs: set[str] = set()  # account ids and template digests by which it is known again


class Paired(msgspec.Struct):
    """What both sides say, what only the new one does, what only the old one does."""

    both: list[tuple[Subject, Subject]]
    added: list[Subject]
    lost: list[Subject]

    @property
    def same(self) -> bool:
        """Whether both sides speak of the same campaigns and accounts."""
        return not self.added and not self.lost


def read_alerts(path: str) -> list[Alert]:
    """The alerts of a file of JSON lines.

    Raises:
        ConfigError: there is no such file, or a line is no alert; the line is named and not quoted.
    """
    alerts: list[Alert] = []
    try:
        with Path(path).open("rb") as file:
            for line in file:
                alerts.append(msgspec.json.decode(line, type=Alert))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        number = len(alerts) + 1
        raise ConfigError(f"{path}:{number}: not an alert; give what --alerts or --shadow of a replay wrote") from error
    return alerts


def subjects(alerts: Iterable[Alert], members: Mapping[str, set[str]] | None = None) -> list[Subject]:
    """What the alerts speak of, as loud and large as it was said; ``members`` are accounts by cluster, where known."""
    found: dict[tuple[str, str], Subject] = {}
    for alert in alerts:
        name = alert.cluster_id or alert.account_id or ""
        known = found.get((alert.rule, name))
        if known is None:
            known = found[alert.rule, name] = Subject(alert.rule, name, alert.ts, "info", 0)
            known.signs = {name, *(members or {}).get(name, ())}
        known.alerts += 1
        known.first_ts = min(known.first_ts, alert.ts)
        known.severity = max(known.severity, alert.severity, key=SEVERITIES.index)
        known.accounts = max(known.accounts, alert.accounts)
        known.signs.update(alert.members_sample)
        known.signs.update(digest for template in alert.templates for digest in template.digests)
    return list(found.values())


def pair(old: list[Subject], new: list[Subject]) -> Paired:
    """Pair each subject of ``old`` with the one of ``new`` that shares most with it, if any does."""
    free = list(new)
    paired = Paired([], [], [])
    for mine in sorted(old, key=lambda item: (-item.accounts, item.rule, item.subject)):
        shared = [(len(mine.signs & item.signs), at) for at, item in enumerate(free) if item.rule == mine.rule]
        most, at = max(shared, default=(0, 0), key=lambda found: (found[0], -found[1]))
        if most:
            paired.both.append((mine, free.pop(at)))
        else:
            paired.lost.append(mine)
    paired.added = free
    return paired
