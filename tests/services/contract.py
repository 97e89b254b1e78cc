"""What every service module promises, one test each. A subclass brings the service's facts and its recorded answers.

Doubtful outcomes are played on a real socket; everything else by `responses`, below our own client.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
import responses

from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    ConverterError,
    IntegrityMismatch,
    MalformedResponse,
    Outcome,
    PairNotSupported,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.orders import NEXT_STEP, OperationKind, Order, OrderRef, OrderRequest, OrderStatus, Refund
from converter.domain.payouts import Payout, PayoutState
from converter.domain.quotes import Quote, QuoteRequest, net_of
from converter.ports import Clock, ConversionService, Deadline, PayoutList
from converter.services.base import ServiceSettings
from tests.services import wire as wires
from tests.services.recorded import Recorded, odd, recorded
from tests.services.wire import BASE, Misdeed, Route, SocketWire, Wire

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ETH, BTC, LIGHTNING, LTC = asset("ETH"), asset("BTC"), asset("BTC", "LIGHTNING"), asset("LTC")
ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
OTHER_ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
KEY = "9f3kq2-1"

WAIT = 0.4
"""Seconds that stand in for the wait for an answer where a test lets it pass."""

PATIENCE = 2.0
"""Seconds by which a busy machine may be late."""

MISDEEDS: dict[str, Misdeed] = {
    "timeout": wires.silence,
    "reset after reading": wires.reset,
    "half a body": wires.half_a_body,
    "502 with a page": wires.page_502,
    "nothing": wires.says(b""),
    "null": wires.says(b"null"),
    "an empty list": wires.says(b"[]"),
    "an empty object": wires.says(b"{}"),
    "a text": wires.says(b'"ok"'),
    "a number": wires.says(b"1"),
    "lists in a list": wires.says(b"[[[]]]"),
    "a page": wires.says(b"<html><body>Welcome</body></html>"),
    "half of JSON": wires.says(b'{"id": '),
    "no text at all": wires.says(b"\xff\xfe\x00\x01"),
    "not a number": wires.says(b'{"id": NaN}'),
    "201 and nothing": wires.says(b"", 201),
    "204": wires.says(b"", 204),
    "a redirect": wires.says(b"", 302),
}

ODD_BODIES = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"[[]]",
    b"[null]",
    b"0",
    b'"no"',
    b"<html><body>Error</body></html>",
    b'{"error": null, "code": null, "msg": null, "message": null}',
    b'{"error": {"code": 1}, "code": {}, "msg": [], "message": {}}',
    b'{"error": ["a"], "code": ["b"], "msg": 1}',
    b'{"error": "something_new", "code": "something-new", "msg": "?"}',
    b'{"error": "something_new", "code": -99999, "msg": "?"}',
    b'{"error": "out_of_range", "range": [1, 2], "code": 1e999999999, "msg": "?"}',
    b'[{"message": "no path"}]',
    b"\xff\xfe\x00",
)
"""Bodies of an error that are not, or only nearly, what a service documents."""

CLOSED_DOORS = (401, 403, 418, 429)
"""Statuses that whatever stands before a service answers in its own words: a gateway, a firewall, a throttle."""

ODD_STATUSES = (400, 404, 405, 408, 409, 413, 422, 500, 502, 503, 504, 599)

NO_AMOUNTS = (Decimal(0), Decimal(-1), "0", "-0.5", None, "", "much", "NaN", "Infinity", True, [], {})


KINDS = {
    "order": OperationKind.ORDER,
    "trade": OperationKind.TRADE,
    "approve": OperationKind.APPROVAL,
    "withdraw": OperationKind.WITHDRAWAL,
}
"""Executing route -> the operation that goes there."""


class HandClock:
    """A wall clock that stands still until it is told otherwise."""

    def __init__(self, time: datetime = NOW) -> None:
        self.time = time

    def now(self) -> datetime:
        return self.time


@dataclass(frozen=True)
class Listing:
    """A service's own list of what it paid, as its recorded answers show it."""

    answers: Mapping[str, tuple[str, ...]]
    """Route -> recorded answers, one a page; the rows are on the last route."""
    shown: tuple[Payout, ...]
    status: str
    """Path of the status of the row that `named` is the order id of."""
    named: str
    words: Mapping[Any, PayoutState | None]
    """Status word -> what it means; None: no payment."""
    empty: Mapping[str, tuple[bytes, ...]]
    """Route -> bodies that mean that there is nothing."""


