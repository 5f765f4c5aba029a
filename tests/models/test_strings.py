"""Columns of texts behave like the lists they were made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.strings import Lines, Strings

texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=12)


@given(texts)
def test_texts_come_out_as_they_went_in(some):
    column = Strings.of(some)
    assert list(column) == some
    assert [column[at] for at in range(len(column))] == some
    assert column.lengths.tolist() == [len(text.encode()) for text in some]
    assert list(Strings.of_bytes([text.encode() for text in some])) == some


@given(texts, st.data())
def test_taking_rows(some, data):
    picked = data.draw(st.lists(st.integers(0, len(some) - 1), max_size=20)) if some else []
    assert list(Strings.of(some).take(np.array(picked, np.int64))) == [some[row] for row in picked]


@given(st.lists(texts, max_size=4))
def test_joining(groups):
    assert list(Strings.concat([Strings.of(some) for some in groups])) == [text for some in groups for text in some]


@given(texts, st.data())
def test_a_window_on_a_larger_buffer_is_a_column(some, data):
    first = data.draw(st.integers(0, len(some)))
    whole = Strings.of(some)
    part = Strings(whole.data, whole.offsets[first:])
    assert list(part) == some[first:]
    assert list(part.take(np.arange(len(part))[::-1])) == some[first:][::-1]
    assert list(Strings.concat([part, whole])) == some[first:] + some


def test_bytes_that_are_no_text_are_shown_replaced():
    assert Strings.of_bytes([b"\xff", b"a"])[0] == "\ufffd"


def test_a_lone_surrogate_is_refused():
    with pytest.raises(UnicodeEncodeError):
        Strings.of(["\ud800"])


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_lines_are_the_records_between_newlines(size):
    parts = [b"x" * size, b"{}\r", b"\xc3\xa9", b'{"a": 1} ', b"y" * (3 * size)]
    lines = Lines.of(b"\n".join(parts) + b"\n", 3 * size)
    if size < 64:
        lines = Lines.of(b"\n".join(parts) + b"\n", 1000)
    assert list(lines) == parts
    assert list(lines[1:3]) == parts[1:3]
    assert (lines[-1], len(lines)) == (parts[-1], 5)


@pytest.mark.parametrize("data", [b"a\n\nb\n", b"a\n \n", b"\n", b"a\n" + b"b" * 101 + b"\n"])
def test_lines_that_need_a_second_look_are_left_alone(data):
    assert Lines.of(data, 100) is None
    assert Lines.of(b"a\n" + b"b" * 100 + b"\n", 100) is not None
