"""The intake process on a real Kafka: what is confirmed is on the topic, everything else is answered for."""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.topics import Topics, create
from tests.servers import ROOT, Process, free_port, wait_for
from tests.streams.limiter.process import call
from tests.streams.limiter.test_bodies import A, B, event

pytestmark = pytest.mark.servers
TOKEN = "a token of the tests 456"


class IntakeProcess(Process):
    """``distilwatch intake`` on topics of its own."""

    def __init__(self, folder: Path, bootstrap: str, **env: str) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.bootstrap = bootstrap
        self.topics = Topics(f"i{uuid.uuid4().hex[:10]}")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DISTILWATCH_")}
        prefix = self.topics.requests.split(".")[0]
        self.env = kept | {"DISTILWATCH_TOPIC_PREFIX": prefix, "PYTHONPATH": str(ROOT), "REDIS_URL": ""} | env

    def start(self) -> None:
        command = [sys.executable, "-m", "streams", "intake", "--brokers", self.bootstrap, "--port", str(self.port)]
        self.launch(command, self.port, env=self.env)

    def ready(self) -> bool:
        return call(f"{self.url}/-/ready")[0] == 200

    def send(self, body: bytes, **headers: str) -> tuple[int, dict[str, object], dict[str, str]]:
        return call(f"{self.url}/v1/events", body, Authorization=f"Bearer {TOKEN}", **headers)

    async def written(self) -> list[tuple[str, bytes, int]]:
        """Key, value and partition of everything on the topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            places = [TopicPartition(self.topics.requests, number) for number in range(2)]
            consumer.assign(places)
            ends, found = await consumer.end_offsets(places), []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [(record.key.decode(), record.value, record.partition) for record in records]
            return found
        finally:
            await consumer.stop()


@pytest.fixture(scope="module")
def intake(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IntakeProcess]:
    process = IntakeProcess(
        tmp_path_factory.mktemp("intake"), kafka, DISTILWATCH_INTAKE_TOKEN=TOKEN,
        DISTILWATCH_INTAKE_BODY_BYTES="100000", DISTILWATCH_INTAKE_PENDING_BYTES="150000",
    )  # fmt: skip
    process.start()
    yield process
    process.stop()
    assert process.process is not None
    assert process.process.returncode == 0
    assert TOKEN not in (process.folder / "output.log").read_text()


async def test_arrays_lines_and_single_events_reach_their_partition(intake: IntakeProcess, kafka: str) -> None:
    await create({"bootstrap_servers": kafka}, intake.topics.catalogue(), partitions=2)
    wait_for(intake.ready, "Kafka")
    bodies = [A, b"[" + A + b"," + B + b"]", A + b"\n" + B + b"\n"]
    assert [intake.send(body)[0] for body in bodies] == [200, 200, 200]
    zipped = gzip.compress(b"[" + B + b"]")
    assert intake.send(zipped, Content_Encoding="gzip")[1]["accepted"] == 1
    found = await intake.written()
    assert sorted(value for _, value, _ in found) == sorted([A, A, A, B, B, B])
    assert {key: value for key, value, _ in found} == {"a": A, "b": B}
    assert len({partition for key, _, partition in found if key == "a"}) == 1


def test_each_refused_record_is_named_and_counted(intake: IntakeProcess) -> None:
    wait_for(intake.ready, "Kafka")
    status, answer, _ = intake.send(b"[" + A + b', {"account_id": 7}, 5]')
    assert (status, answer["accepted"], answer["rejected"]) == (200, 1, 2)
    refused = [{"index": 1, "reason": "wrong_type_account_id"}, {"index": 2, "reason": "not_an_object"}]
    assert answer["rejects"] == refused
    assert intake.send(b"nonsense")[0] == 400
    assert intake.send(b"")[1] == {"accepted": 0, "rejected": 0, "rejects": []}
    metrics = call(f"{intake.url}/metrics")[1]
    assert 'distilwatch_intake_records_total{outcome="rejected",reason="not_an_object"} 1.0' in metrics
    assert "hello" not in metrics


def test_who_may_send_and_how_much(intake: IntakeProcess) -> None:
    wait_for(intake.ready, "Kafka")
    assert call(f"{intake.url}/v1/events", A)[0] == 401
    assert intake.send(b" " * 100_001)[0] == 413
    bomb = gzip.compress(b" " * 5_000_000)
    assert intake.send(bomb, Content_Encoding="gzip")[0] == 413
    status, answer, _ = intake.send(B, Content_Encoding="gzip")
    assert (status, answer["rejects"]) == (400, [{"index": 0, "reason": "not_records"}])


def test_too_much_at_once_is_asked_to_come_again(intake: IntakeProcess) -> None:
    """Two bodies that never end hold what they announced; the next one is not even read."""
    wait_for(intake.ready, "Kafka")
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 90000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", intake.port)) as slow:
        slow.sendall(head.encode() + b"[")
        big = json.dumps([event(number=number) for number in range(800)]).encode()
        assert 60_000 < len(big) < 100_000
        wait_for(lambda: intake.send(big)[0] == 429, "backpressure")
        assert intake.send(big)[2]["Retry-After"] == "2"
        assert intake.send(A)[0] == 200  # a small one fits
    wait_for(lambda: intake.send(big)[0] == 200, "room")


def test_without_kafka_the_producer_is_asked_to_come_again(tmp_path: Path) -> None:
    process = IntakeProcess(tmp_path, f"127.0.0.1:{free_port()}", DISTILWATCH_INTAKE_TOKEN=TOKEN)
    process.start()
    try:
        status, _, headers = process.send(A)
        assert (status, headers["Retry-After"]) == (503, "2")
        assert call(f"{process.url}/-/ready")[0] == 503
        assert call(f"{process.url}/-/healthy")[0] == 200
    finally:
        process.stop()


def test_it_does_not_serve_beyond_this_machine_without_a_token(tmp_path: Path) -> None:
    settings = {"DISTILWATCH_HTTP_HOST": "0.0.0.0", "DISTILWATCH_HTTP_PUBLIC": "true"}
    process = IntakeProcess(tmp_path, "127.0.0.1:1", **settings)
    with pytest.raises(RuntimeError, match="DISTILWATCH_INTAKE_TOKEN"):
        process.start()
    process.stop()
