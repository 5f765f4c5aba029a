"""Commands about rules: what they are, and what they would have done.

What lives here: how ``rules`` is called. What does not: what it does (``rules_command``).
"""

from __future__ import annotations

import argparse

from streams.cli_common import Command, add_brokers, add_output, core_settings, settings_of


def _declare_rules(parser: argparse.ArgumentParser) -> None:
    from streams import rules_command

    rules_command.add_arguments(parser)
    add_brokers(parser)
    add_output(parser)


def _rules(parsed: argparse.Namespace) -> int:
    from streams import rules_command

    if parsed.verb == "publish":
        return rules_command.publish(parsed.files, settings_of(parsed), parsed.output)
    return rules_command.run(parsed.verb, parsed.files, core_settings(), parsed.output)


COMMANDS = {
    "rules": Command(
        "read, compare, try and publish rules files",
        _declare_rules,
        _rules,
        (
            "rules default > rules.yaml",
            "rules validate rules.yaml",
            "rules diff rules.yaml",
            "rules test rules.yaml",
            "rules publish rules.yaml --brokers 127.0.0.1:9092",
            "rules shadow-report alerts.jsonl shadow.jsonl",
        ),
    ),
}
"""Part of the list in ``cli``."""
