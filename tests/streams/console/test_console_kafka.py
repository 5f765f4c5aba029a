"""The command ``console`` on a real Kafka: alerts and shadow results from topics, and an action back onto one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from models.output import encode_alert, encode_signal
from models.rules import CampaignRule, Rules
from streams.rules_text import rendered
from streams.topics import Topics
from tests.servers import ROOT, free_port
from tests.streams.console.sample import alert, sample_alerts
from tests.streams.console.sample import signal as told
from tests.streams.console.test_console_command import KEY, fetch
from tests.streams.test_cli import COMMAND, clean

MILDER = Rules(campaign=CampaignRule(mode="alert"))
pytestmark = [pytest.mark.servers, pytest.mark.timeout(200)]


async def test_topics_are_shown_and_a_verdict_goes_onto_the_labels_topic(kafka: str, tmp_path: Path) -> None:
    prefix, port = f"c{uuid.uuid4().hex[:8]}", free_port()
    env = clean(DISTILWATCH_TOPIC_PREFIX=prefix, DISTILWATCH_BROKERS=kafka)
    subprocess.run([*COMMAND, "topics", "create"], cwd=ROOT, env=env, check=True, capture_output=True)
    topics = Topics(prefix)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for item in reversed(sample_alerts()):
            await producer.send_and_wait(topics.alerts, encode_alert(item), key=item.dedup_key.encode())
        await producer.send_and_wait(topics.signals, encode_signal(told("acct_1")), key=b"acct_1")
        below = alert(summary="Only the shadow says so.", mode="shadow")
        await producer.send_and_wait(topics.shadow, encode_alert(below), key=b"below")
    command = [*COMMAND, "console", "--brokers", kafka, "--listen", f"127.0.0.1:{port}", "--state", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline().decode()
        page = fetch(f"http://127.0.0.1:{port}/case?key={quote(KEY)}")
        assert "497 accounts that share 2 templates" in page
        assert "acct_1" in page
        assert "Only the shadow says so." in fetch(f"http://127.0.0.1:{port}/rules")
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf
        form = {"kind": "close", "dedup_key": KEY, "verdict": "false_positive", "reason": "a class", "csrf": csrf[1]}
        form["page"] = f"/case?key={quote(KEY)}"
        assert "Closed by local as a false alarm: a class" in fetch(
            f"http://127.0.0.1:{port}/act", form | {"page": f"/case?key={quote(KEY)}"}
        )
        base = Rules().digest
        changed = {"csrf": csrf[1], "apply": "yes", "text": rendered(MILDER), "base": base, "reason": "a week's look"}
        assert MILDER.label in fetch(f"http://127.0.0.1:{port}/rules", changed), "it reads back what it has put"
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    async with AIOKafkaConsumer(topics.labels, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        record = await consumer.getone()
    async with AIOKafkaConsumer(topics.rules, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
        rules = await consumer.getone()
    assert (rules.key, Rules.decode(rules.value)) == (b"default", MILDER)
    label = json.loads(record.value)
    assert (label["kind"], label["verdict"], label["who"]) == ("close", "false_positive", "local")


async def test_brokers_that_do_not_answer_are_named() -> None:
    command = [*COMMAND, "console", "--brokers", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, timeout=100, check=False)
    assert done.returncode == 1
    assert b"Kafka at 127.0.0.1" in done.stderr
    assert b"Traceback" not in done.stderr
