"""Working ahead: the same items in the same order, an error where they are taken, and a core for who takes them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from streams.embedded import AHEAD_NICE, ahead


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_what_is_made_ahead_comes_in_order() -> None:
    assert list(ahead(iter(range(50)), 3)) == list(range(50))


def test_an_error_ahead_is_raised_behind_what_came_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("a broken batch")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="a broken batch"):
        next(taken)


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_threads_ahead_give_way_alike() -> None:
    own = priority()

    def first() -> Iterator[int]:
        yield priority()

    def second(items: Iterator[int]) -> Iterator[tuple[int, int]]:
        for item in items:
            yield item, priority()

    gives_way = min(own + AHEAD_NICE, 19)
    assert list(ahead(second(ahead(first())))) == [(gives_way, gives_way)]
    assert priority() == own
