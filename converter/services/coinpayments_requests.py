"""What CoinPayments says about currencies, wallets, previews and transactions, read and held against ours; signing.

Limits: its API pages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    IntegrityMismatch,
    MalformedResponse,
    PairNotSupported,
    QuoteExpired,
    ServiceRejected,
)
from converter.domain.limits import Budget, Limit
from converter.domain.money import EXACT, floor_unit, from_units
from converter.domain.orders import Order, OrderRef, OrderRequest, OrderStatus
from converter.domain.quotes import QuoteRequest
from converter.services.base import exact, text
from converter.transport.http import HttpAnswer

BUDGET = Budget(Limit(50, burst=20), requests={"quote": 4, "order": 2, "list": 16})
"""50 a second, and a burst that is the rest of the 70 that it allows: it must hold a list beside a look-up.

A quote reads limits, rates, the network fee and wallets; an order reads the wallets and makes the request. Currencies
are looked up once. The list reads currencies, wallets and up to fourteen pages of their transactions.
"""

CODES: dict[tuple[str, str], tuple[str, str] | None] = {
    ("BTC", "BTC"): ("BTC", ""),
    ("BTC", "LIGHTNING"): None,
    ("ETH", "ETH"): ("ETH", ""),
    ("ETC", "ETC"): ("ETC", ""),
    ("LTC", "LTC"): ("LTC", ""),
    ("BCH", "BCH"): ("BCH", ""),
    ("DOGE", "DOGE"): ("DOGE", ""),
    ("RVN", "RVN"): ("RVN", ""),
    ("XMR", "XMR"): None,
    ("ZEC", "ZEC"): None,
    ("KAS", "KAS"): None,
    ("ERG", "ERG"): None,
    ("USDT", "TRX"): ("USDT", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
    ("USDT", "ETH"): ("USDT", "0xdac17f958d2ee523a2206206994597c13d831ec7"),
}
"""Asset -> symbol in the service's list, which decides, and the contract of a token. None: known to us, not supported
there as far as is established."""

STATUS = {
    **dict.fromkeys(
        ("unknown", "created", "pending", "processing", "waitingforconversion", "pendingreceive"), OrderStatus.OPEN
    ),
    "completed": OrderStatus.PAYING_OUT,
    "confirmedonblockchain": OrderStatus.SETTLED,
    **dict.fromkeys(("failedonblockchain", "failed", "cancelled", "rejected", "expired"), OrderStatus.HELD),
}
"""Status in lower case, since its spelling differs from place to place. A confirmation that came to nothing goes to a
person: whether the coins are back, or moved in part, is not told."""

DECIMALS = 8
"""Of an amount that is sent: a preview tells amounts as JSON numbers, which carry no eighteen digits."""

_IDENT = re.compile(r"[0-9A-Za-z-]{8,64}")
_AT_MOST = 2
_MOST_DIGITS = 60


@dataclass(frozen=True)
class Currency:
    """A currency as the service numbers it; a token goes by its network's number and a contract."""

    currency_id: str
    contract: str

    @property
    def number(self) -> str:
        """The number of the coin, or of the token's network."""
        return self.currency_id.partition(":")[0]


def signature(secret: str, message: bytes) -> str:
    """Of a request: method, whole URL, client, moment and body behind a byte-order mark."""
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def problem_of(answer: HttpAnswer) -> str:
    """Title of an error of the service's own, which names its status; empty for anything else."""
    try:
        body = answer.json()
        return text(body["title"]) if body["status"] == answer.status else ""
    except (ValueError, KeyError, TypeError):
        return ""


def code_of(asset: Asset) -> tuple[str, str]:
    """Symbol and contract of an asset. Raises PairNotSupported."""
    code = CODES.get((asset.coin, asset.network))
    if code is None:
        raise PairNotSupported("coinpayments", "info", detail=f"{asset} is not converted there")
    return code


def currency_of(rows: Any, asset: Asset) -> Currency:
    """The one currency of the list that is this asset. PairNotSupported unless there is exactly one.

    One under maintenance counts: its transactions are still looked up, and a spend request of it is refused.
    """
    symbol, contract = code_of(asset)
    found = []
    for row in list.copy(rows):  # of a list only
        number, _, token = text(row["id"]).partition(":")
        same = row["symbol"] == symbol and number.isdecimal() and _same(token, contract)
        if same and row["type"] == ("token" if contract else "crypto") and row["status"] != "deleted":
            found.append(row)
    if len(found) != 1:
        raise PairNotSupported("coinpayments", "info", detail=f"{asset} is not one currency there")
    if found[0]["decimalPlaces"] != asset.decimals:
        raise PairNotSupported("coinpayments", "info", detail=f"{asset} has other decimals there")
    return Currency(found[0]["id"], contract)


def wallet_of(rows: Any, currency: Currency, amount: Decimal) -> str:
    """Id of a wallet of the currency that can pay. ServiceRejected when none does."""
    for row in list.copy(rows):
        same = str(row["currencyId"]) == currency.number and _same(row.get("contractAddress"), currency.contract)
        free = (row["isActive"], row["isLocked"], row["isVaultLocked"]) == (True, False, False)
        if not free or not same:
            continue
        if exact(row["confirmedBalance"]["valueAsDecimal"]) >= amount:
            return ident(row["walletId"])
    raise ServiceRejected("coinpayments", "info", detail="no wallet holds the amount")


