"""Event batches: joining, taking and keeping rows moves every column alike."""

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.event import EventBatch
from models.strings import Strings
from tests.models.inputs import events_at

COLUMNS = [field.name for field in fields(EventBatch) if field.name != "sketch"]


def batch_of(numbers: list[int]) -> EventBatch:
    """A batch whose columns all tell the row's number; every third row has an edge sketch."""
    batch = events_at(numbers)
    for name in COLUMNS:
        column = getattr(batch, name)
        if isinstance(column, Strings):
            setattr(batch, name, Strings.of([f"{name} {number}" for number in numbers]))
        else:
            setattr(batch, name, np.asarray(numbers).astype(column.dtype))
    batch.sketch = {row: b"sketch %d" % number for row, number in enumerate(numbers) if number % 3 == 0}
    return batch


def said(batch: EventBatch) -> dict[str, object]:
    columns = {name: list(getattr(batch, name)) for name in COLUMNS}
    return columns | {"sketch": batch.sketch}


lists = st.lists(st.integers(0, 100), max_size=12)


@given(lists, st.data())
def test_taking_rows_takes_every_column(numbers, data):
    picked = data.draw(st.lists(st.integers(0, len(numbers) - 1), max_size=12, unique=True)) if numbers else []
    taken = batch_of(numbers).take(np.array(picked, np.int64))
    assert said(taken) == said(batch_of([numbers[row] for row in picked]))
    assert len(taken) == len(picked)


@given(st.lists(lists, min_size=1, max_size=4))
def test_joining_keeps_order_in_every_column(groups):
    joined = EventBatch.concat([batch_of(numbers) for numbers in groups])
    assert said(joined) == said(batch_of([number for numbers in groups for number in numbers]))


def test_an_empty_batch_has_every_column_in_its_type():
    empty, some = EventBatch.empty(), batch_of([1])
    assert len(empty) == 0
    for name in COLUMNS:
        assert type(getattr(empty, name)) is type(getattr(some, name))
        if isinstance(getattr(empty, name), np.ndarray):
            assert getattr(empty, name).dtype == getattr(some, name).dtype
    assert said(EventBatch.concat([empty, some])) == said(some)


@given(lists)
def test_kept_arrays_give_the_events_back_but_never_their_text(numbers):
    batch = batch_of(numbers)
    arrays = batch.arrays("event.")
    kept = b"".join(array.tobytes() for array in arrays.values())
    assert b"prompt " not in kept
    assert all(name.startswith("event.") for name in arrays)
    again = said(EventBatch.from_arrays(arrays, "event."))
    expected = said(batch) | {"prompt": [""] * len(numbers), "sketch": {}}
    assert again == expected
