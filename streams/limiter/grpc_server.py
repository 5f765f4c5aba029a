"""A server of short gRPC calls over plain HTTP/2, for one core and many calls.

What lives here: connections, their streams and windows, and the bounds on what a peer may cost. What does not: what
the calls mean (``rls``).

It exists because a check costs less than the library's way to it: a call through ``grpc.aio`` takes several times the
processor time of one here (``python -m bench limiter`` prints both). It does unary calls of one message up to
``MESSAGE_BYTES_MAX``, nothing else; grpc's and nghttp2's clients and Envoy are what it is tested with.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from streams.limiter import grpc_frames as http2
from streams.limiter.grpc_frames import Call, ConnectionFault, HeaderReader

log = logging.getLogger("distilwatch.limiter")

MESSAGE_BYTES_MAX: Final = 32_768
"""Less than a stream's window, so that no stream ever needs more room; a check has some hundred bytes."""
CONNECTIONS_MAX: Final = 1_000
IDLE_CONTROL_MAX: Final = 10_000
"""Frames that ask for nothing between two calls: a gateway pings now and then, a flood ends the connection."""
HANDSHAKE_S: Final = 10.0
DRAIN_S: Final = 5.0
OK_WINDOW: Final = 32_768

INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = 3, 8, 12, 13, 16

_REASONS = {
    INVALID_ARGUMENT: "message",
    RESOURCE_EXHAUSTED: "message",
    UNIMPLEMENTED: "no_such_method",
    INTERNAL: "fault",
    UNAUTHENTICATED: "token",
}

Handler = Callable[[bytes], bytes | Awaitable[bytes]]
"""Takes a message, gives a message; raises ValueError where it cannot be read."""


class _Stream:
    __slots__ = ("answer", "body", "call", "credit", "size", "task")

    def __init__(self, call: Call, credit: int) -> None:
        self.call = call
        self.credit = credit
        self.body = b""
        self.answer = b""
        self.size = 0
        self.task: asyncio.Task[None] | None = None


class GrpcServer:
    """Listens, and knows its connections.

    Args:
        handlers: by path, ``/package.Service/Method``.
        token: what ``authorization: Bearer`` must carry, if anything.
        refused: called with the reason of every call that was not answered.
    """

    def __init__(self, handlers: Mapping[str, Handler], token: str, refused: Callable[[str], None]) -> None:
        self.handlers = handlers
        self.connections: set[_Connection] = set()
        self.refused = refused
        self._token = f"Bearer {token}".encode() if token else b""
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 becomes the port found."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no new calls, let those that wait be answered, and close."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.go_away(http2.NO_ERROR)
        ends = asyncio.get_running_loop().time() + DRAIN_S
        while any(connection.streams for connection in self.connections) and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.close()

    def admits(self, call: Call) -> bool:
        """Whether the call carries the token."""
        return not self._token or hmac.compare_digest(call.authorization.encode("latin-1"), self._token)


