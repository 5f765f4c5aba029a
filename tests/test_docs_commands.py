"""Every command of README and docs is run, on the real parts it needs, and ends as its page says."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
import yaml

from bench.__main__ import NAMES as BENCHES
from bench.detection import __main__ as detection
from bench.detection.cases import FIRST, KNOBS, MARKS
from streams import cli
from tests.servers import ROOT
from tests.shown import MAKERS, SWAPS, Desk, Shown, hidden, is_name, mentioned, shown, tidy
from tests.streams.sinks.receiver import receiving

pytestmark = [pytest.mark.servers, pytest.mark.timeout(250)]

LINES = list(dict.fromkeys(item.line for item in shown()))
TARGETS = {
    "check": "the linters, half a minute of types",
    "check-image": "builds an image, for minutes",
    "check-deploy": "installs 200 MB; what needs none of it is in tests/docker",
    "demo": "stays until Ctrl-C: `demo --once` is run",
    "install": "has made this environment",
    "test": "is this",
    "test-faults": "half an hour",
}
"""Targets of make that are not run here, and why; those of benches take minutes to hours."""
COMPOSE = "docker compose -f docker/compose.yaml --profile demo --profile monitoring up --build"


def expect(line: str) -> tuple[int, str]:
    """The exit code of a line and what it says, as a regular expression."""
    return next(((code, says) for begin, code, says in ENDS if line.startswith(begin)), (0, ""))


ENDS = [
    ("distilwatch simulate letter", 0, r"simulate: [\d,]+ events"),
    ("distilwatch check-event e.jsonl.gz --format canonical -o json", 0, r'"prompt"'),
    ("distilwatch check-event", 0, r"events read, \d+ accepted, 0 rejected"),
    ("distilwatch replay monday.jsonl", 0, r"(?s)No campaign found.*1 campaign found|1 campaign found"),
    ("distilwatch replay", 0, r"1 campaign found"),
    ("cat e.jsonl.gz |", 0, r'"alerts":\[\{'),
    ("distilwatch rules validate rules.yaml -o json", 0, r'"problems": \[\]'),
    ("distilwatch rules validate", 0, r"rules.yaml"),
    ("distilwatch rules list", 0, r"campaign +"),
    ("distilwatch rules explain", 0, r"7\.5"),
    ("distilwatch rules diff", 0, r""),
    ("distilwatch rules test", 0, r"passed"),
    ("distilwatch rules publish", 0, r"default/1@"),
    ("distilwatch backtest e.jsonl.gz --rules loose.yaml", 1, r"added +account_volume"),
    ("distilwatch backtest", 0, r""),
    ("distilwatch worker", 0, r"^ready"),
    ("distilwatch limiter", 0, r"^ready"),
    ("distilwatch intake", 0, r"^ready"),
    ("distilwatch console token add", 0, r"^dwc_"),
    ("distilwatch console token list", 0, r"^alice: analyst"),
    ("distilwatch console token", 0, r""),
    ("distilwatch console", 0, r"^ready"),
    (
        "distilwatch demo --once",
        0,
        r"(?s)Console while it runs: http://127\.0\.0\.1:\d+/.*ALERT \[\w+\] c-\w+: .*\n\s+why: http://127\.0\.0\.1:\d+/case"
        r"\?key=distilwatch.*The simulator knows: .*Alerted \d+ minutes later; \d+ of them named",
    ),
    ("distilwatch topics list", 0, r"distilwatch|shown"),
    ("distilwatch alerts list", 0, r"c-"),
    ("distilwatch alerts show", 0, r"c-"),
    ("distilwatch alerts silences", 0, r"account_volume"),
    ("distilwatch alerts stats", 0, r'"rule":\s*"campaign"'),
    ("distilwatch allow list", 0, r"acct-1"),
    ("distilwatch explain", 0, r""),
    ("distilwatch sinks list", 0, r"oncall"),
    ("distilwatch sinks test", 0, r"taken after"),
    ("distilwatch openapi limiter", 0, r""),
    ("distilwatch openapi", 0, r'"openapi": "3.1.0"'),
    ("distilwatch selftest", 0, r"the whole way works"),
    ("distilwatch export --format ocsf", 0, r"2004"),
    ("distilwatch config show", 0, r"secret = \*+"),
    ("distilwatch --version", 0, r"^distilwatch \d"),
    ("distilwatch simulate --help", 0, r"letter"),
    ("curl -H 'Content-Type: application/yaml'", 0, r'"applied":true'),
    ("redis-cli HGETALL", 0, r"throttle"),
    ("redis-cli PTTL", 0, r"^\d{4,}"),
    ("make help", 0, r"bench-detection"),
]
"""Beginnings of lines, exit codes, and what is said; of several the first. Else 0 and anything."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    """A receiver of notifications, in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    running = receiving(202)
    kept = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(20)
    yield kept.url
    asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, receiver: str, request: pytest.FixtureRequest) -> Iterator[Desk]:
    def server(name: str) -> Callable[[], str]:
        return lambda: str(request.getfixturevalue(name))

    desk = Desk(tmp_path_factory.mktemp("desk"), server("kafka"), server("redis_url"), receiver)
    yield desk
    desk.close()


# Lines that are not run here, each with the reason and a look at whether it could be.


def a_target(line: str) -> None:
    """Minutes to an hour, or this very suite: make knows the target and what to do for it."""
    target = next(word for word in line.partition("make ")[2].split() if "=" not in word)
    assert target in TARGETS or target.startswith("bench")
    subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


