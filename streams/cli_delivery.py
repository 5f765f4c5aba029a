"""Commands of what leaves: sinks, exports, documents of interfaces, and the proof that the whole way works.

What lives here: how ``sinks``, ``export``, ``openapi`` and ``selftest`` are called. What does not: what they do.
"""

from __future__ import annotations

import argparse
import sys

from models.errors import ConfigError
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


def _declare_openapi(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("process", choices=("limiter", "intake", "worker"), help="whose interface")


def _openapi(parsed: argparse.Namespace) -> int:
    import msgspec

    try:
        if parsed.process == "limiter":
            from streams.limiter.http import openapi
        elif parsed.process == "intake":
            from streams.limiter.intake import openapi
        else:
            from streams.admin import openapi
    except ImportError as error:
        raise ConfigError(f"{error.name} is missing: install distilwatch with its extra `limiter`") from error
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(openapi()), indent=2).decode() + "\n")
    return 0


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
    "openapi": Command(
        "write what a process answers over HTTP as an OpenAPI document",
        _declare_openapi,
        _openapi,
        ("openapi limiter", "openapi intake", "openapi worker"),
    ),
    "selftest": Command(
        "send a campaign of our own in, and see its alert and signals come out",
        _declare_selftest,
        _selftest,
        ("selftest", "selftest --brokers kafka-1:9092"),
    ),
}
"""Part of the list in ``cli``."""
