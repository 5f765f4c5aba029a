"""Which addresses a sink may reach: a setting, or a name somebody else controls, must not open the inside to us.

What lives here: the judgement of addresses, and the resolver that lets only judged ones through. What does not:
sending (``client``). A name is resolved once for each delivery and the connection goes to what was judged then, so a
name that answers differently a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from models.errors import DistilwatchError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Awaitable[list[str]]]
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(DistilwatchError, OSError):
    """A sink leads to an address that its settings do not allow."""


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one wraps (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return wrapped or address


def allowed(text: str, allow: Sequence[Network], *, public: bool) -> bool:
    """Whether a numeric address may be reached: named by ``allow``, or, where ``public``, an address of the internet.

    Loopback, private, link-local (cloud metadata among them), multicast and reserved addresses are none.
    """
    try:
        address = inner(ipaddress.ip_address(text.split("%")[0]))
    except ValueError:
        return False
    if any(address in network for network in allow if network.version == address.version):
        return True
    return public and address.is_global and not address.is_multicast and not address.is_reserved


async def look_up(host: str, port: int) -> list[str]:
    """Every address of a name, as the system resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class JudgingResolver(AbstractResolver):
    """Resolves a name and hands out only addresses that may be reached."""

    def __init__(self, allow: Sequence[Network], *, public: bool, lookup: Lookup = look_up) -> None:
        self._allow = allow
        self._public = public
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of ``host`` that may be reached.

        Raises:
            ForbiddenAddressError: there is none; other addresses of the name are not tried.
        """
        self.check(host, found := await self._lookup(host, port))
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    def check(self, host: str, addresses: Sequence[str]) -> None:
        """Raise ForbiddenAddressError where any of the addresses is out of bounds: one bad one spoils the name."""
        bad = [address for address in addresses if not allowed(address, self._allow, public=self._public)]
        if bad or not addresses:
            where = bad[0] if bad else "no address"
            raise ForbiddenAddressError(f"{host} leads to {where}: if that is right, name its network in `allow`")

    async def close(self) -> None:
        """Nothing is held."""
