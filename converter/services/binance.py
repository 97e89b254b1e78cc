"""Binance: trade what is in the spot account, then withdraw. Every call of these moves money and is signed.

Orders are LIMIT FOK: the engine fills them whole at our bound or better, or not at all, so a moved market is a proven
refusal and a partial fill cannot happen. `newClientOrderId` is unique among open orders only: a repeat would trade
again, so an unknown order is looked up, never re-sent. The server refuses a request later than `timestamp +
recvWindow` and waits at most 10 s for its engine; hence the quiet period of 20 s, and two absent look-ups.

Where there is no pair the way leads over BTC or USDT. The middle coin stays in the account until the second trade,
which is a step of its own; the conversion is then bound to this service.

`withdrawOrderId` is documented as a filter of the history only. What a second use does is not found, so a withdrawal
is taken as not repeatable: it is looked up, over minutes, since the history may lag. Withdrawn is everything that
the last trade brought; the fee of the network is taken off by the service. A withdrawal that the service cancels,
rejects or fails leaves the coin in the account: a person decides.

Facts: Binance spot API documentation and the wallet part of its own SDK. Error codes that are not listed are unknown.
XMR, ZEC, KAS and ERG are not found there, and Lightning withdrawals are not described: not supported.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    PairNotSupported,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.money import EXACT, floor_to, floor_unit, plain
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
from converter.ports import Deadline
from converter.services.base import milliseconds, text
from converter.services.binance_lists import BinancePayouts
from converter.services.binance_orders import with_withdrawal, withdrawable
from converter.services.binance_routes import (
    MIDDLE_COINS,
    Route,
    bounded,
    first_bounds,
    first_traded,
    in_first_coin,
    last_bounds,
    second_bounds,
)
from converter.services.binance_rules import Leg, Network
from converter.services.binance_wire import BUDGET

CODES: dict[tuple[str, str], str | None] = {
    ("BTC", "BTC"): "BTC",
    ("BTC", "LIGHTNING"): None,
    ("ETH", "ETH"): "ETH",
    ("ETC", "ETC"): "ETC",
    ("LTC", "LTC"): "LTC",
    ("BCH", "BCH"): "BCH",
    ("DOGE", "DOGE"): "DOGE",
    ("RVN", "RVN"): "RVN",
    ("XMR", "XMR"): None,
    ("ZEC", "ZEC"): None,
    ("KAS", "KAS"): None,
    ("ERG", "ERG"): None,
    ("USDT", "TRX"): "TRX",
    ("USDT", "ETH"): "ETH",
}
"""Asset -> network code of the service, None where it is not supported; the coin's ticker is the same."""

QUOTE_LIFE = timedelta(seconds=15)
_TRADE = OperationRule(moves_money=True, quiet=timedelta(seconds=20), absences=2)


