"""BOLT11 invoices, read far enough for amount, payment hash and expiry, and written far enough to be read again.

Signature and checksum are not checked; an invoice whose data cannot be read keeps a hash of its text in place of the
payment hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
HASH_TAG, EXPIRY_TAG, TEXT_TAG = 1, 6, 13
HASH_WORDS, TIME_WORDS, SIGNATURE_WORDS, CHECKSUM_WORDS = 52, 7, 104, 6
DEFAULT_EXPIRY = 3600
MULTIPLIERS = {"": 0, "m": -3, "u": -6, "n": -9, "p": -12}
GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True)
class Invoice:
    """What a BOLT11 asks for; no amount means that the payer chooses, amounts are in BTC."""

    text: str
    payment_hash: str
    amount: Decimal | None
    expires_at: int | None = None


def read_invoice(text: str) -> Invoice | None:
    """A mainnet BOLT11, or None."""
    found = re.fullmatch(rf"lnbc(?:([0-9]{{1,12}})([munp]?))?1([{CHARSET}]+)", text.lower())
    if found is None:
        return None
    digits, multiplier, data = found.groups()
    amount = Decimal(digits).scaleb(MULTIPLIERS[multiplier]) if digits else None
    words = [CHARSET.index(letter) for letter in data][: -SIGNATURE_WORDS - CHECKSUM_WORDS]
    tags = dict(_tags(words[TIME_WORDS:]))
    known_hash = tags.get(HASH_TAG, [])
    if len(known_hash) != HASH_WORDS:
        return Invoice(text, hashlib.sha256(text.lower().encode()).hexdigest(), amount)
    payment_hash = (_number(known_hash) >> 4).to_bytes(32).hex()
    expiry = _number(tags[EXPIRY_TAG]) if EXPIRY_TAG in tags else DEFAULT_EXPIRY
    return Invoice(text, payment_hash, amount, _number(words[:TIME_WORDS]) + expiry)


def write_invoice(payment_hash: bytes, amount: Decimal | None, now: int) -> str:
    """A mainnet BOLT11 with a right checksum and no valid signature."""
    asked = "" if amount is None else f"{int(amount.scaleb(12))}p"  # a p is a tenth of a millisatoshi
    prefix = f"lnbc{asked}"
    words = [
        *_words(now, TIME_WORDS),
        *(HASH_TAG, *_words(HASH_WORDS, 2), *_words(int.from_bytes(payment_hash) << 4, HASH_WORDS)),
        *(TEXT_TAG, 0, 0),
        *[0] * SIGNATURE_WORDS,
    ]
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    checksum = _polymod([*expanded, *words, *[0] * CHECKSUM_WORDS]) ^ 1
    return f"{prefix}1" + "".join(CHARSET[word] for word in [*words, *_words(checksum, CHECKSUM_WORDS)])


def _tags(words: list[int]) -> Iterable[tuple[int, list[int]]]:
    while len(words) >= 3:
        size = words[1] * 32 + words[2]
        yield words[0], words[3 : 3 + size]
        words = words[3 + size :]


def _number(words: Iterable[int]) -> int:
    number = 0
    for word in words:
        number = number * 32 + word
    return number


def _words(number: int, count: int) -> list[int]:
    return [number >> 5 * (count - 1 - index) & 31 for index in range(count)]


def _polymod(values: Iterable[int]) -> int:
    """The checksum of BIP 173."""
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return check