class _Connection(asyncio.Protocol):
    """One peer."""

    def __init__(self, server: GrpcServer) -> None:
        self.streams: dict[int, _Stream] = {}
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._headers = HeaderReader()
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, what has come of its headers
        self._greeted = False
        self._last = 0
        self._window, self._first_window, self._taken, self._control = http2.WINDOW_FIRST, http2.WINDOW_FIRST, 0, 0
        self._waiting: dict[int, _Stream] = {}
        self._going = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer, or turn it away where there are too many."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a stream server gives no other
        self._transport = transport
        if len(self._server.connections) >= CONNECTIONS_MAX:
            self._server.refused("too_many_connections")
            transport.abort()
            return
        self._server.connections.add(self)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._silent)
        transport.write(http2.GREETING)

    def _silent(self) -> None:
        if not self._greeted:
            self._server.refused("no_greeting")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything of this peer."""
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        for stream in self.streams.values():
            if stream.task is not None:
                stream.task.cancel()
        self.streams.clear()
        self._waiting.clear()

    def pause_writing(self) -> None:
        """The peer does not read: what it asks waits until it does."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take every whole frame, and answer all of them with one write."""
        self._buffer += data
        try:
            self._frames()
        except ConnectionFault as fault:
            self._server.refused("protocol")
            self.go_away(fault.code)
            self.close()
        self._flush()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        if not self._greeted:
            if not buffer.startswith(http2.PREFACE[: len(buffer)]):
                raise ConnectionFault(http2.PROTOCOL_ERROR, "not HTTP/2")
            if len(buffer) < len(http2.PREFACE):
                return
            at, self._greeted = len(http2.PREFACE), True
        while len(buffer) - at >= 9:
            size, kind, flags, stream = http2.head_of(buffer, at)
            if size > http2.FRAME_BYTES_MAX:
                raise ConnectionFault(http2.FRAME_SIZE_ERROR, "a frame larger than announced")
            if len(buffer) - at < 9 + size:
                break
            self._take(kind, flags, stream, bytes(buffer[at + 9 : at + 9 + size]))
            at += 9 + size
        del buffer[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != http2.CONTINUATION:
            raise ConnectionFault(http2.PROTOCOL_ERROR, "headers that do not go on")
        if kind == http2.DATA:
            self._data(flags, stream, payload)
        elif kind == http2.HEADERS:
            self._begin(flags, stream, http2.unpadded(payload, flags))
        else:
            self._control += 1
            if self._control > IDLE_CONTROL_MAX:
                raise ConnectionFault(http2.ENHANCE_YOUR_CALM, "frames and no calls")
            self._steer(kind, flags, stream, payload)

    def _steer(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Frames that carry no call."""
        if kind == http2.SETTINGS:
            self._settings(flags, payload)
        elif kind == http2.WINDOW_UPDATE:
            self._more_room(stream, payload)
        elif kind == http2.PING:
            if len(payload) != 8:
                raise ConnectionFault(http2.FRAME_SIZE_ERROR, "a ping of another size")
            if not flags & http2.ACK:
                self._out.append(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.RST_STREAM:
            self._forget(stream)
        elif kind == http2.CONTINUATION:
            self._continue(flags, stream, payload)
        elif kind == http2.PUSH_PROMISE:
            raise ConnectionFault(http2.PROTOCOL_ERROR, "a push to a server")

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & http2.ACK:
            self._headers.confirm()
            return
        first = http2.read_settings(payload).get(http2.INITIAL_WINDOW)
        if first is not None:
            for stream in self.streams.values():
                stream.credit += first - self._first_window
            self._first_window = first
        self._out.append(http2.SETTINGS_ACK)
        self._send_waiting()

    def _more_room(self, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(http2.FRAME_SIZE_ERROR, "a window update of another size")
        size = struct.unpack(">I", payload)[0] & http2.WINDOW_MAX
        if stream == 0:
            self._window += size
            if self._window > http2.WINDOW_MAX or not size:
                raise ConnectionFault(http2.FLOW_CONTROL_ERROR, "a window too large, or not larger")
        elif (found := self.streams.get(stream)) is not None:
            found.credit = min(http2.WINDOW_MAX, found.credit + size)
        self._send_waiting()

    def _begin(self, flags: int, stream: int, block: bytes) -> None:
        if not flags & http2.END_HEADERS:
            self._block = (stream, flags, bytearray(block))
            return
        self._open(flags, stream, block)

    def _continue(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ConnectionFault(http2.PROTOCOL_ERROR, "headers that never began")
        _, begun, block = self._block
        block += payload
        if len(block) > http2.HEADER_BYTES_MAX:
            raise ConnectionFault(http2.ENHANCE_YOUR_CALM, "headers without an end")
        if flags & http2.END_HEADERS:
            self._block = None
            self._open(begun, stream, bytes(block))

    def _open(self, flags: int, stream: int, block: bytes) -> None:
        """A new call, or the end of one whose body has come."""
        call = self._headers.read(block)
        found = self.streams.get(stream)
        if found is None:
            if stream <= self._last or not stream & 1:
                raise ConnectionFault(http2.PROTOCOL_ERROR, "a stream out of order")
            self._last = stream
            if len(self.streams) >= http2.STREAMS_MAX or self._going:
                self._server.refused("too_many_calls")
                self._reset(stream, http2.REFUSED_STREAM)
                return
            found = self.streams[stream] = _Stream(call, self._first_window)
        if flags & http2.END_STREAM:
            self._dispatch(stream, found)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._taken += len(payload)
        if self._taken >= OK_WINDOW:
            self._out.append(http2.window_update(0, self._taken))
            self._taken = 0
        found = self.streams.get(stream)
        if found is None:
            if stream > self._last:
                raise ConnectionFault(http2.PROTOCOL_ERROR, "data of no call")
            return
        body = http2.unpadded(payload, flags & http2.PADDED)
        found.body = found.body + body if found.body else body
        if len(found.body) > MESSAGE_BYTES_MAX:
            self._fail(stream, RESOURCE_EXHAUSTED, "message too large")
        elif flags & http2.END_STREAM:
            self._dispatch(stream, found)

    def _dispatch(self, stream: int, found: _Stream) -> None:
        """Hand a whole message to its handler and send what it says, now or when it is there."""
        if found.task is not None or found.size:
            raise ConnectionFault(http2.PROTOCOL_ERROR, "a call that ends twice")
        self._control = 0
        handler = self._server.handlers.get(found.call.path)
        body = found.body
        if handler is None or not found.call.is_grpc:
            self._fail(stream, UNIMPLEMENTED, "no such method")
        elif not self._server.admits(found.call):
            self._fail(stream, UNAUTHENTICATED, "authorization: Bearer TOKEN is needed")
        elif len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
            self._fail(stream, UNIMPLEMENTED, "one message, not compressed, is expected")
        else:
            self._call(stream, found, handler, body[5:])

    def _call(self, stream: int, found: _Stream, handler: Handler, message: bytes) -> None:
        try:
            answered = handler(message)
        except ValueError:
            self._fail(stream, INVALID_ARGUMENT, "the message cannot be read")
            return
        if isinstance(answered, bytes):
            self._send(stream, found, answered)
        else:
            found.task = asyncio.ensure_future(self._finish(stream, found, answered))
            found.task.add_done_callback(lambda task: self._finished(stream, task))

    def _finished(self, stream: int, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a check failed: %s", type(error).__name__)
            self._fail(stream, INTERNAL, "the check failed")
            self._flush()

    async def _finish(self, stream: int, found: _Stream, answered: Awaitable[bytes]) -> None:
        self._send(stream, found, await answered)
        self._flush()

    def _send(self, stream: int, found: _Stream, message: bytes) -> None:
        size = http2.data_size(message)
        if size > self._window or size > found.credit:
            found.answer, found.size = http2.answer(stream, message), size
            self._waiting[stream] = found
            return
        self._window -= size
        self._out.append(http2.answer(stream, message))
        del self.streams[stream]

    def _send_waiting(self) -> None:
        """Send what now fits into the peer's windows."""
        for stream, found in list(self._waiting.items()):
            if found.size <= self._window and found.size <= found.credit:
                self._window -= found.size
                self._out.append(found.answer)
                del self._waiting[stream], self.streams[stream]

    def _fail(self, stream: int, status: int, text: str) -> None:
        self._server.refused(_REASONS[status])
        self._out.append(http2.failure(stream, status, text))
        self._forget(stream)

    def _reset(self, stream: int, code: int) -> None:
        self._out.append(http2.frame(http2.RST_STREAM, 0, stream, struct.pack(">I", code)))

    def _forget(self, stream: int) -> None:
        self._waiting.pop(stream, None)
        found = self.streams.pop(stream, None)
        if found is not None and found.task is not None:
            found.task.cancel()

    def go_away(self, code: int) -> None:
        """Tell the peer that no further call is taken."""
        self._going = True
        self._out.append(http2.frame(http2.GOAWAY, 0, 0, struct.pack(">II", self._last, code)))
        self._flush()

    def _flush(self) -> None:
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """End the connection once what was written is sent."""
        if self._transport is not None:
            self._transport.close()
