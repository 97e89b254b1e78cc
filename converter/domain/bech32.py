"""Bech32 and bech32m (BIP 173, BIP 350): the checksum, segwit programs, and the words of a BOLT 11 invoice."""

from __future__ import annotations

from collections.abc import Iterable

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32, BECH32M = 1, 0x2BC830A3
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def _polymod(words: Iterable[int]) -> int:
    checksum = 1
    for word in words:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _expand(prefix: str) -> list[int]:
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def decode(text: str) -> tuple[str, list[int], int]:
    """Split into prefix, 5-bit words without the checksum, and which checksum holds. ValueError says what is wrong."""
    if text.lower() != text and text.upper() != text:
        raise ValueError("mixes upper and lower case")
    text = text.lower()
    prefix, separator, data = text.rpartition("1")
    if not separator or not prefix or len(data) < 6:
        raise ValueError("is not bech32")
    if any(char not in ALPHABET for char in data):
        raise ValueError("holds a character outside the bech32 alphabet")
    words = [ALPHABET.index(char) for char in data]
    found = _polymod(_expand(prefix) + words)
    if found not in (BECH32, BECH32M):
        raise ValueError("has a wrong checksum")
    return prefix, words[:-6], found


def encode(prefix: str, words: list[int], kind: int) -> str:
    """Text of 5-bit words with their checksum."""
    checksum = _polymod([*_expand(prefix), *words, 0, 0, 0, 0, 0, 0]) ^ kind
    tail = [checksum >> 5 * (5 - index) & 31 for index in range(6)]
    return f"{prefix}1" + "".join(ALPHABET[word] for word in words + tail)


def regroup(words: Iterable[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """Repack words of `from_bits` into words of `to_bits`. ValueError for non-zero or over-long padding."""
    collected, bits, result = 0, 0, []
    for word in words:
        collected = collected << from_bits | word
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            result.append(collected >> bits & (1 << to_bits) - 1)
        collected &= (1 << bits) - 1
    if pad and bits:
        result.append(collected << (to_bits - bits) & (1 << to_bits) - 1)
    elif not pad and (bits >= from_bits or collected):
        raise ValueError("has bad padding")
    return result


def segwit_program(text: str, prefix: str) -> tuple[int, bytes]:
    """Witness version and program of a segwit address. ValueError says what is wrong."""
    if len(text) > 90:
        raise ValueError("is too long")
    found_prefix, words, kind = decode(text)
    if found_prefix != prefix:
        raise ValueError(f"belongs to another network ({found_prefix!r})")
    if not words or words[0] > 16:
        raise ValueError("has no known witness version")
    program = bytes(regroup(words[1:], 5, 8, pad=False))
    if not 2 <= len(program) <= 40 or (words[0] == 0 and len(program) not in (20, 32)):
        raise ValueError("has a program of the wrong length")
    if words[0] == 1 and len(program) != 32:
        raise ValueError("is a taproot address of the wrong length")
    if kind != (BECH32 if words[0] == 0 else BECH32M):
        raise ValueError("uses the wrong checksum for its witness version")
    return words[0], program


def segwit_address(prefix: str, version: int, program: bytes) -> str:
    """Text of a segwit address."""
    words = [version, *regroup(program, 8, 5, pad=True)]
    return encode(prefix, words, BECH32 if version == 0 else BECH32M)