class ServiceContract:
    """The demands. Attributes without a value are the subclass's business."""

    service_id: ClassVar[str]
    make: ClassVar[Callable[[ServiceSettings, Clock], ConversionService]]
    keys: ClassVar[Mapping[str, str]]
    options: ClassVar[Mapping[str, str]] = {}
    routes: ClassVar[Mapping[str, Route]]
    honest: ClassVar[Mapping[str, str]]
    """Route -> the recorded answer with which everything goes well."""
    quote_routes: ClassVar[tuple[str, ...]]
    find_routes: ClassVar[Mapping[str, dict[str, Any]]]
    """Route -> changes of the reference with which a look-up comes there."""
    executing: ClassVar[tuple[str, ...]]
    """Routes that change something at the service, by the names in KINDS."""
    quote_reads: ClassVar[int] = 1
    """Requests of a quote, once what is kept for a while is known."""

    amount: ClassVar[Decimal] = Decimal("1.5")
    net: ClassVar[Decimal]
    minimum_net: ClassVar[Decimal] = Decimal("0.0956")
    quote_reference: ClassVar[str] = ""
    offered: ClassVar[tuple[str, list[str], str]]
    """Gross, fees and net of the honest quote."""
    finer_amount: ClassVar[Decimal] = Decimal("1.500000000000000001")
    """An amount at the full precision of the coin."""

    unsupported: ClassVar[tuple[tuple[Asset, Asset], ...]]
    amounts_of_quote: ClassVar[tuple[tuple[str, str, tuple[Any, ...]], ...]]
    """Route, path and values which are no amounts there; the field may not be missing either."""
    unauthorised: ClassVar[tuple[str, ...]]
    retry_after: ClassVar[int]
    by_status: ClassVar[tuple[int, ...]] = ()
    """Of CLOSED_DOORS, those that prove by themselves, by the documentation, that nothing was executed."""
    needed: ClassVar[Mapping[str, tuple[str, ...]]]
    """Executing route -> fields without which its answer proves nothing."""
    slow_reads: ClassVar[Mapping[str, str]] = {}
    """Executing route -> a read that goes before it."""
    foreign: ClassVar[tuple[tuple[str, dict[str, Any]], ...]]
    """Route and changes that make its answer speak of something else than what we asked for."""
    words: ClassVar[Mapping[Any, OrderStatus]]
    """Status word of the service -> what it means here."""
    unknown_words: ClassVar[tuple[Any, ...]] = ("overdue", "", None, 7, [], {})
    empty: ClassVar[Mapping[str, bytes]] = {}
    """Find route -> a body without rows, which there means that nothing followed yet."""
    absences: ClassVar[tuple[tuple[str, str], ...]]
    """Find route and recorded answer that the service documents for "no such order"."""
    refund: ClassVar[Refund | None] = None
    """What the recorded answer about a refund tells of it."""
    deposit_end: ClassVar[datetime | None] = None
    """Until when the recorded order takes its deposit; None where the service names no end."""
    listing: ClassVar[Listing | None] = None
    """Its list of what it paid, where it keeps one."""

    # --- The subclass's hands ----------------------------------------------------------------------------------------

    def order_before(self, route: str) -> Order:
        """The order whose next step is the executing route."""
        raise NotImplementedError

    def with_word(self, word: Any) -> dict[str, Recorded]:
        """Answers by route in which the order's status is this word."""
        raise NotImplementedError

    def carried_key(self, route: str) -> str:
        """What must be on the wire of an executing route: our key, or the order that it made. Empty where the wire has
        no place for a key; then none may be there."""
        raise NotImplementedError

    def out_of_range(self) -> tuple[dict[str, Recorded], Decimal | None, Decimal | None]:
        """Answers by route with which our amount is too small, and the limits that the error must tell."""
        raise NotImplementedError

    def from_litecoin(self) -> dict[str, Recorded]:
        """Answers by route with which LTC is converted at the figures of the honest answers."""
        raise NotImplementedError

    # --- Tools -------------------------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize by what the subclass declares."""
        if not hasattr(self, "service_id"):
            return  # the demands alone, of no service
        tables: dict[str, list[Any]] = {
            "route": list(self.executing),
            "moving": [name for name in self.executing if self.make.capabilities.rules[KINDS[name]].moves_money],
            "called": [self.quote_routes[-1], *self.find_routes, *self.executing],
            "refused": list(self.unauthorised),
            "word": list(self.words),
            "case": list(self.foreign),
        }
        for name, values in tables.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=[str(value)[:60] for value in values])

    @pytest.fixture
    def wire(self) -> Iterator[Wire]:
        with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
            playing = Wire(mock, self.routes, {name: self.recorded(file) for name, file in self.honest.items()})
            yield playing
            assert playing.surprises == []

    def recorded(self, name: str) -> Recorded:
        return recorded(self.service_id, name)

    def service(self, base_url: str = BASE, *, keys: Mapping[str, str] | None = None, clock: Any = None) -> Any:
        settings = ServiceSettings(base_url, self.keys if keys is None else keys, self.options)
        return type(self).make(settings, clock or HandClock())

    def socket_wire(self, misdeeds: Mapping[str, Misdeed] | None = None, **other: Recorded) -> SocketWire:
        answers = {name: self.recorded(file) for name, file in self.honest.items()} | other
        return SocketWire(self.routes, answers, misdeeds or {})

    @property
    def quote_request(self) -> QuoteRequest:
        return QuoteRequest(ETH, BTC, self.amount)

    @property
    def order_request(self) -> OrderRequest:
        return OrderRequest(
            key=KEY,
            from_asset=ETH,
            to_asset=BTC,
            amount=self.amount,
            address=ADDRESS,
            net=self.net,
            minimum_net=self.minimum_net,
            quote_reference=self.quote_reference,
            prepared_at=NOW + timedelta(seconds=1),
        )

    def ref(self, **changes: Any) -> OrderRef:
        """How the recorded order is found: its second step included, where the service has one."""
        raise NotImplementedError

    def quote(self, service: Any, seconds: float = 5.0) -> Quote:
        return service.quote(self.quote_request, Deadline.after(seconds))

    def execute(self, service: Any, route: str, deadline: Deadline | None = None) -> Order:
        deadline = deadline or Deadline.after(5)
        if route == "order":
            return service.place_order(self.order_request, deadline)
        return service.advance_order(self.order_before(route), deadline)

    def find(self, service: Any, seconds: float = 5.0, **changes: Any) -> Order | None:
        return service.find_order(self.ref(**changes), Deadline.after(seconds))

    def payouts(self, since: datetime = NOW - timedelta(hours=1), deadline: Deadline | None = None) -> list[Payout]:
        return self.service().payouts(since, deadline or Deadline.after(5))

    def lists(self, wire: Wire) -> Listing:
        """Play the recorded list. Skips where the service keeps none."""
        if self.listing is None:
            assert not isinstance(self.service(), PayoutList)
            pytest.skip("it keeps no list of what it paid")
        for route, names in self.listing.answers.items():
            wire.answers(route, *(self.recorded(name) for name in names))
        return self.listing

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_a_quote_creates_nothing(self, wire: Wire) -> None:
        self.quote(self.service())
        assert {request.method for _, request in wire.requests} == {"GET"}
        assert not wire.sent(*self.executing)

    def test_a_quote_is_made_of_as_many_reads_as_are_declared(self, wire: Wire) -> None:
        service = self.service()
        self.quote(service)
        before = len(wire.requests)
        self.quote(service)
        assert len(wire.requests) - before == self.quote_reads

    def test_net_is_gross_less_every_fee(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        gross, fees, net = self.offered
        assert quote.gross == Decimal(gross)
        assert [fee.amount for fee in quote.fees] == [Decimal(fee) for fee in fees]
        assert quote.net == Decimal(net) == net_of(quote.gross, quote.fees, BTC)
        assert (quote.service_id, quote.request) == (self.service_id, self.quote_request)

    def test_amounts_are_exact_decimals(self, wire: Wire) -> None:
        request = replace(self.quote_request, amount=self.finer_amount)
        quote = self.service().quote(request, Deadline.after(5))
        assert quote.request == request
        for amount in (quote.gross, quote.net, *(fee.amount for fee in quote.fees)):
            assert type(amount) is Decimal
        assert quote.net == quote.net.quantize(Decimal("1e-8")), "a net that cannot be paid is no promise"

    def test_a_pair_that_it_does_not_convert_is_refused(self, wire: Wire) -> None:
        service = self.service()
        for from_asset, to_asset in self.unsupported:
            assert not service.supports(from_asset, to_asset)
            asked = replace(self.quote_request, from_asset=from_asset, to_asset=to_asset)
            ordered = replace(self.order_request, from_asset=from_asset, to_asset=to_asset)
            with pytest.raises(PairNotSupported):
                service.quote(asked, Deadline.after(5))
            with pytest.raises(PairNotSupported):
                service.place_order(ordered, Deadline.after(5))
        assert not wire.sent(*self.executing)

    def test_an_amount_out_of_range_is_refused_with_its_limits(self, wire: Wire) -> None:
        answers, minimum, maximum = self.out_of_range()
        for route, answer in answers.items():
            wire.answers(route, answer)
        with pytest.raises(AmountOutOfRange) as caught:
            self.quote(self.service())
        assert (caught.value.minimum, caught.value.maximum) == (minimum, maximum)

    def test_what_is_no_amount_makes_a_malformed_quote(self, wire: Wire) -> None:
        for route, path, values in self.amounts_of_quote:
            honest = self.recorded(self.honest[route])
            for value in values:
                wire.answers(route, honest.but({path: value}))
                with pytest.raises(MalformedResponse):
                    print(route, path, repr(value), self.quote(self.service()))  # shown if it is taken for a quote
            wire.answers(route, honest.without(path))
            with pytest.raises(MalformedResponse):
                print(route, path, "missing", self.quote(self.service()))
            wire.answers(route, honest)

    def test_rubbish_is_never_a_quote(self, wire: Wire) -> None:
        for route in self.quote_routes:
            for body in ODD_BODIES:
                wire.answers(route, odd(body))
                with pytest.raises(ServiceError):
                    print(route, body, self.quote(self.service()))
            wire.answers(route, self.recorded(self.honest[route]))

    # --- Refusals ----------------------------------------------------------------------------------------------------

    def test_a_refused_key_is_an_authentication_failure(self, wire: Wire, called: str, refused: str) -> None:
        wire.answers(called, self.recorded(refused))
        with pytest.raises(AuthenticationFailed) as caught:
            self._call(called)
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    @pytest.mark.parametrize("name", ["any_limited", "any_limited_bare"])
    def test_a_limited_call_tells_when_to_come_again(self, wire: Wire, called: str, name: str) -> None:
        wire.answers(called, self.recorded(name))
        with pytest.raises(RateLimited) as caught:
            self._call(called)
        assert caught.value.retry_after == (self.retry_after if name == "any_limited" else None)
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_a_refusal_under_a_server_error_proves_nothing(self, wire: Wire, route: str) -> None:
        for name in (*self.unauthorised, "any_limited"):
            for status in (500, 502, 504):
                wire.answers(route, self.recorded(name).under(status))
                with pytest.raises(ServiceError) as caught:
                    self.execute(self.service(), route)
                assert policy_of(caught.value).outcome is Outcome.UNKNOWN, (name, status, caught.value)

    def test_what_stands_before_the_service_proves_only_what_is_documented(self, wire: Wire, moving: str) -> None:
        for status in CLOSED_DOORS:
            for body in ODD_BODIES:
                wire.answers(moving, odd(body, status))
                with pytest.raises(ServiceError) as caught:
                    self.execute(self.service(), moving)
                expected = Outcome.NOT_EXECUTED if status in self.by_status else Outcome.UNKNOWN
                assert policy_of(caught.value).outcome is expected, (status, body, caught.value)

    def test_a_closed_door_is_never_an_order(self, wire: Wire, route: str) -> None:
        for status in CLOSED_DOORS:
            for answer in (
                *(odd(body, status) for body in ODD_BODIES),
                self.recorded(self.honest[route]).under(status),
            ):
                wire.answers(route, answer)
                with pytest.raises(ServiceError):
                    print(status, answer, self.execute(self.service(), route))

    def _call(self, route: str) -> Any:
        service = self.service()
        if route in self.executing:
            return self.execute(service, route)
        if route in self.find_routes:
            return self.find(service, **self.find_routes[route])
        return self.quote(service)

    def test_a_refused_connection_proves_that_nothing_was_executed(self, route: str) -> None:
        with self.socket_wire() as world:
            service = self.service(world.url)
            self.quote(service)  # whatever it keeps for a while, it has now
            world.stop_listening()
            with pytest.raises(ServiceError) as caught:
                self.execute(service, route)
        assert type(caught.value) is ServiceUnavailable
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert world.saw(self.executing) == []

    def test_a_service_that_is_away_is_unavailable_to_every_read(self) -> None:
        with self.socket_wire() as world:
            service = self.service(world.url)
            world.stop_listening()
            reads = [lambda: self.quote(service), lambda: service.check_health(Deadline.after(5))]
            reads += [lambda changes=changes: self.find(service, **changes) for changes in self.find_routes.values()]
            for read in reads:
                with pytest.raises(ServiceUnavailable):
                    print(read())
            assert world.seen == []

    def test_error_bodies_of_any_kind_prove_nothing(self, wire: Wire, route: str) -> None:
        for status in ODD_STATUSES:
            for body in ODD_BODIES:
                wire.answers(route, odd(body, status))
                with pytest.raises(ServiceError) as caught:
                    self.execute(self.service(), route)
                seen = (status, body, caught.value)
                assert policy_of(caught.value).outcome is Outcome.UNKNOWN, seen

    def test_error_bodies_of_any_kind_do_not_break_a_read(self, wire: Wire) -> None:
        for route in {*self.quote_routes, *self.find_routes}:
            for status in (*ODD_STATUSES, *CLOSED_DOORS):
                for body in ODD_BODIES:
                    wire.answers(route, odd(body, status))
                    with pytest.raises(ServiceError):
                        print(route, status, body, self._call(route))
            wire.answers(route, self.recorded(self.honest[route]))

    # --- Doubt -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("misdeed", MISDEEDS)
    def test_an_unclear_answer_leaves_the_outcome_unknown(
        self, misdeed: str, route: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if misdeed == "timeout":
            monkeypatch.setattr("converter.services.base.ANSWER_WITHIN", WAIT)
        with self.socket_wire({route: MISDEEDS[misdeed]}) as world:
            with pytest.raises(ConverterError) as caught:
                self.execute(self.service(world.url), route)
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN, caught.value
            assert world.saw([route]) == [route], "sent once"

    def test_an_answer_that_drips_leaves_the_outcome_unknown(self, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("converter.services.base.ANSWER_WITHIN", WAIT)
        with self.socket_wire({route: wires.drip}) as world:
            service, began = self.service(world.url), time.monotonic()
            with pytest.raises(ConverterError) as caught:
                self.execute(service, route)
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN
            assert time.monotonic() - began < WAIT + PATIENCE

    @pytest.mark.parametrize("misdeed", [wires.silence, wires.drip], ids=["silence", "drip"])
    def test_a_quote_keeps_its_deadline(self, misdeed: Misdeed) -> None:
        for route in self.quote_routes:
            with self.socket_wire({route: misdeed}) as world:
                service, began = self.service(world.url), time.monotonic()
                with pytest.raises(ServiceUnavailable):
                    print(route, self.quote(service, WAIT / 2))
                assert time.monotonic() - began < WAIT + PATIENCE, route

    def test_an_answer_without_a_needed_field_leaves_the_outcome_unknown(self, route: str) -> None:
        honest = self.recorded(self.honest[route])
        for path in self.needed[route]:
            for shorter in (honest.without(path), honest.but({path: None}), honest.but({path: {}})):
                with self.socket_wire({route: wires.answers(shorter)}) as world:
                    with pytest.raises(ConverterError) as caught:
                        print(path, self.execute(self.service(world.url), route))
                    assert policy_of(caught.value).outcome is Outcome.UNKNOWN, (path, caught.value)

    def test_nothing_is_sent_after_the_deadline(self, route: str) -> None:
        with self.socket_wire() as world:
            service = self.service(world.url)
            self.quote(service)
            with pytest.raises(ServiceUnavailable) as caught:
                self.execute(service, route, Deadline.after(-0.001))
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
            assert world.saw(self.executing) == []

    def test_nothing_is_sent_when_the_reads_before_it_take_too_long(self) -> None:
        for route, read in self.slow_reads.items():
            with self.socket_wire({read: wires.silence}) as world:
                with pytest.raises(ServiceUnavailable):
                    self.execute(self.service(world.url), route, Deadline.after(WAIT))
                assert world.saw(self.executing) == []

    def test_our_key_is_on_the_wire(self, wire: Wire, route: str) -> None:
        self.execute(self.service(), route)
        (request,) = wire.sent(route)
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        sent, key = str(request.url).encode() + b" " + body, self.carried_key(route)
        assert key.encode() in sent if key else KEY.encode() not in sent

    def test_a_deposit_is_asked_for_only_where_it_is_the_commit_point_and_with_its_end(self, wire: Wire) -> None:
        order = self._call("order")
        if self.make.capabilities.commits_on is not OperationKind.DEPOSIT:
            assert (order.deposit, order.status is OrderStatus.AWAITING_DEPOSIT) == (None, False)
            return
        assert (order.deposit.amount, order.deposit.valid_until) == (self.amount, self.deposit_end)
        assert (order.status, bool(order.deposit.address)) == (OrderStatus.AWAITING_DEPOSIT, True)

    def test_another_coin_goes_the_same_way(self, wire: Wire) -> None:
        for route, answer in self.from_litecoin().items():
            wire.answers(route, answer)
        asked, service = replace(self.quote_request, from_asset=LTC), self.service()
        quote = service.quote(asked, Deadline.after(5))
        assert (quote.request, quote.net) == (asked, self.net)
        ordered = replace(self.order_request, from_asset=LTC, quote_reference=quote.reference)
        order = service.place_order(ordered, Deadline.after(5))
        assert order.ref.request == ordered
        assert order.status in NEXT_STEP

    # --- Integrity ---------------------------------------------------------------------------------------------------

    def test_an_answer_about_something_else_is_a_mismatch(self, wire: Wire, case: tuple[str, dict[str, Any]]) -> None:
        route, changes = case
        wire.answers(route, self.recorded(self.honest[route]).but(changes))
        with pytest.raises(IntegrityMismatch) as caught:
            print(self._call(route))
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_every_documented_status_has_a_meaning(self, wire: Wire, word: Any) -> None:
        for route, answer in self.with_word(word).items():
            wire.answers(route, answer)
        order = self.find(self.service())
        assert order is not None
        assert order.status is self.words[word]
        assert (order.ref.request, order.ref.step_key) == (self.order_request, self.ref().step_key)
        settled = order.status is OrderStatus.SETTLED
        assert (type(order.delivered) is Decimal and order.delivered > 0) if settled else order.delivered is None
        assert order.refund == (self.refund if order.status is OrderStatus.REFUNDED else None)
        assert order.deposit is not None or order.status is not OrderStatus.AWAITING_DEPOSIT
        assert order.detail or order.status is not OrderStatus.HELD, "a person is told what the service said"

    def test_an_undocumented_status_is_malformed(self, wire: Wire) -> None:
        for word in self.unknown_words:
            for route, answer in self.with_word(word).items():
                wire.answers(route, answer)
            with pytest.raises(MalformedResponse):
                print(word, self.find(self.service()))

    def test_none_means_that_the_service_said_so(self, wire: Wire) -> None:
        for route, name in self.absences:
            wire.answers(route, self.recorded(name))
            assert self._call(route) is None

    def test_a_failed_look_up_is_never_an_absence(self, wire: Wire) -> None:
        for route in self.find_routes:
            broken = [self.recorded(name) for name in ("any_bad_gateway", "any_server_error")]
            broken += [self.recorded(name).under(503) for place, name in self.absences if place == route]
            for answer in broken:
                wire.answers(route, answer)
                with pytest.raises(ServiceUnavailable):
                    print(route, answer, self._call(route))
            wire.answers(route, self.recorded(self.honest[route]))

    def test_rubbish_is_never_an_absence(self, wire: Wire) -> None:
        for route in self.find_routes:
            absent = [self.recorded(name).content for place, name in self.absences if place == route]
            for body in ODD_BODIES:
                if body in (*absent, self.empty.get(route)):
                    continue
                wire.answers(route, odd(body))
                with pytest.raises(ServiceError):
                    print(route, body, self._call(route))
            wire.answers(route, self.recorded(self.honest[route]))

    @pytest.mark.parametrize("misdeed", ["timeout", "reset after reading", "half a body", "502 with a page"])
    def test_a_look_up_without_an_answer_raises(self, misdeed: str) -> None:
        for route, changes in self.find_routes.items():
            with self.socket_wire({route: MISDEEDS[misdeed]}) as world, pytest.raises(ServiceUnavailable):
                print(route, self.find(self.service(world.url), WAIT, **changes))

    # --- Its own list of what it paid --------------------------------------------------------------------------------

    def test_what_it_paid_is_told_row_by_row_and_nothing_else(self, wire: Wire) -> None:
        listing = self.lists(wire)
        shown = self.payouts()
        assert tuple(shown) == listing.shown
        assert len({row.order_id for row in shown}) == len(shown)
        for row in shown:
            assert row.amount is None or type(row.amount) is Decimal
            assert row.at is None or row.at.tzinfo is not None
        assert not wire.sent(*self.executing)

    def test_what_is_older_than_asked_for_is_left_out(self, wire: Wire) -> None:
        listing = self.lists(wire)
        moments = sorted(row.at for row in listing.shown if row.at is not None)
        last = moments[-1].replace(microsecond=999_999)
        assert [row.at for row in self.payouts(last)] == [moments[-1]], "a list tells whole seconds"
        assert self.payouts(last + timedelta(seconds=1)) == []

    def test_every_documented_word_of_the_list_has_a_meaning_and_every_other_is_unknown(self, wire: Wire) -> None:
        listing = self.lists(wire)
        route, names = list(listing.answers.items())[-1]
        others = [(word, PayoutState.UNKNOWN) for word in (*self.unknown_words, True)]
        for word, state in [*listing.words.items(), *others]:
            changed = self.recorded(names[0]).but({listing.status: word})
            wire.answers(route, changed, *(self.recorded(name) for name in names[1:]))
            found = {row.order_id: row.state for row in self.payouts()}
            assert found.get(listing.named) is state, word

    def test_a_failed_reading_is_never_an_empty_list(self, wire: Wire) -> None:
        listing = self.lists(wire)
        for route, names in listing.answers.items():
            broken = [self.recorded(name) for name in ("any_bad_gateway", "any_server_error")]
            for answer in (*broken, self.recorded(names[0]).under(503)):
                wire.answers(route, answer)
                with pytest.raises(ServiceUnavailable):
                    print(route, answer, self.payouts())
            for name in self.unauthorised:
                wire.answers(route, self.recorded(name))
                with pytest.raises(ServiceError):
                    print(route, name, self.payouts())
            wire.answers(route, *(self.recorded(name) for name in names))

    def test_rubbish_is_never_an_empty_list(self, wire: Wire) -> None:
        listing = self.lists(wire)
        for route, names in listing.answers.items():
            for body in (body for body in ODD_BODIES if body not in listing.empty.get(route, ())):
                wire.answers(route, odd(body))
                with pytest.raises(ServiceError):
                    print(route, body, self.payouts())
            for body in listing.empty.get(route, ()):
                wire.answers(route, odd(body))
                assert self.payouts() == []
            wire.answers(route, *(self.recorded(name) for name in names))

    def test_a_list_is_not_asked_for_after_the_deadline(self, wire: Wire) -> None:
        self.lists(wire)
        before = len(wire.requests)
        with pytest.raises(ServiceUnavailable):
            self.payouts(deadline=Deadline.after(-0.001))
        assert len(wire.requests) == before

    def test_no_key_is_shown_when_a_list_fails(self, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        listing, shown = self.lists(wire), []
        for route in listing.answers:
            for status in (200, 400, 401, 403, 404, 422, 429, 502):
                wire.answers(route, _with_our_keys_in_it(self.keys, status))
                with pytest.raises(ServiceError) as caught:
                    self.payouts()
                shown += [repr(vars(caught.value)), *traceback.format_exception(caught.value)]
        shown += [record.getMessage() for record in caplog.records]
        for secret in self.keys.values():
            assert not any(secret in text for text in shown)

    # --- Health ------------------------------------------------------------------------------------------------------

    def test_health_is_quiet_or_tells(self, wire: Wire) -> None:
        service = self.service()
        service.check_health(Deadline.after(5))
        assert not wire.sent(*self.executing)
        for answer in (self.recorded("any_bad_gateway"), *(odd(body) for body in ODD_BODIES)):
            wire.answers("health", answer)
            with pytest.raises(ServiceError):
                service.check_health(Deadline.after(5))

    # --- Secrets -----------------------------------------------------------------------------------------------------

    def test_no_key_is_ever_shown(self, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        service = self.service()
        shown = [repr(service), str(service), repr(ServiceSettings(BASE, self.keys, self.options))]
        shown += [str(self.execute(service, route)) for route in self.executing]
        shown.append(str(self.quote(service)))
        bad = [odd(body, status) for body in (b"", b"[]", b"<html>") for status in (200, 400, 401, 429, 502)]
        for route in (*self.quote_routes, *self.find_routes, *self.executing):
            for answer in (*bad, *(self.recorded(name) for name in self.unauthorised)):
                wire.answers(route, answer)
                try:
                    self._call(route)
                except ServiceError as error:
                    shown += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
            wire.answers(route, self.recorded(self.honest[route]))
        shown += [record.getMessage() + repr(record.__dict__) for record in caplog.records]
        for secret in self.keys.values():
            assert not any(secret in text for text in shown)

    def test_no_key_is_shown_though_the_service_repeats_it(
        self, wire: Wire, called: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        for status in (200, 400, 401, 403, 404, 422, 429, 502):
            wire.answers(called, _with_our_keys_in_it(self.keys, status))
            shown = []
            try:
                shown.append(str(self._call(called)))
            except ServiceError as error:
                shown += [repr(vars(error)), *traceback.format_exception(error)]
            shown += [record.getMessage() for record in caplog.records]
            for secret in self.keys.values():
                assert not any(secret in text for text in shown), status

    def test_no_key_is_shown_when_nobody_answers(self, caplog: pytest.LogCaptureFixture, route: str) -> None:
        caplog.set_level(logging.DEBUG)
        shown = []
        with self.socket_wire({route: wires.reset}) as world:
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(world.url), route)
            shown += [str(caught.value), *traceback.format_exception(caught.value)]
        shown += [record.getMessage() for record in caplog.records]
        for secret in self.keys.values():
            assert not any(secret in text for text in shown)


def _with_our_keys_in_it(keys: Mapping[str, str], status: int) -> Recorded:
    """An error that repeats what it was sent, under every name that errors go by."""
    words = " and ".join(keys.values())
    named = dict.fromkeys(("message", "msg", "error", "detail", "description", "title", "reason", "errors"), words)
    return odd(json.dumps({**named, "code": status, "status": status}).encode(), status)


def rejected(error: BaseException) -> bool:
    """Whether an error is a proven refusal by the service."""
    return isinstance(error, ServiceRejected) and policy_of(error).outcome is Outcome.NOT_EXECUTED
