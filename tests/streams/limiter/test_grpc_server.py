"""The gRPC server against grpc's client and against bytes nobody should send: it answers, refuses, and goes on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest
from hpack import Encoder

from streams.limiter import grpc_frames as http2
from streams.limiter import grpc_server
from streams.limiter.grpc_frames import frame
from streams.limiter.grpc_server import GrpcServer

ECHO, SLOW = "/test.Echo/Echo", "/test.Echo/Slow"


async def slow(message: bytes) -> bytes:
    await asyncio.sleep(0.01)
    if message == b"fail":
        raise RuntimeError
    return message


@pytest.fixture
async def server() -> AsyncIterator[GrpcServer]:
    refused = Counter[str]()
    found = GrpcServer({ECHO: lambda message: message, SLOW: slow}, "", lambda reason: refused.update([reason]))
    await found.start("127.0.0.1", 0)
    found.counts = refused  # type: ignore[attr-defined]
    yield found
    await found.stop()


async def test_grpc_s_own_client_is_answered_many_times_at_once(server: GrpcServer) -> None:
    messages = [bytes([number % 256]) * (number % 900) for number in range(2_000)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for path in (ECHO, SLOW):
            call = channel.unary_unary(path)
            metadata = (("x-trace", "t"),)
            assert await asyncio.gather(*(call(message, metadata=metadata) for message in messages)) == messages
        varied = [channel.unary_unary(ECHO)(b"x", metadata=(("x-n", str(number)),)) for number in range(300)]
        assert set(await asyncio.gather(*varied)) == {b"x"}
    assert server.counts == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [
        ("/test.Echo/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
        (ECHO, b"x" * (grpc_server.MESSAGE_BYTES_MAX + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (SLOW, b"fail", grpc.StatusCode.INTERNAL),
    ],
)
async def test_what_cannot_be_answered_is_refused_and_the_connection_goes_on(
    server: GrpcServer, path: str, message: bytes, code: grpc.StatusCode
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(path)(message)
        assert refused.value.code() is code
        assert await channel.unary_unary(ECHO)(b"on") == b"on"


async def test_a_compressed_message_is_refused(server: GrpcServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", compression=grpc.Compression.Gzip) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(ECHO)(b"x" * 1_000)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def opening(stream: int, *, flags: int = http2.END_HEADERS, path: str = ECHO) -> bytes:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc")]
    return frame(http2.HEADERS, flags, stream, Encoder().encode(fields))


GREETED = http2.PREFACE + frame(http2.SETTINGS, 0, 0)
MESSAGE = b"\0\0\0\0\x02hi"


async def exchange(server: GrpcServer, data: bytes, *, expect: bytes = b"\xff never") -> bytes:
    """What the server says to these bytes, until it closes, has said ``expect``, or is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    got = b""
    try:
        while expect not in got:
            piece = await asyncio.wait_for(reader.read(65_536), 0.7)
            if not piece:
                break
            got += piece
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return got


async def test_a_call_by_hand_is_answered_in_any_cut(server: GrpcServer) -> None:
    data = GREETED + opening(1) + frame(http2.DATA, http2.END_STREAM, 1, MESSAGE)
    assert MESSAGE in await exchange(server, data, expect=b"grpc-status")
    padded = bytes((3,)) + MESSAGE + b"\0\0\0"
    data = GREETED + opening(1) + frame(http2.DATA, http2.END_STREAM | http2.PADDED, 1, padded)
    assert MESSAGE in await exchange(server, data, expect=b"grpc-status")
    head = opening(1)
    cut = frame(http2.HEADERS, 0, 1, head[9:20]) + frame(http2.CONTINUATION, http2.END_HEADERS, 1, head[20:])
    data = GREETED + cut + frame(http2.DATA, 0, 1, MESSAGE[:4]) + frame(http2.DATA, http2.END_STREAM, 1, MESSAGE[4:])
    assert MESSAGE in await exchange(server, data, expect=b"grpc-status")


