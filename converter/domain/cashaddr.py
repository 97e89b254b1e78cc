"""Cashaddr, Bitcoin Cash's address format: a prefix, `:` and 5-bit words, of which the last eight are a checksum.

The prefix belongs to an address: without it a text could be meant for another network. Services leave it out at times;
`prefixed` puts it back, and the checksum, which covers it, then tells. Kaspa uses the same words and checksum for
payloads of its own.

Paid are `q…` (key hash) and `p…` (script hash) of 20 bytes. Refused, though the format knows them: 32-byte script
hashes and the token forms `z…` and `r…`, which services do not pay. Capitals are refused too: one spelling is enough.
"""

from __future__ import annotations

from converter.domain.bech32 import ALPHABET, regroup

PREFIX = "bitcoincash"
_GENERATORS = (0x98F2BC8E61, 0x79B76D99E2, 0xF33E5FB3C4, 0xAE2EABE2A8, 0x1E4F43E470)
_CHECKSUM_WORDS = 8
_KEY_HASH, _SCRIPT_HASH = 0x00, 0x08
"""Version bytes: the kind and the size, 20 bytes. The highest bit is reserved."""


def _polymod(words: list[int]) -> int:
    checksum = 1
    for word in words:
        top = checksum >> 35
        checksum = (checksum & 0x07FFFFFFFF) << 5 ^ word
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                checksum ^= generator
    return checksum ^ 1


def _expand(prefix: str) -> list[int]:
    return [*(ord(char) & 31 for char in prefix), 0]


def decode(text: str, prefix: str) -> bytes:
    """Bytes of the words that follow the prefix, without their checksum. ValueError says what is wrong."""
    if any(char not in ALPHABET for char in text):
        raise ValueError("holds a character outside the alphabet (capitals are not taken)")
    words = [ALPHABET.index(char) for char in text]
    if len(words) <= _CHECKSUM_WORDS or _polymod(_expand(prefix) + words):
        raise ValueError("has a wrong checksum")
    return bytes(regroup(words[:-_CHECKSUM_WORDS], 5, 8, pad=False))


def prefixed(text: str) -> str:
    """The whole address of one whose prefix may have been left out."""
    return text if ":" in text else f"{PREFIX}:{text}"


def check_cash_address(text: str) -> None:
    """Check an address. ValueError says what is wrong."""
    prefix, separator, words = text.rpartition(":")
    if not separator:
        raise ValueError(f"does not say its network ({PREFIX}:)")
    if prefix != PREFIX:
        raise ValueError("belongs to another network or coin")
    payload = decode(words, PREFIX)
    if payload[0] not in (_KEY_HASH, _SCRIPT_HASH) or len(payload) != 21:
        raise ValueError("has the wrong length or is of a kind that services do not pay")
    if not any(payload[1:]):
        raise ValueError("is an address that nobody can spend from")
