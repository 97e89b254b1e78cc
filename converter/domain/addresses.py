"""Destination addresses, checked per coin and network. The text alone never decides the network.

Rules: BTC base58check versions 0 and 5, `bc1q` with bech32, `bc1p` with bech32m; ETH in EIP-55 mixed case (an address
without case carries no checksum and is refused); Lightning as an invoice without amount, since what is paid is the
quoted net.
"""

from __future__ import annotations

import hashlib
import re

from converter.domain import bech32
from converter.domain.bolt11 import decode_invoice
from converter.domain.coins import Asset
from converter.domain.errors import InvalidRequest
from converter.domain.keccak import keccak_256

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BTC_VERSIONS = (0, 5)
_HEX_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

_ACCEPTED = {
    "BTC": "a mainnet address: 1…, 3…, bc1q… or bc1p…, with its checksum",
    "LIGHTNING": "a mainnet BOLT 11 invoice (lnbc…) without amount",
    "ETH": "0x and 40 hex digits in EIP-55 mixed case",
}


def base58check(text: str) -> bytes:
    """Payload with its version byte. ValueError says what is wrong."""
    number = 0
    for char in text:
        if char not in _BASE58:
            raise ValueError("holds a character outside the base58 alphabet")
        number = number * 58 + _BASE58.index(char)
    zeros = len(text) - len(text.lstrip("1"))
    raw = b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) != 25:
        raise ValueError("has the wrong length")
    payload, checksum = raw[:-4], raw[-4:]
    if hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4] != checksum:
        raise ValueError("has a wrong checksum")
    return payload


def eip55(text: str) -> str:
    """The checksummed spelling of a hex address."""
    digits = text[2:].lower()
    digest = keccak_256(digits.encode()).hex()
    return "0x" + "".join(char.upper() if int(mark, 16) >= 8 else char for char, mark in zip(digits, digest))  # noqa: B905


def _check_btc(text: str) -> None:
    if text.lower().startswith(("bc1", "tb1", "bcrt1")):
        version, _ = bech32.segwit_program(text, "bc")
        if version > 1:
            raise ValueError("uses a witness version that nobody can spend yet")
    elif base58check(text)[0] not in _BTC_VERSIONS:
        raise ValueError("belongs to another network or coin")


def _check_eth(text: str) -> None:
    if not _HEX_ADDRESS.fullmatch(text):
        raise ValueError("is not 0x and 40 hex digits")
    if text[2:] in (text[2:].lower(), text[2:].upper()) and any(char.isalpha() for char in text[2:]):
        raise ValueError("carries no checksum (all one case)")
    if int(text, 16) == 0:
        raise ValueError("is the zero address")
    if eip55(text) != text:
        raise ValueError("has a wrong EIP-55 checksum")


def _check_lightning(text: str) -> None:
    if decode_invoice(text).amount is not None:
        raise ValueError("is an invoice with a fixed amount, but the amount paid is the quoted net")


_CHECKS = {"BTC": _check_btc, "ETH": _check_eth, "LIGHTNING": _check_lightning}


def check_address(asset: Asset, text: object, field: str = "address") -> str:
    """Return the address if a payment of `asset` can go there; raises InvalidRequest otherwise."""
    accepted = _ACCEPTED[asset.network]
    if not isinstance(text, str) or not text:
        raise InvalidRequest(field, "is missing", accepted)
    if len(text) > 2000 or not text.isascii() or not text.isalnum():
        raise InvalidRequest(field, "holds characters that no address has", accepted)
    try:
        _CHECKS[asset.network](text)
    except ValueError as error:
        raise InvalidRequest(field, f"{_short(text)} {error}", accepted) from error
    return text


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:10]}…{text[-6:]}"
