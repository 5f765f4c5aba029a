"""The command ``rules``: read, compare, try and publish rules files.

What lives here: its verbs and what they print. What does not: reading (``rules_file``), words (``rules_text``), the
trial on simulated fleets (``rules_trial``) and the topic (``rules_topic``). Exit codes: 0 right, equal or passed; 1 an
error in a file, a difference, or a trial not passed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from models.errors import ConfigError
from models.rules import RULE_IDS, AccountRule, CampaignRule, Rules
from streams import rules_file, rules_text
from streams.config import CoreSettings, Settings

FILES = {
    "default": (0, 0, ""),
    "validate": (1, 100, "FILE..."),
    "list": (0, 1, "[FILE]"),
    "explain": (0, 1, "[FILE]"),
    "diff": (1, 2, "FILE [AGAINST]"),
    "test": (0, 1, "[FILE]"),
    "publish": (1, 1, "FILE"),
    "shadow-report": (2, 2, "ALERTS SHADOW"),
}
"""The verbs with the fewest and most files each takes; without a file a verb speaks of the rules as shipped."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb and its files."""
    shown = ", ".join(f"{verb} {files}".strip() for verb, (_, _, files) in FILES.items())
    parser.add_argument("verb", choices=tuple(FILES), metavar="VERB", help=shown)
    parser.add_argument("files", nargs="*", metavar="FILE", help="rules files; without one: the rules as shipped")


def checked(verb: str, files: Sequence[str]) -> Sequence[str]:
    """The files, where their number is right.

    Raises:
        ConfigError: it is not.
    """
    least, most, shown = FILES[verb]
    if not least <= len(files) <= most:
        raise ConfigError(f"use: distilwatch rules {verb} {shown}".rstrip())
    return files


def run(verb: str, files: Sequence[str], core: CoreSettings, output: str) -> int:
    """Run a verb that needs no broker; the exit code."""
    checked(verb, files)
    if verb == "default":
        sys.stdout.write(rules_text.rendered(Rules()))
        return 0
    if verb == "validate":
        return _validate(files, core, output)
    if verb == "shadow-report":
        from streams import shadow_report

        return shadow_report.run(files[0], files[1], output)
    rules = [rules_file.load(path, core.tenant) for path in files] or [Rules()]
    if verb == "diff":
        return _diff(rules[0], rules[1] if len(rules) > 1 else Rules(), output)
    if verb == "test":
        from streams import rules_trial

        return rules_trial.run(rules[0], output)
    return _list(rules[0], core, output) if verb == "list" else _explain(rules[0], core, output)


def publish(files: Sequence[str], settings: Settings, output: str) -> int:
    """Put a right file on the rules topic, where every worker takes it up."""
    (path,) = checked("publish", files)
    rules = rules_file.load(path, settings.tenant)
    from streams import rules_topic

    said = rules_topic.run(settings, rules)
    _print({"rules": rules.label, "topic": said.topic, "offset": said.offset}, output, said.text)
    return 0


def _print(values: Any, output: str, text: str) -> None:
    if output == "json":
        text = msgspec.json.format(msgspec.json.encode(values), indent=2).decode()
    sys.stdout.write(text.rstrip("\n") + "\n")


def _validate(files: Sequence[str], core: CoreSettings, output: str) -> int:
    reports, lines = [], []
    for path in files:
        found = rules_file.read(path, core.tenant)
        problems = [{"line": item.line, "path": item.path, "text": item.text} for item in found.problems]
        label = found.rules.label if found.rules else None
        reports.append({"file": path, "rules": label, "problems": problems})
        lines += [f"{path}:{problem}" for problem in found.problems] or [f"{path}: right, {label}"]
    _print(reports, output, "\n".join(lines))
    return 1 if any(report["problems"] for report in reports) else 0


def _list(rules: Rules, core: CoreSettings, output: str) -> int:
    rows = []
    for rule_id in RULE_IDS:
        rule = rules.rule(rule_id)
        threshold = rule.open_score if isinstance(rule, CampaignRule) else rule.limit
        level = rule.severity if isinstance(rule, AccountRule) else "by size and score"
        mode = rules.mode_of(rule_id, core.mode)
        rows.append({"id": rule_id, "mode": mode, "threshold": threshold, "level": level})
    width = max(len(rule_id) for rule_id in RULE_IDS)
    lines = [f"{rules.label}, under a host in mode {core.mode}"]
    lines += [f"{row['id']:<{width}}  {row['mode']:<8}{row['threshold']:>10,g}  {row['level']}" for row in rows]
    _print({"rules": rules.label, "host_mode": core.mode, "list": rows}, output, "\n".join(lines))
    return 0


def _explain(rules: Rules, core: CoreSettings, output: str) -> int:
    lines = list(rules_text.explained(rules, core.mode))
    _print({"rules": rules.label, "text": lines, "values": rules_text.flat(rules)}, output, "\n".join(lines))
    return 0


def _diff(rules: Rules, against: Rules, output: str) -> int:
    rows = rules_text.changes(against, rules)
    lines = [f"{against.label} -> {rules.label}"]
    lines += [f"  {row['name']}: {_short(row['from'])} -> {_short(row['to'])}" for row in rows] or ["  no difference"]
    _print({"from": against.label, "to": rules.label, "differences": rows}, output, "\n".join(lines))
    return 1 if rows else 0


def _short(value: Any) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, list) else str(value)
