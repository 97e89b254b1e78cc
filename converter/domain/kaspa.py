"""Kaspa addresses: `kaspa:`, then a version byte and a key or script hash in cashaddr's words and checksum.

The prefix belongs to the address: Kaspa's own software takes none without it.
"""

from __future__ import annotations

from converter.domain import cashaddr

PREFIX = "kaspa"
_SIZES = {0: 32, 1: 33, 8: 32}
"""Version -> bytes: a Schnorr key, an ECDSA key, a script hash."""


def check_kaspa_address(text: str) -> None:
    """ValueError says what is wrong."""
    prefix, separator, words = text.partition(":")
    if not separator:
        raise ValueError("lacks its prefix kaspa:")
    if prefix != PREFIX:
        raise ValueError("belongs to another network or coin")
    payload = cashaddr.decode(words, PREFIX)
    version, body = payload[0], payload[1:]
    if version not in _SIZES:
        raise ValueError("is of an unknown kind")
    if len(body) != _SIZES[version]:
        raise ValueError("has the wrong length")
    if not any(body):
        raise ValueError("is an address that nobody can spend from")
    if version == 1 and body[0] not in (2, 3):
        raise ValueError("holds no public key")
