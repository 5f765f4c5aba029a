"""The command ``export``: alerts from files, written in another form.

What lives here: reading, counting what is no alert, writing. What does not: the forms (``ocsf``, ``stix``).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import msgspec

from models.alert import Alert
from models.errors import ConfigError
from streams.export.ocsf import finding
from streams.export.stix import bundle

LINE_BYTES_MAX = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distilwatch export``."""
    parser.add_argument("files", nargs="+", metavar="ALERTS", help="alerts, one JSON object a line; - is stdin")
    parser.add_argument("--format", choices=("ocsf", "stix"), required=True, help="findings a line, or one bundle")
    parser.add_argument("--out", default="-", metavar="FILE", help="where to write (default: stdout)")


def run(parsed: argparse.Namespace) -> int:
    """Write the alerts of all files; 1 where a line was none.

    Raises:
        ConfigError: a file cannot be read or written.
    """
    reader = _Reader()
    with _opened(parsed.out, "wb") as out:
        if parsed.format == "ocsf":
            ours = version("distilwatch")
            for alert in reader.alerts(parsed.files):
                out.write(msgspec.json.encode(finding(alert, product_version=ours)) + b"\n")
        else:
            out.write(msgspec.json.format(msgspec.json.encode(bundle(reader.alerts(parsed.files))), indent=2) + b"\n")
    sys.stderr.write(f"distilwatch: {reader.read} alerts written as {parsed.format}\n")
    if reader.refused:
        sys.stderr.write(f"distilwatch: {reader.refused} lines are no alerts, the first of them {reader.first}\n")
    return 1 if reader.refused else 0


class _Reader:
    """Reads alerts and counts what is none; no line is ever shown."""

    def __init__(self) -> None:
        self.read = self.refused = 0
        self.first = ""
        self._decoder = msgspec.json.Decoder(Alert)

    def alerts(self, paths: Iterable[str]) -> Iterator[Alert]:
        """Every alert of these files, in order."""
        for path, number, line in _numbered(paths):
            if (alert := self._decoded(line)) is not None:
                self.read += 1
                yield alert
            elif line.strip():
                self.refused += 1
                self.first = self.first or f"{path} line {number}"

    def _decoded(self, line: bytes) -> Alert | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None


def _numbered(paths: Iterable[str]) -> Iterator[tuple[str, int, bytes]]:
    """Lines with their places; of one that is too long only pieces, none of which is an alert."""
    for path in paths:
        with _opened(path, "rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                yield path, number, line


@contextlib.contextmanager
def _opened(path: str, mode: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer if mode == "rb" else sys.stdout.buffer
        return
    try:
        file = Path(path).open(mode)  # noqa: SIM115  closed below
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name another file") from error
    with file:
        yield file  # type: ignore[misc]  # binary, by its mode
