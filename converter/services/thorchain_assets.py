"""How THORChain names assets, amounts, addresses and transactions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from converter.domain.addresses import eip55
from converter.domain.cashaddr import prefixed
from converter.domain.coins import Asset
from converter.domain.errors import PairNotSupported
from converter.domain.money import floor_unit
from converter.domain.orders import OrderRequest
from converter.domain.quotes import QuoteRequest

UNIT_DECIMALS = 8
"""All amounts are whole numbers of 1e-8, whatever the chain's own unit is."""

CODES: dict[tuple[str, str], str | None] = {
    ("BTC", "BTC"): "BTC.BTC",
    ("BTC", "LIGHTNING"): None,
    ("ETH", "ETH"): "ETH.ETH",
    ("ETC", "ETC"): None,
    ("LTC", "LTC"): "LTC.LTC",
    ("BCH", "BCH"): "BCH.BCH",
    ("DOGE", "DOGE"): "DOGE.DOGE",
    ("RVN", "RVN"): None,
    ("XMR", "XMR"): None,
    ("ZEC", "ZEC"): None,
    ("KAS", "KAS"): None,
    ("ERG", "ERG"): None,
    ("USDT", "TRX"): None,
    ("USDT", "ETH"): "ETH.USDT-0XDAC17F958D2EE523A2206206994597C13D831EC7",
}
"""Asset -> its name there; None: known to us, not supported there as far as is established."""

SHORT_CODES = {"BTC.BTC": "b", "BCH.BCH": "c", "ETH.ETH": "e", "DOGE.DOGE": "d", "LTC.LTC": "l"}

_EVM = ("ETH",)
_NUMBER = re.compile(r"[0-9]{1,30}")
_TXID = re.compile(r"(?:0[xX])?([0-9a-fA-F]{64})")


def converts(from_asset: Asset, to_asset: Asset) -> bool:
    """Two assets with a name each, of which the first is its chain's own coin."""
    sender, receiver = (CODES.get((one.coin, one.network)) for one in (from_asset, to_asset))
    return sender is not None and receiver is not None and sender != receiver and "-" not in sender


def pair_of(request: QuoteRequest | OrderRequest) -> dict[str, str]:
    """The pair as the network writes it. Raises PairNotSupported."""
    if not converts(request.from_asset, request.to_asset):
        raise PairNotSupported("thorchain", "quote")
    return {"from_asset": name_of(request.from_asset), "to_asset": name_of(request.to_asset)}


def name_of(asset: Asset) -> str:
    """The network's name of a supported asset."""
    name = CODES.get((asset.coin, asset.network))
    if name is None:
        raise PairNotSupported("thorchain", "quote", detail=f"{asset} has no pool")
    return name


def chain_of(asset: Asset) -> str:
    """The chain of a supported asset."""
    return name_of(asset).partition(".")[0]


def sendable(request: QuoteRequest | OrderRequest) -> Decimal:
    """The amount in eight decimals at most; what is finer stays with the pool."""
    return floor_unit(request.amount, UNIT_DECIMALS)


def units(value: Any) -> int:
    """An amount of 1e-8 units, which travels as text; ValueError for anything else."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValueError("not a whole number in text")
    return int(value)


def same_address(asset: Asset, told: str, ours: str) -> bool:
    """Whether two texts are one address: capitals mean nothing on the EVM, nor does Bitcoin Cash's prefix."""
    if asset.network in _EVM:
        return told.lower() == ours.lower()
    if asset.network == "BCH":
        return told.removeprefix("bitcoincash:") == ours.removeprefix("bitcoincash:")
    return told == ours


def spelled(asset: Asset, address: str) -> str:
    """An address as we write it: in EIP-55 mixed case on the EVM, with its prefix on Bitcoin Cash."""
    if asset.network == "BCH":
        return prefixed(address)
    return eip55(address) if asset.network in _EVM else address


def spelled_txid(asset: Asset, told: Any) -> str:
    """A transaction's id as its chain writes it; ValueError for what is none."""
    found = _TXID.fullmatch(told)
    if found is None:
        raise ValueError("not a transaction id")
    return ("0x" if asset.network in _EVM else "") + found[1].lower()
