"""What CoinGate says about send requests, read and held against ours; its codes; what it is told of a new address.

Limits: its developer pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    IntegrityMismatch,
    MalformedResponse,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
)
from converter.domain.limits import MINUTE, Budget, Limit
from converter.domain.money import EXACT, floor_unit, plain
from converter.domain.orders import Order, OrderRef, OrderRequest, OrderStatus
from converter.domain.quotes import Fee, QuoteRequest, net_of
from converter.services.base import exact, text

BUDGET = Budget(
    Limit(160, MINUTE, burst=20),
    operations={"order": Limit(400, 60 * MINUTE, burst=20), "find": Limit(80, MINUTE, burst=10)},
    requests={"quote": 2, "order": 5, "advance": 2, "list": 5},
)
"""80 % of 200 requests a minute (public and private ones taken together, which is not said) and of 500 orders an hour.

A quote reads rates and accounts. An order reads accounts and payout settings and makes the draft; the other two are the
registration of a new address, or further pages of settings. A step reads the draft and confirms it.
Look-ups leave half to them. The list has up to five pages.
"""

CODES: dict[tuple[str, str], tuple[str, str | None] | None] = {
    ("BTC", "BTC"): ("BTC", "bitcoin"),
    ("BTC", "LIGHTNING"): None,
    ("ETH", "ETH"): ("ETH", "ethereum"),
    ("ETC", "ETC"): None,
    ("LTC", "LTC"): ("LTC", None),
    ("BCH", "BCH"): None,
    ("DOGE", "DOGE"): ("DOGE", None),
    ("RVN", "RVN"): None,
    ("XMR", "XMR"): None,
    ("ZEC", "ZEC"): None,
    ("KAS", "KAS"): None,
    ("ERG", "ERG"): None,
    ("USDT", "TRX"): ("USDT", None),
    ("USDT", "ETH"): ("USDT", "ethereum"),
}
"""Asset -> symbol and platform of the service. None: known here, and not converted. A platform of None: its name is not
documented, so the coin is taken from its ledger account, and not paid out."""

STATUS = {
    "draft": OrderStatus.AWAITING_APPROVAL,
    "expired": OrderStatus.AWAITING_APPROVAL,
    "in_progress": OrderStatus.OPEN,
    "processing": OrderStatus.PAYING_OUT,
    "completed": OrderStatus.SETTLED,
    "failed": OrderStatus.HELD,
    "canceled": OrderStatus.REJECTED,
}
"""`expired` was never confirmed and never will be: see `coingate`."""

SENDS, SETTINGS = "send_requests", "beneficiary_payout_settings"
OWNER = ("companyName", "companyCode", "email", "country")
"""Options that say to whom an address is registered."""

_MISSING = {"PageNotFound", "RecordNotFound", "LedgerAccountNotFound", "BeneficiaryNotFound"}
REFUSED = {
    400: {"BadRequest"},
    404: {*_MISSING, "BeneficiaryPayoutSettingNotFound", "SendRequestNotFound"},
    422: {"SendRequestIsNotValid", "BeneficiaryIsNotValid", "LedgerConversionIsNotValid"},
}
"""HTTP status -> reasons that prove a refusal there."""
DOORS = {401: {"BadCredentials", "BadAuthToken"}, 429: {"RateLimitExceeded", "RateLimitException"}}
"""The same for keys and limits. Without such a reason, what stands before the service may have answered in its place:
then a confirmation stays unknown."""
_REPEATED = re.compile(r"extern|taken|already|uniq", re.IGNORECASE)
"""In the words of a refusal that may speak of an external id, or of a confirmation, of an earlier send."""

DECIMALS = 8
"""Of what can be paid out."""

_FEES = {"service_fee", "conversion_fee"}


def order_of(ref: OrderRef, body: Any) -> Order:
    """Parse a send request and hold it against the request; IntegrityMismatch when it is not ours."""
    request = ref.request
    named = (str(number(body)), body["external_id"])
    coins = (body["balance_debit_currency"]["symbol"], body["sending_currency"]["symbol"])
    if named != (ref.service_order_id, request.key) or coins != (symbol(request.from_asset), symbol(request.to_asset)):
        raise IntegrityMismatch("coingate", "order", detail="id or coins are not ours")
    if not leads_to(body["beneficiary_payout_setting"], request) or exact(body["sending_amount"]) != request.net:
        raise IntegrityMismatch("coingate", "order", detail="address or amount are not ours")
    status = STATUS.get(body["status"])
    if status is None:
        raise MalformedResponse("coingate", "status", detail=f"unknown status {str(body['status'])[:40]!r}")
    payments = [one["txid"] for one in list.copy(body.get("blockchain_transactions") or []) if one.get("txid")]
    return Order(
        ref=ref,
        status=status,
        delivered=request.net if status is OrderStatus.SETTLED else None,
        txid=text(payments[0]) if payments else "",
        detail=str(body["status"]),
    )


def check_draft(order: OrderRequest, body: Any) -> None:
    """Raises QuoteExpired when a draft costs more than the bound allows; fees are taken to come on top. ServiceRejected
    when it is not for us to confirm."""
    if not isinstance(body["requires_2fa_confirmation"], bool):
        raise ValueError("the second factor is not told")  # noqa: TRY004  parsing turns it into a malformed answer
    if body["requires_2fa_confirmation"]:
        raise ServiceRejected("coingate", "order", detail="the draft asks for a second factor")
    text(body["actions_required"]["confirm"])
    if not body["fees"].keys() >= _FEES:
        raise ValueError("the fees are not told")
    cost = exact(body["balance_debit_amount"])
    for fee in body["fees"].values():
        if fee["currency"]["symbol"] != symbol(order.from_asset):
            raise ServiceRejected("coingate", "order", detail="a fee is of another coin than the debit")
        if (amount := exact(fee["amount"])) < 0:
            raise ValueError("a fee below zero")
        cost = EXACT.add(cost, amount)
    if cost <= 0:
        raise ValueError("no cost")
    if EXACT.multiply(cost, order.minimum_net) > EXACT.multiply(order.amount, order.net):
        raise QuoteExpired("coingate", "order", detail="the draft costs more than the bound allows")


def priced(
    request: QuoteRequest, rate: Decimal, euro: Decimal, options: Mapping[str, str]
) -> tuple[Decimal, Fee, Decimal]:
    """Gross, fee and net by the price list: two shares of the debit and a fixed part in euro, on top of the debit."""
    if min(rate, euro) <= 0:
        raise ValueError("no rate")
    fixed = EXACT.divide(Decimal(options.get("serviceFeeEur", "0.50")), euro)
    share = 1 + Decimal(options.get("serviceFee", "0.005")) + Decimal(options.get("conversionFee", "0.01"))
    gross = EXACT.multiply(request.amount, rate)
    kept = floor_unit(EXACT.multiply(EXACT.divide(EXACT.subtract(request.amount, fixed), share), rate), 18)
    fee = Fee("service", EXACT.subtract(gross, kept))
    return gross, fee, floor_unit(net_of(gross, (fee,), request.to_asset), DECIMALS)


def wished(
    order: OrderRequest, account_id: str, destination: tuple[int, int], options: Mapping[str, str]
) -> dict[str, Any]:
    """A send request of the promised net; `destination`: ids of the payout setting and of its currency."""
    setting_id, currency_id = destination
    wish: dict[str, Any] = {
        "ledger_account_id": account_id,
        "beneficiary_payout_setting_id": setting_id,
        "amount": plain(order.net),
        "amount_currency_id": currency_id,
        "purpose": "payout",
        "external_id": order.key,
    }
    if url := options.get("callbackUrl"):
        wish["callback_url"] = url
    return wish


def leads_to(setting: Any, order: OrderRequest) -> bool:
    """Whether a payout setting is the address, coin and platform of an order, byte for byte, and no memo."""
    place = (setting["currency"]["symbol"], text(setting["platform"]["id_name"]))
    target = (setting["crypto_address"], setting.get("crypto_address_metadata") or "")
    return place == _code(order.to_asset) and target == (order.address, "")


def registration(order: OrderRequest, listed: Any, options: Mapping[str, str]) -> dict[str, Any]:
    """What registers an address as one of the business in the options; ids are looked up in the list of currencies."""
    code, platform = _code(order.to_asset)
    for row in listed:
        for place in row["platforms"] if row["symbol"] == code and row["enabled"] is True else ():
            if place["id_name"] == platform and place["enabled"] is True:
                return {
                    "beneficiary_type": "business",
                    "business": {"company_name": options["companyName"], "company_code": options["companyCode"]},
                    "email": options["email"],
                    "country": options["country"],
                    "currency_id": number(row),
                    "platform_id": number(place),
                    "crypto_address": order.address,
                }
    raise ServiceRejected("coingate", "register", detail=f"{code} on {platform} is not paid out")


def number(body: Any) -> int:
    """The id of an object that has a number for one."""
    if not isinstance(body["id"], int) or isinstance(body["id"], bool):
        raise ValueError("no id")  # noqa: TRY004  parsing turns ValueError into a malformed answer
    return body["id"]


def symbol(asset: Asset) -> str:
    """The service's name of a coin."""
    return _code(asset)[0]


def converts(from_asset: Asset, to_asset: Asset) -> bool:
    """Whether one can be taken and the other, of another coin, be paid out."""
    taken, paid = (CODES.get((one.coin, one.network)) for one in (from_asset, to_asset))
    return taken is not None and paid is not None and paid[1] is not None and taken[0] != paid[0]


def refusal(operation: str, status: int, body: Any) -> ServiceError | None:
    """The error for an answer that proves that nothing was executed; None for every other."""
    reason, words = body["reason"], f"{body.get('message')} {body.get('errors')}"
    if reason not in REFUSED.get(status, ()) or _REPEATED.search(words):
        return None
    kind = PairNotSupported if "conversion pair" in words else ServiceRejected
    return kind("coingate", operation, code=reason)


def _code(asset: Asset) -> tuple[str, str | None]:
    code = CODES[asset.coin, asset.network]
    if code is None:
        raise PairNotSupported("coingate", "order")
    return code
