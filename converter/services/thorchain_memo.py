"""Memos of THORChain swaps, the price limit in them, and what its refusals say."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Any

from converter.domain.errors import (
    AmountOutOfRange,
    IntegrityMismatch,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
)
from converter.domain.money import EXACT, from_units
from converter.domain.orders import OrderRequest
from converter.services.thorchain_assets import SHORT_CODES, UNIT_DECIMALS, name_of, same_address

_ACTIONS = ("=", "s", "SWAP")
_LIMIT = re.compile(r"([0-9]{1,20})(?:e([0-9]{1,2}))?")
_RECOMMENDED = re.compile(r"recommended_min_amount_in: ([0-9]{1,20})\b")

_PAIR = ("pool does not exist", "bad from asset", "bad to asset")
_SMALL = ("less than dust threshold", "less than min swap amount", "less than outbound fee")
_PRICE = ("less than price limit", "outbound amount does not meet requirements")


def least_units(amount: Decimal) -> int:
    """An amount in 1e-8 units, rounded up: what must be reached."""
    return int(EXACT.scaleb(amount, UNIT_DECIMALS).to_integral_value(ROUND_CEILING))


def tolerance(promised: int, least: int) -> int:
    """Basis points below the expected amount at which the limit is not below `least`; one at least, see the service."""
    return min(9999, max(1, (promised - least) * 10_000 // promised))


def limit_of(memo: str, order: OrderRequest) -> int:
    """The limit of a memo that swaps into our asset for our address, and does nothing else.

    `=:ASSET:DESTINATION:LIMIT`. Raises IntegrityMismatch for any other: a refund address, a streaming part, an
    affiliate, or no limit at all.
    """
    action, *parts = memo.split(":")
    found = _LIMIT.fullmatch(parts[-1]) if len(parts) == 3 else None
    if action not in _ACTIONS or found is None:
        raise IntegrityMismatch("thorchain", "order", detail="the memo is no plain swap with a limit")
    asset, destination, _ = parts
    if not _means(asset, name_of(order.to_asset)) or not same_address(order.to_asset, destination, order.address):
        raise IntegrityMismatch("thorchain", "order", detail="the memo's asset or address is not ours")
    return int(found[1] + "0" * int(found[2] or 0))


def _means(written: str, name: str) -> bool:
    """Whether a memo's asset is the one of this name: short code, full name, or the contract cut to its end or left
    out, which the network does itself where that is unambiguous."""
    if written == SHORT_CODES.get(name) or written.upper() == name:
        return True
    head, dash, contract = name.partition("-")
    begun, _, end = written.upper().partition("-")
    return bool(dash) and begun == head and contract.endswith(end)


def refusal(operation: str, status: int, body: Any) -> ServiceError | None:
    """The refusal of a quote in either of its two forms; None for an answer that says nothing about the swap."""
    told = body["message"] if type(body.get("code")) is int else body["error"]
    words = told.lower()
    if not words or not isinstance(told, str):
        return None
    if any(part in words for part in _PAIR):
        return PairNotSupported("thorchain", operation, code=str(status))
    if any(part in words for part in _SMALL):
        least = _RECOMMENDED.search(words)
        return AmountOutOfRange(
            "thorchain", operation, minimum=from_units(int(least[1]), UNIT_DECIMALS) if least else None
        )
    if any(part in words for part in _PRICE):
        return QuoteExpired("thorchain", operation, code=str(status))
    if status == 400 or "failed to simulate swap" in words:
        return ServiceRejected("thorchain", operation, code=str(status), detail=told[:100])
    return None
