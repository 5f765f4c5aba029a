"""The live page's server over real HTTP: routes, headers, the stream of changes, start and stop."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from importlib import resources
from typing import Any

import msgspec
import numpy as np
import pytest

from models.alert import Alert
from models.errors import ConfigError
from streams.page import LivePage, PageState
from streams.page.server import FILES
from streams.page.state import encode_state, join_parts
from tests.streams.page.page_sample import sample_state


@pytest.fixture
def page() -> Iterator[LivePage]:
    live = LivePage()
    live.start()
    yield live
    live.stop()


def get(
    page: LivePage, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(page.url.rstrip("/").rsplit(":", 1)[1]), timeout=20)
    try:
        connection.request(method, path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Follower:
    """A stream read line by line, as a tab reads it."""

    def __init__(self, page: LivePage) -> None:
        port = int(page.url.rstrip("/").rsplit(":", 1)[1])
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.request("GET", "/stream")
        self.answer = self.connection.getresponse()

    def message(self) -> dict[str, Any] | str | None:
        """The next message, the word ``bye``, or None where the stream has ended."""
        event = ""
        while line := self.answer.readline():
            if line.startswith(b"event: "):
                event = line[7:].decode().strip()
            if line.startswith(b"data: "):
                return event or json.loads(line[6:])
        return None


def test_state_carries_every_contract_field(page: LivePage) -> None:
    page.publish(sample_state())
    status, headers, body = get(page, "/state")
    state = json.loads(body)
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    assert set(state) == set(PageState.__struct_fields__)
    assert set(state["alerts"][0]) == set(Alert.__struct_fields__)
    assert state["clusters"][0]["signals"] == {"observe": 31, "throttle": 466}
    assert state["traffic"][-1][1] > 0


def test_before_the_first_publish_the_state_is_empty_but_whole(page: LivePage) -> None:
    state = json.loads(get(page, "/state")[2])
    assert state["alerts"] == []
    assert state["clock_ms"] is None


def test_every_answer_forbids_foreign_content(page: LivePage) -> None:
    for path in ["/", "/state", "/static/page.js", "/static/page.css", "/nowhere", "/static/server.py"]:
        headers = get(page, path)[1]
        assert headers["content-security-policy"].startswith("default-src 'self'"), path
        assert headers["x-content-type-options"] == "nosniff", path
        assert "access-control-allow-origin" not in headers, path


@pytest.mark.parametrize(
    ("path", "status"), [("/nowhere", 404), ("/static/server.py", 404), ("/static/..%2fserver.py", 404)]
)
def test_only_the_named_files_are_served(page: LivePage, path: str, status: int) -> None:
    assert get(page, path)[0] == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed_over_http(page: LivePage, method: str) -> None:
    assert get(page, "/state", method=method)[0] == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("127.0.0.1.evil.example:80", 421), ("localhost:1", 200), ("[::1]", 200)],
)
def test_foreign_names_for_this_address_are_refused(page: LivePage, host: str, status: int) -> None:
    assert get(page, "/state", host=host)[0] == status


def test_the_stream_sends_the_whole_state_once_and_then_only_changes(page: LivePage) -> None:
    state = sample_state()
    page.publish(state)
    follower = Follower(page)
    first = follower.message()
    assert isinstance(first, dict)
    assert set(first) == set(PageState.__struct_fields__)
    publisher = threading.Thread(target=lambda: page.publish(state | {"events": 500_000, "story": []}))
    publisher.start()
    assert follower.message() == {"events": 500_000, "story": []}
    publisher.join()


def test_a_burst_of_states_reaches_the_tab_as_few_messages_ending_with_the_newest(page: LivePage) -> None:
    follower = Follower(page)
    follower.message()
    for events in range(1, 301):
        page.publish(PageState(events=events))
    seen = []
    while not seen or seen[-1] != 300:
        message = follower.message()
        assert isinstance(message, dict)
        seen.append(message["events"])
    assert seen == sorted(seen)
    assert len(seen) < 30


def test_stop_delivers_the_last_state_and_ends_the_stream() -> None:
    page = LivePage()
    page.start()
    follower = Follower(page)
    follower.message()
    page.publish(PageState(done=True))
    page.stop()
    assert follower.message() == {"done": True}
    assert follower.message() == "bye"
    assert follower.message() is None
    page.publish(PageState(events=1))
    page.stop()
    with pytest.raises(ConnectionRefusedError):
        get(page, "/state")


def test_a_stopped_page_can_start_again_with_its_state() -> None:
    page = LivePage()
    page.publish(PageState(events=7))
    for _ in range(2):
        page.start()
        assert json.loads(get(page, "/state")[2])["events"] == 7
        page.stop()


def test_a_taken_port_is_a_configuration_error(page: LivePage) -> None:
    port = int(page.url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=str(port)):
        LivePage(port=port).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org", ""])
def test_it_serves_this_machine_only(host: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
        LivePage(host=host)


@pytest.mark.parametrize(
    "wrong", [{"campaigns_truth": 3}, {"events": "many"}, {"events": np.int64(3)}, {"alerts": [{"alert_id": "x"}]}]
)
def test_a_state_of_the_wrong_shape_is_refused_and_the_old_one_kept(page: LivePage, wrong: dict[str, Any]) -> None:
    page.publish(PageState(events=5))
    with pytest.raises(msgspec.ValidationError):
        page.publish(wrong)
    assert json.loads(get(page, "/state")[2])["events"] == 5


def test_a_message_is_one_line_whatever_the_texts_hold() -> None:
    text = "a\r\n\ndata: b\u2028"
    line = join_parts(encode_state({"story": [{"ts": 1, "text": text}]}))
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["story"][0]["text"] == text


def test_not_a_number_is_sent_as_null() -> None:
    assert json.loads(join_parts(encode_state({"events_per_s": float("nan")})))["events_per_s"] is None


def test_the_page_is_small_and_names_no_other_host() -> None:
    folder = resources.files("streams.page")
    texts = {name: folder.joinpath(name).read_text() for name in [*FILES, "page.html"]}
    assert sum(len(text.encode()) for text in texts.values()) < 100_000
    for name, text in texts.items():
        addresses = text.replace("http://www.w3.org/2000/svg", "").replace("https?:", "")
        assert "://" not in addresses, name
        for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style="]:
            assert forbidden not in text, (name, forbidden)
