"""Events to sketches, whichever way they came: texts are sketched, sketches sent by edges are checked and laid over.

What lives here: the one step that every host takes between decoding and Observe. What does not: how a text becomes a
sketch (``sketch``) and the packed form (``sketch_wire``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.event import EventBatch
from models.sketch import Sketcher, Sketches
from models.sketch_kernel import EDGE_KEYS
from models.sketch_wire import overlay, sketch_fault, unpack_sketches


@dataclass(slots=True)
class Sketched:
    """Events beside their sketches without signatures; ``bad`` are the rows of the input refused as ``bad_sketch``."""

    events: EventBatch
    sketches: Sketches
    bad: npt.NDArray[np.int64]


def sketch_events(sketcher: Sketcher, events: EventBatch) -> Sketched:
    """Sketch the texts of ``events`` and take over the sketches that came in place of texts.

    A sent sketch is refused unless it was made under the same secret and parameters, so that it means what ours mean.
    """
    bad = np.array([row for row, data in sorted(events.sketch.items()) if _is_bad(sketcher, data)], np.int64)
    if len(bad):
        events = events.take(np.setdiff1d(np.arange(len(events)), bad, assume_unique=True))
    sketches = sketcher.sketch(events.prompt, signatures=False)
    return Sketched(events, overlay(sketches, events.sketch, fingerprint=sketcher.fingerprint), bad)


def _is_bad(sketcher: Sketcher, data: bytes) -> bool:
    if sketch_fault(data, fingerprint=sketcher.fingerprint):
        return True
    # The fingerprint stands for the parameters, but it travels in the open and so can be copied onto other widths.
    sizes, sent = sketcher.parameters, unpack_sketches([data], fingerprint=sketcher.fingerprint)
    widths = sent.signature.shape[1], sent.bands.shape[1]
    return widths != (sizes.permutations, sizes.bands) or len(sent.keys) > sizes.template_keys + EDGE_KEYS
