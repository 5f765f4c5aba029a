"""Commands about rules: what they are, and what they would have done.

What lives here: how ``rules``, ``backtest`` and ``calibrate`` are called. What does not: what they do.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streams.cli_common import Command, add_brokers, add_output, core_settings, secret_of, settings_of

if TYPE_CHECKING:
    from streams.lanes import Traffic


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


def _declare_backtest(parser: argparse.ArgumentParser) -> None:
    from streams import backtest

    backtest.add_arguments(parser)
    add_output(parser)


def _traffic(parsed: argparse.Namespace) -> Traffic:
    from streams.lanes import Traffic

    core = core_settings()
    return Traffic(
        files=parsed.files, secret=secret_of(core), format=parsed.format, tenant=core.tenant, quiet=parsed.quiet
    )


def _backtest(parsed: argparse.Namespace) -> int:
    from models.rules import Rules
    from streams import backtest, rules_file

    tenant = core_settings().tenant
    against = rules_file.load(parsed.against, tenant) if parsed.against else Rules()
    rules = rules_file.load(parsed.rules, tenant)
    return backtest.run(_traffic(parsed), rules, against, labels=parsed.labels, output=parsed.output)


def _declare_calibrate(parser: argparse.ArgumentParser) -> None:
    from streams import calibrate

    calibrate.add_arguments(parser)
    add_output(parser)


def _calibrate(parsed: argparse.Namespace) -> int:
    from streams import calibrate

    budget = calibrate.Budget(alerts_per_week=parsed.alerts_per_week, accounts_per_100k=parsed.accounts_per_100k)
    return calibrate.run(_traffic(parsed), budget, parsed.rules_out, parsed.output)


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
    "backtest": Command(
        "what other rules would have said of the same events",
        _declare_backtest,
        _backtest,
        (
            "backtest events.jsonl.gz --rules rules.yaml",
            "backtest monday.jsonl --rules new.yaml --against old.yaml --labels truth.json -o json",
        ),
    ),
    "calibrate": Command(
        "learn thresholds from benign traffic for a budget of false alarms",
        _declare_calibrate,
        _calibrate,
        ("calibrate calm.jsonl.gz --alerts-per-week 1 --accounts-per-100k 5 --rules-out rules.yaml",),
    ),
}
"""Part of the list in ``cli``."""
