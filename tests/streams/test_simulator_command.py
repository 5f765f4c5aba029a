"""``simulate`` at the command line, and corpus folders: outputs agree, mistakes are told."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from models.errors import ConfigError
from streams.simulator import command
from streams.simulator.corpus import CorpusLibrary, Fold
from streams.simulator.simulation import Options, Simulation
from streams.simulator.text import Library
from tests.streams.simulated import lines_of, of_campaign


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus folder of generated texts in the format the command reads."""
    path = tmp_path_factory.mktemp("corpus")
    library, rng = Library(9), np.random.default_rng(9)

    def texts(count: int) -> list[str]:
        return library.words_of(library.items(rng, np.zeros(count, np.int64)))

    def write(name: str, records: list[dict[str, Any]]) -> None:
        data = "".join(json.dumps({"source": "a/b", "lang": "en", **record}) + "\n" for record in records)
        (path / f"{name}.jsonl.gz").write_bytes(gzip.compress(data.encode()))

    write(
        "benign",
        [{"text": text, "kind": "chatbot_prompt" if i % 3 else "chat_message"} for i, text in enumerate(texts(900))],
    )
    write(
        "attack_items",
        [{"text": f"item number {i}: {text}", "kind": "instruction"} for i, text in enumerate(texts(400))],
    )
    frames = [
        {
            "text": f"Frame {i} of family {i % 10} wants {text} from {{{{input}}}}",
            "kind": "evolve",
            "group": f"family_{i % 10}",
            "slots": ["input"],
        }
        for i, text in enumerate(texts(40))
    ]
    write("attack_templates", frames)
    write(
        "hard_negative_items",
        [{"text": text, "kind": "eval_item", "group": f"g{i}"} for i, text in enumerate(texts(60))],
    )
    roles = [{"text": text, "kind": kind} for kind in ("viral_prompt", "assistant_role") for text in texts(40)]
    write("hard_negative_templates", roles)
    return path


class TestCorpus:
    def test_campaigns_send_templates_and_items_of_the_folder(self, folder: Path) -> None:
        run = Simulation("small", Options(scale=0.2, days=1.0), library=CorpusLibrary(1, str(folder)))
        prompts = [line["prompt"] for line in of_campaign(run, lines_of(run))]
        assert len(prompts) > 80
        assert all("of family" in prompt and "item number" in prompt for prompt in prompts)

    def test_folds_share_no_family(self, folder: Path) -> None:
        first, second = (CorpusLibrary(1, str(folder), Fold(index, 2)).family_names() for index in (0, 1))
        assert first
        assert second
        assert not set(first) & set(second)
        assert len(first) + len(second) == 10

    def test_named_families_only(self, folder: Path) -> None:
        options = Options(scale=0.2, days=1.0, families=("family_3",))
        run = Simulation("small", options, library=CorpusLibrary(1, str(folder)))
        prompts = [line["prompt"] for line in of_campaign(run, lines_of(run))]
        assert all("of family 3 " in prompt for prompt in prompts)

    def test_a_missing_folder_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"benign\.jsonl\.gz"):
            CorpusLibrary(1, str(tmp_path))


class TestCommand:
    @staticmethod
    def request(*arguments: str) -> command.Request:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.request_of(parser.parse_args(arguments))

    def test_plain_and_compressed_files_hold_the_same_lines(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = [tmp_path / name for name in ("e.jsonl", "e.jsonl.gz", "e.jsonl.zst")]
        truth, members = tmp_path / "t.json", tmp_path / "m.jsonl"
        for name in names:
            options = (
                "--scale",
                "0.02",
                "--days",
                "0.6",
                "--seed",
                "4",
                "--truth",
                str(truth),
                "--members",
                str(members),
            )
            assert command.run(self.request("two", "--out", str(name), *options)) == 0
        plain = names[0].read_bytes()
        assert gzip.decompress(names[1].read_bytes()) == plain
        with zstandard.ZstdDecompressor().stream_reader(names[2].read_bytes()) as reader:
            assert reader.read() == plain
        events = plain.count(b"\n")
        assert json.loads(truth.read_bytes())["events"] == events
        told = {line["account_id"]: line["population"] for line in map(json.loads, members.read_bytes().splitlines())}
        assert {json.loads(line)["account_id"] for line in plain.splitlines()} <= set(told)
        assert all(told[name] == "campaign_1" for name in json.loads(truth.read_bytes())["campaigns"][0]["accounts"])
        captured = capsys.readouterr()
        assert captured.out == ""
        assert f"{events:,} events" in captured.err

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("nowhere", "--out", "x"), "no scenario 'nowhere'"),
            (("small", "--out", "x", "--scale", "0"), "scale must be above 0"),
            (("small", "--out", "/nonexistent/e.jsonl", "--days", "0.1"), "cannot write"),
            (("small", "--out", "x", "--families", "nothing"), "no template family"),
        ],
    )
    def test_what_cannot_be_done_is_told(self, arguments: tuple[str, ...], problem: str, tmp_path: Path) -> None:
        request = self.request(*arguments)
        with pytest.raises(ConfigError, match=problem):
            command.run(replace(request, out=str(tmp_path / "x") if request.out == "x" else request.out))

    def test_arguments_out_of_range_are_told(self) -> None:
        with pytest.raises(ConfigError, match="either --out"):
            self.request("small")
        with pytest.raises(ConfigError, match="--days"):
            self.request("small", "--out", "x", "--days", "-1")

    @pytest.mark.servers
    def test_a_topic_gets_the_same_events_keyed_by_account(self, kafka: str, tmp_path: Path) -> None:
        options = ("--scale", "0.02", "--days", "0.1")
        topic = f"simulated-{tmp_path.name}"
        file = tmp_path / "e.jsonl"
        assert command.run(self.request("small", "--out", str(file), *options)) == 0
        missing = self.request("small", "--brokers", kafka, "--topic", topic, *options)
        with pytest.raises(ConfigError, match="no topic"):
            command.run(missing)
        asyncio.run(_created(kafka, topic))
        assert command.run(self.request("small", "--brokers", kafka, "--topic", topic, *options)) == 0
        expected = sorted(file.read_bytes().splitlines())
        received = asyncio.run(_consumed(kafka, topic, len(expected)))
        assert sorted(value for _, value in received) == expected
        assert all(json.loads(value)["account_id"].encode() == key for key, value in received)


async def _created(kafka: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()


async def _consumed(kafka: str, topic: str, count: int) -> list[tuple[bytes, bytes]]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    received: list[tuple[bytes, bytes]] = []
    try:
        while len(received) < count:
            batches = await consumer.getmany(timeout_ms=5000)
            assert batches, "the topic ended early"
            received.extend((record.key, record.value) for records in batches.values() for record in records)
    finally:
        await consumer.stop()
    return received
