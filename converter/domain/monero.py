"""Monero addresses: base58 in blocks over a network byte, two keys and four bytes of their Keccak-256.

Standard addresses, subaddresses and integrated addresses are paid. The last carry a payment id of eight bytes, which
the paying wallet reads from the address itself: none is sent beside it.
"""

from __future__ import annotations

from converter.domain import base58
from converter.domain.keccak import keccak_256

STANDARD, INTEGRATED, SUBADDRESS = 18, 19, 42
"""Network bytes of the main network."""

_SIZES = {STANDARD: 65, INTEGRATED: 73, SUBADDRESS: 65}
_CHARACTERS = 11
"""Eight bytes are written as eleven characters; fewer bytes at the end as fewer."""
_BYTES_OF = {2: 1, 3: 2, 5: 3, 6: 4, 7: 5, 9: 6, 10: 7, 11: 8}
_LONGEST = 106


def _decode(text: str) -> bytes:
    if len(text) > _LONGEST:
        raise ValueError("has the wrong length")
    raw = b""
    for start in range(0, len(text), _CHARACTERS):
        block = text[start : start + _CHARACTERS]
        if len(block) not in _BYTES_OF:
            raise ValueError("has the wrong length")
        value, size = base58.number(block), _BYTES_OF[len(block)]
        if value >> 8 * size:  # else the same bytes would have two spellings
            raise ValueError("has a wrong checksum")
        raw += value.to_bytes(size, "big")
    return raw


def read_monero_address(text: str) -> tuple[int, str]:
    """Kind and payment id, in hex and empty when it carries none. ValueError says what is wrong."""
    raw = _decode(text)
    payload, checksum = raw[:-4], raw[-4:]
    if not payload:
        raise ValueError("has the wrong length")
    if keccak_256(payload)[:4] != checksum:
        raise ValueError("has a wrong checksum")
    kind = payload[0]
    if kind not in _SIZES:
        raise ValueError("belongs to another network or coin")
    if len(payload) != _SIZES[kind]:
        raise ValueError("has the wrong length")
    if not any(payload[1:33]) or not any(payload[33:65]):
        raise ValueError("is an address that nobody can spend from")
    return kind, payload[65:].hex()


def check_monero_address(text: str) -> None:
    """ValueError says what is wrong."""
    read_monero_address(text)
