"""``python -m bench.glasswally FILE``: Glasswally's labelled file, as published and with one thing changed at a time.

What lives here: the changes, and who was named against the labels. What does not: the file, which is Glasswally's
(``datasets/labeled_5k.jsonl`` of its repository, MIT) and not shipped; it may be gzip or plain. All its requests fall
into a tenth of a second, and every prompt is one of 23 fixed questions, each asked word for word by many accounts: so
neither time nor templates say anything. The changes give it back what a campaign cannot do without.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cramjam

from bench.traffic import ROOT

DAY_S = 86_400
RECALL_MIN = 0.98

Requests = list[dict[str, Any]]


def read(path: Path) -> Requests:
    """The requests with their labels."""
    data = path.read_bytes()
    plain = bytes(cramjam.gzip.decompress(data)) if data[:2] == b"\x1f\x8b" else data
    return [json.loads(line) for line in plain.splitlines()]


def spread(requests: Requests) -> Requests:
    """The same, at an even pace over one day in place of a tenth of a second."""
    start = datetime.datetime(2026, 2, 27, tzinfo=datetime.UTC)
    step = datetime.timedelta(seconds=DAY_S / len(requests))
    return [item | {"timestamp": (start + number * step).isoformat()} for number, item in enumerate(requests)]


def itemised(requests: Requests) -> Requests:
    """The same, where each labelled prompt is about an item of its own: who collects answers asks nothing twice."""
    return [
        item | {"prompt": f"{item['prompt']} (item {number})"} if item["campaign_label"] else item
        for number, item in enumerate(requests)
    ]


def named(requests: Requests) -> set[str]:
    """The accounts that ``distilwatch replay`` gives a signal of a campaign."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "requests.jsonl").write_text("".join(json.dumps(item) + "\n" for item in requests))
        command = [sys.executable, "-m", "streams", "replay", f"{folder}/requests.jsonl", "--format", "glasswally"]
        command += ["--signals", f"{folder}/signals.jsonl", "--quiet"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("DISTILWATCH_")}
        env |= {"DISTILWATCH_SECRET": "the secret of this bench, any will do"}
        subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        signals = [json.loads(line) for line in (Path(folder) / "signals.jsonl").read_text().splitlines()]
    return {signal["account_id"] for signal in signals if signal.get("rule") == "campaign"}


def main(arguments: list[str] | None = None) -> int:
    """Print who is named in each form; 1 where anybody honest is, or the last form is not found."""
    parser = argparse.ArgumentParser(prog="python -m bench.glasswally", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE", help="labeled_5k.jsonl of Glasswally, plain or gzip")
    requests = read(parser.parse_args(arguments).file)
    guilty = {item["account_id"] for item in requests if item["campaign_label"]}
    honest = {item["account_id"] for item in requests} - guilty
    print(f"{len(requests):,} requests, {len(guilty)} labelled accounts, {len(honest)} others")
    day = spread(requests)
    missed = False
    for text, form in (
        ("as published", requests),
        ("spread over a day", day),
        ("and with an item in each labelled prompt", itemised(day)),
    ):
        found = named(form)
        wrongly, recall = len(found & honest), len(found & guilty) / len(guilty)
        print(f"{text:42} {len(found & guilty):3} of {len(guilty)} named, {wrongly:3} of {len(honest)} others")
        missed |= wrongly > 0
    missed |= recall < RECALL_MIN
    print(
        "nobody else named, and the last form found" if not missed else "MISSED: somebody else named, or nothing found"
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
