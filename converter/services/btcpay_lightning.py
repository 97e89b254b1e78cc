"""BTCPay Server: pays BTC from the pool's own node, on chain or over Lightning, at the store's rate.

It converts nothing: the pool keeps the from_coin, and the price risk with it. A payout is created unapproved, which
moves nothing; approving it is the commit point. Approval is a change of state of one payout, so a repeat cannot pay
twice: it is answered `invalid-state`. There is no client id, so ours travels in `metadata.clientRef` and is looked for
in the list of payouts.

A payout whose approval was refused is cancelled and read back before the attempt counts as not executed: cancelled
while it awaits approval (which sets its amount), it was never paid. Cancelled after its approval it proves nothing, on
chain (where it is stored as in progress only after the broadcast) as over Lightning, and goes to a person.

What is recognised when a payment to it is repeated, see `btcpay_lightning_payouts`: an address on the chain and an
invoice (by its payment hash). LNURL and lightning addresses are not, and are refused here before anything is made: the
server fetches a new invoice at every try. Two payouts to one place at a time are refused by the server with
`duplicate-destination`, which may speak of our own earlier send and so proves nothing.

The quote is our own: store rate x amount, less an estimate of the miner fee (`feeVbytes` x the node's fee rate) on
chain. The store's spread is inside the rate. A rate knows no networks: that of USDT is the same on all of them.

Facts: Greenfield API of BTCPay Server 2.4.1 (OpenAPI and source). Proof keys are read without regard to case.
Limits: none is coded there for keys. It is the pool's own server, whose proxy may have one: so it is kept moderate.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.limits import Budget, Limit
from converter.domain.money import EXACT, floor_unit, from_units, plain
from converter.domain.orders import (
    Capabilities,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Clock, Deadline
from converter.services.base import Call, ServiceSettings, encode, exact, json_body, text
from converter.services.btcpay_lightning_lists import BtcPayPayouts
from converter.services.btcpay_lightning_payouts import CODES, METHODS, is_recognised, order_of
from converter.transport.http import HttpAnswer

QUOTE_LIFE = timedelta(seconds=30)
_WALLET = "/payment-methods/BTC-CHAIN/wallet"
_CODES = {"amount-too-low", "payment-method-not-supported", "rate-unavailable", "old-revision"}
_DOORS = {401: "unauthenticated", 403: "missing-permission"}
_REFUSED = {400: _CODES | {"expired", "not-started", "archived", "overdraft"}, 503: {"not-available"}}
"""HTTP status -> codes that prove a refusal there. A 5xx with any other code proves nothing."""


class BtcPayLightning(BtcPayPayouts):
    """See the module. Keys: `token`. Options: `storeId`, `feeVbytes`."""

    capabilities = Capabilities(
        service_id="btcpay_lightning",
        title="BTCPay Lightning",
        commits_on=OperationKind.APPROVAL,
        rules={
            OperationKind.ORDER: OperationRule(moves_money=False, quiet=timedelta(seconds=5)),
            OperationKind.APPROVAL: OperationRule(moves_money=True, repeat_recognised=True),
        },
        firm_quotes=False,
        keys=("token",),
        optional_keys=("callback_secret", "callback_token"),
        minimum={"ETH": Decimal("0.0001")},
        # On chain: rate, fee and balance; rate, fee and payout. A step reads the payout and approves it.
        budget=Budget(Limit(20, burst=40), requests={"quote": 3, "order": 3, "advance": 2}),
    )

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        if not settings.options.get("storeId"):
            raise ValueError("options.storeId: is missing; accepted: the id of the pool's store")

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Anything to BTC, on chain or over Lightning; the store's rate decides what it can price."""
        code, to_code = (CODES.get((one.coin, one.network)) for one in (from_asset, to_asset))
        return to_code == "BTC" and code not in (None, to_code)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Store rate x amount less the miner fee; refused when the wallet does not hold it."""
        fees = self._miner_fee(request.to_asset, deadline)
        gross = floor_unit(EXACT.multiply(request.amount, self._rate(request, deadline)), request.to_asset.decimals)
        net = net_of(gross, fees, request.to_asset)
        if net <= 0:
            raise ServiceRejected("btcpay_lightning", "quote", detail="the miner fee eats the amount")
        if self._balance(request.to_asset, deadline) < gross:
            raise ServiceRejected("btcpay_lightning", "quote", detail="the wallet does not hold the amount")
        expires_at = self._clock.now() + QUOTE_LIFE
        return Quote("btcpay_lightning", request, gross, fees, net, firm=False, expires_at=expires_at)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Create the payout, unapproved, for the promised net. Moves nothing. The rate is checked again first."""
        request = QuoteRequest(order.from_asset, order.to_asset, order.amount)
        gross = EXACT.multiply(order.amount, self._rate(request, deadline))
        if net_of(gross, self._miner_fee(order.to_asset, deadline), order.to_asset) < order.minimum_net:
            raise QuoteExpired("btcpay_lightning", "order", detail="the rate is worse now")
        if not is_recognised(order.address, order.to_asset.network):
            raise ServiceRejected("btcpay_lightning", "order", detail="a payment there is not recognised when repeated")
        method, amount = METHODS[order.to_asset.network], plain(order.net)
        origin = {"clientRef": order.key, "fromCoin": order.from_asset.coin, "fromAmount": plain(order.amount)}
        content = {"destination": order.address, "amount": amount, "payoutMethodId": method, "approved": False}
        call = self._call("order", "POST", "/payouts", content={**content, "metadata": origin})
        body = self._execute(call, deadline)
        with self._parsing("order", executed=True):
            return order_of(OrderRef(order, text(body["id"])), body)

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Approve the payout. Moves money. An approved one is left as it is."""
        path = f"/payouts/{order.ref.service_order_id}"
        payout = self._read(self._call("status", "GET", path), deadline)
        with self._parsing("status"):
            seen, revision = order_of(order.ref, payout), int(payout["revision"])
        if seen.status is not OrderStatus.AWAITING_APPROVAL:
            return seen
        try:
            call = self._call("approve", "POST", path, content={"revision": revision})
            body = self._execute(call, deadline)
        except ServiceRejected as refusal:
            self._abandon(order.ref, refusal)
            raise
        with self._parsing("approve", executed=True):
            approved = order_of(order.ref, body)
            if approved.status is OrderStatus.AWAITING_APPROVAL:
                raise ValueError("not approved")
            return approved

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By the payout's id, else by our reference among all payouts, the cancelled ones included."""
        if ref.service_order_id is not None:
            try:
                payout = self._read(self._call("status", "GET", f"/payouts/{ref.service_order_id}"), deadline)
            except ServiceRejected as error:
                if error.code == "payout-not-found":
                    return None
                raise
            with self._parsing("status"):
                return order_of(ref, payout)
        rows = self._read(self._call("status", "GET", "/payouts", "includeCancelled=true"), deadline)
        with self._parsing("status"):
            payouts = {text(row["id"]): row for row in list.copy(rows)}  # a TypeError for anything but a list
            for payout_id, row in payouts.items():
                if (row.get("metadata") or {}).get("clientRef") == ref.request.key:
                    return order_of(OrderRef(ref.request, payout_id, ref.step_key), row)
            return None

    def check_health(self, deadline: Deadline) -> None:
        """The node is in step with the chain."""
        body = self._read(Call("health", "GET", "/api/v1/health"), deadline)
        with self._parsing("health"):
            if body["synchronized"] is not True:
                raise ServiceUnavailable("btcpay_lightning", "health", detail="the node is behind")

    def check_credentials(self, deadline: Deadline) -> None:
        """Read the store's payouts with our token: changes nothing."""
        self._read(self._call("info", "GET", "/payouts"), deadline)

    def _abandon(self, ref: OrderRef, refusal: ServiceError) -> None:
        """Cancel a payout whose approval was refused; OutcomeUnknown unless it is seen cancelled."""
        path = f"/payouts/{ref.service_order_id}"
        deadline = Deadline.after(5.0)
        try:
            self._execute(self._call("cancel", "DELETE", path), deadline)
            payout = self._read(self._call("status", "GET", path), deadline)
            with self._parsing("status"):
                cancelled = payout["state"] == "Cancelled"
        except ServiceError as error:
            raise OutcomeUnknown("btcpay_lightning", "approve", detail="refused, but not cancelled") from error
        if not cancelled:
            raise OutcomeUnknown("btcpay_lightning", "approve", code=refusal.code) from refusal

    def _rate(self, request: QuoteRequest, deadline: Deadline) -> Decimal:
        """BTC for one unit of the from_coin. Matched by name: malformed pairs vanish from the answer."""
        if not self.supports(request.from_asset, request.to_asset):
            raise PairNotSupported("btcpay_lightning", "quote")
        pair = f"{CODES[request.from_asset.coin, request.from_asset.network]}_BTC"
        rows = self._read(self._call("quote", "GET", "/rates", encode({"currencyPair": pair})), deadline)
        with self._parsing("quote"):
            rates = [row["rate"] for row in rows if row["currencyPair"] == pair and row["rate"] is not None]
            if not rates:
                raise PairNotSupported("btcpay_lightning", "quote", detail="the store has no rate")
            rate = exact(rates[0])
            if rate <= 0:
                raise ValueError("no rate")
        return rate

    def _miner_fee(self, asset: Asset, deadline: Deadline) -> tuple[Fee, ...]:
        if asset.network != "BTC":
            return ()
        body = self._read(self._call("info", "GET", f"{_WALLET}/feerate", "blockTarget=6"), deadline)
        with self._parsing("info"):
            rate, size = exact(body["feeRate"]), Decimal(self._settings.options.get("feeVbytes", "141"))
            if rate <= 0:
                raise ValueError("no fee rate")
            satoshi = EXACT.multiply(rate, size)
        return (Fee("network", from_units(int(satoshi) + 1, 8)),)

    def _balance(self, asset: Asset, deadline: Deadline) -> Decimal:
        """What the paying wallet can spend, in BTC."""
        if asset.network == "BTC":
            body = self._read(self._call("info", "GET", _WALLET), deadline)
            with self._parsing("info"):
                return exact(body["confirmedBalance"])
        body = self._read(self._call("info", "GET", "/lightning/BTC/balance"), deadline)
        with self._parsing("info"):
            return from_units(int(exact(body["offchain"]["local"])), 11)

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        store = f"/api/v1/stores/{self._settings.options['storeId']}"
        headers = {"Authorization": f"token {self._settings.keys['token']}", "Content-Type": "application/json"}
        return Call(operation, method, store + path, query, headers, None if content is None else json_body(content))

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status == 429:
            return self._limited(operation, answer)
        if answer.status in _DOORS:  # of an approval, what stands before the server proves nothing by its status alone
            own = operation != "approve" or answer.json()["code"] == _DOORS[answer.status]
            return self._unauthorised(operation, str(answer.status)) if own else None
        body = answer.json()
        if answer.status == 422 and body:
            return ServiceRejected("btcpay_lightning", operation, code="422", detail=str(body[0]["path"])[:40])
        code = str(body["code"])
        # `duplicate-destination` may be our own earlier send, `invalid-state` our own earlier approval.
        if code in _REFUSED.get(answer.status, ()) or (answer.status == 404 and code.endswith("-not-found")):
            return ServiceRejected("btcpay_lightning", operation, code=code)
        return None