class Binance(BinancePayouts):
    """See the module."""

    capabilities = Capabilities(
        service_id="binance",
        title="Binance",
        commits_on=OperationKind.ORDER,
        rules={
            OperationKind.ORDER: _TRADE,
            OperationKind.TRADE: _TRADE,
            OperationKind.WITHDRAWAL: OperationRule(moves_money=True, quiet=timedelta(minutes=5), absences=3),
        },
        firm_quotes=False,
        keys=("api_key", "secret_key"),
        minimum={"ETH": Decimal("0.001"), "BTC": Decimal("0.0001")},
        budget=BUDGET,
    )

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both assets have a network code here and differ in coin."""
        sides = [CODES.get((one.coin, one.network)) for one in (from_asset, to_asset)]
        return None not in sides and from_asset.coin != to_asset.coin

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Walk the books for the whole amount, take off commissions and the withdrawal fee. Not firm."""
        network = self._withdrawal(request, deadline)
        ends = (request.from_asset.coin, request.to_asset.coin)
        direct = self._pair(*ends, deadline)
        if direct is not None and direct.symbol.tradable:
            return self._priced(request, Route(), (direct, request.amount), (network, deadline))
        found = []
        for middle in () if direct is not None else MIDDLE_COINS:
            legs = (
                [] if middle in ends else [self._pair(*pair, deadline) for pair in pairwise(Route(middle).over(*ends))]
            )
            tradable = [leg for leg in legs if leg is not None and leg.symbol.tradable]
            if len(tradable) == 2:
                walked = self._walked(tradable[0], request.amount, deadline)
                amount = first_traded(request.amount, tradable[0], walked, self._kept)
                route = Route(middle, amount)
                found.append(self._priced(request, route, (tradable[1], amount), (network, deadline)))
        if not found:
            raise PairNotSupported("binance", "quote", detail="not traded now")
        return max(found, key=lambda quote: quote.net)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Trade, whole or not at all, at the bound that still brings `minimum_net`. Moves money."""
        network, route = self._withdrawal(order, deadline), _route(order)
        leg, *rest = self._legs(order, route, deadline)
        if not all(one.symbol.tradable for one in (leg, *rest)):
            raise PairNotSupported("binance", "order", detail="not traded now")
        least = first_bounds(order, route, self._kept) if rest else last_bounds(order, network, self._kept)
        placed = self._trade(OrderRef(order), leg, bounded(leg, order.amount, least, order.key), deadline)
        return replace(placed, status=OrderStatus.HALFWAY) if rest and placed.status is OrderStatus.FILLED else placed

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Trade the middle coin, or withdraw what the last trade brought. Moves money."""
        network = self._withdrawal(order.ref.request, deadline)
        halfway = order.status is OrderStatus.HALFWAY
        return (self._second_trade if halfway else self._withdraw)(order, network, deadline)

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By our client order ids; then, when everything is filled, its withdrawal by our withdrawal id."""
        leg, *rest = self._legs(ref.request, _route(ref.request), deadline)
        order = self._found(ref, leg, ref.request.key, deadline)
        if order is not None and rest and order.status is OrderStatus.FILLED:
            order = self._with_second(order, rest[0], deadline)
        if order is not None and order.status is OrderStatus.FILLED and ref.step_key is not None:
            return self._with_withdrawal(order, deadline)
        return order

    def check_health(self, deadline: Deadline) -> None:
        """The system is not in maintenance."""
        body = self._read_public("health", "/sapi/v1/system/status", "", deadline)
        with self._parsing("health"):
            if body["status"] != 0:
                raise ServiceUnavailable("binance", "health", detail="maintenance")

    def _priced(
        self, request: QuoteRequest, route: Route, last: tuple[Leg, Decimal], place: tuple[Network, Deadline]
    ) -> Quote:
        """The quote of a route whose last trade takes this amount."""
        (leg, amount), (network, deadline) = last, place
        walked = self._walked(leg, amount, deadline)
        try:
            received = withdrawable(amount, (leg.symbol, network), walked, self._kept)
        except AmountOutOfRange as error:
            raise in_first_coin(error, request.amount, amount) if route.middle else error from error
        gross = floor_unit(EXACT.divide(walked.gross, self._kept), 18) if route.middle else walked.gross
        commission = EXACT.subtract(gross, EXACT.multiply(walked.gross, self._kept))
        fees = (Fee("service", commission), Fee("withdrawal", network.fee))
        net = min(net_of(gross, fees, request.to_asset), EXACT.subtract(received, network.fee))
        ends = self._clock.now() + QUOTE_LIFE
        return Quote("binance", request, gross, fees, net, firm=False, expires_at=ends, reference=str(route))

    def _second_trade(self, order: Order, network: Network, deadline: Deadline) -> Order:
        """All that the first trade brought, at the bound that still brings `minimum_net`."""
        request, key, amount = order.ref.request, order.ref.trade_key, order.filled
        leg = self._legs(request, _route(request), deadline)[-1]
        if key is None or amount is None:
            raise ServiceUnavailable("binance", "trade", detail="the first trade's proceeds are not known yet")
        least, _ = last_bounds(request, network, self._kept)
        bounds = second_bounds(self._walked(leg, amount, deadline, operation="trade"), least)
        return self._trade(order.ref, leg, bounded(leg, amount, bounds, key), deadline)

    def _withdraw(self, order: Order, network: Network, deadline: Deadline) -> Order:
        request = order.ref.request
        if order.filled is None or order.ref.step_key is None:
            raise ServiceUnavailable("binance", "withdraw", detail="the trade's proceeds are not known yet")
        params = {
            "coin": request.to_asset.coin,
            "network": network.code,
            "address": request.address,
            "amount": plain(floor_to(order.filled, network.step)),
            "withdrawOrderId": order.ref.step_key,
            "walletType": "0",
        }
        call = self._signed("withdraw", "POST", "/sapi/v1/capital/withdraw/apply", params, deadline)
        body = self._execute(call, deadline)
        with self._parsing("withdraw", executed=True):
            text(body["id"])
        return Order(order.ref, OrderStatus.PAYING_OUT, filled=order.filled)

    def _with_second(self, order: Order, leg: Leg, deadline: Deadline) -> Order:
        """The order after its first trade: HALFWAY unless our second one was taken and brought something."""
        key, halfway = order.ref.trade_key, replace(order, status=OrderStatus.HALFWAY)
        found = None if key is None else self._found(order.ref, leg, key, deadline)
        return halfway if found is None or found.status is OrderStatus.REJECTED else found

    def _with_withdrawal(self, order: Order, deadline: Deadline) -> Order:
        """The order with its withdrawal, if the history has it."""
        request = order.ref.request
        asked = request.to_asset.coin, milliseconds(request.prepared_at), deadline
        rows, read_now = self._rules.withdrawals(*asked)
        with self._parsing("status"):
            found = with_withdrawal(order, rows, _code(request.to_asset))
        if found.status is not OrderStatus.FILLED or read_now:
            return found
        rows, _ = self._rules.withdrawals(*asked, anew=True)  # still one reading for one look, as the budget has it
        with self._parsing("status"):
            return with_withdrawal(order, rows, _code(request.to_asset))

    def _withdrawal(self, request: QuoteRequest | OrderRequest, deadline: Deadline) -> Network:
        if not self.supports(request.from_asset, request.to_asset):
            raise PairNotSupported("binance", "quote")
        return self._rules.network(request.to_asset.coin, _code(request.to_asset), deadline)

    def _legs(self, request: OrderRequest, route: Route, deadline: Deadline) -> list[Leg]:
        """The trades of a route, halted or not."""
        coins = route.over(request.from_asset.coin, request.to_asset.coin)
        legs = [self._pair(*pair, deadline) for pair in pairwise(coins)]
        if None in legs:
            raise PairNotSupported("binance", "quote")
        return [leg for leg in legs if leg is not None]


def _route(request: OrderRequest) -> Route:
    try:
        return Route.read(request.quote_reference)
    except (ValueError, ArithmeticError) as error:
        raise ServiceRejected("binance", "order", detail="its quote is of no route known here") from error


def _code(asset: Asset) -> str:
    return CODES[asset.coin, asset.network] or ""
