"""What an amount brings on a route of Kraken's, withdrawal included, and the bound of its first trade."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from converter.domain.errors import AmountOutOfRange, MalformedResponse, PairNotSupported, ServiceRejected
from converter.domain.money import EXACT, floor_to, floor_unit
from converter.domain.orders import OrderRequest
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Deadline
from converter.services.kraken_account import Account
from converter.services.kraken_market import UNIT, Route, Step, ceil_to, code_of, supported, walk
from converter.services.kraken_payouts import Terms, unit_of


@dataclass(frozen=True)
class Offer:
    """What an amount brings now, leg by leg, and what its withdrawal costs."""

    steps: tuple[Step, ...]
    terms: Terms
    received: Decimal

    @property
    def net(self) -> Decimal:
        """What surely arrives, whatever the mark of the withdrawal is."""
        return EXACT.subtract(self.received, EXACT.add(self.terms.fee, self.terms.reserve))

    def bound(self, minimum_net: Decimal) -> Decimal:
        """What the first step must bring for the minimum to arrive. With another one to follow: its share of what the
        books bring now."""
        if len(self.steps) == 1:
            return self.terms.gross(minimum_net)
        return EXACT.multiply(self.steps[0].received, EXACT.divide(minimum_net, self.net))


def best_offer(
    account: Account, request: QuoteRequest, routes: dict[str, Route], deadline: Deadline
) -> tuple[str, Offer]:
    """The direct route, else the one with the better net, by its reference. Raises the first refusal when every route
    is refused."""
    direct = {reference: route for reference, route in routes.items() if len(route) == 1}
    offers: dict[str, Offer] = {}
    refusals: list[ServiceRejected] = []
    for reference, route in (direct or routes).items():
        try:
            offers[reference] = offer_of(account, request, (route, request.amount), deadline)
        except ServiceRejected as error:
            refusals.append(error)
    if not offers:
        raise refusals[0]
    reference = max(offers, key=lambda one: offers[one].net)
    return reference, offers[reference]


def offer_of(
    account: Account, asked: QuoteRequest | OrderRequest, way: tuple[Route, Decimal], deadline: Deadline
) -> Offer:
    """Price an amount on a route. Raises ServiceRejected when it could not be paid out (for an order: to its address),
    AmountOutOfRange with the limit where there is one: what cannot leave must not be traded."""
    route, amount = way
    address = asked.address if isinstance(asked, OrderRequest) else ""
    key = account.saved(asked.to_asset, address, deadline)
    steps: list[Step] = []
    for leg in route:
        kept, book = account.kept(leg.pair, deadline), account.book(leg, deadline)
        try:
            step = walk(leg, amount, book, kept)
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError) as error:
            raise MalformedResponse("kraken", "quote", detail="odd book") from error
        if step.short:
            raise AmountOutOfRange("kraken", "quote", minimum=_scaled(asked.amount, step.short))
        steps.append(step)
        amount = step.received
    unit = unit_of(asked.to_asset)
    received = floor_to(amount, unit)
    try:
        terms = account.terms((asked.to_asset, key), received, deadline, fresh=bool(address))
    except AmountOutOfRange as error:
        raise _in_from_coin(error, asked.amount, amount) from error
    offer = Offer(tuple(steps), terms, received)
    if offer.net < max(terms.least, unit):
        small = AmountOutOfRange("kraken", "quote", minimum=terms.gross(unit))
        raise _in_from_coin(small, asked.amount, amount)
    return offer


def routes_of(
    account: Account, request: QuoteRequest | OrderRequest, deadline: Deadline, *, traded: bool
) -> dict[str, Route]:
    """Ways for a request, by reference; `traded`: only those that can be taken now. Raises PairNotSupported."""
    found: dict[str, Route] = {}
    if supported(request.from_asset, request.to_asset):
        found = account.routes((code_of(request.from_asset), code_of(request.to_asset)), deadline)
    if traded:
        found = {name: route for name, route in found.items() if all(leg.pair.online for leg in route)}
    if not found:
        raise PairNotSupported("kraken", "quote", detail="not traded (now)")
    return found


def route_of(account: Account, order: OrderRequest, deadline: Deadline, *, traded: bool) -> Route:
    """The route that was quoted. Raises PairNotSupported."""
    found = routes_of(account, order, deadline, traded=traded)
    if order.quote_reference not in found:
        raise PairNotSupported("kraken", "order", detail="the quoted route is not traded (now)")
    return found[order.quote_reference]


def quoted(request: QuoteRequest, reference: str, offer: Offer, expires_at: datetime) -> Quote:
    """The quote of an offer."""
    *before, last = offer.steps
    gross = last.gross
    for step in before:
        gross = floor_unit(EXACT.divide(gross, step.kept), 18)
    commission = EXACT.subtract(gross, EXACT.multiply(last.gross, last.kept))
    fees = (Fee("service", commission), Fee("withdrawal", EXACT.add(offer.terms.fee, offer.terms.reserve)))
    net = min(net_of(gross, fees, request.to_asset), offer.net)
    return Quote("kraken", request, gross, fees, net, firm=False, expires_at=expires_at, reference=reference)


def _in_from_coin(error: AmountOutOfRange, amount: Decimal, received: Decimal) -> AmountOutOfRange:
    """Limits of what a trade must bring, as limits of what it is made with."""
    minimum = None if error.minimum is None else _scaled(amount, EXACT.divide(error.minimum, received))
    share = None if error.maximum is None else EXACT.divide(error.maximum, received)
    maximum = None if share is None else floor_unit(EXACT.multiply(amount, share), 8)
    return AmountOutOfRange("kraken", "quote", minimum=minimum, maximum=maximum)


def _scaled(amount: Decimal, factor: Decimal) -> Decimal:
    return ceil_to(EXACT.multiply(amount, factor).quantize(Decimal("1e-20")), UNIT)
