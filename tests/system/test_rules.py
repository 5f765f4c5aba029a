"""Rules that change under a running worker, on real Kafka: at one place of the input, whatever crashes."""

from __future__ import annotations

import asyncio
import json
import re
import signal

import pytest

from models.decode import Decoder, Origin
from models.hashing import KeyedHash
from models.output import signal_line
from models.pipeline import Pipeline
from models.rules import CampaignRule, Rules
from streams.config import load
from streams.rules_text import rendered
from streams.rules_topic import put
from tests.letter import SECRET, letter
from tests.system.deployment import PARTITIONS, Decided, System

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

STRICT = Rules(name="strict", campaign=CampaignRule(open_score=60.0))
USUAL = Rules(name="usual", version="2")
CUT = 0.6
"""Part of the letter that is read under strict rules: the campaign is well under way by then."""


def expected(system: System, cut: int) -> Decided:
    """What one process decides that reads up to the cut under strict rules and goes on under the usual ones."""
    secret = SECRET.encode()
    pipeline, decoder = Pipeline(secret, tenant=system.prefix, rules=STRICT), Decoder(KeyedHash(secret))
    alerts, signals = [], []
    for first, end in ((0, cut), (cut, len(letter().lines))):
        sketched = pipeline.prepare(decoder.decode(letter().lines[first:end], Origin("t", 0, first)).batch)
        decisions = pipeline.process(sketched.events, sketched.sketches)
        if end > cut:
            decisions.extend(pipeline.finish())
        alerts += [alert.alert_id for alert in decisions.alerts]
        signals += [signal_line(*item).decode() for item in decisions.signals]
        assert bool(alerts) == (first > 0), "strict rules let nothing through, the usual ones do"
        assert pipeline.observe.rules is not None
        pipeline.observe.rules.use(USUAL)
        pipeline.campaigns.rules = USUAL
    return Decided(sorted(alerts), sorted(signals))


def publish(system: System, rules: Rules) -> None:
    (system.folder / "rules.yaml").write_text(rendered(rules))
    done = system.run("rules", "publish", str(system.folder / "rules.yaml"))
    assert done.returncode == 0, done.stderr


def caught_up(system: System) -> bool:
    """Whether verdicts take all that was read into account."""
    seen = {stage: [] for stage in ("observe", "campaigns")}
    for line in system.fetch("/metrics").splitlines():
        found = re.fullmatch(r'distilwatch_watermark_timestamp_ms\{.*stage="(observe|campaigns)".*\} (\S+)', line)
        if found:
            seen[found[1]].append(float(found[2]))
    return len(seen["observe"]) == PARTITIONS and seen["campaigns"] == [min(seen["observe"])]


async def test_rules_change_at_one_place_whatever_is_killed(system: System) -> None:
    cut = int(CUT * len(letter().lines))
    wanted = expected(system, cut)
    publish(system, STRICT)
    # Nothing may fall idle between the parts: what comes after a silence is ordered by when it comes.
    slow = {"DISTILWATCH_BATCH_RECORDS": "300", "DISTILWATCH_IDLE_MS": "120000"}
    first = system.start(**slow)
    await system.feed(0, cut)
    await system.until(lambda: system.seen() == cut, "the first part")
    await asyncio.sleep(3)  # the gauges are taken once a second: at the last record they still speak of those before
    await system.until(lambda: caught_up(system), "its verdicts")
    known = system.counted("distilwatch_control_records_total", topic=system.topics.rules)
    await put(load(system.env), USUAL)
    await system.until(
        lambda: system.counted("distilwatch_control_records_total", topic=system.topics.rules) > known, "the new rules"
    )
    await asyncio.sleep(1)  # three checkpoints: every partition has taken them
    middle = (cut + len(letter().lines)) // 2
    await system.feed(cut, middle)
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    second = system.start(**slow)
    await system.feed(middle, len(letter().lines))  # however quick the first was, this is left for the second
    await system.until(lambda: system.seen() > 0.2 * (len(letter().lines) - cut), "a part of the rest")
    second.send_signal(signal.SIGKILL)
    second.wait(20)
    system.start()
    assert await system.settled(wanted) == wanted, system.logged()[-3000:]
    versions = {json.loads(value or b"")["rule_version"] for _, value in await system.messages(system.topics.alerts)}
    assert versions == {USUAL.label}


async def test_a_rules_file_is_followed_and_a_wrong_one_changes_nothing(system: System) -> None:
    path = system.folder / "followed.yaml"
    path.write_text(rendered(STRICT))
    process = system.start(DISTILWATCH_RULES=str(path))

    async def on_topic() -> list[str]:
        return [Rules.decode(value or b"").label for _, value in await system.messages(system.topics.rules)]

    def files(outcome: str) -> float:
        return system.counted("distilwatch_rules_files_total", outcome=outcome)

    await system.until(lambda: files("published") == 1, "the file to be published")
    assert await on_topic() == [STRICT.label]
    path.write_text("mode: of\nrulse: []\n")
    await system.until(lambda: files("refused") == 1, "the wrong file to be refused")
    assert "did you mean `rules`" in system.logged()
    assert "one of off, shadow, alert, enforce" in system.logged()
    path.write_text(rendered(USUAL))
    process.send_signal(signal.SIGHUP)
    await system.until(lambda: files("published") == 2, "the right file to be published")
    assert (await on_topic())[-1] == USUAL.label
    # The first was there before the worker looked; the second came while it ran.
    topic = system.topics.rules
    await system.until(lambda: system.counted("distilwatch_control_records_total", topic=topic) >= 1, "the new rules")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 30) == 0, system.logged()[-3000:]


def test_a_wrong_file_stops_the_start(system: System) -> None:
    path = system.folder / "wrong.yaml"
    path.write_text("mode: of\n")
    process = system.start(DISTILWATCH_RULES=str(path))
    assert process.wait(60) == 2
    assert "wrong.yaml:1: mode" in system.logged()
