"""Which addresses are public: what a URL of somebody else's may lead to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NAT64 = ip_network("64:ff9b::/96")
_CLOSED = [
    ip_network(text)
    for text in ("192.0.0.0/24", "64:ff9b:1::/48", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16")
]
"""Not every Python knows that these are not global."""
_WIRE_SERVERS = frozenset({IPv4Address("168.63.129.16")})
"""Public by their numbers, yet served by the cloud's host to its own machines only."""


def is_public(text: str) -> bool:
    """Whether an address, as `getaddrinfo` gives it, lies in the open: not private, shared, loopback, link-local
    (where clouds keep their metadata), multicast, unspecified or reserved, also not inside an IPv6 address."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inside = _inside(address)
        if inside is not None:
            return _is_open(inside)
    return _is_open(address)


def _is_open(address: IPv4Address | IPv6Address) -> bool:
    closed = address.is_multicast or address.is_reserved or address.is_unspecified or address in _WIRE_SERVERS
    return address.is_global and not closed and not any(address in network for network in _CLOSED)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which an IPv6 address leads."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
