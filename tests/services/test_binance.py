"""Binance: the contract, and what is its own: signatures, clocks, the bound of the order, two operations, look-ups."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    ConverterError,
    IntegrityMismatch,
    MalformedResponse,
    Outcome,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)
from converter.domain.orders import Order, OrderRef, OrderStatus
from converter.domain.quotes import QuoteRequest
from converter.ports import Deadline
from converter.services.binance import Binance
from tests.services import listings
from tests.services.contract import (
    ADDRESS,
    BTC,
    ETH,
    KEY,
    LIGHTNING,
    NO_AMOUNTS,
    NOW,
    OTHER_ADDRESS,
    WAIT,
    HandClock,
    ServiceContract,
    rejected,
)
from tests.services.recorded import Recorded, odd, recorded
from tests.services.wire import Wire

ORDER_ID = "4911230077"
WITHDRAWAL_KEY = f"{KEY}w2"
FILLED = Decimal("0.09767723")
NO_NUMBERS = tuple(value for value in NO_AMOUNTS if value not in (0, "0"))

REFUSED = (-1013, -1014, -1020, -1034, -1100, -1102, -1111, -1112, -1115, -1116, -1117, -1121, -1128, -1130, -2010)
REFUSED_KEYS = (-1002, -1022, -2014, -2015)
REFUSED_LIMITS = (-1003, -1015)
REFUSED_WITHDRAWALS = (-4007, -4012, -4018, -4019, -4021, -4022, -4023, -4026, -4028, -4033, -4035, -4104, -4106)
DOUBTFUL = (-1000, -1001, -1004, -1006, -1007, -1008, -1016, -2011, -2039, -4027, -4032, -4046, -9000, 0, 200)

VECTOR_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
VECTOR_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
VECTOR_TIME = datetime(2017, 7, 12, 0, 15, 19, 559000, UTC)
LIMIT_ORDER = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "0.1"}
VECTORS: dict[str, tuple[str, dict[str, str], str]] = {
    "a limit order": (
        "POST",
        {"symbol": "LTCBTC", **LIMIT_ORDER},
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    "a symbol that is not ASCII": (
        "POST",
        {"symbol": "\uff11\uff12\uff13\uff14\uff15\uff16", **LIMIT_ORDER},
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    "a market order": (
        "POST",
        {
            "symbol": "LTCBTC",
            "side": "SELL",
            "type": "MARKET",
            "quantity": "0.5",
            "newClientOrderId": "cv-7f3a-1",
            "newOrderRespType": "FULL",
        },
        "e9569d5c17c90713ad779d7e91fc3a01976dde578c45d9821373e2ab0358a177",
    ),
    "a look-up": (
        "GET",
        {"symbol": "LTCBTC", "origClientOrderId": "cv-7f3a-1"},
        "d107d9e93409ecdc3aadb89b7d1b9f22169d96f3e4e2e5849f7fa7adcf2b72ee",
    ),
    "a withdrawal": (
        "POST",
        {
            "coin": "LTC",
            "address": "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez",
            "amount": "1.5",
            "network": "LTC",
            "withdrawOrderId": "cv-7f3a-w",
            "walletType": "0",
        },
        "b4d1e2e4f827c0de883f5065a9c43cf31159cec153ba9281017b6b29b088d23b",
    ),
    "a look into the history": (
        "GET",
        {"withdrawOrderId": "cv-7f3a-w"},
        "0455ce3002f134afb1032b7d8619307536c92d45cdb8e05285cac04e5bf9bcb5",
    ),
}


def form(request: Any) -> dict[str, str]:
    """Parameters of a request, wherever they travelled."""
    text = request.body.decode() if request.body else urlsplit(str(request.url)).query
    return dict(parse_qsl(text, keep_blank_values=True))


class TestBinance(ServiceContract):
    service_id = "binance"
    make = Binance
    keys = {"api_key": "canaryKey71c0aa", "secret_key": "canarySecret05f9be"}  # noqa: RUF012
    routes: ClassVar = {
        "time": ("GET", "/api/v3/time"),
        "symbols": ("GET", "/api/v3/exchangeInfo"),
        "networks": ("GET", "/sapi/v1/capital/config/getall"),
        "quote": ("GET", "/api/v3/depth"),
        "order": ("POST", "/api/v3/order"),
        "status": ("GET", "/api/v3/order"),
        "trades": ("GET", "/api/v3/myTrades"),
        "withdraw": ("POST", "/sapi/v1/capital/withdraw/apply"),
        "history": ("GET", "/sapi/v1/capital/withdraw/history"),
        "health": ("GET", "/sapi/v1/system/status"),
    }
    honest: ClassVar = {
        "time": "time_now",
        "symbols": "symbols_two",
        "networks": "networks_open",
        "quote": "quote_depth",
        "order": "order_filled",
        "status": "status_filled",
        "trades": "trades_three",
        "withdraw": "withdraw_accepted",
        "history": "history_processing",
        "health": "health_ok",
    }
    quote_routes = ("time", "symbols", "networks", "quote")
    find_routes: ClassVar = {"status": {}, "trades": {}, "history": {}}
    executing = ("order", "withdraw")
    net = Decimal("0.09757722")
    offered = ("0.097775", ["0.000097775", "0.0001"], "0.09757722")
    unsupported = ((ETH, LIGHTNING), (LIGHTNING, ETH), (BTC, LIGHTNING), (LIGHTNING, BTC))
    amounts_of_quote = (
        ("quote", "bids.0.0", NO_AMOUNTS),
        ("quote", "bids.2.1", NO_AMOUNTS),
        ("networks", "0.networkList.0.withdrawFee", NO_NUMBERS),
        ("networks", "0.networkList.0.withdrawMin", NO_NUMBERS),
        ("networks", "0.networkList.0.withdrawMax", NO_AMOUNTS),
        ("symbols", "symbols.1.filters.1.stepSize", tuple(value for value in NO_NUMBERS if value not in (-1, "-0.5"))),
        ("time", "serverTime", (None, "", "soon", [], {})),
    )
    unauthorised = ("any_bad_key", "any_bad_signature")
    retry_after = 23
    by_status = (418, 429)
    needed: ClassVar = {
        "order": (
            "symbol",
            "side",
            "clientOrderId",
            "orderId",
            "origQty",
            "executedQty",
            "cummulativeQuoteQty",
            "status",
            "fills",
            "fills.1.qty",
            "fills.1.price",
            "fills.1.commission",
        ),
        "withdraw": ("id",),
    }
    slow_reads: ClassVar = {"order": "networks", "withdraw": "networks"}
    foreign = (
        ("order", {"symbol": "LTCBTC"}),
        ("order", {"side": "BUY"}),
        ("order", {"clientOrderId": "9f3kq2-2"}),
        ("order", {"origQty": "15.00000000"}),
        ("order", {"executedQty": "1.35000000"}),
        ("order", {"executedQty": "1.65000000"}),
        ("order", {"cummulativeQuoteQty": "0.97775000"}),
        ("status", {"symbol": "LTCBTC"}),
        ("status", {"side": "BUY"}),
        ("status", {"clientOrderId": "9f3kq2-2"}),
        ("status", {"executedQty": "1.35000000"}),
        ("status", {"executedQty": "1.65000000"}),
        ("status", {"cummulativeQuoteQty": "0.97775000"}),
        ("history", {"1.address": OTHER_ADDRESS}),
        ("history", {"1.address": ADDRESS.upper()}),
        ("history", {"1.coin": "ETH"}),
        ("history", {"1.network": "BSC"}),
        ("history", {"1.amount": "0.19757723"}),
        ("history", {"0.withdrawOrderId": WITHDRAWAL_KEY}),
    )
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "NEW": OrderStatus.OPEN,
        "PENDING_NEW": OrderStatus.OPEN,
        "PARTIALLY_FILLED": OrderStatus.OPEN,
        "FILLED": OrderStatus.FILLED,
        "CANCELED": OrderStatus.REJECTED,
        "REJECTED": OrderStatus.REJECTED,
        "EXPIRED": OrderStatus.REJECTED,
        "EXPIRED_IN_MATCH": OrderStatus.REJECTED,
        0: OrderStatus.PAYING_OUT,
        2: OrderStatus.PAYING_OUT,
        4: OrderStatus.PAYING_OUT,
        6: OrderStatus.SETTLED,
        1: OrderStatus.HELD,
        3: OrderStatus.HELD,
        5: OrderStatus.HELD,
        99: OrderStatus.PAYING_OUT,  # the sheet: an unknown number is still open
    }
    unknown_words = ("PENDING_CANCEL", "filled", "", None, [], {})
    empty: ClassVar = {"history": b"[]"}
    absences = (("status", "status_unknown_order"),)
    listing = listings.BINANCE

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, ORDER_ID, WITHDRAWAL_KEY), **changes)

    def order_before(self, route: str) -> Order:
        return Order(self.ref(), OrderStatus.FILLED, filled=FILLED)

    def carried_key(self, route: str) -> str:
        return f"newClientOrderId={KEY}&" if route == "order" else f"withdrawOrderId={WITHDRAWAL_KEY}&"

    def with_word(self, word: Any) -> dict[str, Recorded]:
        if isinstance(word, int):
            return {"history": self.recorded("history_processing").but({"1.status": word})}
        ended = word in ("CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH")
        figures = {"executedQty": "0.00000000", "cummulativeQuoteQty": "0.00000000"} if ended else {}
        status = self.recorded("status_filled").but({"status": word, **figures})
        return {"status": status, "history": self.recorded("history_without_ours")}

    def out_of_range(self) -> tuple[dict[str, Recorded], Decimal | None, Decimal | None]:
        dear = self.recorded("networks_open").but({"0.networkList.0.withdrawMin": "0.2"})
        # 0.2 / 0.999 / 0.0652 = 3.070555…, and the next lot above it.
        return {"networks": dear}, Decimal("3.0706"), None

    def from_litecoin(self) -> dict[str, Recorded]:
        pair = {"symbols.1.symbol": "LTCBTC", "symbols.1.baseAsset": "LTC", "symbols.0.baseAsset": "ETH"}
        return {
            "symbols": self.recorded("symbols_two").but(pair),
            "order": self.recorded("order_filled").but({"symbol": "LTCBTC"}),
        }

    # --- Signatures and clocks ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", VECTORS)
    def test_the_documented_signatures_are_ours(self, wire: Wire, name: str) -> None:
        method, params, signature = VECTORS[name]
        milliseconds = 1499827319559
        wire.answers("time", self.recorded("time_now").but({"serverTime": milliseconds}))
        keys = {"api_key": VECTOR_KEY, "secret_key": VECTOR_SECRET}
        service = self.service(keys=keys, clock=HandClock(VECTOR_TIME))
        call = service._signed("status", method, "/api/v3/order", params, Deadline.after(5))
        travelling = call.query if method == "GET" else (call.body or b"").decode()
        assert travelling.endswith(f"&recvWindow=5000&timestamp={milliseconds}&signature={signature}")
        assert call.headers["X-MBX-APIKEY"] == VECTOR_KEY
        assert (call.query == "") == (method == "POST"), "query and body are never mixed (the third vector's form)"

    def test_every_signed_request_is_signed_over_the_bytes_that_travel(self, wire: Wire) -> None:
        self.execute(self.service(), "order")
        self.execute(self.service(), "withdraw")
        self.find(self.service())
        signed = wire.sent("networks", "order", "withdraw", "status", "trades", "history")
        assert len(signed) == 7
        for request in signed:
            text = request.body.decode() if request.body else urlsplit(str(request.url)).query
            payload, _, signature = text.rpartition("&signature=")
            expected = hmac.new(self.keys["secret_key"].encode(), payload.encode(), hashlib.sha256).hexdigest()
            assert signature == expected
            assert request.headers["X-MBX-APIKEY"] == self.keys["api_key"]

    def test_public_requests_carry_no_key(self, wire: Wire) -> None:
        self.quote(self.service())
        self.service().check_health(Deadline.after(5))
        for request in wire.sent("time", "symbols", "quote", "health"):
            assert "X-MBX-APIKEY" not in request.headers

    def test_the_timestamp_is_the_servers_time(self, wire: Wire) -> None:
        wire.answers("time", self.recorded("time_now").but({"serverTime": 1767225600000 + 7300}))
        self.execute(self.service(), "order")
        assert form(wire.sent("order")[0])["timestamp"] == str(1767225600000 + 7300)

    def test_the_timestamp_is_older_than_the_last_check_of_the_deadline(self, wire: Wire, route: str) -> None:
        deadline = Deadline.after(WAIT)

        class Stalling(HandClock):
            """Stops the world when the stamp is taken, until it is too late to send."""

            stamps = 0

            def now(self) -> datetime:
                self.stamps += 1
                if self.stamps > stamps_before:
                    while not deadline.expired:
                        pass
                return self.time

        clock, stamps_before = Stalling(), 10**9
        service = self.service(clock=clock)
        self.quote(service)  # so that no other reading of the clock comes before the stamp
        stamps_before = clock.stamps
        with pytest.raises(ServiceUnavailable, match="too late"):
            self.execute(service, route, deadline)
        assert not wire.sent(route)

    def test_a_refused_timestamp_makes_the_clock_be_measured_again(self, wire: Wire, route: str) -> None:
        service = self.service()
        self.quote(service)
        wire.answers(route, self.recorded("any_clock_off"), self.recorded(self.honest[route]))
        with pytest.raises(ServiceUnavailable) as caught:
            self.execute(service, route)
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert len(wire.sent("time")) == 1
        wire.answers("time", self.recorded("time_now").but({"serverTime": 1767225600000 - 2500}))
        self.execute(service, route)
        assert len(wire.sent("time")) == 2
        assert form(wire.sent(route)[-1])["timestamp"] == str(1767225600000 - 2500)

    def test_a_refused_timestamp_under_5xx_proves_nothing(self, wire: Wire, route: str) -> None:
        wire.answers(route, self.recorded("any_clock_off").under(503))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), route)

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_what_is_kept_is_asked_for_once(self, wire: Wire) -> None:
        service = self.service()
        for _ in range(3):
            self.quote(service)
        assert [len(wire.sent(name)) for name in ("time", "symbols", "networks", "quote")] == [1, 1, 1, 3]

    def test_only_the_pair_is_asked_for(self, wire: Wire) -> None:
        """The list of all pairs is several MiB long, and one odd pair in it would spoil the rest."""
        self.quote(self.service())
        (request,) = wire.sent("symbols")
        assert form(request) == {"symbol": "ETHBTC"}

    def test_the_pair_is_found_whichever_coin_is_its_base(self, wire: Wire) -> None:
        unknown = odd(b'{"code": -1121, "msg": "Invalid symbol."}', 400)
        wire.answers("symbols", unknown, self.recorded("symbols_two"))
        request = QuoteRequest(BTC, ETH, Decimal("0.1"))
        assert self.service().quote(request, Deadline.after(5)).net > 0
        assert [form(request)["symbol"] for request in wire.sent("symbols")] == ["BTCETH", "ETHBTC"]
        wire.answers("symbols", unknown)
        with pytest.raises(PairNotSupported):
            self.service().quote(request, Deadline.after(5))

    def test_buying_spends_the_amount_and_counts_in_lots(self, wire: Wire) -> None:
        quote = self.service().quote(QuoteRequest(BTC, ETH, Decimal("0.5")), Deadline.after(5))
        # 0.5 / 0.0654 = 7.6452…: the second level is touched, so its price holds for all of it.
        assert quote.gross == Decimal("7.6452")
        assert quote.net == Decimal("7.6452") * Decimal("0.999") - Decimal("0.0008")

    def test_a_book_that_does_not_cover_the_amount_is_no_matter_of_limits(self, wire: Wire) -> None:
        thin = self.recorded("quote_depth")
        for levels in ([], [["0.0652", "1.4999"]]):
            wire.answers("quote", thin.but({"bids": levels, "asks": levels}))
            for request in (self.quote_request, QuoteRequest(BTC, ETH, Decimal(5))):
                with pytest.raises(ServiceRejected, match="does not cover") as caught:
                    print(self.service().quote(request, Deadline.after(5)))
                assert type(caught.value) is ServiceRejected

    def test_the_filters_of_the_pair_set_the_minimum(self, wire: Wire) -> None:
        free = self.recorded("networks_open").but(
            {"0.networkList.0.withdrawMin": "0.00000001", "0.networkList.0.withdrawFee": "0"}
        )
        wire.answers("networks", free)
        cases = {
            "symbols.1.filters.1.minQty": ("2.5", Decimal("2.5")),
            "symbols.1.filters.4.minNotional": ("0.1304", Decimal(2)),
            "symbols.1.filters.1.stepSize": ("2", Decimal(2)),
        }
        for path, (value, minimum) in cases.items():
            wire.answers("symbols", self.recorded("symbols_two").but({path: value}))
            with pytest.raises(AmountOutOfRange) as caught:
                print(path, self.quote(self.service()))
            assert caught.value.minimum == minimum, path

    @pytest.mark.parametrize("pair", [(ETH, BTC), (BTC, ETH)], ids=["selling", "buying"])
    def test_the_minimum_that_is_told_is_taken(self, wire: Wire, pair: Any) -> None:
        for changes in (
            {"0.networkList.0.withdrawMin": "0.0031"},
            {"0.networkList.0.withdrawFee": "0.00719"},
            {"0.networkList.0.withdrawMin": "0", "0.networkList.0.withdrawFee": "0.00000001"},
            {"1.networkList.0.withdrawMin": "0.11", "1.networkList.0.withdrawFee": "0.2"},
        ):
            wire.answers("networks", self.recorded("networks_open").but(changes))
            with pytest.raises(AmountOutOfRange) as caught:
                self.service().quote(QuoteRequest(*pair, Decimal("0.00000001")), Deadline.after(5))
            assert caught.value.minimum is not None
            assert self.service().quote(QuoteRequest(*pair, caught.value.minimum), Deadline.after(5)).net > 0

    def test_more_than_can_be_withdrawn_is_not_traded(self, wire: Wire) -> None:
        wire.answers("networks", self.recorded("networks_open").but({"0.networkList.0.withdrawMax": "0.05"}))
        with pytest.raises(AmountOutOfRange) as caught:
            print(self.quote(self.service()))
        assert caught.value.minimum is None
        assert caught.value.maximum is not None
        assert Decimal("0.76") < caught.value.maximum < Decimal("0.77")

    def test_a_net_is_promised_in_steps_of_the_withdrawal(self, wire: Wire) -> None:
        wire.answers(
            "networks", self.recorded("networks_open").but({"0.networkList.0.withdrawIntegerMultiple": "0.001"})
        )
        assert self.quote(self.service()).net == Decimal("0.0969")

    def test_closed_withdrawals_are_no_offer_and_no_order(self, wire: Wire) -> None:
        open_ = self.recorded("networks_open")
        for changes in (
            {"0.withdrawAllEnable": False},
            {"0.networkList.0.withdrawEnable": False},
            {"0.networkList.0.busy": True},
        ):
            wire.answers("networks", open_.but(changes))
            with pytest.raises(ServiceRejected, match="closed"):
                self.quote(self.service())
            with pytest.raises(ServiceRejected, match="closed"):
                self.execute(self.service(), "order")
        assert not wire.sent("order")

    def test_a_pair_that_is_not_traded_now_is_not_traded(self, wire: Wire) -> None:
        for changes in (
            {"symbols.1.status": "BREAK"},
            {"symbols.1.isSpotTradingAllowed": False},
            {"symbols.1.orderTypes": ["MARKET"]},
        ):
            wire.answers("symbols", self.recorded("symbols_two").but(changes))
            with pytest.raises(PairNotSupported):
                self.quote(self.service())
            with pytest.raises(PairNotSupported):
                self.execute(self.service(), "order")
        assert not wire.sent("order")

    # --- The order ---------------------------------------------------------------------------------------------------

    def test_the_order_is_all_or_nothing_at_a_bound(self, wire: Wire) -> None:
        order = self.execute(self.service(), "order")
        sent = form(wire.sent("order")[0])
        assert {name: sent[name] for name in sent if name not in ("timestamp", "signature")} == {
            "symbol": "ETHBTC",
            "side": "SELL",
            "type": "LIMIT",
            "timeInForce": "FOK",
            "quantity": "1.5",
            "price": "0.06387",  # (0.0956 + 0.0001) / 0.999 / 1.5 = 0.063864…, upwards
            "newClientOrderId": KEY,
            "newOrderRespType": "FULL",
            "recvWindow": "5000",
        }
        assert (order.status, order.filled, order.ref.service_order_id) == (OrderStatus.FILLED, FILLED, ORDER_ID)

    def test_a_commission_in_another_coin_is_not_taken_off(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_filled_fee_in_bnb"))
        assert self.execute(self.service(), "order").filled == Decimal("0.097775")

    def test_an_order_that_filled_nothing_is_a_proven_refusal(self, wire: Wire) -> None:
        for status in ("EXPIRED", "EXPIRED_IN_MATCH", "REJECTED", "CANCELED"):
            wire.answers("order", self.recorded("order_expired").but({"status": status}))
            with pytest.raises(QuoteExpired) as caught:
                self.execute(self.service(), "order")
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_an_order_that_filled_a_part_is_held(self, wire: Wire) -> None:
        for status in ("EXPIRED", "EXPIRED_IN_MATCH", "CANCELED"):
            wire.answers("order", self.recorded("order_expired_partly").but({"status": status}))
            assert self.execute(self.service(), "order").status is OrderStatus.HELD
            wire.answers(
                "status",
                self.recorded("status_filled").but(
                    {"status": status, "executedQty": "0.00010000", "cummulativeQuoteQty": "0.00000652"}
                ),
            )
            found = self.find(self.service())
            assert found is not None
            assert found.status is OrderStatus.HELD

    def test_nothing_executed_but_something_paid_proves_nothing(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_expired").but({"cummulativeQuoteQty": "0.05216000"}))
        with pytest.raises(ConverterError) as caught:
            print(self.execute(self.service(), "order"))
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_an_order_that_still_works_is_open(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_expired").but({"status": "NEW"}))
        assert self.execute(self.service(), "order").status is OrderStatus.OPEN

    def test_a_mere_acknowledgement_proves_nothing(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_acknowledged"))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "order")

    def test_proceeds_that_are_no_amount_are_never_withdrawn(self, wire: Wire) -> None:
        """A negative figure is documented for old orders and means that it is not known."""
        for value in ("-1.00000000", "0.00000000", "NaN", None):
            wire.answers("order", self.recorded("order_filled").but({"cummulativeQuoteQty": value}))
            with pytest.raises(ConverterError) as caught:
                print(self.execute(self.service(), "order"))
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN
            wire.answers("status", self.recorded("status_filled").but({"cummulativeQuoteQty": value}))
            with pytest.raises(MalformedResponse):
                print(self.find(self.service()))

    def test_fills_that_are_not_all_of_the_order_prove_nothing(self, wire: Wire) -> None:
        """Without its commission the trade seems to have brought more than it did."""
        for changes in ({"fills": []}, {"fills.2.qty": "0.10000000"}, {"fills.0.commission": "-0.1"}):
            wire.answers("order", self.recorded("order_filled").but(changes))
            with pytest.raises(ConverterError) as caught:
                print(self.execute(self.service(), "order"))
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN
        for trades in (odd(b"[]"), self.recorded("trades_three").without("1")):
            wire.answers("trades", trades)
            with pytest.raises(MalformedResponse):
                print(self.find(self.service()))

    def test_an_amount_below_one_lot_is_refused_before_anything_is_sent(self, wire: Wire) -> None:
        tiny = replace(self.order_request, amount=Decimal("0.00009999"))
        with pytest.raises(AmountOutOfRange):
            self.service().place_order(tiny, Deadline.after(5))
        assert not wire.sent("order")

    def test_the_bound_covers_the_withdrawals_minimum_too(self, wire: Wire) -> None:
        """A trade whose proceeds are too small to be withdrawn would be stuck."""
        wire.answers("networks", self.recorded("networks_open").but({"0.networkList.0.withdrawMin": "0.09770000"}))
        wire.answers("order", self.recorded("order_no_funds"))
        with pytest.raises(ServiceRejected):
            self.execute(self.service(), "order")
        assert Decimal(form(wire.sent("order")[0])["price"]) == Decimal("0.0652")  # 0.0977 / 0.999 / 1.5, upwards

    # --- What proves a refusal ---------------------------------------------------------------------------------------

    def _outcome(self, wire: Wire, route: str, code: int, status: int = 400) -> Outcome:
        wire.answers(route, self.recorded("order_filter").but({"code": code}).under(status))
        with pytest.raises(ConverterError) as caught:
            self.execute(self.service(), route)
        return policy_of(caught.value).outcome

    def test_documented_refusals_are_proof(self, wire: Wire, route: str) -> None:
        own = REFUSED_WITHDRAWALS if route == "withdraw" else ()
        for code in (*REFUSED, *REFUSED_KEYS, *REFUSED_LIMITS, *own, -1021):
            assert self._outcome(wire, route, code) is Outcome.NOT_EXECUTED, code
            for status in (500, 502, 503, 504):
                assert self._outcome(wire, route, code, status) is Outcome.UNKNOWN, (code, status)

    def test_documented_doubts_and_unlisted_codes_are_unknown(self, wire: Wire, route: str) -> None:
        for code in DOUBTFUL:
            for status in (200, 400, 403, 409, 500, 503, 504):
                assert self._outcome(wire, route, code, status) is Outcome.UNKNOWN, (code, status)

    def test_a_code_of_another_operation_proves_nothing(self, wire: Wire, route: str) -> None:
        others = (-2013, -2026) if route == "withdraw" else (-2013, -2026, *REFUSED_WITHDRAWALS)
        for code in others:
            assert self._outcome(wire, route, code) is Outcome.UNKNOWN, code

    def test_duplicates_of_any_kind_are_looked_up(self, wire: Wire) -> None:
        for route, name in (("order", "order_duplicate"), ("withdraw", "withdraw_duplicate")):
            honest = self.recorded(name)
            for answer in (honest, honest.but({"code": -1102, "msg": "Parameter DUPLICATED."}), honest.under(409)):
                wire.answers(route, answer)
                with pytest.raises(OutcomeUnknown):
                    self.execute(self.service(), route)

    def test_the_kinds_of_refusal_are_told_apart(self, wire: Wire) -> None:
        kinds: dict[str, type[ServiceError]] = {
            "order_no_funds": ServiceRejected,
            "order_filter": ServiceRejected,
            "any_bad_key": AuthenticationFailed,
            "any_banned": RateLimited,
        }
        for name, kind in kinds.items():
            wire.answers("order", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "order")
            assert type(caught.value) is kind
            if isinstance(caught.value, RateLimited):
                assert caught.value.retry_after == 600

    def test_a_closed_withdrawal_is_a_refusal(self, wire: Wire) -> None:
        wire.answers("withdraw", self.recorded("withdraw_closed"))
        with pytest.raises(ServiceRejected) as caught:
            self.execute(self.service(), "withdraw")
        assert rejected(caught.value)

    def test_answers_of_the_engine_that_leave_it_open_stay_open(self, wire: Wire) -> None:
        for name in ("order_timeout_inside", "order_overloaded"):
            wire.answers("order", self.recorded(name))
            with pytest.raises(OutcomeUnknown):
                self.execute(self.service(), "order")
        wire.answers("withdraw", self.recorded("withdraw_no_txid"))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "withdraw")

    # --- The withdrawal ----------------------------------------------------------------------------------------------

    def test_everything_that_the_trade_brought_is_withdrawn(self, wire: Wire) -> None:
        order = self.execute(self.service(), "withdraw")
        sent = form(wire.sent("withdraw")[0])
        assert {name: sent[name] for name in sent if name not in ("timestamp", "signature")} == {
            "coin": "BTC",
            "network": "BTC",
            "address": ADDRESS,
            "amount": "0.09767723",
            "withdrawOrderId": WITHDRAWAL_KEY,
            "walletType": "0",
            "recvWindow": "5000",
        }
        assert (order.status, order.filled, order.ref) == (OrderStatus.PAYING_OUT, FILLED, self.ref())

    def test_the_withdrawal_is_cut_to_its_step(self, wire: Wire) -> None:
        wire.answers(
            "networks", self.recorded("networks_open").but({"0.networkList.0.withdrawIntegerMultiple": "0.0001"})
        )
        self.execute(self.service(), "withdraw")
        assert form(wire.sent("withdraw")[0])["amount"] == "0.0976"

    def test_nothing_is_withdrawn_without_proceeds_or_a_key(self, wire: Wire) -> None:
        for order in (
            replace(self.order_before("withdraw"), filled=None),
            Order(self.ref(step_key=None), OrderStatus.FILLED, filled=FILLED),
        ):
            with pytest.raises(ServiceUnavailable):
                self.service().advance_order(order, Deadline.after(5))
        assert not wire.sent("withdraw")

    def test_a_completed_withdrawal_tells_what_arrived(self, wire: Wire) -> None:
        wire.answers("history", self.recorded("history_completed"))
        order = self.find(self.service())
        assert order is not None
        assert (order.status, order.delivered) == (OrderStatus.SETTLED, Decimal("0.09757723"))
        assert order.txid.startswith("b5ef8c13")

    def test_an_amount_of_the_history_is_an_amount(self, wire: Wire) -> None:
        for value in NO_AMOUNTS:
            wire.answers("history", self.recorded("history_completed").but({"0.amount": value}))
            with pytest.raises(ServiceError):
                print(value, self.find(self.service()))

    def test_an_order_without_a_withdrawal_key_is_not_looked_for_in_the_history(self, wire: Wire) -> None:
        order = self.find(self.service(), step_key=None)
        assert order is not None
        assert order.status is OrderStatus.FILLED
        assert not wire.sent("history")

    def test_a_withdrawal_that_is_not_in_the_history_leaves_the_order_filled(self, wire: Wire) -> None:
        for rows in (odd(b"[]"), self.recorded("history_without_ours")):
            wire.answers("history", rows)
            order = self.find(self.service())
            assert order is not None
            assert (order.status, order.filled) == (OrderStatus.FILLED, FILLED)

    def test_a_withdrawal_made_by_hand_does_not_hide_ours(self, wire: Wire) -> None:
        wire.answers("history", self.recorded("history_with_one_by_hand"))
        order = self.find(self.service())
        assert order is not None
        assert order.status is OrderStatus.PAYING_OUT

    def test_a_row_without_a_network_is_taken(self, wire: Wire) -> None:
        wire.answers("history", self.recorded("history_completed").without("0.network"))
        order = self.find(self.service())
        assert order is not None
        assert order.status is OrderStatus.SETTLED

    def test_an_older_reading_of_the_history_shows_but_never_denies(self, wire: Wire) -> None:
        """The history may be read ten times a minute, as often as orders may be looked up: one reading for one look."""
        service = self.service()
        wire.answers("history", self.recorded("history_without_ours"), self.recorded("history_completed"))
        looked = [self.find(service, step_key="9f3kq2-8w2"), self.find(service), self.find(service)]
        assert [one.status for one in looked if one is not None] == [
            OrderStatus.FILLED,
            OrderStatus.SETTLED,
            OrderStatus.SETTLED,
        ]
        assert len(wire.sent("history")) == 2, "what the last reading shows is believed, what it does not is asked for"

    def test_a_full_page_without_ours_is_no_absence(self, wire: Wire) -> None:
        other = self.recorded("history_without_ours")
        wire.answers("history", replace(other, body=other.body * 1000))
        with pytest.raises(MalformedResponse):
            print(self.find(self.service()))
        wire.answers("history", replace(other, body=other.body * 999))
        order = self.find(self.service())
        assert order is not None
        assert order.status is OrderStatus.FILLED

    def test_the_history_is_asked_for_from_the_day_before(self, wire: Wire) -> None:
        self.find(self.service(clock=HandClock(NOW)))
        asked = form(wire.sent("history")[0])
        assert (asked["coin"], asked["startTime"]) == ("BTC", str(1767225600000 - 86_400_000))
        assert int(asked["endTime"]) == 1767225600000 + 300_000
        assert int(asked["endTime"]) - int(asked["startTime"]) < 90 * 86_400_000

    def test_returned_withdrawals_say_why(self, wire: Wire) -> None:
        for status, word in ((1, "cancelled"), (3, "rejected"), (5, "failed")):
            row = {"1.status": status, "1.info": "address is suspicious"}
            wire.answers("history", self.recorded("history_processing").but(row))
            order = self.find(self.service())
            assert order is not None
            assert order.detail == f"withdrawal {word} address is suspicious"

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_a_halted_pair_can_still_be_looked_up(self, wire: Wire) -> None:
        wire.answers("symbols", self.recorded("symbols_two").but({"symbols.1.status": "HALT"}))
        order = self.find(self.service())
        assert order is not None
        assert order.status is OrderStatus.PAYING_OUT

    def test_no_such_order_is_an_absence_only_of_the_order(self, wire: Wire) -> None:
        for route in ("trades", "history"):
            wire.answers(route, self.recorded("status_unknown_order"))
            with pytest.raises(ServiceError):
                print(self._call(route))
            wire.answers(route, self.recorded(self.honest[route]))

    def test_an_archived_order_is_no_absence(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_unknown_order").but({"code": -2026}))
        with pytest.raises(ServiceRejected):
            self.find(self.service())

    def test_a_look_up_asks_by_our_id(self, wire: Wire) -> None:
        self.find(self.service())
        asked = form(wire.sent("status")[0])
        assert (asked["symbol"], asked["origClientOrderId"]) == ("ETHBTC", KEY)
        assert form(wire.sent("trades")[0])["orderId"] == ORDER_ID

    def test_maintenance_is_not_fit_for_use(self, wire: Wire) -> None:
        wire.answers("health", self.recorded("health_maintenance"))
        with pytest.raises(ServiceUnavailable):
            self.service().check_health(Deadline.after(5))

    def test_a_refusal_is_told_from_a_doubt(self) -> None:
        assert rejected(ServiceRejected("binance", "order"))
        assert not rejected(OutcomeUnknown("binance", "order"))


# --- The bound, as a property ----------------------------------------------------------------------------------------

amounts = st.decimals("0.01", "5000", places=8)
rates = st.decimals("0.00001", "10", places=8)
fees = st.decimals("0", "0.05", places=8)
takers = st.sampled_from(["0", "0.00075", "0.001", "0.0025"])
steps = st.sampled_from(["0.00000001", "0.0001", "0.001", "1"])
ticks = st.sampled_from(["0.00000001", "0.00001", "0.01"])
units = st.sampled_from(["0.00000001", "0.000001"])


class Asked:
    """What the service asks Binance for; Binance itself says no."""

    def __init__(self, taker: str, step: str, tick: str, fee: Decimal, unit: str) -> None:
        self.kept, self.fee = 1 - Decimal(taker), fee
        self.step, self.tick, self.unit = Decimal(step), Decimal(tick), Decimal(unit)
        answers = {name: recorded("binance", file) for name, file in TestBinance.honest.items()}
        answers["order"] = recorded("binance", "order_no_funds")
        filters = {"symbols.1.filters.1.stepSize": step, "symbols.1.filters.0.tickSize": tick}
        answers["symbols"] = answers["symbols"].but(filters)
        limits = {"Fee": f"{fee:f}", "Min": "0", "Max": "9999999", "IntegerMultiple": unit}
        rules = {f"{coin}.networkList.0.withdraw{end}": value for coin in (0, 1) for end, value in limits.items()}
        answers["networks"] = answers["networks"].but(rules)
        self._answers = answers
        self._options = {"takerFee": taker}

    def __repr__(self) -> str:
        return f"Asked(kept={self.kept}, step={self.step}, tick={self.tick}, fee={self.fee}, unit={self.unit})"

    def order(self, from_asset: Any, to_asset: Any, **figures: Decimal) -> tuple[str, Decimal, Decimal] | None:
        """Side, quantity and price of the order; None when we refuse it ourselves."""
        contract = TestBinance()
        request = replace(contract.order_request, from_asset=from_asset, to_asset=to_asset, **figures)
        with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
            wire = Wire(mock, contract.routes, self._answers)
            service = contract.service()
            service._settings = replace(service._settings, options=self._options)
            with pytest.raises(ServiceRejected):
                service.place_order(request, Deadline.after(5))
            if not wire.sent("order"):
                return None
            sent = form(wire.sent("order")[0])
        quantity, price = Decimal(sent["quantity"]), Decimal(sent["price"])
        assert (quantity % self.step, price % self.tick) == (0, 0)
        return sent["side"], quantity, price

    def arriving(self, proceeds: Decimal) -> Decimal:
        """What reaches the address of a trade's proceeds: less the commission, cut to the step, less the fee."""
        received = proceeds * self.kept
        return received - received % self.unit - self.fee


