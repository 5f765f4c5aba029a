"""One attempt: bounded, to judged addresses only, and no secret in what is told of it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from aiohttp import web

from models.delivery import Answer
from streams.config import Secret
from streams.sinks.address import allowed
from streams.sinks.client import Client, Post, retry_after_s
from tests.streams.sinks.notices import LOOPBACK, URL_PATH
from tests.streams.sinks.receiver import receiving

TOKEN = "Bearer 5ecret-5ecret"
INSIDE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "192.0.2.1", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_out_of_bounds(address: str) -> None:
    assert not allowed(address, (), public=True)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_internet_are_allowed_over_https_alone(address: str) -> None:
    assert allowed(address, (), public=True)
    assert not allowed(address, (), public=False)


def test_a_network_that_is_named_is_allowed() -> None:
    ten = (ipaddress.ip_network("10.0.0.0/8"),)
    assert allowed("10.1.2.3", ten, public=True)
    assert allowed("::ffff:10.1.2.3", ten, public=False)
    assert not allowed("192.168.1.1", ten, public=True)


def post(url: str, **more: object) -> Post:
    facts = {"body": b"{}", "allow": LOOPBACK, "timeout_ms": 2_000} | more
    return Post(url=Secret(url), **facts)  # type: ignore[arg-type]


async def test_a_body_arrives_with_its_headers() -> None:
    async with receiving(202) as receiver:
        answer = await Client().send(post(receiver.url, headers={"Authorization": Secret(TOKEN)}))
    assert answer.delivered
    assert receiver.seen[0][0]["Authorization"] == TOKEN
    assert receiver.seen[0][1] == b"{}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0x7f000001"])
async def test_what_listens_inside_is_not_reached(host: str) -> None:
    async with receiving(200) as receiver:
        port = receiver.url.rpartition(":")[2]
        for scheme in ("http", "https"):
            answer = await Client().send(post(f"{scheme}://{host}:{port}/", allow=()))
            assert not answer.delivered
            assert answer.status == 0
    assert receiver.seen == []


async def test_a_name_is_resolved_once_and_only_what_was_judged_is_reached() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked: list[str] = []

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async with receiving(200) as receiver:
        port = receiver.url.rpartition(":")[2]
        only = (ipaddress.ip_network("127.0.0.1/32"),)
        first = await Client(lookup).send(post(f"http://receiver.example:{port}/", allow=only))
        assert first.delivered
        assert asked == ["receiver.example"]
        second = await Client(lookup).send(post(f"http://receiver.example:{port}/", allow=only))
        assert "leads to 127.0.0.2" in second.text
    assert len(receiver.seen) == 1


async def test_one_bad_address_spoils_a_name() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["1.1.1.1", "169.254.169.254"]

    answer = await Client(lookup).send(post("https://both.example/", allow=()))
    assert answer.status == 0
    assert "169.254.169.254" in answer.text


async def test_redirects_are_not_followed() -> None:
    async with receiving(200) as inside, receiving(307, Location=inside.url) as receiver:
        answer = await Client().send(post(receiver.url))
    assert (answer.status, answer.delivered) == (307, False)
    assert "redirects are not followed" in answer.text
    assert inside.seen == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(200) as proxy, receiving(200) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await Client().send(post(receiver.url))).delivered
    assert proxy.seen == []


async def test_no_secret_comes_back() -> None:
    async with receiving(400) as receiver:
        receiver.answers = [lambda: web.Response(status=400, text=f"bad {TOKEN} {URL_PATH} key-in-body\x1b[2J")]
        secret = post(
            receiver.url + URL_PATH, headers={"Authorization": Secret(TOKEN)}, hidden=(Secret("key-in-body"),)
        )
        answer = await Client().send(secret)
    assert "bad" in answer.said
    assert not any(text in answer.said for text in (TOKEN, URL_PATH, "key-in-body", "\x1b"))
    assert TOKEN not in repr(secret)
    assert URL_PATH not in repr(secret)


async def test_a_receiver_that_says_nothing_ends_in_time() -> None:
    accepted = []
    server = await asyncio.start_server(lambda reader, writer: accepted.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answer = await Client().send(post(f"http://127.0.0.1:{port}/", timeout_ms=200))
    assert answer == Answer(0, "no answer within 200 ms", None, answer.took_ms)
    server.close()
    for writer in accepted:
        writer.close()


async def test_an_endless_answer_is_read_to_a_bound() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    answer = await Client().send(post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    assert answer.status == 500
    assert len(answer.text) < 300
    server.close()


async def test_nobody_there_is_told_in_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = await Client().send(post(f"http://127.0.0.1:{free.getsockname()[1]}{URL_PATH}"))
    assert "cannot connect" in answer.text
    assert URL_PATH not in answer.text


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("30", 0.0) == 30.0
    assert retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 10.0) == 50.0
    assert retry_after_s("Thu, 01 Jan 1970 00:00:01 GMT", 10.0) == 0.0
    assert retry_after_s("soon", 0.0) is None
    assert retry_after_s("", 0.0) is None
    assert retry_after_s("٣", 0.0) is None