async def test_an_answer_waits_for_room_and_goes_when_there_is_some(server: GrpcServer) -> None:
    no_room = http2.PREFACE + frame(http2.SETTINGS, 0, 0, b"\0\x04\0\0\0\0")
    call = opening(1) + frame(http2.DATA, http2.END_STREAM, 1, MESSAGE)
    assert MESSAGE not in await exchange(server, no_room + call)
    room = http2.window_update(1, 100)
    assert MESSAGE in await exchange(server, no_room + call + room, expect=b"grpc-status")
    later = frame(http2.SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff")
    assert MESSAGE in await exchange(server, no_room + call + later, expect=b"grpc-status")


BROKEN = {
    "http/1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a frame too large": GREETED + b"\xff\xff\xff" + bytes(6),
    "data of no call": GREETED + frame(http2.DATA, 1, 1, MESSAGE),
    "an even stream": GREETED + opening(2),
    "streams going back": GREETED + opening(5) + opening(3),
    "continuation of nothing": GREETED + frame(http2.CONTINUATION, 4, 1, b""),
    "headers cut by data": GREETED + opening(1, flags=0) + frame(http2.DATA, 1, 1, MESSAGE),
    "headers without an end": GREETED + opening(1, flags=0) + frame(http2.CONTINUATION, 0, 1, b"x" * 16_000) * 3,
    "no header block": GREETED + frame(http2.HEADERS, 5, 1, b"\xff" * 50),
    "more padding than frame": GREETED + frame(http2.HEADERS, 4 | 8, 1, b"\xff\x00"),
    "settings cut short": GREETED + frame(http2.SETTINGS, 0, 0, b"\0\0\0"),
    "a window too large": GREETED + http2.window_update(0, 2**31 - 1),
    "a window of nothing": GREETED + http2.window_update(0, 0),
    "a ping of another size": GREETED + frame(http2.PING, 0, 0, b"x"),
    "a push": GREETED + frame(http2.PUSH_PROMISE, 4, 1, b"\0\0\0\2"),
    "frames and no calls": GREETED + frame(http2.SETTINGS, 0, 0) * (grpc_server.IDLE_CONTROL_MAX + 1),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_frames_end_their_connection_and_no_other(server: GrpcServer, name: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert await channel.unary_unary(ECHO)(b"before") == b"before"
        answered = await exchange(server, BROKEN[name])
        assert frame(http2.GOAWAY, 0, 0, b"12345678")[3:9] in answered
        assert server.counts["protocol"] == 1  # type: ignore[attr-defined]
        assert await channel.unary_unary(ECHO)(b"after") == b"after"


async def test_random_bytes_never_reach_a_handler_or_stop_the_server(server: GrpcServer) -> None:
    draw = random.Random(11)
    for _ in range(60):
        pieces = [
            frame(draw.randrange(12), draw.randrange(256), draw.randrange(6), draw.randbytes(draw.randrange(60)))
            for _ in range(20)
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GREETED + b"".join(pieces))
        writer.close()
        del reader
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert await channel.unary_unary(ECHO)(b"still") == b"still"


async def test_calls_that_wait_are_bounded(server: GrpcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "STREAMS_MAX", 5)
    calls = b"".join(
        opening(2 * number + 1, path=SLOW) + frame(http2.DATA, http2.END_STREAM, 2 * number + 1, MESSAGE)
        for number in range(20)
    )
    answered = await exchange(server, GREETED + calls)
    assert answered.count(MESSAGE) == 5
    assert server.counts["too_many_calls"] == 15  # type: ignore[attr-defined]


async def test_a_peer_that_says_nothing_is_let_go(server: GrpcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_server, "HANDSHAKE_S", 0.05)
    assert await exchange(server, b"PRI") == http2.GREETING
    assert server.counts["no_greeting"] == 1  # type: ignore[attr-defined]
