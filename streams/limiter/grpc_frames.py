"""The part of HTTP/2 that short gRPC calls need: frames, header blocks, answers.

What lives here: bytes to frames and fields, and answers to bytes. What does not: the state of a connection
(``grpc_server``).

We announce a header table of size 0. Once the peer has confirmed that, a block of headers says the same whenever it
comes, so blocks that have been decoded are looked up; until then, and for new ones, the library ``hpack`` decodes them.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from hpack import Decoder, HPACKError

from models.errors import DistilwatchError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, COMPRESSION_ERROR = 0, 1, 3, 6, 7, 9
ENHANCE_YOUR_CALM: Final = 11

FRAME_BYTES_MAX: Final = 16_384
"""The protocol's own default, which a peer may not exceed as we announce no other."""
HEADER_BYTES_MAX: Final = 16_384
STREAMS_MAX: Final = 1_000
"""Calls of one connection that may wait at once; Envoy opens more connections for more."""
BLOCKS_MAX: Final = 4_096
"""Header blocks remembered: a gateway sends a handful of kinds, or one per call where it traces, which then cost a
decoding each."""
WINDOW_FIRST: Final = 65_535
WINDOW_MAX: Final = 2**31 - 1

_HEAD = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_HEADER_TABLE_SIZE, _MAX_STREAMS, INITIAL_WINDOW, _MAX_HEADER_LIST = 1, 3, 4, 6


class ConnectionFault(DistilwatchError):
    """The peer broke the protocol: the connection ends, with ``code``."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Call(NamedTuple):
    """What the headers of a call say."""

    path: str
    authorization: str
    is_grpc: bool


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def head_of(data: bytes | bytearray, at: int) -> tuple[int, int, int, int]:
    """Size, kind, flags and stream of the frame whose nine bytes begin at ``at``."""
    high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
    return high << 8 | low, kind, flags, stream & 0x7FFFFFFF


def _settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


GREETING: Final = _settings((_HEADER_TABLE_SIZE, 0), (_MAX_STREAMS, STREAMS_MAX), (_MAX_HEADER_LIST, HEADER_BYTES_MAX))
SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def read_settings(payload: bytes) -> dict[int, int]:
    """The settings in a frame; raises ConnectionFault where there are none or too large a window is among them."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a settings frame of no whole settings")
    found: dict[int, int] = dict(_SETTING.iter_unpack(payload))
    if found.get(INITIAL_WINDOW, 0) > WINDOW_MAX:
        raise ConnectionFault(FLOW_CONTROL_ERROR, "a window larger than the protocol allows")
    return found


def window_update(stream: int, size: int) -> bytes:
    """More room for the peer."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def unpadded(payload: bytes, flags: int) -> bytes:
    """What is between padding and priority."""
    start = 1 if flags & PADDED else 0
    end = len(payload) - (payload[0] if start and payload else 0)
    start += 5 if flags & WITH_PRIORITY else 0
    if end < start:
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than frame")
    return payload[start:end]


class HeaderReader:
    """Decodes the header blocks of one connection, in their order."""

    def __init__(self) -> None:
        self.confirmed = False
        self._decoder = Decoder(max_header_list_size=HEADER_BYTES_MAX)
        self._known: dict[bytes, Call] = {}

    def confirm(self) -> None:
        """The peer has confirmed our settings: from its next block on it keeps no table."""
        self.confirmed = True
        self._decoder.max_allowed_table_size = 0

    def read(self, block: bytes) -> Call:
        """The call that a block begins; raises ConnectionFault where it cannot be decoded."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = dict(self._decoder.decode(block, raw=True))
        except (HPACKError, UnicodeDecodeError, ValueError) as error:
            raise ConnectionFault(COMPRESSION_ERROR, f"headers: {type(error).__name__}") from error
        call = Call(
            fields.get(b":path", b"").decode("latin-1"),
            fields.get(b"authorization", b"").decode("latin-1"),
            fields.get(b":method") == b"POST" and fields.get(b"content-type", b"").startswith(b"application/grpc"),
        )
        if self.confirmed and self._decoder.header_table_size == 0:
            if len(self._known) >= BLOCKS_MAX:
                self._known.clear()
            self._known[block] = call
        return call


def _literal(name: bytes, value: bytes) -> bytes:
    """A field that no table keeps; both parts shorter than 127 bytes."""
    return bytes((0, len(name))) + name + bytes((len(value),)) + value


_STATUS_200 = b"\x88"
_ANSWER = _STATUS_200 + _literal(b"content-type", b"application/grpc")
_ANSWER_HEAD = frame(HEADERS, END_HEADERS, 0, _ANSWER)[:5]
_DONE = _literal(b"grpc-status", b"0")
_DONE_HEAD = frame(HEADERS, END_HEADERS | END_STREAM, 0, _DONE)[:5]


def data_size(message: bytes) -> int:
    """What an answer takes of the peer's windows."""
    return len(message) + 5


def answer(stream: int, message: bytes) -> bytes:
    """A whole answer: headers, one message, status ok."""
    place = stream.to_bytes(4, "big")
    size = len(message)
    data = frame(DATA, 0, stream, b"\0" + size.to_bytes(4, "big") + message)
    return b"".join((_ANSWER_HEAD, place, _ANSWER, data, _DONE_HEAD, place, _DONE))


def failure(stream: int, status: int, text: str) -> bytes:
    """An answer without a message."""
    fields = _literal(b"grpc-status", str(status).encode()) + _literal(b"grpc-message", text.encode()[:100])
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _ANSWER + fields)
