"""Reading a BOLT 11 invoice: amount, payment hash, expiry. The signature is the paying node's business."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from converter.domain import bech32
from converter.domain.money import EXACT

_MULTIPLIERS = {"m": -3, "u": -6, "n": -9, "p": -12}
_PAYMENT_HASH, _EXPIRY = 1, 6
_DEFAULT_EXPIRY = 3600


@dataclass(frozen=True)
class Invoice:
    """`amount` in BTC, None when the payer chooses; times in Unix seconds."""

    amount: Decimal | None
    payment_hash: str
    created: int
    expires: int


def _number(words: list[int]) -> int:
    value = 0
    for word in words:
        value = value << 5 | word
    return value


def _amount(text: str) -> Decimal | None:
    if not text:
        return None
    digits, exponent = (text[:-1], _MULTIPLIERS[text[-1]]) if text[-1] in _MULTIPLIERS else (text, 0)
    if not digits.isdigit() or digits.startswith("0"):
        raise ValueError("carries an unreadable amount")
    if text[-1] == "p" and not digits.endswith("0"):
        raise ValueError("asks for a part of a millisatoshi")
    return EXACT.scaleb(Decimal(digits), exponent)


def decode_invoice(text: str) -> Invoice:
    """Read a mainnet invoice. ValueError says what is wrong."""
    prefix, words, kind = bech32.decode(text)
    if kind != bech32.BECH32 or not prefix.startswith("lnbc") or prefix.startswith("lnbcrt"):
        raise ValueError("is not a mainnet Lightning invoice (lnbc…)")
    if len(words) < 7 + 104:
        raise ValueError("is too short for an invoice")
    created, fields = _number(words[:7]), words[7:-104]
    payment_hash, expiry = "", _DEFAULT_EXPIRY
    while len(fields) >= 3:
        tag, length = fields[0], fields[1] << 5 | fields[2]
        value, fields = fields[3 : 3 + length], fields[3 + length :]
        if len(value) < length:
            raise ValueError("has a field that is longer than the invoice")
        if tag == _PAYMENT_HASH and length == 52 and not payment_hash:
            payment_hash = bytes(bech32.regroup(value, 5, 8, pad=True)[:32]).hex()
        elif tag == _EXPIRY:
            expiry = _number(value)
    if not payment_hash:
        raise ValueError("carries no payment hash")
    return Invoice(_amount(prefix[4:]), payment_hash, created, created + expiry)
