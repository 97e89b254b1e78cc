"""ChangeNOW: deposit swaps, API v2, fixed rate.

Creating an order moves nothing; our deposit to its pay-in address is the commit point. `toAmount` is net of every fee;
the service's own share is inside the rate. There is no client order id: we send ours as `userId` and `payload.ref`,
which come back in the partner's list (private key) where the key has partner fields. Only an order with our name is
taken: one that merely fits may be another's. An order that we cannot find is abandoned: unfunded, it expires.

Facts: ChangeNOW v2 documentation (partner Postman collection). Not found there, read cautiously: the body for an
unknown id (`not_found` is an absence), the life of a `rateId` (the quote's `validUntil`), `expired` (public clients).
A status that is not listed here is unknown.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    IntegrityMismatch,
    MalformedResponse,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
)
from converter.domain.money import EXACT, floor_unit, plain
from converter.domain.orders import (
    Capabilities,
    Deposit,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Deadline
from converter.services.base import Call, HttpService, encode, exact, json_body, moment, text
from converter.transport.http import HttpAnswer

CODES = {("BTC", "BTC"): ("btc", "btc"), ("ETH", "ETH"): ("eth", "eth")}
"""Asset -> ticker and network of the service."""

STATUS = {
    "new": OrderStatus.AWAITING_DEPOSIT,
    "waiting": OrderStatus.AWAITING_DEPOSIT,
    "confirming": OrderStatus.OPEN,
    "exchanging": OrderStatus.OPEN,
    "sending": OrderStatus.PAYING_OUT,
    "finished": OrderStatus.SETTLED,
    "verifying": OrderStatus.HELD,
    "failed": OrderStatus.HELD,
    "refunded": OrderStatus.REFUNDED,
    "expired": OrderStatus.EXPIRED,
}

_RANGE = {"out_of_range", "deposit_too_small"}
_ERRORS: dict[str, type[ServiceError]] = {
    "rate_id_not_found_or_expired": QuoteExpired,
    **dict.fromkeys(("pair_is_inactive", "not_valid_fixed_rate_pair"), PairNotSupported),
    **dict.fromkeys(
        ("not_valid_params", "bad_params", "not_valid_address", "not_valid_refund_address"), ServiceRejected
    ),
    **dict.fromkeys(("unauthorized", "invalid_api_key", "forbidden"), AuthenticationFailed),
}
_ABSENT = "not_found"
_FIXED = {"flow": "fixed-rate", "type": "direct"}
_UNUSED = {"toAmount": "", "extraId": "", "refundExtraId": "", "contactEmail": ""}


class ChangeNow(HttpService):
    """See the module. Keys: `api_key`, and optionally `private_key` for the list of our orders."""

    capabilities = Capabilities(
        service_id="changenow",
        title="ChangeNOW",
        commits_on=OperationKind.DEPOSIT,
        rules={
            OperationKind.ORDER: OperationRule(moves_money=False, quiet=timedelta(seconds=5)),
            OperationKind.DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True),
        },
        firm_quotes=True,
        keys=("api_key",),
        amount_decimals=8,
        optional_keys=("private_key",),
        minimum={"ETH": Decimal("0.001"), "BTC": Decimal("0.0001")},
    )

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both sides are listed in CODES."""
        sides = {(one.coin, one.network) for one in (from_asset, to_asset)}
        return len(sides) == 2 and sides <= CODES.keys()

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Fixed-rate offer; firm until `validUntil`."""
        query = encode({**_pair(request), "fromAmount": plain(_sendable(request)), **_FIXED, "useRateId": "true"})
        body = self._read(self._call("quote", "GET", "/v2/exchange/estimated-amount", query), deadline)
        self._refuse("quote", body)
        with self._parsing("quote"):
            _check_ours("quote", request, body, "fromAmount")
            fee = exact(body.get("withdrawalFee") or 0)
            gross, fees = EXACT.add(exact(body["toAmount"]), fee), (Fee("withdrawal", fee),) if fee else ()
            net = net_of(gross, fees, request.to_asset)
            reference, expires_at = text(body["rateId"]), moment(body["validUntil"])
            if net <= 0 or fee < 0:
                raise ValueError("no amount")
        return Quote("changenow", request, gross, fees, net, firm=True, expires_at=expires_at, reference=reference)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Create the order. Moves nothing; the answer names where to deposit, and is checked byte for byte."""
        ours = {"address": order.address, "userId": order.key, "payload": {"ref": order.key}}
        refund = self._settings.options.get("refundAddress", "")
        of_our_coin = refund.startswith("0x") == (order.from_asset.network == "ETH")  # one of another coin is refused
        terms = {"refundAddress": refund if of_our_coin else "", "rateId": order.quote_reference}
        content = {**_pair(order), "fromAmount": plain(_sendable(order)), **ours, **terms, **_FIXED, **_UNUSED}
        body = self._execute(self._call("order", "POST", "/v2/exchange", content=content), deadline)
        self._refuse("order", body)
        with self._parsing("order", executed=True):
            if body["flow"] != _FIXED["flow"] or exact(body["toAmount"]) < order.minimum_net:
                raise IntegrityMismatch("changenow", "order", detail="less than the offer")
            return _order(OrderRef(order, text(body["id"])), {**body, "status": "new"}, "fromAmount")

    def advance_order(self, order: Order, deadline: Deadline) -> Order:  # noqa: ARG002
        """Nothing to do at this service: the deposit is the next step."""
        raise ServiceRejected("changenow", "advance", detail="only the deposit moves an order on")

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By its id, else in the partner's list. None also when there is no private key: nothing was funded."""
        order_id = ref.service_order_id or self._listed(ref, deadline)
        if order_id is None:
            return None
        try:
            body = self._read(self._call("status", "GET", "/v2/exchange/by-id", encode({"id": order_id})), deadline)
            self._refuse("status", body)
        except ServiceRejected as error:
            if error.code == _ABSENT:
                return None
            raise
        with self._parsing("status"):
            return _order(OrderRef(ref.request, order_id, ref.step_key), body, "expectedAmountFrom")

    def check_health(self, deadline: Deadline) -> None:
        """The minimum of a pair: the cheapest call that needs the key."""
        query = "fromCurrency=eth&fromNetwork=eth&toCurrency=btc&toNetwork=btc"
        body = self._read(self._call("health", "GET", "/v2/exchange/min-amount", query), deadline)
        with self._parsing("health"):
            exact(body["minAmount"])

    def _listed(self, ref: OrderRef, deadline: Deadline) -> str | None:
        """Id of our order in the partner's list, known by our reference alone: another may fit as well as ours."""
        key = self._settings.keys.get("private_key")
        if not key:
            return None
        since = ref.request.prepared_at - timedelta(minutes=2)
        recent = {"dateFrom": since.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "dateField": "createdAt"}
        query = encode({"limit": "100", "payoutAddress": ref.request.address, "sortDirection": "DESC", **recent})
        body = self._read(Call("status", "GET", "/v2/exchanges", query, {"x-changenow-api-key": key}), deadline)
        self._refuse("status", body)
        with self._parsing("status"):
            fitting = [row for row in list.copy(body["exchanges"]) if _fits(row, ref.request)]  # of a list only
            ours = [row for row in fitting if _reference(row) == ref.request.key]
            return text(ours[0]["requestId"]) if ours else None

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        headers = {"x-changenow-api-key": self._settings.keys["api_key"], "Content-Type": "application/json"}
        return Call(operation, method, path, query, headers, None if content is None else json_body(content))

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status == 429:
            return self._limited(operation, answer)
        if answer.status in (401, 403):
            return self._unauthorised(operation, str(answer.status))
        return self._named_error(operation, answer.json()) if 400 <= answer.status < 500 else None

    def _named_error(self, operation: str, body: Any) -> ServiceError | None:
        code = body["error"]
        if code in _RANGE:
            told = (body.get("range") or {}).items()
            limits = {end: exact(limit) for end, limit in told if isinstance(limit, int | Decimal)}
            return AmountOutOfRange("changenow", operation, minimum=limits.get("min"), maximum=limits.get("max"))
        kind = ServiceRejected if code == _ABSENT and operation == "status" else _ERRORS.get(code)
        return kind("changenow", operation, code=code) if kind is not None else None

    def _refuse(self, operation: str, body: Any) -> None:
        """An error body can come under any HTTP status."""
        if isinstance(body, dict) and body.get("error"):
            with self._parsing(operation, executed=operation == "order"):
                raise self._named_error(operation, body) or MalformedResponse("changenow", operation)


