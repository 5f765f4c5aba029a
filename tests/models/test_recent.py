"""The reader's cache: bounded in age and number."""

from __future__ import annotations

from models.recent import Recent


def test_a_value_is_kept_for_its_life_and_none_is_a_value() -> None:
    recent: Recent[str | None] = Recent(100, 10)
    recent.put("a", "x", 0)
    recent.put("b", None, 0)
    assert recent.get("a", 99) == ("x",)
    assert recent.get("b", 99) == (None,)
    assert recent.get("a", 100) is None
    assert recent.get("c", 0) is None


def test_the_oldest_makes_room() -> None:
    recent: Recent[int] = Recent(100, 3)
    for number in range(5):
        recent.put(str(number), number, 0)
    assert len(recent) == 3
    assert [recent.get(str(number), 0) for number in range(5)] == [None, None, (2,), (3,), (4,)]
    recent.put("2", 9, 0)
    recent.put("5", 5, 0)
    assert recent.get("2", 0) == (9,)  # written again, so no longer the oldest


def test_no_life_keeps_nothing() -> None:
    recent: Recent[int] = Recent(0, 3)
    recent.put("a", 1, 0)
    assert len(recent) == 0
