"""The table of control records: latest per key, log order, nothing twice, a bounded share per mark."""

from __future__ import annotations

from streams.control import RECORD_BYTES_MAX, SHARE_BYTES, Control, ControlLog


def test_the_latest_per_key_in_log_order_and_each_offset_once() -> None:
    log = ControlLog(["rules"])
    first, second, third = (Control("rules", n, key, b"v%d" % n) for n, key in enumerate((b"a", b"b", b"a")))
    assert all(map(log.add, (first, second, third)))
    assert not log.add(second)
    assert log.since({}) == ([second, third], {"rules": 3})
    assert log.since({"rules": 2}) == ([third], {"rules": 3})
    assert log.news({"rules": 2})
    assert not log.news({"rules": 3})


def test_shares_are_bounded_and_lose_nothing() -> None:
    log = ControlLog(["labels", "rules"])
    for topic in ("labels", "rules"):
        for offset in range(10):
            log.add(Control(topic, offset, b"%d" % offset, b"x" * (SHARE_BYTES // 3)))
    seen: dict[str, int] = {}
    taken: list[Control] = []
    while log.news(seen):
        share, seen = log.since(seen)
        assert 0 < sum(len(record.value) for record in share) <= 2 * SHARE_BYTES
        taken += share
    assert sorted((record.topic, record.offset) for record in taken) == [
        (topic, offset) for topic in ("labels", "rules") for offset in range(10)
    ]


def test_a_record_too_large_for_a_mark_is_left_out_and_passed() -> None:
    log = ControlLog(["rules"])
    assert not log.add(Control("rules", 0, b"k", b"x" * (RECORD_BYTES_MAX + 1)))
    assert log.since({}) == ([], {"rules": 1})
