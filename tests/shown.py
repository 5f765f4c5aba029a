"""Every command that README and docs show, and a folder in which a reader would type them.

What lives here: finding the commands, the files and servers they need, running them. What does not: what each must
say (``test_docs_commands``). Fleets are smaller than on the pages, addresses and ids those of this run; nothing else
of a line is changed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cramjam
import msgspec
import redis
import yaml
from aiokafka import AIOKafkaProducer

from models.alert import Alert
from streams.topics import Topics
from tests.servers import ROOT, free_port, wait_for
from tests.streams.limiter.signals import Signals

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = ("distilwatch", "make", "python", "pip", "docker", "redis-cli", "chrt", "run", "kubectl", "kustomize")
PLACEHOLDER = re.compile(r"…|\b[A-Z]{3,}\b(?!=)|[<>]")
SERVERS = re.compile(r"distilwatch (?:worker|limiter|intake|console(?! token))\b")
FROM_TOPICS = re.compile(r"--brokers|alerts |allow |topics list|worker")


class Shown(NamedTuple):
    """A line of a shell block, without its comment; ``exports`` are the lines before it that set variables."""

    page: str
    heading: str
    line: str
    exports: tuple[str, ...] = ()


class Done(NamedTuple):
    """How a line ended."""

    code: int
    out: str
    err: str


def tidy(line: str) -> str:
    """A line as it would be typed: without comment and without the spaces that align it."""
    bare = re.sub(r"\s+#.*$", "", line).strip().replace(".venv/bin/distilwatch", "distilwatch")
    return bare if "'" in bare else re.sub(r" {2,}", " ", bare)


def shown() -> Iterator[Shown]:
    """Every line of every shell block."""
    for page in PAGES:
        text = page.read_text()
        for found in BLOCK.finditer(text):
            if found[1] != "sh":
                continue
            headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text[: found.start()]), re.MULTILINE)
            exports: list[str] = []
            for line in filter(None, map(tidy, found[2].splitlines())):
                if line.startswith("export "):
                    exports.append(line)
                else:
                    yield Shown(page.name, headings[-1], line, tuple(exports))


def mentioned() -> Iterator[tuple[str, str]]:
    """Everything between backticks in running text that begins like a command, with its page."""
    for page in PAGES:
        for text in re.findall(r"`([^`\n]+)`", BLOCK.sub("", page.read_text())):
            first = next((word for word in text.split() if "=" not in word), "")
            if first.split("/")[-1] in PROGRAMS and ("/" in first or " " in text):
                yield page.name, text


def hidden() -> Iterator[tuple[str, str]]:
    """Lines of blocks of another kind that begin like a command."""
    for page in PAGES:
        for kind, body in BLOCK.findall(page.read_text()):
            for line in body.splitlines() if kind != "sh" else ():
                if re.match(r"\S*(" + "|".join(PROGRAMS) + r") [a-z]", line):
                    yield page.name, line


def is_name(text: str) -> bool:
    """Whether it names a command, or has a place to fill in, and is nothing to be typed as it stands."""
    return bool(PLACEHOLDER.search(text)) or re.fullmatch(r"\S*distilwatch( [a-z][a-z-]*){0,3}", text) is not None


class Desk:
    """A folder, and the lines run in it, each once.

    Args:
        folder: an empty one.
        kafka: gives the bootstrap address when first asked.
        redis_url: the same of a Redis.
        receiver: the address that takes what sinks send.
    """

    def __init__(self, folder: Path, kafka: Callable[[], str], redis_url: Callable[[], str], receiver: str) -> None:
        self.folder = folder
        self.prefix = f"shown{uuid.uuid4().hex[:8]}"
        self.receiver = receiver
        self._kafka, self._redis_url = kafka, redis_url
        self._done: dict[str, Done] = {}

    # What is there before the first line.

    @cached_property
    def kafka(self) -> str:
        """The brokers."""
        return self._kafka()

    @cached_property
    def signals(self) -> Signals:
        """A Redis with the signal of one account, as a worker would have written it."""
        kept = Signals(self._redis_url())
        kept.put([kept.signal("account-1")])
        return kept

    @cached_property
    def alerts(self) -> list[Alert]:
        """The alerts of the campaign that every page speaks of."""
        self.need("a.jsonl")
        lines = (self.folder / "a.jsonl").read_bytes().splitlines()
        return [alert for line in lines if (alert := msgspec.json.decode(line, type=Alert)).rule == "campaign"]

    @cached_property
    def account(self) -> str:
        """An account that got a signal."""
        self.need("s.jsonl")
        return str(msgspec.json.decode((self.folder / "s.jsonl").read_bytes().splitlines()[-1])["account_id"])

    def need(self, name: str) -> None:
        """Make a file of the pages, by the line of the pages that makes it, where it is not there yet."""
        if name in MAKERS and MAKERS[name] not in self._done and not (self.folder / name).exists():
            self.run(Shown("", "", MAKERS[name]))
        elif name in GIVEN and not (self.folder / name).exists():
            GIVEN[name](self)

    @cached_property
    def topics(self) -> Topics:
        """The topics, with what the replay said in them."""
        self.run(Shown("", "", "distilwatch topics create"))
        topics = Topics(self.prefix)
        alerts = [(topics.alerts, alert.dedup_key, msgspec.json.encode(alert)) for alert in self.alerts]
        self.need("s.jsonl")
        lines = [line for line in (self.folder / "s.jsonl").read_bytes().splitlines() if b"tombstone" not in line]
        signals = [(topics.signals, msgspec.json.decode(line)["account_id"], line) for line in lines]
        asyncio.run(_send(self.kafka, [*alerts, *signals]))
        return topics

    @cached_property
    def worker(self) -> str:
        """The address of a running worker, on topics of its own, until ``close``."""
        port = free_port()
        env = self._env("worker") | {"DISTILWATCH_HTTP_PORT": str(port), "DISTILWATCH_TOPIC_PREFIX": f"{self.prefix}b"}
        env["DISTILWATCH_GROUP"] = env["DISTILWATCH_TOPIC_PREFIX"]
        with (self.folder / "worker.log").open("wb") as log:
            self._beside = subprocess.Popen(["distilwatch", "worker"], cwd=self.folder, env=env, stdout=log, stderr=log)
        wait_for(lambda: self._beside.poll() is not None or _ready(f"http://127.0.0.1:{port}/-/ready"), "a worker", 90)
        return f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """End what was started beside the lines."""
        if "worker" in self.__dict__:
            self._beside.terminate()
            self._beside.wait(60)

    # Running a line.

    def run(self, asked: Shown) -> Done:
        """Run a line, the first time it is asked for."""
        if asked.line not in self._done:
            for name in re.findall(r"[\w.-]+", asked.line):
                if MAKERS.get(name) != asked.line:
                    self.need(name)
            if FROM_TOPICS.search(asked.line) and "--alerts" not in asked.line:
                assert self.topics
            script = self._here("; ".join([*asked.exports, asked.line]))
            run = self._serve if SERVERS.search(asked.line) else self._ask if "redis-cli" in asked.line else self._type
            with _shadow_rule(self.folder, wanted="--shadow" in asked.line):
                self._done[asked.line] = run(script)
        return self._done[asked.line]

    def _here(self, line: str) -> str:
        """The line with the addresses, ids and sizes of this run."""
        for written, used in SWAPS.items():
            if written in line:
                line = line.replace(written, used(self) if callable(used) else used)
        return line

    def _env(self, line: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DISTILWATCH_")}
        kept |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
            "REDIS_URL": "",
            "DISTILWATCH_SECRET": "the secret of the pages, long enough",
            "DISTILWATCH_TOPIC_PREFIX": self.prefix,
            "DISTILWATCH_GROUP": self.prefix,
            "DISTILWATCH_PARTITIONS": "1",
            "DISTILWATCH_STATE_DIR": str(self.folder / "faust"),
            "PAGERDUTY_ROUTING_KEY": "0" * 32,
            "SLACK_WEBHOOK_URL": f"{self.receiver}/services/x",
            "WEBHOOK_SECRET": "a secret of the webhook",
        }
        if re.search(r"topics|worker|intake|limiter|alerts|allow|publish|--brokers", line):
            kept["DISTILWATCH_BROKERS"] = self.kafka if "topics asyncapi" not in line else "127.0.0.1:9"
        if re.search(r"worker|limiter", line):
            kept["DISTILWATCH_REDIS_URL"] = self.signals.url
            kept["DISTILWATCH_TENANT"] = self.signals.tenant
        return kept

    def _type(self, script: str) -> Done:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder, env=self._env(script), capture_output=True, timeout=200, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def _serve(self, script: str) -> Done:
        """A line that runs until it is told to end: it must become ready, and end well at SIGTERM."""
        port = free_port()
        if "console" in script:
            script += f" --listen 127.0.0.1:{port}"
        env = self._env(script) | {"DISTILWATCH_HTTP_PORT": str(port)}
        said = re.search(r"--(?:http-)?port (\d+)", script)
        url = f"http://127.0.0.1:{said[1] if said else port}/-/ready"
        command = ["bash", "-c", "; exec distilwatch".join(script.rsplit("; distilwatch", 1))]
        if "; " not in script:
            command[-1] = f"exec {script}"
        with (self.folder / "out").open("w+") as out, (self.folder / "err").open("w+") as err:
            process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=out, stderr=err)
            try:
                wait_for(lambda: process.poll() is not None or _ready(url), script, 90)
                ready = process.poll() is None
            finally:
                process.send_signal(signal.SIGTERM)
                code = process.wait(60)
            out.seek(0)
            err.seek(0)
            return Done(code, ("ready\n" if ready else "") + out.read(), err.read())

    def _ask(self, script: str) -> Done:
        """A line of redis-cli, which is not everywhere where a Redis is: the same command through a client."""
        client = redis.Redis.from_url(self.signals.url, decode_responses=True)
        return Done(0, str(client.execute_command(*shlex.split(script)[1:])), "")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def _send(brokers: str, records: list[tuple[str, str, bytes]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        for topic, key, value in records:
            await producer.send(topic, value, key=key.encode())


@contextmanager
def _shadow_rule(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Meanwhile, ``rules.yaml`` with the rule that docs/rules.md has the reader write under ``shadow``."""
    rules = folder / "rules.yaml"
    before = rules.read_bytes() if wanted and rules.exists() else b""
    if before:
        page = (ROOT / "docs/rules.md").read_text()
        added = re.search(r"^```yaml shadow\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        assert added
        rules.write_bytes(before + added[1].encode())
    yield
    if before:
        rules.write_bytes(before)


def _two_days(desk: Desk) -> None:
    """The simulated file in two parts, plain, as a gateway that begins a file a day would leave it."""
    desk.need("e.jsonl.gz")
    lines = bytes(cramjam.gzip.decompress((desk.folder / "e.jsonl.gz").read_bytes())).splitlines(keepends=True)
    (desk.folder / "monday.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    (desk.folder / "tuesday.jsonl").write_bytes(b"".join(lines[len(lines) // 2 :]))


def _sinks(desk: Desk) -> None:
    """The file that docs/sinks.md shows, with receivers of this machine."""
    text = next(body for kind, body in BLOCK.findall((ROOT / "docs/sinks.md").read_text()) if kind == "yaml")
    settings = yaml.safe_load(text)
    for sink in settings["sinks"].values():
        sink["allow"] = ["127.0.0.0/8"]
        if "url_env" not in sink:
            sink["url"] = desk.receiver
    (desk.folder / "sinks.yaml").write_text(yaml.safe_dump(settings))


def _old_rules(desk: Desk) -> None:
    desk.need("rules.yaml")
    (desk.folder / "old.yaml").write_bytes((desk.folder / "rules.yaml").read_bytes())


MAKERS = {
    "e.jsonl.gz": "distilwatch simulate letter --scale 0.02 --out e.jsonl.gz --truth t.json",
    "t.json": "distilwatch simulate letter --scale 0.02 --out e.jsonl.gz --truth t.json",
    "a.jsonl": "distilwatch replay e.jsonl.gz --alerts a.jsonl --signals s.jsonl",
    "s.jsonl": "distilwatch replay e.jsonl.gz --alerts a.jsonl --signals s.jsonl",
    "rules.yaml": "distilwatch rules default > rules.yaml",
    "shadow.jsonl": "distilwatch replay e.jsonl.gz --rules rules.yaml --alerts a.jsonl --shadow shadow.jsonl",
    "loose.yaml": "distilwatch rules default | sed 's/gte: 50000/gte: 100/; s/gte: 7.5/gte: 4.5/' > loose.yaml",
    "calm.jsonl.gz": "distilwatch simulate calm --scale 0.25 --days 1.5 --out calm.jsonl.gz",
    "kept": "distilwatch replay monday.jsonl --state kept && distilwatch replay tuesday.jsonl --state kept",
    "tokens.json": "distilwatch console token add --name alice --role analyst --tokens tokens.json --days 90",
}
"""Files of the pages, and the line of the pages that makes each."""
GIVEN: dict[str, Callable[[Desk], None]] = {
    "monday.jsonl": _two_days,
    "tuesday.jsonl": _two_days,
    "sinks.yaml": _sinks,
    "old.yaml": _old_rules,
}
"""Files that a reader brings."""
SWAPS: dict[str, str | Callable[[Desk], str]] = {
    "letter --scale 0.02": "letter --scale 0.002 --days 1",
    "calm --scale 0.25 --days 1.5": "calm --scale 0.02 --days 0.6",
    "make help": f"make -C {ROOT} help",
    "simulate small": "simulate small --scale 0.05 --days 0.3",
    "demo --once": "demo --once --scale 0.006",
    "--topic distilwatch.": lambda desk: f"--topic {desk.prefix}.",
    "--worker http://127.0.0.1:8321 --state": lambda _: f"--worker http://127.0.0.1:{free_port()} --state",
    "http://127.0.0.1:8321": lambda desk: desk.worker,
    "127.0.0.1:9092": lambda desk: desk.kafka,
    "redis://127.0.0.1:6379/0": lambda desk: desk.signals.url,
    "distilwatch:v1:signal:{default}": lambda desk: f"distilwatch:v1:signal:{{{desk.signals.tenant}}}",
    "<account_id>": "account-1",
    "--port 8323": lambda _: f"--port {free_port()}",
    "--http-port 8321": lambda _: f"--http-port {free_port()}",
    "--http-port 8322": lambda _: f"--http-port {free_port()}",
    "--grpc-port 8081": lambda _: f"--grpc-port {free_port()}",
    "c-edb12790a36a907f": lambda desk: desk.alerts[0].cluster_id or "",
    "a-63f9c8be1cde9271": lambda desk: desk.alerts[0].alert_id,
    "93922befc2c065fa": lambda desk: desk.account,
    "4a6619f716b841cc": lambda desk: desk.alerts[0].templates[0].digests[0],
}
"""What a line names of its own time and place, and what stands for it here."""
