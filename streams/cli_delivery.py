"""Commands of what leaves: sinks, exports, and the proof that the whole way works.

What lives here: how ``sinks``, ``export`` and ``selftest`` are called. What does not: what they do.
"""

from __future__ import annotations

import argparse

from streams.cli_common import Command, core_settings, secret_of, settings_of


def _declare_sinks(parser: argparse.ArgumentParser) -> None:
    from streams.sinks import command

    command.add_arguments(parser)


def _sinks(parsed: argparse.Namespace) -> int:
    from streams.sinks import command

    return command.run(parsed, tenant=core_settings().tenant)


def _declare_export(parser: argparse.ArgumentParser) -> None:
    from streams.export import command

    command.add_arguments(parser)


def _export(parsed: argparse.Namespace) -> int:
    from streams.export import command

    return command.run(parsed)


def _declare_selftest(parser: argparse.ArgumentParser) -> None:
    from streams.selftest import command

    command.add_arguments(parser)


def _selftest(parsed: argparse.Namespace) -> int:
    from streams.selftest import command

    return command.run(parsed, settings=lambda: settings_of(parsed), secret=lambda: secret_of(core_settings()))


COMMANDS = {
    "sinks": Command(
        "say who is told of alerts, and send one of them a test",
        _declare_sinks,
        _sinks,
        ("sinks list --config sinks.yaml", "sinks test oncall --config sinks.yaml"),
    ),
    "export": Command(
        "write alerts as OCSF findings or as a STIX bundle",
        _declare_export,
        _export,
        ("export --format ocsf alerts.jsonl", "export --format stix alerts.jsonl --out bundle.json"),
    ),
    "selftest": Command(
        "send a campaign of our own in, and see its alert and signals come out",
        _declare_selftest,
        _selftest,
        ("selftest", "selftest --brokers kafka-1:9092"),
    ),
}
"""Part of the list in ``cli``."""
