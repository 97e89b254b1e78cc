"""Kraken: trade what is in the account, over a middle coin where there is no pair, then withdraw to a saved address.

Each trade is a LIMIT order with `timeinforce` FOK at our bound: whole, or not at all. FOK is seen in public clients,
not in the reference; an order that ended with a part filled is held for a person, since a part cannot be gone on with.
The commission is taken from what comes in (`fciq` selling, `fcib` buying), and told by the row's own flags. AddOrder
answers with an id alone; one look at the order follows, and a second trade that has not ended by then is unknown until
it has: it is never open for long.

`cl_ord_id` is unique among open orders only, so that a repeat would trade again: an unknown order is looked up among
the open ones, then among the closed ones (it only moves that way), and never re-sent. A `deadline` is always set; the
engine takes none that is more than 60 s ahead, and orders were seen to surface up to a minute late: hence the quiet
period, which holds however far our clock is off, and two absent look-ups.

Withdrawals go to addresses that a person has saved and confirmed, found by exact address and method; without one an
order is refused before it is sent. A withdrawal has no reference of ours. It is recognised by address and gross amount,
whose last digits are made of our key (up to 999 units stay in the account; the quoted net allows for them). That proves
a presence, never an absence: an unknown withdrawal goes to a person. `max_fee` refuses one that would bring less than
the accepted minimum. A Failure leaves the coin in the account, for a person.

Nonces grow by the ledger's counter, over all processes; without one, over the threads of this process only. Two calls
may still arrive swapped: set a nonce window of 10 s (10000000, they are microseconds) on the key. A nonce is taken just
before its call leaves, so the disorder is bounded by the time to connect. "Invalid nonce" is not executed.

Facts: Kraken's guides and reference; see `kraken_errors` for what proves a refusal. Not found, read cautiously: the
text of a client id in use (proves nothing), HTTP statuses other than 200 (prove nothing). Names of methods other than
Bitcoin and Ether are those of public clients' deposits: one that is not offered is refused before anything is sent.
WithdrawInfo may refuse what is more than the balance of the to_coin: keep a float there. RVN, ZEC, KAS, ERG and
Lightning are not established; XMR can only be sold.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.money import EXACT, plain
from converter.domain.orders import (
    Capabilities,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Quote, QuoteRequest
from converter.ports import Clock, Deadline
from converter.services.base import Call, ServiceSettings, encode, text
from converter.services.kraken_account import BUDGET, Account
from converter.services.kraken_errors import EXECUTING, known_error, succeeded, texts
from converter.services.kraken_lists import KrakenPayouts
from converter.services.kraken_market import Leg, code_of, supported
from converter.services.kraken_orders import form, halfway, order_of
from converter.services.kraken_payouts import marked, with_withdrawal
from converter.services.kraken_pricing import Offer, best_offer, offer_of, quoted, route_of, routes_of
from converter.services.kraken_signing import Signer
from converter.transport.http import HttpAnswer

QUOTE_LIFE = timedelta(seconds=15)
ORDER_LIFE = timedelta(seconds=10)
"""After which the engine takes an order no more."""
_LOOK = 3.0
"""Seconds for the look at an order that was just taken."""


class Kraken(KrakenPayouts):
    """See the module. Keys: `api_key`, `private_key`. Options: `takerFee` (percent) instead of the account's own."""

    capabilities = Capabilities(
        service_id="kraken",
        title="Kraken",
        commits_on=OperationKind.ORDER,
        rules={
            OperationKind.ORDER: OperationRule(moves_money=True, quiet=timedelta(minutes=2), absences=2),
            OperationKind.TRADE: OperationRule(moves_money=True, quiet=timedelta(minutes=2), absences=2),
            OperationKind.WITHDRAWAL: OperationRule(moves_money=True, quiet=None),
        },
        firm_quotes=False,
        keys=("api_key", "private_key"),
        minimum={"ETH": Decimal("0.001"), "BTC": Decimal("0.0001")},
        budget=BUDGET,
    )

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._signer = Signer(settings, clock)
        self._account = Account(self._public, self._private, settings.options.get("takerFee"))

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both have names there, the to_asset a method of withdrawal, and they differ in coin."""
        return supported(from_asset, to_asset)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Walk the books of the direct pair, else of the better route over a middle coin. Not firm."""
        routes = routes_of(self._account, request, deadline, traded=True)
        if self._account.free(request.from_asset, deadline) < request.amount:
            raise ServiceRejected("kraken", "quote", detail="the account does not hold the amount")
        reference, offer = best_offer(self._account, request, routes, deadline)
        return quoted(request, reference, offer, self._clock.now() + QUOTE_LIFE)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Make the first trade, whole or not at all, at the bound that still brings `minimum_net`. Moves money."""
        route = route_of(self._account, order, deadline, traded=True)
        offer = offer_of(self._account, order, (route, order.amount), deadline)
        txid = self._order(OperationKind.ORDER, order, (offer, order.key), deadline)
        placed = self._look(OrderRef(order, txid), (txid, order.key), (route[0], order.amount))
        if placed.status is OrderStatus.REJECTED:
            raise QuoteExpired("kraken", "order", detail=placed.detail)
        return halfway(placed, route)

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Make the second trade with all that the first brought, or withdraw what came of it. Moves money."""
        key = order.ref.trade_key if order.status is OrderStatus.HALFWAY else order.ref.step_key
        if order.filled is None or key is None:
            raise ServiceUnavailable("kraken", "withdraw", detail="the trade's proceeds are not known yet")
        if order.status is OrderStatus.HALFWAY:
            return self._trade(order, key, order.filled, deadline)
        return self._withdraw(order, key, order.filled, deadline)

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """The first trade by our key, then the second, then the withdrawal."""
        request = ref.request
        route = route_of(self._account, request, deadline, traded=False)
        found = self._account.order(ref.service_order_id, request.key, request.prepared_at, deadline)
        if found is None:
            return None
        with self._parsing("status"):
            order = order_of(replace(ref, service_order_id=found[0]), found[1], route[0], request.amount)
        order = halfway(order, route)
        if order.status is OrderStatus.HALFWAY and ref.trade_key is not None and order.filled is not None:
            order = self._second(order, ref.trade_key, (route[1], order.filled), deadline)
        if order.status is not OrderStatus.FILLED or ref.step_key is None:
            return order
        rows = self._account.withdrawals(request.to_asset, request.prepared_at, deadline)
        with self._parsing("status"):
            return with_withdrawal(order, rows, code_of(request.to_asset))

    def check_health(self, deadline: Deadline) -> None:
        """The system is online."""
        body = self._public("health", "SystemStatus", {}, deadline)
        with self._parsing("health"):
            if body["status"] != "online":
                raise ServiceUnavailable("kraken", "health", detail=text(body["status"]))

    def check_credentials(self, deadline: Deadline) -> None:
        """Read the balances with our keys. Raises AuthenticationFailed when they are refused."""
        body = self._private("info", "Balance", {}, deadline)
        with self._parsing("info"):
            dict(body)

    def _trade(self, order: Order, key: str, amount: Decimal, deadline: Deadline) -> Order:
        request = order.ref.request
        leg = route_of(self._account, request, deadline, traded=True)[-1]
        offer = offer_of(self._account, request, ((leg,), amount), deadline)
        txid = self._order(OperationKind.TRADE, request, (offer, key), deadline)
        traded = self._look(order.ref, (txid, key), (leg, amount))
        if traded.status is OrderStatus.REJECTED:
            raise QuoteExpired("kraken", "trade", detail=traded.detail)
        if traded.status is OrderStatus.OPEN:
            raise OutcomeUnknown("kraken", "trade", detail="taken, but its end is not seen yet")
        return traded

    def _second(self, order: Order, key: str, trade: tuple[Leg, Decimal], deadline: Deadline) -> Order:
        """A filled first trade with its second, if that was taken. One that filled nothing leaves it halfway."""
        found = self._account.order(None, key, order.ref.request.prepared_at, deadline)
        if found is None:
            return order
        with self._parsing("status"):
            second = order_of(order.ref, found[1], *trade)
        if second.status is OrderStatus.OPEN:
            raise ServiceUnavailable("kraken", "status", detail="the second trade has not ended yet")
        return replace(order, detail=second.detail) if second.status is OrderStatus.REJECTED else second

    def _withdraw(self, order: Order, key: str, filled: Decimal, deadline: Deadline) -> Order:
        request = order.ref.request
        amount = marked(filled, key, request.to_asset)
        most = EXACT.subtract(amount, request.minimum_net)
        params = {
            "asset": code_of(request.to_asset).altname,
            "key": self._account.saved(request.to_asset, request.address, deadline),
            "amount": plain(amount),
            "address": request.address,
        }
        if most > 0:
            params["max_fee"] = plain(most)
        body = self._execute(self._signer.call("withdraw", "Withdraw", params), deadline)
        with self._parsing("withdraw", executed=True):
            text(body["result"]["refid"])
        return Order(order.ref, OrderStatus.PAYING_OUT, filled=filled)

    def _order(self, kind: OperationKind, request: OrderRequest, trade: tuple[Offer, str], deadline: Deadline) -> str:
        """Send an order for the first step of an offer; the id that it got. Raises QuoteExpired below `minimum_net`."""
        offer, key = trade
        if offer.net < request.minimum_net:
            raise QuoteExpired("kraken", kind, detail="the books bring less than the bound")
        until = (self._clock.now() + ORDER_LIFE).isoformat(timespec="seconds")
        params = {**form(offer.steps[0], offer.bound(request.minimum_net), key), "deadline": until}
        body = self._execute(self._signer.call(kind, "AddOrder", params), deadline)
        with self._parsing(kind, executed=True):
            (txid,) = list.copy(body["result"]["txid"])
            return text(txid)

    def _look(self, ref: OrderRef, ours: tuple[str, str], trade: tuple[Leg, Decimal]) -> Order:
        """The order that was just taken (its id and our key); open when its end cannot be seen at once."""
        unseen = Order(ref, OrderStatus.OPEN)
        try:
            found = self._account.order_by_id(*ours, Deadline.after(_LOOK))
        except (ServiceUnavailable, ServiceRejected, AuthenticationFailed):
            return unseen  # it was taken all the same
        with self._parsing("status"):
            return unseen if found is None else order_of(ref, found[1], *trade)

    def _public(self, operation: str, method: str, params: dict[str, str], deadline: Deadline) -> Any:
        return self._read(Call(operation, "GET", f"/0/public/{method}", encode(params)), deadline)["result"]

    def _private(self, operation: str, method: str, params: dict[str, str], deadline: Deadline) -> Any:
        return self._read(self._signer.call(operation, method, params), deadline)["result"]

    def _is_success(self, answer: HttpAnswer) -> bool:
        return succeeded(answer)

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status == 429 and operation not in EXECUTING:
            return self._limited(operation, answer)
        if answer.status != 200:
            return None
        return known_error(operation, texts(answer.json()), int(self._clock.now().timestamp()))
