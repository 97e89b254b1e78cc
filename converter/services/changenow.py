"""ChangeNOW: deposit swaps, API v2, fixed rate.

Creating an order moves nothing; our deposit to its pay-in address is the commit point, and must come before the order's
own `validUntil`. `toAmount` is net of every fee; the service's own share is inside the rate. There is no client order
id: we send ours as `userId` and `payload.ref`, which come back in the partner's list (private key) where the key has
partner fields. Only an order with our name is taken: one that merely fits may be another's. An order that we cannot
find is abandoned: unfunded, it expires.

A refund is told with the address that we gave, whatever the answer says: the chain must show it there.

Facts: ChangeNOW v2 documentation (partner Postman collection). Not found there, read cautiously: the body for an
unknown id (`not_found` is an absence), the life of a `rateId` (the quote's `validUntil`), `expired` (public clients),
whether a refund address always comes back (another one is a mismatch, none is taken). A status that is not listed here
is unknown. Limits: the same documentation, by key.
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
from converter.domain.limits import Budget, Limit
from converter.domain.money import EXACT, plain
from converter.domain.orders import (
    Capabilities,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Deadline
from converter.services.base import Call, encode, exact, json_body, moment, text
from converter.services.changenow_lists import ChangeNowPayouts
from converter.services.changenow_orders import CODES, check_ours, fits, key_of, order_of, pair_of, sendable
from converter.transport.http import HttpAnswer

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


class ChangeNow(ChangeNowPayouts):
    """See the module. Keys: `api_key`, and optionally `private_key` for the list of our orders. Options:
    `refundAddress`, or one by network: `refundAddressLTC`."""

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
        # 80 % of 30 requests a second; the burst is the rest of them. An order without an id is looked for in the list,
        # which has up to four pages.
        budget=Budget(Limit(24, burst=6), requests={"find": 2, "list": 4}),
    )

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both sides have a code, and another one each."""
        codes = [CODES.get((one.coin, one.network)) for one in (from_asset, to_asset)]
        return None not in codes and codes[0] != codes[1]

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Fixed-rate offer; firm until `validUntil`."""
        terms = {**self._pair(request), "fromAmount": plain(sendable(request)), **_FIXED, "useRateId": "true"}
        body = self._read(self._call("quote", "GET", "/v2/exchange/estimated-amount", encode(terms)), deadline)
        self._refuse("quote", body)
        with self._parsing("quote"):
            check_ours("quote", request, body, "fromAmount")
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
        terms = {"refundAddress": self._refund(order), "rateId": order.quote_reference}
        content = {**self._pair(order), "fromAmount": plain(sendable(order)), **ours, **terms, **_FIXED, **_UNUSED}
        body = self._execute(self._call("order", "POST", "/v2/exchange", content=content), deadline)
        self._refuse("order", body)
        with self._parsing("order", executed=True):
            if body["flow"] != _FIXED["flow"] or exact(body["toAmount"]) < order.minimum_net:
                raise IntegrityMismatch("changenow", "order", detail="less than the offer")
            if terms["refundAddress"] and body.get("refundAddress") not in (None, terms["refundAddress"]):
                raise IntegrityMismatch("changenow", "order", detail="the refund address is not ours")
            ref = OrderRef(order, text(body["id"]))
            return order_of(ref, {**body, "status": "new"}, "fromAmount", terms["refundAddress"])

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
            found = OrderRef(ref.request, order_id, ref.step_key)
            return order_of(found, body, "expectedAmountFrom", self._refund(ref.request))

    def check_health(self, deadline: Deadline) -> None:
        """The minimum of a pair: the cheapest call that needs the key."""
        query = "fromCurrency=eth&fromNetwork=eth&toCurrency=btc&toNetwork=btc"
        body = self._read(self._call("health", "GET", "/v2/exchange/min-amount", query), deadline)
        with self._parsing("health"):
            exact(body["minAmount"])

    def check_credentials(self, deadline: Deadline) -> None:
        """The health call, which carries the key; and one row of the partner's list, where there is a key for that."""
        self.check_health(deadline)
        if key := self._settings.keys.get("private_key"):
            self._read(Call("info", "GET", "/v2/exchanges", "limit=1", {"x-changenow-api-key": key}), deadline)

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
            fitting = [row for row in list.copy(body["exchanges"]) if fits(row, ref.request)]  # of a list only
            ours = [row for row in fitting if key_of(row) == ref.request.key]
            return text(ours[0]["requestId"]) if ours else None

    def _pair(self, request: QuoteRequest | OrderRequest) -> dict[str, str]:
        if not self.supports(request.from_asset, request.to_asset):
            raise PairNotSupported("changenow", "quote")
        return pair_of(request)

    def _refund(self, order: OrderRequest) -> str:
        """Where a refund goes; an address of another coin would be refused, so it is left out."""
        network, options = order.from_asset.network, self._settings.options
        general = options.get("refundAddress", "")
        fits_it = network in (("ETH", "ETC") if general.startswith("0x") else ("BTC",))
        return options.get(f"refundAddress{network}") or (general if fits_it else "")

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
