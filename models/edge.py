"""Events at the edge: what a gateway saw, as the smallest canonical events, with the text or with its sketch.

What lives here: one producer's record to canonical requests, and texts to sketches. What does not: sending them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from models.adapters import ADAPTERS
from models.request import Request, settle
from models.sketch import Sketcher
from models.sketch_wire import pack_sketch
from models.strings import Strings

_ENCODER = msgspec.json.Encoder()


def edge_requests(record: dict[str, Any], format: str) -> list[Request]:
    """The requests in a producer's record; an answer and whatever else it holds is left behind.

    Raises:
        ValueError: one of them is no request, with the reason.
    """
    adapter = ADAPTERS[format]
    found = []
    for fields in adapter.expand(record):
        request = msgspec.convert(adapter.request(fields), Request)
        reason = settle(request)
        if reason:
            raise ValueError(reason)
        found.append(request)
    return found


def sketch_texts(requests: Sequence[Request], sketcher: Sketcher) -> None:
    """Put a sketch in the place of each prompt, and leave out the system text: no text is left in them."""
    sketches = sketcher.sketch(Strings.of([request.prompt or "" for request in requests]))
    for row, request in enumerate(requests):
        packed = pack_sketch(sketches, row, fingerprint=sketcher.fingerprint)
        request.sketch = base64.b64encode(packed).decode()
        request.prompt = request.system = None


def encode_request(request: Request) -> bytes:
    """A request as one JSON object, without the fields it does not have."""
    fields = msgspec.structs.asdict(request)
    return _ENCODER.encode({name: value for name, value in fields.items() if value is not None})
