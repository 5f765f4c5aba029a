"""Bodies to records: every form is split, every record is good under one account or refused with a reason."""

from __future__ import annotations

import json

import pytest

from models.limits import RECORD_BYTES_MAX
from streams.limiter.bodies import RECORDS_MAX, SEVERAL_ACCOUNTS, TOO_MANY, Record, Sorter, split


def event(account: str = "a", number: int = 0) -> dict[str, object]:
    return {"event_id": f"e{number}", "ts": 1_772_452_809_946, "account_id": account, "model": "m", "prompt": "hello"}


A, B = json.dumps(event("a")).encode(), json.dumps(event("b", 1)).encode()


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (A, [A]),
        (b"[" + A + b" , " + B + b"]", [A, B]),
        (A + b"\n" + B + b"\n\n", [A, B]),
        (json.dumps(event(), indent=2).encode(), [json.dumps(event(), indent=2).encode()]),
        (b"", []),
        (b" \n ", []),
        (b"[]", []),
        (b"nonsense\n" + A, [b"nonsense", A]),
        (b"[" + A, [b"[" + A]),
        (b"\xff\xfe", [b"\xff\xfe"]),
    ],
)
def test_every_form_is_split(body: bytes, records: list[bytes]) -> None:
    assert split(body) == records


def test_nesting_without_an_end_is_one_bad_record() -> None:
    assert len(split(b"[" * 100_000)) == 1


@pytest.fixture(scope="module")
def sorter() -> Sorter:
    return Sorter()


def test_good_records_are_kept_as_they_came_under_their_account(sorter: Sorter) -> None:
    found = sorter.sort([A, b"{}", B, b"nonsense"])
    assert found.good == [Record("a", A), Record("b", B)]
    assert set(found.bad) == {1, 3}
    assert all(found.bad.values())


def test_a_record_of_several_accounts_has_no_partition(sorter: Sorter) -> None:
    both = b"[" + A + b"," + B + b"]"
    assert sorter.sort([both, b"[" + A + b"," + A + b"]"]).bad == {0: SEVERAL_ACCOUNTS}


def test_what_is_too_large_or_too_many_is_refused(sorter: Sorter) -> None:
    large = json.dumps(event() | {"prompt": "x" * RECORD_BYTES_MAX}).encode()
    assert len(sorter.sort([large, A]).good) == 1
    assert set(sorter.sort([b"{}"] * (RECORDS_MAX + 1)).bad.values()) == {TOO_MANY}
