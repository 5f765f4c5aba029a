"""The command ``distilwatch``: arguments, exit codes, and what a person is told when something is wrong.

What lives here: the list of commands and how each is called. What does not: what they do. Heavy modules are imported
by the command that needs them, so that help answers at once. Exit codes: 0 ok, 1 something was found or failed,
2 wrong usage or settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import ConfigError, DistilwatchError
from streams.cli_common import DEVELOPMENT_SECRET, Command
from streams.cli_common import add_brokers as _brokers
from streams.cli_common import add_output as _output
from streams.cli_common import core_settings as _core
from streams.cli_common import rules_of as _rules
from streams.cli_common import say as _say
from streams.cli_common import secret_of as _secret
from streams.cli_common import settings_of as _settings
from streams.cli_delivery import COMMANDS as _OF_DELIVERY
from streams.cli_desk import COMMANDS as _OF_DESK
from streams.cli_rules import COMMANDS as _OF_RULES

if TYPE_CHECKING:
    pass

MODES = ("enforce", "alert", "shadow", "off")
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code and never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 2
    except ConfigError as error:
        _say(error)
        return 2
    except KeyboardInterrupt:
        if any(thread.daemon for thread in threading.enumerate()):
            # One may hold the lock of standard input, on which the interpreter's own end would stumble.
            sys.stdout.flush()
            os._exit(INTERRUPTED)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has enough. Python would complain once more when it flushes at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (DistilwatchError, OSError) as error:
        _say(error)
        return 1


def _run(arguments: list[str]) -> int:
    name = next((item for item in arguments if not item.startswith("-")), "")
    parser = _parser(name)
    parsed = parser.parse_args(arguments)
    if not parsed.command:
        parser.print_help(sys.stderr)
        return 2
    return COMMANDS[parsed.command].run(parsed)


class _Version(argparse.Action):
    """Looks the version up only when asked: reading package metadata takes longer than help may."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"distilwatch {version('distilwatch')}\n")
        parser.exit(0)


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen command alone."""
    parser = argparse.ArgumentParser(
        prog="distilwatch",
        description="Finds campaigns that copy a model through thousands of accounts at a few requests a day each.",
        epilog="distilwatch COMMAND --help shows the options of a command, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        examples = "examples:\n" + "\n".join(f"  distilwatch {line}" for line in command.examples)
        added = commands.add_parser(
            name,
            help=command.text,
            description=command.text[0].upper() + command.text[1:] + ".",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            command.declare(added)
    return parser


def _declare_replay(parser: argparse.ArgumentParser) -> None:
    from streams import replay

    replay.add_arguments(parser)
    parser.add_argument("--mode", choices=MODES, help="how far decisions may go (default: DISTILWATCH_MODE, enforce)")
    _output(parser)


def _replay(parsed: argparse.Namespace) -> int:
    from streams import replay

    core = _core()
    options = replay.ReplayOptions(
        files=parsed.files,
        secret=_secret(core),
        alerts=parsed.alerts,
        signals=parsed.signals,
        shadow=parsed.shadow,
        rules=_rules(parsed.rules, core),
        format=parsed.format,
        state=parsed.state,
        labels=parsed.labels,
        speed=parsed.speed,
        tenant=core.tenant,
        mode=parsed.mode or core.mode,
        quiet=parsed.quiet,
    )
    return replay.run(options, output=parsed.output)


def _declare_simulate(parser: argparse.ArgumentParser) -> None:
    from streams.simulator import command

    command.add_arguments(parser)


def _simulate(parsed: argparse.Namespace) -> int:
    from streams.simulator import command

    return command.run(command.request_of(parsed))


def _declare_demo(parser: argparse.ArgumentParser) -> None:
    from streams import demo

    demo.add_arguments(parser)


def _demo(parsed: argparse.Namespace) -> int:
    from streams import demo

    given = {name: value for name, value in vars(parsed).items() if name in demo.DemoOptions.__dataclass_fields__}
    given["once"] = parsed.once or not sys.stdout.isatty()
    return demo.run(demo.DemoOptions(**given, secret=_secret(_core())))


def _declare_worker(parser: argparse.ArgumentParser) -> None:
    _brokers(parser)
    parser.add_argument("--slot", metavar="NAME", help="name of this worker, kept over restarts (DISTILWATCH_SLOT)")
    parser.add_argument("--mode", choices=MODES, help="how far decisions may go (default: DISTILWATCH_MODE, enforce)")
    parser.add_argument("--http-port", type=int, metavar="N", help="port of health and metrics; -1 for none")
    parser.add_argument(
        "--insecure-development-secret",
        action="store_true",
        help="start without DISTILWATCH_SECRET, with a secret that everybody knows",
    )


def _worker(parsed: argparse.Namespace) -> int:
    insecure = parsed.insecure_development_secret and not _core().secret
    settings = _settings(parsed, **({"DISTILWATCH_SECRET": DEVELOPMENT_SECRET} if insecure else {}))
    if settings.secret is None:
        raise ConfigError(
            "set DISTILWATCH_SECRET or DISTILWATCH_SECRET_FILE to at least 16 random bytes "
            "(to try it out: --insecure-development-secret)"
        )
    if insecure:
        _say("digests on the topics are not private: set DISTILWATCH_SECRET")
    from streams import worker

    return worker.run(settings)


def _declare_limiter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--grpc-port", type=int, metavar="N", help="port of Envoy's rate limit service; -1 for none")
    parser.add_argument("--http-port", type=int, metavar="N", help="port of checks, health and metrics")


def _limiter(parsed: argparse.Namespace) -> int:
    ports = {"GRPC": parsed.grpc_port, "HTTP": parsed.http_port}
    given = {f"DISTILWATCH_LIMITER_{name}_PORT": str(port) for name, port in ports.items() if port is not None}
    parsed.http_port = None  # elsewhere the option is the port of the worker's health
    try:
        from streams.limiter import command
    except ImportError as error:
        raise ConfigError(f"{error.name} is missing: install distilwatch with its extra `limiter`") from error

    return command.run(_settings(parsed, **given))


def _declare_intake(parser: argparse.ArgumentParser) -> None:
    _brokers(parser)
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on (default: DISTILWATCH_INTAKE_PORT)")


def _intake(parsed: argparse.Namespace) -> int:
    given = {} if parsed.port is None else {"DISTILWATCH_INTAKE_PORT": str(parsed.port)}
    settings = _settings(parsed, **given)
    from streams.limiter import intake

    return intake.run(settings)


def _declare_topics(parser: argparse.ArgumentParser) -> None:
    told = "create what is missing, only look, or write the AsyncAPI document of topics and records"
    parser.add_argument("verb", choices=("create", "list", "asyncapi"), help=told)
    _brokers(parser)
    _output(parser)


def _topics(parsed: argparse.Namespace) -> int:
    if parsed.verb == "asyncapi":
        import msgspec

        from streams.asyncapi import document

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n")
        return 0
    from streams import worker

    return worker.run_topics(_settings(parsed), create_missing=parsed.verb == "create", output=parsed.output)


def _declare_check_event(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a sample of a producer's records; - is stdin")
    parser.add_argument("--format", default="auto", metavar="F", help="auto, canonical, litellm, otel or glasswally")
    _output(parser)


def _check_event(parsed: argparse.Namespace) -> int:
    from streams import check_event

    return check_event.run(parsed.file, format=parsed.format, output=parsed.output)


def _declare_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", choices=("show", "check"), help="show every setting, or say whether all are right")
    _output(parser)


def _config(parsed: argparse.Namespace) -> int:
    from streams.config_view import shown

    if parsed.verb == "check":
        try:
            _settings(parsed)
        except ConfigError as error:
            _say(error)
            return 1
        sys.stdout.write("all settings are right\n" if parsed.output == "human" else '{"ok": true}\n')
        return 0
    sys.stdout.write(shown(_settings(parsed), parsed.output))
    return 0


def _declare_console(parser: argparse.ArgumentParser) -> None:
    from streams.console import command

    command.add_arguments(parser)


def _console(parsed: argparse.Namespace) -> int:
    from streams.console import command
    from streams.console.rules_store import FileRules, TopicRules
    from streams.console.writer import InForce

    files = parsed.alerts or parsed.signals or parsed.actions or parsed.verb
    core = _core()
    rules = InForce(_rules(parsed.rules, core), core.mode)
    if files and not parsed.brokers:
        path = parsed.rules or core.rules
        return command.run(parsed, None, rules, FileRules(Path(path), core.tenant) if path else None)
    settings = _settings(parsed)
    return command.run(parsed, settings.kafka, rules, TopicRules(settings))


COMMANDS = {
    "demo": Command(
        "watch a simulated campaign being found, in a console of this machine",
        _declare_demo,
        _demo,
        ("demo", "demo --once"),
    ),
    "replay": Command(
        "run request events from files through the detector",
        _declare_replay,
        _replay,
        (
            "replay events.jsonl.gz --alerts alerts.jsonl --signals signals.jsonl",
            "replay monday.jsonl --state kept && distilwatch replay tuesday.jsonl --state kept",
            "replay - --format litellm --quiet",
        ),
    ),
    "simulate": Command(
        "write the traffic of an API fleet with a campaign hidden in it",
        _declare_simulate,
        _simulate,
        (
            "simulate letter --scale 0.02 --out events.jsonl.gz --truth truth.json",
            "simulate calm --brokers 127.0.0.1:9092",
        ),
    ),
    "worker": Command(
        "detect on Kafka: requests in, alerts and signals out",
        _declare_worker,
        _worker,
        (
            "worker --brokers kafka-1:9092,kafka-2:9092 --slot 0",
            "worker --insecure-development-secret --mode shadow",
        ),
    ),
    "limiter": Command(
        "answer gateways: Envoy's rate limit service, HTTP checks, decisions",
        _declare_limiter,
        _limiter,
        ("limiter", "limiter --grpc-port 8081 --http-port 8322"),
    ),
    **_OF_RULES,
    "intake": Command(
        "take request events over HTTP and write them to Kafka",
        _declare_intake,
        _intake,
        ("intake --brokers 127.0.0.1:9092 --port 8323",),
    ),
    "topics": Command(
        "create the Kafka topics, or compare them with what is needed",
        _declare_topics,
        _topics,
        ("topics create --brokers 127.0.0.1:9092", "topics list -o json", "topics asyncapi"),
    ),
    "check-event": Command(
        "say how a producer's records are read, and what they lack",
        _declare_check_event,
        _check_event,
        ("check-event sample.jsonl", "check-event spans.json --format otel -o json"),
    ),
    **_OF_DESK,
    **_OF_DELIVERY,
    "console": Command(
        "serve the alerts to people: what happened, why, and what to do",
        _declare_console,
        _console,
        (
            "console --alerts alerts.jsonl --signals signals.jsonl --actions actions.jsonl",
            "console --brokers 127.0.0.1:9092 --worker http://127.0.0.1:8321 --state kept",
            "console token add --name alice --role analyst --tokens tokens.json",
        ),
    ),
    "config": Command(
        "show or check the settings in the environment",
        _declare_config,
        _config,
        ("config show", "config check -o json"),
    ),
}
"""All commands, in the order a newcomer meets them."""
