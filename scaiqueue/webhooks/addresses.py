"""Where webhooks may go: not into the network that this process stands in.

A name is judged by what it resolves to, and once more when the connection is made, by the address that it is
made to: what the name means by then makes no difference.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from scaiqueue.settings import networks_of

Address = IPv4Address | IPv6Address
MAX_URL = 2048
RESOLVED_WITHIN_S = 3.0
# Networks whose addresses hold an IPv4 address at the end, and are delivered to it.
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


class AddressRefused(OSError):
    """The address is one that webhooks may not go to."""


class Addresses:
    """`private_networks`: which may be gone to although they are not public."""

    def __init__(self, private_networks: str = "") -> None:
        self._networks = [ip_network(text) for text in networks_of(private_networks)]

    def allows(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        if any(address in network for network in self._networks):
            return True
        return all(one.is_global and not one.is_multicast for one in _meant(address))

    def socket(self, found: tuple[Any, ...]) -> socket.socket:
        """For the connector, of what it is about to connect to. Raises AddressRefused."""
        family, kind, protocol, _, address = found
        if not self.allows(address[0]):
            raise AddressRefused(f"{address[0]} is a private address")
        return socket.socket(family, kind, protocol)

    async def complaint(self, url: str) -> str | None:
        """Why a URL can't be a webhook's; None: it may be. A name that says nothing yet may say it later."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "Not a URL"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return "Must be http:// or https:// with a host"
        if parts.username is not None or parts.password is not None:
            return "Must not hold a password: deliveries are signed"
        if parts.fragment or len(url) > MAX_URL or not url.isascii() or any(c <= " " for c in url):
            return f"At most {MAX_URL} characters of ASCII, without blanks and fragment"
        default = 443 if parts.scheme == "https" else 80
        for address in await _resolved(parts.hostname, port or default):
            if not self.allows(address):
                return "Leads to a private address"
        return None


def _meant(address: Address) -> list[Address]:
    """The address, and the ones that it is delivered to."""
    found: list[Address] = [address]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return [address.ipv4_mapped]
        if address.sixtofour is not None:
            found.append(address.sixtofour)
        if address.teredo is not None:
            found += address.teredo
        if any(address in network for network in _TRANSLATED):
            return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return found


async def _resolved(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVED_WITHIN_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(each[4][0]) for each in found]