def _order(ref: OrderRef, body: Any, amount_field: str) -> Order:
    """Parse an order and hold it against the request; IntegrityMismatch when it is not ours."""
    _check_ours("order", ref.request, body, amount_field)
    named = (body["id"], body["payoutAddress"], body.get("payoutExtraId") or "")
    if named != (ref.service_order_id, ref.request.address, ""):
        raise IntegrityMismatch("changenow", "order", detail="id or address are not ours")
    status = STATUS.get(body["status"])
    if status is None:
        raise MalformedResponse("changenow", "status", detail=f"unknown status {str(body['status'])[:40]!r}")
    delivered = exact(body["amountTo"]) if status is OrderStatus.SETTLED else None
    if delivered is not None and delivered <= 0:
        raise ValueError("no amount")
    memo = text(body["payinExtraId"]) if body.get("payinExtraId") else ""
    return Order(
        ref=ref,
        status=status,
        deposit=Deposit(text(body["payinAddress"]), _sendable(ref.request), memo),
        delivered=delivered,
        txid=str(body.get("payoutHash") or body.get("refundHash") or ""),
        detail=str(body["status"]),
    )


def _check_ours(operation: str, request: QuoteRequest | OrderRequest, body: Any, amount_field: str) -> None:
    same = all(body[name] == code for name, code in _pair(request).items())
    if not same or exact(body[amount_field]) != _sendable(request):
        raise IntegrityMismatch("changenow", operation, detail="coins or amount are not ours")


def _fits(row: Any, request: OrderRequest) -> bool:
    payin, payout, pair = row["payin"], row["payout"], _pair(request)
    coins = (payin["currency"], payout["currency"]) == (pair["fromCurrency"], pair["toCurrency"])
    return coins and payout["address"] == request.address and exact(payin["expectedAmount"]) == _sendable(request)


def _pair(request: QuoteRequest | OrderRequest) -> dict[str, str]:
    sides = (request.from_asset, request.to_asset)
    if not ChangeNow.supports(*sides):
        raise PairNotSupported("changenow", "quote")
    (ticker, network), (to_ticker, to_network) = (CODES[one.coin, one.network] for one in sides)
    return {"fromCurrency": ticker, "fromNetwork": network, "toCurrency": to_ticker, "toNetwork": to_network}


def _sendable(request: QuoteRequest | OrderRequest) -> Decimal:
    return floor_unit(request.amount, 8)  # 8 decimals are safe; what is kept beyond them is not published


def _reference(row: Any) -> str:
    """Our key in a listed order, where the service carries it."""
    info = row.get("partnerInfo") or {}
    return str((info.get("payload") or {}).get("ref") or info.get("userId") or "")