def rate_of(body: Any, sender: Currency, receiver: Currency) -> Decimal:
    """Units of the receiver's currency for one of the sender's. PairNotSupported when the answer has none."""
    for row in list.copy(body["items"]):
        numbers = (str(row["baseCurrencyId"]), str(row["quoteCurrencyId"]))
        tokens = _same(row.get("baseToken"), sender.contract) and _same(row.get("quoteToken"), receiver.contract)
        if numbers == (sender.number, receiver.number) and tokens:
            if (rate := exact(row["rate"])) <= 0:
                raise ValueError("no rate")
            return rate
    raise PairNotSupported("coinpayments", "quote", detail="there is no rate")


def check_preview(order: OrderRequest, body: Any, wallet_id: str, pair: tuple[Currency, Currency]) -> None:
    """Hold a preview against the request. QuoteExpired when it brings less than the bound."""
    if (body["fromWalletId"], body["memo"]) != (wallet_id, order.key):
        raise IntegrityMismatch("coinpayments", "order", detail="wallet or memo are not ours")
    arriving = _arriving(order, body, in_units=_check_ours(order, body, pair))
    if arriving < order.minimum_net:
        raise QuoteExpired("coinpayments", "order", detail="the preview brings less than the bound")


def transaction_of(ref: OrderRef, body: Any, request_id: str, pair: tuple[Currency, Currency]) -> Order:
    """Parse a transaction and hold it against the request; IntegrityMismatch when it is not ours."""
    request = ref.request
    if body["spendRequestId"] != request_id or body.get("memo") not in (None, request.key):
        raise IntegrityMismatch("coinpayments", "status", detail="request or memo are not ours")
    in_units = _check_ours(request, body, pair)
    status = STATUS.get(body["transactionStatus"].lower())
    if status is None:
        word = str(body["transactionStatus"])[:40]
        raise MalformedResponse("coinpayments", "status", detail=f"unknown status {word!r}")
    txid, delivered = text(body["txHash"]) if body.get("txHash") else "", None
    if status is OrderStatus.SETTLED:
        delivered = _arriving(request, body, in_units=in_units)
        if not txid:
            raise ValueError("confirmed on the chain without a transaction there")
    return Order(ref, status, delivered=delivered, txid=txid, detail=body["transactionStatus"])


def _check_ours(order: OrderRequest, body: Any, pair: tuple[Currency, Currency]) -> bool:
    """Hold currencies, address and debited amount against ours; whether amounts are counts of smallest units."""
    coins = _speaks_of(body, "from", pair[0]) and _speaks_of(body, "to", pair[1])
    if not coins or body["toAddress"] != order.address:
        raise IntegrityMismatch("coinpayments", "order", detail="currencies or address are not ours")
    told, amount = exact(body["fromAmount"]), sendable(order)
    if told not in (amount, EXACT.scaleb(amount, order.from_asset.decimals)):
        raise IntegrityMismatch("coinpayments", "order", detail="the amount is not ours")
    return told != amount


def _speaks_of(body: Any, side: str, currency: Currency) -> bool:
    """Whether one side is the currency. A token may go by its network's number alone; one that is named must be it."""
    number, _, token = str(body[f"{side}CurrencyId"]).partition(":")
    named: list[Any] = [one for one in (token, body.get(f"{side}ContractAddress")) if one]
    return number == currency.number and all(_same(one, currency.contract) for one in named)


def _same(told: Any, contract: str) -> bool:
    """Whether a contract is ours; hexadecimal ones are written in either case."""
    token = str(told) if told else ""
    return token.lower() == contract.lower() if contract.startswith("0x") else token == contract


def _arriving(order: OrderRequest, body: Any, *, in_units: bool) -> Decimal:
    """What reaches the address. What is far from the promise would be of another coin or unit."""
    arriving = exact(body["toAmount"])
    if in_units:
        arriving = EXACT.scaleb(arriving, -order.to_asset.decimals)
    if arriving <= 0:
        raise ValueError("no amount")
    if not EXACT.divide(order.net, _AT_MOST) <= arriving <= EXACT.multiply(order.net, _AT_MOST):
        raise IntegrityMismatch("coinpayments", "order", detail="what arrives is far from the promise")
    return floor_unit(arriving, order.to_asset.decimals)


def units(value: Any, asset: Asset) -> Decimal:
    """Whole coins of a count of smallest units."""
    amount = exact(value)
    if amount.adjusted() > _MOST_DIGITS or amount != amount.to_integral_value():
        raise ValueError("no whole number")
    return from_units(int(amount), asset.decimals)


def sendable(request: QuoteRequest | OrderRequest) -> Decimal:
    """The amount without what is finer than an amount may be; that stays with the pool."""
    return floor_unit(request.amount, DECIMALS)


def ident(value: Any) -> str:
    """An id of the service, fit for a path."""
    if not _IDENT.fullmatch(text(value)):
        raise ValueError("no id")
    return str(value)