worlds = st.builds(Asked, takers, steps, ticks, fees, units)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(worlds, amounts, rates)
def test_selling_at_the_bound_still_brings_the_minimum(world: Asked, amount: Decimal, rate: Decimal) -> None:
    minimum = (amount * rate).quantize(Decimal("1e-8"), ROUND_DOWN)
    assume(minimum > 0)
    sent = world.order(ETH, BTC, amount=amount, net=minimum, minimum_net=minimum)
    if sent is None:
        assert amount < world.step
        return
    side, quantity, price = sent
    assert side == "SELL"
    assert quantity <= amount
    assert world.arriving(quantity * price) >= minimum


@settings(max_examples=80, deadline=None, derandomize=True)
@given(worlds, amounts, rates)
def test_buying_never_costs_more_than_the_amount(world: Asked, amount: Decimal, rate: Decimal) -> None:
    net = (amount / rate).quantize(Decimal("1e-8"), ROUND_DOWN)
    assume(net > 0)
    sent = world.order(BTC, ETH, amount=amount, net=net, minimum_net=net)
    assert sent is not None
    side, quantity, price = sent
    assert side == "BUY"
    assert quantity * price <= amount
    assert world.arriving(quantity) >= net, "what is bought pays the promise"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.decimals("0.01", "9", places=8), st.decimals("0.98", "1", places=4), st.sampled_from([(ETH, BTC), (BTC, ETH)])
)
def test_an_order_at_its_own_quote_fills_from_the_same_book(amount: Decimal, slack: Decimal, pair: Any) -> None:
    """A market that did not move must not refuse what was quoted a moment before."""
    if pair[0] is BTC:
        amount = (amount / 3).quantize(Decimal("1e-8"))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        answers = {name: recorded("binance", file) for name, file in TestBinance.honest.items()}
        wire = Wire(mock, TestBinance.routes, answers)
        contract = TestBinance()
        service = contract.service()
        try:
            quote = service.quote(QuoteRequest(*pair, amount), Deadline.after(5))
        except AmountOutOfRange:
            return
        minimum = (quote.net * min(slack, Decimal("0.995"))).quantize(Decimal("1e-8"), ROUND_DOWN)
        wire.answers("order", recorded("binance", "order_no_funds"))
        order = replace(
            contract.order_request,
            from_asset=pair[0],
            to_asset=pair[1],
            amount=amount,
            net=quote.net,
            minimum_net=minimum,
        )
        with pytest.raises(ServiceRejected):
            service.place_order(order, Deadline.after(5))
        sent = form(wire.sent("order")[0])
    quantity, price = Decimal(sent["quantity"]), Decimal(sent["price"])
    selling = sent["side"] == "SELL"
    book = [(Decimal(level), Decimal(size)) for level, size in answers["quote"].body["bids" if selling else "asks"]]
    assert sum(size for level, size in book if (level >= price if selling else level <= price)) >= quantity


def test_a_mismatch_is_no_refusal() -> None:
    assert not rejected(IntegrityMismatch("binance", "order"))
