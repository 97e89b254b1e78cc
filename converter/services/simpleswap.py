"""SimpleSwap: deposit swaps, API v3, fixed rate.

Creating an order moves nothing; our deposit to its `addressFrom` is the commit point. `estimatedAmount` is what the
receiver gets: every fee, that of the network included, is inside the rate. Only the fixed flow is used. A floating one
tells its amount after the deposit, when it is too late to refuse; so a pair without a fixed rate (404) is refused.

There is no client order id, and two conversions may well ask for the same amount to the same address. An order whose
answer was lost could therefore not be told from another's in the list of exchanges, and two deposits would meet at one
address: it is not looked for but abandoned, and expires unfunded.

Facts: the service's documentation of v3 as far as it could be read, its help pages on errors, public clients. Not found
there, read cautiously: the life of a `rateId` (a minute, where no `validUntil` comes with it); until when a deposit is
taken (the order's `validUntil`, where there is one); the decimals of amounts (eight at most); the meaning of each
status (the names are from public clients; `failed` and `verifying` hold the money, and what is not listed is unknown);
how a refund is told (its amount nowhere; a `txTo` of a refunded order is handed on for the chain to confirm, and where
there is none a person looks); the text of a 422 (whatever it says, it is a refusal); limits of calls (a public client
spaces them by a second: 80 % of that). The tickers of coins are those of their networks in the live list; a token's
ticker is held against its contract. An error counts only with a body of the service's own, whose `code` is the HTTP
status. A minimum is known only from its answers.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote as percent_encoded

from converter.domain.coins import Asset
from converter.domain.errors import (
    IntegrityMismatch,
    PairNotSupported,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.limits import MINUTE, Budget, Limit
from converter.domain.money import plain
from converter.domain.orders import Capabilities, OperationKind, OperationRule, Order, OrderRef, OrderRequest
from converter.domain.quotes import Quote, QuoteRequest, net_of
from converter.ports import Clock, Deadline
from converter.services.base import Call, ServiceSettings, encode, exact, json_body, text
from converter.services.simpleswap_lists import SimpleSwapPayouts
from converter.services.simpleswap_orders import (
    CONTRACTS,
    converts,
    end_of,
    id_of,
    order_of,
    pair_of,
    refusal,
    result_of,
    sendable,
)
from converter.transport.http import HttpAnswer

RATE_LIFE = timedelta(seconds=60)
"""Of a fixed rate that comes without its end."""

_FIXED = {"fixed": True, "reverse": False}
_UNUSED = {"extraIdTo": "", "userRefundExtraId": "", "customFee": None}
_REFUSED = (400, 404, 422)
_ABSENT = "404"


class SimpleSwap(SimpleSwapPayouts):
    """See the module. Keys: `api_key`. Options: `refundAddress`, or one by network: `refundAddressLTC`."""

    capabilities = Capabilities(
        service_id="simpleswap",
        title="SimpleSwap",
        commits_on=OperationKind.DEPOSIT,
        rules={
            # An abandoned order is harmless whenever it arrives, so there is no time to be waited for.
            OperationKind.ORDER: OperationRule(moves_money=False, quiet=timedelta(0)),
            OperationKind.DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True),
        },
        firm_quotes=True,
        keys=("api_key",),
        optional_keys=("callback_secret", "callback_token"),
        amount_decimals=8,
        # Look-ups leave half to quotes, orders and checks.
        budget=Budget(
            Limit(48, MINUTE, burst=5), operations={"find": Limit(24, MINUTE, burst=3)}, requests={"list": 4}
        ),
    )

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._checked: set[str] = set()

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both sides have a code of the service."""
        return converts(from_asset, to_asset)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Fixed-rate offer; firm until `validUntil`."""
        pair = self._pair(request, deadline)
        query = encode({**pair, "amount": plain(sendable(request)), "fixed": "true", "reverse": "false"})
        body = self._read(self._call("quote", "GET", "/v3/estimates", query), deadline)
        with self._parsing("quote"):
            offer = result_of(body)
            gross, reference = exact(offer["estimatedAmount"]), text(offer["rateId"])
            expires_at = end_of(offer) or self._clock.now() + RATE_LIFE
            net = net_of(gross, (), request.to_asset)
            if net <= 0:
                raise ValueError("no amount")
        return Quote("simpleswap", request, gross, (), net, firm=True, expires_at=expires_at, reference=reference)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Create the order. Moves nothing; the answer names where to deposit, and is checked byte for byte."""
        pair, refund = self._pair(order, deadline), self._refund_address(order)
        ours = {"amount": plain(sendable(order)), "addressTo": order.address, "userRefundAddress": refund}
        content = {**pair, **ours, **_FIXED, **_UNUSED, "rateId": order.quote_reference}
        body = self._execute(self._call("order", "POST", "/v3/exchanges", content=content), deadline)
        with self._parsing("order", executed=True):
            created = result_of(body)
            if exact(created["amountTo"]) < order.minimum_net:
                raise IntegrityMismatch("simpleswap", "order", detail="less than the offer")
            if (created.get("userRefundAddress") or refund) != refund:
                raise IntegrityMismatch("simpleswap", "order", detail="the refund address is not ours")
            return order_of(OrderRef(order, id_of(created)), created, refund)

    def advance_order(self, order: Order, deadline: Deadline) -> Order:  # noqa: ARG002
        """Nothing to do at this service: the deposit is the next step."""
        raise ServiceRejected("simpleswap", "advance", detail="only the deposit moves an order on")

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By its id. None without one, since an order that we cannot name is never funded; see the module."""
        if ref.service_order_id is None:
            return None
        path = f"/v3/exchanges/{percent_encoded(ref.service_order_id, safe='')}"
        try:
            body = self._read(self._call("status", "GET", path), deadline)
        except ServiceRejected as error:
            if error.code == _ABSENT:
                return None
            raise
        with self._parsing("status"):
            return order_of(ref, result_of(body), self._refund_address(ref.request))

    def check_health(self, deadline: Deadline) -> None:
        """One listed coin: the cheapest call that needs the key."""
        body = self._read(self._call("health", "GET", "/v3/currencies/btc/btc"), deadline)
        with self._parsing("health"):
            if (result_of(body)["ticker"], result_of(body)["network"]) != ("btc", "btc"):
                raise ServiceUnavailable("simpleswap", "health", detail="another coin than asked for")

    def check_credentials(self, deadline: Deadline) -> None:
        """One of our own exchanges: changes nothing. The service's keys are not signed with, only shown."""
        self._read(self._call("info", "GET", "/v3/exchanges", "limit=1"), deadline)

    def _pair(self, request: QuoteRequest | OrderRequest, deadline: Deadline) -> dict[str, str]:
        """The pair in the service's names. The ticker of a token is held against its contract, once."""
        pair = pair_of(request)
        for one, side in ((request.from_asset, "From"), (request.to_asset, "To")):
            contract = CONTRACTS.get((one.coin, one.network))
            if contract is None or contract in self._checked:
                continue
            ticker, network = pair[f"ticker{side}"], pair[f"network{side}"]
            body = self._read(self._call("info", "GET", f"/v3/currencies/{ticker}/{network}"), deadline)
            with self._parsing("info"):
                listed = result_of(body)
                found = (listed["ticker"], listed["network"], _plain(text(listed["contractAddress"])))
            if found != (ticker, network, _plain(contract)):
                raise PairNotSupported("simpleswap", "info", detail=f"{one} is another token there")
            self._checked.add(contract)
        return pair

    def _refund_address(self, order: OrderRequest) -> str:
        """Where a refund goes; an address of another coin would be refused, so it is left out."""
        network, options = order.from_asset.network, self._settings.options
        general = options.get("refundAddress", "")
        fits = network in (("ETH", "ETC") if general.startswith("0x") else ("BTC",))
        return options.get(f"refundAddress{network}") or (general if fits else "")

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        headers = {"x-api-key": self._settings.keys["api_key"], "Content-Type": "application/json"}
        return Call(operation, method, path, query, headers, None if content is None else json_body(content))

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status == 429:
            return self._limited(operation, answer)
        if answer.status in (401, 403):
            return self._unauthorised(operation, str(answer.status))
        body = answer.json()
        told = [body.get(name) for name in ("message", "description", "error")]
        words = " ".join(one for one in told if isinstance(one, str)).lower()
        if answer.status not in _REFUSED or body["code"] != answer.status or not words:
            return None
        if operation in ("status", "list"):
            return ServiceRejected("simpleswap", operation, code=str(answer.status))
        return refusal(operation, answer.status, words)


def _plain(contract: str) -> str:
    """A contract fit for comparing: hexadecimal ones are written in either case."""
    return contract.lower() if contract.startswith("0x") else contract
