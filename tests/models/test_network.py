"""Networks of addresses: equal to the standard library's reading, and absent where they say nothing."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.network as module
from models.hashing import KeyedHash
from models.network import network_of, network_text
from models.strings import Strings

KEYED = KeyedHash(b"a test's secret.")
PRIVATE = """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/3
::/48 fc00::/7 fe80::/10 ff00::/8"""
ADDRESSES = """1.2.3.4 1.2.3 1.2.3.4.5 01.2.3.4 1.2.3.04 256.1.1.1 1..2.3 .1.2.3 :: ::1 ::ffff:8.8.8.8 ::ffff:10.1.1.1
2001:db8::1 2001:db8::8.8.8.8 1:2:3:4:5:6:7:8 1::2::3 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1:2:3:4:5:6:7:8:9 :1:2 :::
1:::2 2001:db8: fe80::1 fd00::1 ff02::1 g::1 12345::1 1:2:3:4:5:6:1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 1.2.3.4x é
2001:DB8:A:B::C 100.63.0.1 100.64.0.1 172.15.0.1 172.16.0.1 223.255.255.255 240.0.0.1"""
NOT_PUBLIC = [ipaddress.ip_network(text) for text in PRIVATE.split()]


def network(text: str) -> int:
    return int(network_of(Strings.of([text]), KEYED)[0])


def expected(text: str) -> str | int:
    """The network by the standard library; 0 where absent."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address.version == range_.version and address in range_ for range_ in NOT_PUBLIC):
        return 0
    if isinstance(address, ipaddress.IPv4Address):
        return str(ipaddress.ip_network(f"{address}/24", strict=False))
    return network_text(network(str(ipaddress.IPv6Address(int(address) >> 80 << 80 | 1))))


@pytest.mark.parametrize("text", ADDRESSES.split())
def test_agrees_with_the_standard_library(text: str) -> None:
    assert (network_text(network(text)) or 0) == expected(text)


@settings(max_examples=400)
@given(
    st.ip_addresses().map(str)
    | st.ip_addresses(v=6, network="2001::/16").map(lambda address: address.exploded)
    | st.text("0123456789abcdef:.", max_size=24).filter(
        lambda text: not (text.count(":") == 1 and text.count(".") == 3)
    )
)
def test_agrees_with_the_standard_library_on_anything(text: str) -> None:
    assert (network_text(network(text)) or 0) == expected(text)


def test_neighbours_share_and_strangers_do_not() -> None:
    assert network("198.51.100.1") == network("198.51.100.254") != network("198.51.101.1")
    assert network("2001:db8:1::1") == network("2001:db8:1:ffff::2") != network("2001:db8:2::1")


def test_kinds_cannot_collide_and_six_is_keyed() -> None:
    assert network("1.1.1.1") == 1 << 40 | 0x010101
    assert network("2001:db8::1") >> 63 == 1
    other = int(network_of(Strings.of(["2001:db8::1"]), KeyedHash(b"another"))[0])
    assert other != network("2001:db8::1")


@pytest.mark.parametrize("text", ["8.8.8.8:443", "[8.8.8.8]", "8.8.8.8, 10.0.0.1", " 8.8.8.8 "])
def test_what_proxies_add_is_ignored(text: str) -> None:
    assert network_text(network(text)) == "8.8.8.0/24"


def test_brackets_and_zone_of_six_are_ignored() -> None:
    assert network("[2001:db8::1]:443") == network("2001:db8::1%eth0") == network("2001:db8::1") != 0


def test_column_keeps_order() -> None:
    networks = network_of(Strings.of(["", "8.8.8.8", "::1", "2001:db8::1", "x", "9.9.9.9"]), KEYED)
    assert [bool(value) for value in networks] == [False, True, False, True, False, True]
    assert len(network_of(Strings.of([]), KEYED)) == 0


def test_plain_python_parses_alike() -> None:
    column = Strings.of(ADDRESSES.split())
    parse = module._parse
    plain = getattr(parse, "py_func", parse)  # what runs where no compiler loads
    with np.errstate(over="raise"):
        assert plain(column.data, column.offsets).tolist() == parse(column.data, column.offsets).tolist()
