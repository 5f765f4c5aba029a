"""The step from events to sketches: texts and edge sketches give the same rows, bad sketches none."""

from __future__ import annotations

import numpy as np
import pytest

from models.columns import EventColumns
from models.event import EventBatch
from models.hashing import KeyedHash
from models.sketch import Sketcher, SketchParameters
from models.sketch_wire import pack_sketch
from models.sketching import sketch_events
from models.strings import Strings

SECRET = b"secret of these tests"
SKETCHER = Sketcher(SECRET)
TEXTS = [f"translate sentence number {number} into plain words for a reader at school" for number in range(6)]

LONG = " ".join(first + second for first in "abcdefghijklm" for second in "nopqrstuvwxyz")


def events(prompts: list[str], sketch: dict[int, bytes]) -> EventBatch:
    texts = {
        "event_id": [f"e{number}" for number in range(len(prompts))],
        "account_id": [f"a{number}" for number in range(len(prompts))],
        "prompt": prompts,
    }
    return EventColumns(KeyedHash(SECRET)).batch(texts, {"ts": np.arange(len(prompts)) + 10**12}, sketch=sketch)


def packed(text: str, sketcher: Sketcher = SKETCHER, fingerprint: int | None = None) -> bytes:
    mark = sketcher.fingerprint if fingerprint is None else fingerprint
    return pack_sketch(sketcher.sketch(Strings.of([text])), 0, fingerprint=mark)


def test_an_edge_sketch_stands_for_its_text() -> None:
    plain = sketch_events(SKETCHER, events(TEXTS, {}))
    sent = sketch_events(SKETCHER, events(["", *TEXTS[1:4], "", TEXTS[5]], {0: packed(TEXTS[0]), 4: packed(TEXTS[4])}))
    assert len(sent.bad) == 0
    for name, column in plain.sketches.arrays().items():
        assert np.array_equal(column, sent.sketches.arrays()[name]), name


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"nonsense",
        packed(TEXTS[0])[:-1],
        packed(TEXTS[0], Sketcher(b"another secret, not ours")),
        # Widths of other parameters under our own mark, which anybody can copy.
        packed(TEXTS[0], Sketcher(SECRET, SketchParameters(permutations=128)), SKETCHER.fingerprint),
        packed(TEXTS[0], Sketcher(SECRET, SketchParameters(bands=2)), SKETCHER.fingerprint),
        packed(LONG, Sketcher(SECRET, SketchParameters(template_keys=60)), SKETCHER.fingerprint),
    ],
    ids=["empty", "nonsense", "short", "secret", "permutations", "bands", "keys"],
)
def test_a_bad_one_costs_its_own_row(bad: bytes) -> None:
    sent = sketch_events(SKETCHER, events([TEXTS[0], "", TEXTS[2], ""], {1: bad, 3: packed(TEXTS[3])}))
    assert sent.bad.tolist() == [1]
    assert list(sent.events.account_id) == ["a0", "a2", "a3"]
    expected = SKETCHER.sketch(Strings.of([TEXTS[0], TEXTS[2], TEXTS[3]]))
    assert np.array_equal(sent.sketches.digest, expected.digest)
    assert np.array_equal(sent.sketches.keys, expected.keys)
