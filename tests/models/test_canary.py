"""A self-test's accounts are known by a mark that nobody else can give."""

from __future__ import annotations

import pytest

from models.canary import PREFIX, CanaryMark
from models.hashing import KeyedHash
from tests.models.desk_records import campaign

MARK = CanaryMark(KeyedHash(b"a secret of sixteen bytes"))
OTHER = CanaryMark(KeyedHash(b"another secret, as long"))


def test_its_accounts_are_known_under_the_same_secret_alone() -> None:
    account = MARK.account("run1", 7)
    assert MARK.knows(account)
    assert not OTHER.knows(account)


@pytest.mark.parametrize(
    "account",
    ["", PREFIX, f"{PREFIX}-run1-0123456789abcdef-0001", f"x{MARK.account('r', 1)}", f"{MARK.account('r', 1)}-1",
     MARK.account("r", 1).replace("-r-", "-s-")],
)  # fmt: skip
def test_a_name_alone_is_no_mark(account: str) -> None:
    assert not MARK.knows(account)


def test_an_alert_with_a_stranger_is_no_self_test() -> None:
    accounts = [MARK.account("r", number) for number in range(3)]
    assert MARK.made(campaign(members_sample=accounts))
    assert not MARK.made(campaign(members_sample=[*accounts, "a customer"]))
    assert not MARK.made(campaign(members_sample=[]))
