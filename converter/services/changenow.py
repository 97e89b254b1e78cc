"""ChangeNOW: deposit swaps, API v2, fixed rate.

Creating an order moves nothing; our deposit to its pay-in address is the commit point. `toAmount` is net of every fee;
the service's own share is inside the rate. There is no client order id: we send ours as `userId` and `payload.ref`,
which come back in the partner's list (private key) where the key has partner fields. Without them an order is matched
by address, coins, amount and time, and only if exactly one fits. An order that we cannot find is abandoned: unfunded,
it expires.

Facts: ChangeNOW v2 documentation (partner Postman collection). Not found there, read cautiously: the body for an
unknown id (`not_found` in it is taken as absence), the life of a `rateId` (`validUntil` of the quote is used),
`expired` (seen in public clients). A status that is not listed here is unknown.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    IntegrityMismatch,
    MalformedResponse,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
)
from converter.domain.money import floor_unit, plain
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
from converter.domain.quotes import Fee, Quote, QuoteRequest
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
_PAIR = {"pair_is_inactive", "not_valid_fixed_rate_pair"}
_REFUSED = {"not_valid_params", "bad_params", "not_valid_address", "not_valid_refund_address"}
_KEY = {"unauthorized", "invalid_api_key", "forbidden"}


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
        return _code(from_asset) is not None and _code(to_asset) is not None and from_asset != to_asset

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Fixed-rate offer; firm until `validUntil`."""
        query = encode({**self._pair(request), "fromAmount": plain(_sendable(request)), **_FIXED, "useRateId": "true"})
        body = self._read(self._call("quote", "GET", "/v2/exchange/estimated-amount", query), deadline)
        self._refuse("quote", body)
        with self._parsing("quote"):
            net = exact(body["toAmount"])
            fee = exact(body.get("withdrawalFee") or 0)
            reference, expires_at = text(body["rateId"]), moment(body["validUntil"])
            if net <= 0:
                raise ValueError("no amount")
        fees = (Fee("withdrawal", fee),) if fee else ()
        return Quote("changenow", request, net + fee, fees, net, firm=True, expires_at=expires_at, reference=reference)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Create the order. Moves nothing; the answer names where to deposit, and is checked byte for byte."""
        content = {
            **self._pair(order),
            "fromAmount": plain(_sendable(order)),
            "toAmount": "",
            "address": order.address,
            "extraId": "",
            "refundAddress": self._settings.options.get("refundAddress", ""),
            "refundExtraId": "",
            "userId": order.key,
            "payload": {"ref": order.key},
            "contactEmail": "",
            **_FIXED,
            "rateId": order.quote_reference,
        }
        body = self._execute(self._call("order", "POST", "/v2/exchange", content=content), deadline)
        self._refuse("order", body)
        with self._parsing("order", executed=True):
            found = self._order(OrderRef(order, text(body["id"])), {**body, "status": "new"}, "fromAmount")
            if exact(body["toAmount"]) < order.minimum_net:
                raise IntegrityMismatch("changenow", "order", detail="less than the offer")
        return found

    def advance_order(self, order: Order, deadline: Deadline) -> Order:  # noqa: ARG002
        """Nothing to do at this service: the deposit is the next step."""
        raise ServiceRejected("changenow", "advance", detail="only the deposit moves an order on")

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By its id, else in the partner's list. None also when there is no private key: nothing was funded."""
        order_id = ref.service_order_id or self._listed(ref, deadline)
        if order_id is None:
            return None
        body = self._read(self._call("status", "GET", "/v2/exchange/by-id", encode({"id": order_id})), deadline)
        if isinstance(body, dict) and body.get("error") == "not_found":
            return None
        self._refuse("status", body)
        with self._parsing("status"):
            return self._order(OrderRef(ref.request, order_id, ref.step_key), body, "expectedAmountFrom")

    def check_health(self, deadline: Deadline) -> None:
        """The minimum of a pair: the cheapest call that needs the key."""
        query = "fromCurrency=eth&fromNetwork=eth&toCurrency=btc&toNetwork=btc"
        body = self._read(self._call("health", "GET", "/v2/exchange/min-amount", query), deadline)
        with self._parsing("health"):
            exact(body["minAmount"])

    def _listed(self, ref: OrderRef, deadline: Deadline) -> str | None:
        """Id of our order in the partner's list, if exactly one can be it."""
        key = self._settings.keys.get("private_key")
        if not key:
            return None
        since = ref.request.prepared_at - timedelta(minutes=2)
        recent = {"dateFrom": since.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "dateField": "createdAt"}
        query = encode({"limit": "100", "payoutAddress": ref.request.address, "sortDirection": "DESC", **recent})
        headers = {"x-changenow-api-key": key}
        body = self._read(Call("status", "GET", "/v2/exchanges", query, headers), deadline)
        self._refuse("status", body)
        with self._parsing("status"):
            fitting = [row for row in body["exchanges"] if self._fits(row, ref.request)]
            ours = [row for row in fitting if _reference(row) == ref.request.key]
            unnamed = [row for row in fitting if not _reference(row)]
            chosen = ours or (unnamed if len(unnamed) == 1 else [])
            return text(chosen[0]["requestId"]) if chosen else None

    def _fits(self, row: Any, request: OrderRequest) -> bool:
        payin, payout = row["payin"], row["payout"]
        coins = (payin["currency"], payout["currency"]) == (_pair_code(request)[0][0], _pair_code(request)[1][0])
        return coins and payout["address"] == request.address and exact(payin["expectedAmount"]) == _sendable(request)

    def _order(self, ref: OrderRef, body: Any, amount_field: str) -> Order:
        """Parse an order and hold it against the request; IntegrityMismatch when it is not ours."""
        request = ref.request
        (ticker, network), (to_ticker, to_network) = _pair_code(request)
        ours = (request.address, ticker, network, to_ticker, to_network)
        named = ("payoutAddress", "fromCurrency", "fromNetwork", "toCurrency", "toNetwork")
        if tuple(body[name] for name in named) != ours or exact(body[amount_field]) != _sendable(request):
            raise IntegrityMismatch("changenow", "order", detail="address, coins or amount are not ours")
        status = STATUS.get(body["status"])
        if status is None:
            raise MalformedResponse("changenow", "status", detail=f"unknown status {str(body['status'])[:40]!r}")
        delivered = body.get("amountTo")
        return Order(
            ref=ref,
            status=status,
            deposit=Deposit(text(body["payinAddress"]), _sendable(request), body.get("payinExtraId") or ""),
            delivered=exact(delivered) if status is OrderStatus.SETTLED else None,
            txid=body.get("payoutHash") or body.get("refundHash") or "",
            detail=str(body["status"]),
        )

    def _pair(self, request: QuoteRequest | OrderRequest) -> dict[str, str]:
        (ticker, network), (to_ticker, to_network) = _pair_code(request)
        return {"fromCurrency": ticker, "fromNetwork": network, "toCurrency": to_ticker, "toNetwork": to_network}

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        headers = {"x-changenow-api-key": self._settings.keys["api_key"]}
        if content is None:
            return Call(operation, method, path, query, headers)
        return Call(operation, method, path, query, {**headers, "Content-Type": "application/json"}, json_body(content))

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status == 429:
            return self._limited(operation, answer)
        if answer.status in (401, 403):
            return self._unauthorised(operation, str(answer.status))
        return self._named_error(operation, answer.json()) if 400 <= answer.status < 500 else None

    def _named_error(self, operation: str, body: Any) -> ServiceError | None:
        code = body["error"]
        if code in _RANGE:
            limits = {end: exact(limit) for end, limit in (body.get("range") or {}).items() if limit is not None}
            return AmountOutOfRange("changenow", operation, minimum=limits.get("min"), maximum=limits.get("max"))
        if code == "rate_id_not_found_or_expired":
            return QuoteExpired("changenow", operation, code=code)
        if code in _PAIR:
            return PairNotSupported("changenow", operation, code=code)
        if code in _KEY:
            return self._unauthorised(operation, code)
        return ServiceRejected("changenow", operation, code=code) if code in _REFUSED else None

    def _refuse(self, operation: str, body: Any) -> None:
        """An error body can come under any HTTP status."""
        if isinstance(body, dict) and body.get("error"):
            with self._parsing(operation, executed=operation == "order"):
                raise self._named_error(operation, body) or MalformedResponse("changenow", operation)


_FIXED = {"flow": "fixed-rate", "type": "direct"}


def _code(asset: Asset) -> tuple[str, str] | None:
    return CODES.get((asset.coin, asset.network))


def _pair_code(request: QuoteRequest | OrderRequest) -> tuple[tuple[str, str], tuple[str, str]]:
    from_code, to_code = _code(request.from_asset), _code(request.to_asset)
    if from_code is None or to_code is None:
        raise PairNotSupported("changenow", "quote")
    return from_code, to_code


def _sendable(request: QuoteRequest | OrderRequest) -> Decimal:
    """The amount at the precision that is safe here (8 decimals; what is kept beyond them is not published)."""
    return floor_unit(request.amount, 8)


def _reference(row: Any) -> str:
    """Our key in a listed order, where the service carries it."""
    info = row.get("partnerInfo") or {}
    return str((info.get("payload") or {}).get("ref") or info.get("userId") or "")
