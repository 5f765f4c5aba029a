"""Client addresses as the networks they stand for: /24 of IPv4, /48 of IPv6.

What lives here: parsing a column of addresses without Python objects, and showing a network to people. What does
not: how rare a network must be to count (``evidence``). Addresses that many strangers have at once because they
never left a private network (loopback, link-local, private, shared carrier space) count as absent.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.compiled import jit, jit_helper
from models.hashing import KeyedHash
from models.strings import Bytes, Int64, Strings

_IPV4: Final = 1 << 40
_IPV6: Final = 1 << 63


def network_of(addresses: Strings, keyed_hash: KeyedHash) -> npt.NDArray[np.uint64]:
    """The network of each address: uint64 of shape ``(n,)``.

    IPv4 gives ``1 << 40 | address >> 8``; IPv6 gives a keyed hash of its /48 with the top bit set. Absent, private
    and unreadable addresses give 0. A port, brackets, a zone and everything after a comma are ignored.
    """
    if len(addresses.data) == 0:
        return np.zeros(len(addresses), np.uint64)
    values = _parse(addresses.data, addresses.offsets)
    networks = values.astype(np.uint64)
    rows = np.flatnonzero(values < 0)  # a negated /48
    if len(rows):
        prefixes = (-values[rows]).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        column = Strings(np.ascontiguousarray(prefixes).ravel(), np.arange(len(rows) + 1, dtype=np.int64) * 6)
        networks[rows] = keyed_hash.strings(column) | np.uint64(_IPV6)
    return networks


def network_text(value: int) -> str:
    """``198.51.100.0/24`` for an IPv4 network, a digest for an IPv6 one, an empty text for 0."""
    if value & _IPV6:
        return f"ipv6-48:{value & (_IPV6 - 1):016x}"
    if not value & _IPV4:
        return ""
    return f"{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}.0/24"


@jit_helper
def _ipv4(data: Bytes, start: int, end: int) -> Any:
    """The address as an integer, or -1; stops at a port."""
    address, octet, digits, dots = 0, 0, 0, 0
    for at in range(start, end):
        byte = int(data[at])
        if byte >= 48 and byte <= 57:
            if digits > 0 and octet == 0:
                return -1  # a leading zero is octal to some and decimal to others
            octet = octet * 10 + (byte - 48)
            digits += 1
            if octet > 255:
                return -1
        elif byte == 46 and digits > 0 and dots < 3:
            address = address * 256 + octet
            octet, digits, dots = 0, 0, dots + 1
        elif byte == 58 and dots == 3:
            break
        else:
            return -1
    return address * 256 + octet if dots == 3 and digits > 0 else -1


@jit_helper
def _ipv4_network(address: int) -> Any:
    """The tagged /24, or 0 where the address is not one of the public Internet."""
    first, second = address >> 24, address >> 16 & 255
    private = (
        address < 0
        or first == 0
        or first == 10
        or first == 127
        or first >= 224
        or (first == 100 and second >> 6 == 1)
        or (first == 169 and second == 254)
        or (first == 172 and second >> 4 == 1)
        or (first == 192 and second == 168)
    )
    return 0 if private else (1 << 40) | (address >> 8)


@jit_helper
def _hex(data: Bytes, at: int) -> Any:
    byte = int(data[at])
    if byte >= 48 and byte <= 57:
        return byte - 48
    lower = byte | 32
    return lower - 87 if lower >= 97 and lower <= 102 else -1


@jit_helper
def _ipv6(data: Bytes, start: int, end: int, groups: Any) -> Any:
    """Fill ``groups`` (8 integers); 1 where the text is a valid address, else 0."""
    count, gap, at = 0, -1, start
    while at < end and count < 8:
        if data[at] == 58 and at + 1 < end and data[at + 1] == 58 and gap < 0:
            gap, at = count, at + 2
            continue
        if at > start and count != gap:
            if data[at] != 58:
                return 0
            at += 1
        first, value = at, 0
        while at < end and at < first + 4 and _hex(data, at) >= 0:
            value, at = value * 16 + _hex(data, at), at + 1
        if at < end and data[at] == 46 and count < 7:
            address = _ipv4(data, first, end)
            if address < 0:
                return 0
            groups[count], groups[count + 1] = address >> 16, address & 65535
            count, at = count + 2, end
            break
        if at == first:
            return 0
        groups[count], count = value, count + 1
    if at != end or (gap < 0 and count != 8) or (gap >= 0 and count == 8):
        return 0
    if gap >= 0:
        for back in range(count - gap):
            groups[7 - back] = groups[count - 1 - back]
        for place in range(gap, 8 - (count - gap)):
            groups[place] = 0
    return 1


@jit_helper
def _ipv6_network(groups: Any) -> Any:
    """The /48 negated, the IPv4 network of a mapped address, or 0 where it is not of the public Internet."""
    high = groups[0] << 32 | groups[1] << 16 | groups[2]
    if high == 0 and groups[3] == 0 and groups[4] == 0:
        return _ipv4_network(groups[6] << 16 | groups[7]) if groups[5] == 65535 else 0
    private = groups[0] >> 9 == 0x7E or groups[0] >> 6 == 0x3FA or groups[0] >> 8 == 0xFF or high == 0
    return 0 if private else -high


@jit
def _parse(data: Bytes, offsets: Int64) -> Int64:
    values = np.zeros(len(offsets) - 1, np.int64)
    groups = np.zeros(8, np.int64)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        while start < stop and (data[start] == 32 or data[start] == 91):
            start += 1
        end, colons = start, 0
        while end < stop and not (data[end] == 44 or data[end] == 32 or data[end] == 93 or data[end] == 37):
            colons += data[end] == 58
            end += 1
        if colons > 1:
            groups[:] = 0
            if _ipv6(data, start, end, groups) > 0:
                values[row] = _ipv6_network(groups)
        else:
            values[row] = _ipv4_network(_ipv4(data, start, end))
    return values
