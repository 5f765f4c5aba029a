"""Shadow against live: what would change for people if the rules in the shadow were promoted.

What lives here: the words. What does not: pairing (``rules_compare``) and deciding.
"""

from __future__ import annotations

import sys

import msgspec

from streams.rules_compare import Paired, Subject, pair, read_alerts, subjects

SHOWN = 20


def run(live: str, shadow: str, output: str) -> int:
    """Print the comparison of two files of alerts; 1 where promotion would add or lose an alert."""
    ours, theirs = read_alerts(live), read_alerts(shadow)
    paired = pair(subjects(ours), subjects(theirs))
    versions = [sorted({alert.rule_version for alert in alerts}) for alerts in (ours, theirs)]
    if output == "json":
        values = {"live_rules": versions[0], "shadow_rules": versions[1], "same": paired.same, **as_values(paired)}
        sys.stdout.write(msgspec.json.encode(values).decode() + "\n")
    else:
        live_rules, shadow_rules = (", ".join(names) or "no alerts" for names in versions)
        sys.stdout.write(
            f"live: {live_rules}; shadow: {shadow_rules}\n" + "\n".join(told(paired, "shadow", "live")) + "\n"
        )
    return 0 if paired.same else 1


def as_values(paired: Paired) -> dict[str, object]:
    """The pairs as plain values, without the signs they were paired by."""

    def plain(item: Subject) -> dict[str, object]:
        values: dict[str, object] = msgspec.to_builtins(item)
        values.pop("signs")
        return values

    return {
        "both": [{"old": plain(old), "new": plain(new)} for old, new in paired.both],
        "added": [plain(item) for item in paired.added],
        "lost": [plain(item) for item in paired.lost],
    }


def told(paired: Paired, new: str, old: str) -> list[str]:
    """The pairs for a person, a line each."""
    lines = [f"{len(paired.both)} in both, {len(paired.added)} only {new}, {len(paired.lost)} only {old}."]
    for mine, other in paired.both[:SHOWN]:
        minutes = (other.first_ts - mine.first_ts) / 60_000
        when = "at the same time" if not minutes else f"{abs(minutes):.0f} min {'later' if minutes > 0 else 'earlier'}"
        sizes = f"{mine.accounts:,} -> {other.accounts:,} accounts, {mine.severity} -> {other.severity}"
        lines.append(f"  both   {mine.rule} {mine.subject}: {when}; {sizes}")
    for word, found in (("added", paired.added), ("lost ", paired.lost)):
        for item in found[:SHOWN]:
            accounts = f"{item.accounts:,} account{'s' * (item.accounts != 1)}"
            lines.append(f"  {word}  {item.rule} {item.subject}: {item.severity}, {accounts}")
    if max(len(paired.both), len(paired.added), len(paired.lost)) > SHOWN:
        lines.append(f"  (the first {SHOWN} of each; -o json gives all)")
    return lines