def a_bench(line: str) -> None:
    """Minutes of two cores: the arguments are taken, the cases are there."""
    words = shlex.split(line.partition(" -m ")[2])
    if words[0] == "bench":
        assert set(words[1:]) <= set(BENCHES)
        return
    if words[0] != "bench.detection":
        assert importlib.util.find_spec(words[0])
        return
    asked = detection._parser().parse_args(words[1:])
    cases = {case.name for case in (*FIRST, *MARKS, *KNOBS)}
    assert set(asked.cases) | set(filter(None, asked.only.split(","))) <= cases


def some_tests(line: str) -> None:
    """Parts of this suite: what is named is there."""
    for name in re.findall(r"\btests/\S+", line):
        assert (ROOT / name).exists(), name
    assert "-m " not in line.partition("pytest")[2] or '-m "not servers"' in line


def the_compose_file(line: str) -> None:
    """Needs a container engine: file and profiles are there (make check-deploy has it parsed)."""
    assert line == COMPOSE
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"].values()
    assert {"demo", "monitoring"} <= {name for service in services for name in service.get("profiles", [])}


def of_the_machine(line: str) -> None:
    """Would install, or change how the machine runs: what it names is there."""
    if line.startswith("pip"):
        assert re.search(r"^limiter = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    elif line == ".ci/run":
        assert (ROOT / line).stat().st_mode & 0o100


def the_live_selftest(line: str) -> None:
    """Ten to 25 minutes at the pace of the clock: tests/streams/selftest runs it with --isolated on a real worker."""
    assert cli._parser("selftest").parse_args(shlex.split(line)[1:]).timeout == 2400


LISTED: dict[str, Callable[[str], None]] = {
    r"(PYTHON=\S+ )?make (?!help$)": a_target,
    r"\.venv/bin/python -m bench\b": a_bench,
    r"\.venv/bin/python -m pytest\b": some_tests,
    r"docker compose ": the_compose_file,
    r"pip install |chrt -r 5$|\.ci/run$|\.venv/bin/python -m tests\.servers$": of_the_machine,
    r"distilwatch selftest --brokers": the_live_selftest,
}


def listed(line: str) -> Callable[[str], None] | None:
    return next((check for begin, check in LISTED.items() if re.match(begin, line)), None)


def typed() -> list[str]:
    """Commands in running text that are to be typed as they stand and are in no block."""
    lines = dict.fromkeys(tidy(text) for _, text in mentioned() if not is_name(text))
    return [line for line in lines if line not in LINES]


def ended(desk: Desk, asked: Shown) -> None:
    """Run a line and compare its end."""
    if check := listed(asked.line):
        check(asked.line)
        return
    done = desk.run(asked)
    code, says = expect(asked.line)
    assert done.code == code, (asked.line, done)
    assert re.search(says, done.out + done.err, re.MULTILINE), (asked.line, done)
    assert "Traceback" not in done.err, (asked.line, done)


@pytest.mark.parametrize("line", [*LINES, *typed()])
def test_a_command_ends_as_its_page_says(desk: Desk, line: str) -> None:
    before = next((item for item in shown() if item.line == line), Shown("", "", line))
    ended(desk, before)


# What is shown is all there is.


def test_no_command_hides_in_a_block_of_another_kind() -> None:
    assert list(hidden()) == []


def words_of(line: str) -> list[list[str]]:
    """The words behind ``distilwatch`` of each simple command in a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;()<>"):
            found.append([])
        else:
            found[-1].append(word)
    return [words[1:] for words in found if words[:1] == ["distilwatch"]]


OURS = [words for line in LINES for words in words_of(line)]


def test_every_command_is_shown_and_names_are_those_of_commands() -> None:
    assert {words[0] for words in OURS} == set(cli.COMMANDS)
    for page, text in mentioned():
        words = text.split()[1:]
        if is_name(text) and "distilwatch" in text and words and words[0] != "COMMAND":
            assert words[0] in cli.COMMANDS, (page, text)
            verbs = [word for word in words[1:2] if word.islower()]
            assert not verbs or any(shown[:2] == [words[0], *verbs] for shown in OURS), (page, text)


def test_every_command_and_option_is_documented_and_the_reverse() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    offered = {"--version", "--help"}
    for name in cli.COMMANDS:
        assert f"`distilwatch {name}`" in page
        actions = cli._parser(name)._actions
        parser = next(action.choices[name] for action in actions if isinstance(action, argparse._SubParsersAction))
        offered |= {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", page)) == offered - {"-h"}
    assert {word for words in OURS for word in words if re.fullmatch(r"--?[a-z][a-z0-9-]*", word)} <= offered


def test_the_lists_of_this_module_are_no_longer_than_they_must_be() -> None:
    """Each entry is of a line that is shown: what is gone from the pages goes from here."""
    lines = [*LINES, *typed()]
    assert set(MAKERS.values()) <= set(LINES)
    for begin in (begin for begin, _, _ in ENDS):
        assert any(line.startswith(begin) for line in lines), begin
    for pattern in LISTED:
        assert any(re.match(pattern, line) for line in lines), pattern
    for written in SWAPS:
        assert any(written in text for item in shown() for text in (item.line, *item.exports)), written


def test_targets_that_are_not_run_exist_and_are_explained() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(TARGETS) | {"help"} <= set(targets)


def test_ci_runs_the_suite() -> None:
    text = (ROOT / ".ci/run").read_text()
    assert [line.split() for line in text.splitlines() if line.startswith("make")] == [["make", "test"]]
