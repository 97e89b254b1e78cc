"""Destination addresses, checked per coin and network. The text alone never decides the network.

The caller names the asset and the text is held against that network's rules, main networks only; `0x…` is as good on
ETC as on ETH, and nothing here guesses which was meant. What is accepted is kept byte for byte as it came. Refused
beside misspelling:

* forms that two coins share: Litecoin's old `3…` (its `M…` is taken), Bitcoin Cash's old `1…` and `3…`;
* forms that services do not pay: MWEB, shielded and unified Zcash, whole Ergo scripts, witness versions above 1;
* addresses from which nobody can spend, and a token's own contract.

Bitcoin Cash is taken with `bitcoincash:` only, Kaspa only with `kaspa:`, as its own software does. ETH must be in
EIP-55 mixed case; Lightning is an invoice without amount, since what is paid is the quoted net.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converter.domain import bech32
from converter.domain.base58 import base58check
from converter.domain.bolt11 import decode_invoice
from converter.domain.cashaddr import check_cash_address
from converter.domain.coins import MEMO_RULES, Asset
from converter.domain.ergo import check_ergo_address
from converter.domain.errors import InvalidRequest
from converter.domain.evm import check_evm_address, eip55
from converter.domain.kaspa import check_kaspa_address
from converter.domain.monero import check_monero_address

__all__ = ["base58check", "check_address", "check_memo", "eip55"]

_ACCEPTED = {
    "BTC": "a mainnet address: 1…, 3…, bc1q… or bc1p…, with its checksum",
    "LIGHTNING": "a mainnet BOLT 11 invoice (lnbc…) without amount",
    "ETH": "0x and 40 hex digits in EIP-55 mixed case",
    "ETC": "0x and 40 hex digits in EIP-55 mixed case",
    "LTC": "a mainnet address: L…, M… (not its old 3… form), ltc1q… or ltc1p…, with its checksum",
    "BCH": "a mainnet cashaddr address: q… or p…, with bitcoincash: before it (not an old 1… or 3…)",
    "DOGE": "a mainnet address: D…, 9… or A…, with its checksum",
    "RVN": "a mainnet address: R… or r…, with its checksum",
    "XMR": "a mainnet address of 95 or 106 characters: 4… or 8…, with its checksum",
    "ZEC": "a mainnet transparent address: t1… or t3… (not shielded or unified), with its checksum",
    "KAS": "a mainnet address: kaspa:q… or kaspa:p…, with its checksum",
    "ERG": "a mainnet address of a key (9…) or of a script's hash, with its checksum",
    "TRX": "a mainnet address: T…, with its checksum",
}

_VERSIONS: Mapping[str, tuple[bytes, ...]] = {
    "BTC": (b"\x00", b"\x05"),
    "LTC": (b"\x30", b"\x32"),  # 0x05 is Bitcoin's 3… as well
    "DOGE": (b"\x1e", b"\x16"),
    "RVN": (b"\x3c", b"\x7a"),
    "ZEC": (b"\x1c\xb8", b"\x1c\xbd"),
    "TRX": (b"\x41",),
}
"""Base58check version bytes by network: the hash of a key, then of a script."""

_WITNESS_PREFIX = {"BTC": "bc", "LTC": "ltc"}
_WITNESS_STARTS = ("bc1", "tb1", "bcrt1", "ltc1", "tltc1", "rltc1", "tmweb1")
_NEWEST_WITNESS = 1

_UNPAID_FORMS = {"LTC": ("ltcmweb1",), "ZEC": ("zs1", "zc", "u1", "tex1")}
"""How addresses begin that the network has and services do not pay."""

_CONTRACTS = {
    ("USDT", "ETH"): "0xdAC17F958D2ee523a2206206994597C13D831ec7",
    ("USDT", "TRX"): "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
}
"""Tokens sent to their own contract are lost."""

_HASH = 20
_LONGEST = 2000


def _check_witness(text: str, network: str) -> None:
    version, program = bech32.segwit_program(text, _WITNESS_PREFIX[network])
    if version > _NEWEST_WITNESS:
        raise ValueError("uses a witness version that nobody can spend yet")
    if not any(program):
        raise ValueError("is an address that nobody can spend from")


def _check_hash(text: str, network: str) -> None:
    """The address of a key or script hash: base58check, or a witness program where the network has them."""
    if text.lower().startswith(_UNPAID_FORMS.get(network, ())):
        raise ValueError("is of a form that services do not pay")
    if network in _WITNESS_PREFIX and text.lower().startswith(_WITNESS_STARTS):
        _check_witness(text, network)
        return
    versions = _VERSIONS[network]
    payload = base58check(text, len(versions[0]) + _HASH)
    if not payload.startswith(versions):
        raise ValueError("belongs to another network or coin")
    if not any(payload[-_HASH:]):
        raise ValueError("is an address that nobody can spend from")


def _check_lightning(text: str) -> None:
    if decode_invoice(text).amount is not None:
        raise ValueError("is an invoice with a fixed amount, but the amount paid is the quoted net")


_OWN_FORMS: Mapping[str, Callable[[str], None]] = {
    "LIGHTNING": _check_lightning,
    "ETH": check_evm_address,
    "ETC": check_evm_address,
    "BCH": check_cash_address,
    "XMR": check_monero_address,
    "KAS": check_kaspa_address,
    "ERG": check_ergo_address,
}


def _check(asset: Asset, text: str) -> None:
    if asset.network in _VERSIONS:
        _check_hash(text, asset.network)
    else:
        _OWN_FORMS[asset.network](text)
    if text == _CONTRACTS.get((asset.coin, asset.network)):
        raise ValueError("is the token's own contract")


def check_address(asset: Asset, text: object, field: str = "address") -> str:
    """Return the address if a payment of `asset` can go there; raises InvalidRequest otherwise."""
    accepted = _ACCEPTED[asset.network]
    if not isinstance(text, str) or not text:
        raise InvalidRequest(field, "is missing", accepted)
    if len(text) > _LONGEST or not text.isascii() or not text.replace(":", "").isalnum():
        raise InvalidRequest(field, "holds characters that no address has", accepted)
    try:
        _check(asset, text)
    except ValueError as error:
        raise InvalidRequest(field, f"{_short(text)} {error}", accepted) from error
    return text


def check_memo(asset: Asset, text: str, field: str = "memo") -> str:
    """Return the mark that a receiver of `asset` asks for beside its address; raises InvalidRequest otherwise.

    None of our networks takes one there, so only the empty text is good. What a decentralised exchange wants written
    into a transaction is an instruction to it and not such a mark: it is not checked here.
    """
    if text:
        rule = MEMO_RULES.get(asset.network)
        how = f"none: the {rule.name} is part of the address" if rule else "none"
        raise InvalidRequest(field, f"{_short(text)!r} cannot be sent beside an address of {asset}", how)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:10]}…{text[-6:]}"
