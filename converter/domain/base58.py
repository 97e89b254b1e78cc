"""Base58: the digits that several coins share, and Bitcoin's checksum over them."""

from __future__ import annotations

import hashlib

_DIGITS = {char: value for value, char in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}


def number(text: str) -> int:
    """The number that the digits make. ValueError for anything else than a digit."""
    value = 0
    for char in text:
        if char not in _DIGITS:
            raise ValueError("holds a character outside the base58 alphabet")
        value = value * 58 + _DIGITS[char]
    return value


def decode(text: str) -> bytes:
    """The bytes of a text, one zero byte for each leading `1`. ValueError says what is wrong."""
    value = number(text)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + value.to_bytes((value.bit_length() + 7) // 8, "big")


def base58check(text: str, size: int = 21) -> bytes:
    """Payload of `size` bytes, its version bytes included. ValueError says what is wrong."""
    raw = decode(text)
    if len(raw) != size + 4:
        raise ValueError("has the wrong length")
    payload, checksum = raw[:-4], raw[-4:]
    if hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4] != checksum:
        raise ValueError("has a wrong checksum")
    return payload
