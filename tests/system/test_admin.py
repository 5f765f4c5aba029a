"""Rules by HTTP into a real worker, and what its allowlist has left out: who may, what is answered, what then holds."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from models.labels import entry_digest
from models.rules import CampaignRule, Rules
from streams.desk import new_label
from streams.rules_text import rendered
from tests.letter import letter
from tests.streams.test_openapi import conforms
from tests.system.deployment import System

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

STRICT = Rules(name="strict", campaign=CampaignRule(open_score=60.0))
YAML = {"Content-Type": "application/yaml"}


def call(system: System, data: bytes | None = None, query: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    """Send rules, or ask for them where there are none; the status and the answer."""
    url = f"http://127.0.0.1:{system.port}/v1/rules{query}"
    request = urllib.request.Request(url, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, body = answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        status, body = error.code, json.loads(error.read())
    conforms("worker", "get" if data is None else "post", "/v1/rules", status, body)
    return status, body


async def on_topic(system: System) -> list[str]:
    return [Rules.decode(value or b"").label for _, value in await system.messages(system.topics.rules)]


async def test_rules_are_sent_to_a_running_worker_and_wrong_ones_change_nothing(system: System) -> None:
    path = system.folder / "rules.yaml"
    path.write_text(rendered(Rules(name="of-the-file")))
    keys = [json.loads(line)["api_key_id"] for line in letter().lines]
    key = max(set(keys), key=keys.count)
    added = system.run("allow", "add", "--key", key, "--reason", "our own batch", "-o", "json")
    assert added.returncode == 0, added.stderr
    system.start(DISTILWATCH_RULES=str(path))
    await system.feed()
    await system.until(lambda: '"of-the-file/1' in system.fetch("/v1/rules"), "the rules of the file")
    text = rendered(STRICT).encode()
    status, answer = call(system, b"mode: of\nrulse: []\n", **YAML)
    assert (status, len(answer["problems"])) == (422, 2), "every error at once"
    assert answer["kept"].startswith("of-the-file/1@")
    assert call(system, text, "?dry-run=true", **YAML)[1]["applied"] is False
    assert len(await on_topic(system)) == 1, "neither the wrong rules nor the dry run have left a record"
    status, answer = call(system, text, **YAML)
    assert (status, answer["applied"], answer["rules"]) == (200, True, STRICT.label)
    assert (await on_topic(system))[-1] == STRICT.label
    await system.until(lambda: call(system)[1]["rules"] == STRICT.label, "the worker to read them back")
    # Without a body the file of the settings is read again.
    assert call(system, b"", **YAML)[1]["rules"].startswith("of-the-file/1@")
    assert system.counted("distilwatch_rules_files_total", outcome="refused") == 1
    assert "local (admin) put rules strict/1@" in system.logged()
    await says_what_was_left_out(system, key, keys.count(key))


async def says_what_was_left_out(system: System, key: str, count: int) -> None:
    """Every request under the key, to whoever knows the entry and to nobody else."""
    label = new_label("allow", {"api_key_id": key}, who="x", reason="x")

    def met() -> int:
        return int(json.loads(system.fetch("/v1/allowlist") or "{}").get("hits", {}).get(entry_digest(label.key), 0))

    await system.until(lambda: met() == count, "all its requests to be left out")
    assert key not in system.fetch("/v1/allowlist"), "the address is open, so it names nobody"
    worker = f"http://127.0.0.1:{system.port}"
    shown = json.loads(system.run("allow", "list", "--worker", worker, "-o", "json").stdout)
    assert [(item["subject"], item["hits"]) for item in shown] == [({"api_key_id": key}, count)]
    assert shown[0]["expires"] == shown[0]["ts"] + 90 * 86_400_000, "an entry ends unless told otherwise"
    assert system.counted("distilwatch_observe_events_total", outcome="allowed", reason="api_key_id") == count
    failed = system.run("allow", "list", "--worker", "http://127.0.0.1:1")
    assert (failed.returncode, b"no answer from" in failed.stderr) == (1, True)
