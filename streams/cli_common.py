"""What commands share: settings laid under options, the secret, rules, and what a person is told.

What lives here: helpers of the lists of commands (``cli``, ``cli_rules``). What does not: any command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.rules import Rules
    from streams.config import CoreSettings, Settings

DEVELOPMENT_SECRET = "distilwatch development secret"  # noqa: S105  well known on purpose, and said so where used


def say(error: object) -> None:
    """One line on stderr for each of the error's."""
    for line in str(error).splitlines() or [type(error).__name__]:
        sys.stderr.write(f"distilwatch: {line}\n")


def core_settings() -> CoreSettings:
    """The settings that every host needs."""
    from streams.config import load_core

    return load_core(os.environ)


def secret_of(core: CoreSettings) -> bytes:
    """The secret of the settings, or the development secret with a word about it."""
    if core.secret is None:
        say("digests in the output are not private: set DISTILWATCH_SECRET")
        return DEVELOPMENT_SECRET.encode()
    return core.secret.reveal().encode()


def rules_of(path: str | None, core: CoreSettings) -> Rules:
    """The rules of a file, of the settings, or as shipped."""
    from models.rules import Rules
    from streams import rules_file

    chosen = path or core.rules
    return rules_file.load(str(chosen), core.tenant) if chosen else Rules()


def settings_of(parsed: argparse.Namespace, **more: str) -> Settings:
    """All settings, those given as options laid over the environment."""
    from streams.config import load, unknown_names

    environment = dict(os.environ) | more
    for option in ("brokers", "slot", "mode", "http_port"):
        value = getattr(parsed, option, None)
        if value is not None:
            environment[f"DISTILWATCH_{option.upper()}"] = str(value)
    for name in unknown_names(environment):
        say(f"{name} is set but not known: misspelt?")
    return load(environment)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare the form of the answer."""
    parser.add_argument("-o", "--output", choices=("human", "json"), default="human", help="form of the answer")


def add_brokers(parser: argparse.ArgumentParser) -> None:
    """Declare the brokers."""
    parser.add_argument("--brokers", metavar="HOST:PORT,...", help="Kafka (default: DISTILWATCH_BROKERS)")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: a line for the list, how it declares its arguments, what it runs, examples without the name."""

    text: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Any], int]
    examples: tuple[str, ...]
