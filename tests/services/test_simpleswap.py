"""SimpleSwap: the contract, and what is its own: fixed rates, envelopes, abandoned orders, refusals told in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from converter.domain.addresses import check_address
from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    AmountOutOfRange,
    ConverterError,
    IntegrityMismatch,
    MalformedResponse,
    Outcome,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    policy_of,
)
from converter.domain.orders import OperationKind, Order, OrderRef, OrderStatus, Refund
from converter.ports import Deadline
from converter.services.simpleswap import RATE_LIFE, SimpleSwap
from converter.services.simpleswap_orders import CODES, CONTRACTS
from tests.services import listings
from tests.services.contract import (
    BTC,
    ETH,
    LIGHTNING,
    NO_AMOUNTS,
    NOW,
    OTHER_ADDRESS,
    HandClock,
    ServiceContract,
)
from tests.services.recorded import Recorded
from tests.services.wire import Wire

ORDER_ID = "k7wq0z3n5t1x8v2m"
CASH = "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"
PAYIN = "0x52908400098527886E0F7030069857D2E4169EE7"
UPPER = "BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ"
USDT, TRON_USDT, KAS, ERG = (
    Asset("USDT", "ETH", 6),
    Asset("USDT", "TRX", 6),
    Asset("KAS", "KAS", 8),
    Asset("ERG", "ERG", 9),
)
ASSETS = {
    ("BTC", "BTC"),
    ("BTC", "LIGHTNING"),
    ("USDT", "TRX"),
    ("USDT", "ETH"),
    *((coin, coin) for coin in ("ETH", "ETC", "LTC", "BCH", "DOGE", "RVN", "XMR", "ZEC", "KAS", "ERG")),
}
PAIR = {"tickerFrom": "eth", "networkFrom": "eth", "tickerTo": "btc", "networkTo": "btc"}

FOREIGN = tuple(
    (route, {f"result.{path}": value})
    for route in ("order", "status")
    for path, value in (
        ("amountFrom", "1.50000001"),
        ("amountFrom", "0.15"),
        ("addressTo", OTHER_ADDRESS),
        ("addressTo", UPPER),
        ("extraIdTo", "77"),
        ("type", "floating"),
        ("tickerFrom", "etc"),
        ("networkFrom", "bsc"),
        ("tickerTo", "ltc"),
        ("networkTo", "lightning"),
    )
)


class TestSimpleSwap(ServiceContract):
    service_id = "simpleswap"
    make = SimpleSwap
    keys = {"api_key": "canary-0b7e41d2-key"}  # noqa: RUF012
    options = {"refundAddress": "0x8617E340B3D01FA5F11F306F4090FD50E238070D"}  # noqa: RUF012
    routes: ClassVar = {
        "quote": ("GET", "/v3/estimates"),
        "order": ("POST", "/v3/exchanges"),
        "status": ("GET", "/v3/exchanges/[^/]+"),
        "list": ("GET", "/v3/exchanges"),
        "health": ("GET", "/v3/currencies/btc/btc"),
        "token": ("GET", "/v3/currencies/usdt/[^/]+"),
    }
    honest: ClassVar = {
        "quote": "quote_fixed",
        "order": "order_created",
        "status": "status_waiting",
        "health": "health_ok",
        "token": "token_usdt",
    }
    quote_routes = ("quote",)
    find_routes: ClassVar = {"status": {}}
    executing = ("order",)
    net = Decimal("0.09731206")
    quote_reference = "b04b1c1e-5f37-4c0e-9a6d-2f7e81d4c963"
    offered = ("0.09731206", [], "0.09731206")
    unsupported = ((ETH, LIGHTNING), (LIGHTNING, ETH), (BTC, BTC), (KAS, BTC), (ETH, ERG), (USDT, USDT))
    amounts_of_quote = (("quote", "result.estimatedAmount", NO_AMOUNTS),)
    unauthorised = ("any_unauthorized", "any_forbidden")
    retry_after = 23
    needed: ClassVar = {
        "order": tuple(
            f"result.{name}" for name in ("id", *PAIR, "amountFrom", "amountTo", "addressFrom", "addressTo", "status")
        )
    }
    foreign = (
        *FOREIGN,
        ("order", {"result.amountTo": "0.09559999"}),
        ("order", {"result.userRefundAddress": PAYIN}),
        ("order", {"result.userRefundAddress": "0x8617e340b3d01fa5f11f306f4090fd50e238070d"}),
        ("status", {"result.id": "0a1b2c3d4e5f6071"}),
    )
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "waiting": OrderStatus.AWAITING_DEPOSIT,
        "confirming": OrderStatus.OPEN,
        "verifying": OrderStatus.HELD,
        "exchanging": OrderStatus.OPEN,
        "sending": OrderStatus.PAYING_OUT,
        "finished": OrderStatus.SETTLED,
        "failed": OrderStatus.HELD,
        "refunded": OrderStatus.REFUNDED,
        "expired": OrderStatus.EXPIRED,
    }
    unknown_words = ("Finished", "new", "overdue", "", None, 7, [], {})
    absences = (("status", "status_not_found"),)
    listing = listings.SIMPLESWAP

    refund = Refund(options["refundAddress"], None, "")
    deposit_end = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, ORDER_ID), **changes)

    def carried_key(self, route: str) -> str:
        return ""

    def with_word(self, word: Any) -> dict[str, Recorded]:
        name = {"finished": "finished", "refunded": "refunded"}.get(str(word), "waiting")
        return {"status": self.recorded(f"status_{name}").but({"result.status": word})}

    def out_of_range(self) -> tuple[dict[str, Recorded], Decimal | None, Decimal | None]:
        return {"quote": self.recorded("quote_out_of_range")}, Decimal("1.6042"), Decimal("510.5")

    def from_litecoin(self) -> dict[str, Recorded]:
        pair = {"result.tickerFrom": "ltc", "result.networkFrom": "ltc", "result.userRefundAddress": None}
        return {"order": self.recorded("order_created").but(pair)}

    # --- Coins -------------------------------------------------------------------------------------------------------

    def test_every_known_asset_has_a_code_or_is_known_not_to_be_supported(self) -> None:
        assert set(CODES) == ASSETS
        assert {place for place, code in CODES.items() if code is None} == {
            ("BTC", "LIGHTNING"),
            ("KAS", "KAS"),
            ("ERG", "ERG"),
        }
        codes = [code for code in CODES.values() if code is not None]
        assert len(set(codes)) == len(codes), "two assets under one name"

    def test_the_ticker_of_a_token_is_held_against_its_contract_once(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_fixed").but({"result.estimatedAmount": "5000.1234567"}))
        service, asked = self.service(), replace(self.quote_request, to_asset=USDT)
        for _ in range(2):
            assert service.quote(asked, Deadline.after(5)).net == Decimal("5000.123456")
        assert [str(request.url).partition("/v3")[2] for request in wire.sent("token")] == ["/currencies/usdt/eth"]

    def test_a_token_of_another_contract_is_not_converted(self, wire: Wire) -> None:
        honest = self.recorded("token_usdt")
        tron = {"result.network": "trx", "result.contractAddress": CONTRACTS["USDT", "TRX"]}
        lower = {**tron, "result.contractAddress": CONTRACTS["USDT", "TRX"].lower()}
        for token, changes, fits in (
            (USDT, {}, True),
            (USDT, {"result.contractAddress": PAYIN}, False),
            (USDT, {"result.network": "bsc"}, False),
            (USDT, {"result.ticker": "usdterc20"}, False),
            (TRON_USDT, tron, True),
            (TRON_USDT, lower, False),
        ):
            wire.answers("token", honest.but(changes))
            asked = replace(self.quote_request, to_asset=token)
            ordered = replace(self.order_request, to_asset=token)
            if fits:
                assert self.service().quote(asked, Deadline.after(5)).net > 0
                continue
            with pytest.raises(PairNotSupported):
                self.service().quote(asked, Deadline.after(5))
            with pytest.raises(PairNotSupported):
                self.service().place_order(ordered, Deadline.after(5))
        wire.answers("token", honest.but({"result.contractAddress": None}))
        with pytest.raises(MalformedResponse):
            self.service().quote(replace(self.quote_request, to_asset=USDT), Deadline.after(5))
        assert not wire.sent("order")

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_a_fixed_rate_is_asked_for(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        (request,) = wire.sent("quote")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(str(request.url)).query).items()}
        assert asked == {**PAIR, "amount": "1.5", "fixed": "true", "reverse": "false"}
        assert (quote.firm, quote.reference) == (True, self.quote_reference)
        assert quote.expires_at == datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
        assert request.headers["x-api-key"] == self.keys["api_key"]

    def test_a_rate_without_its_end_is_taken_for_a_minute(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_without_end"))
        assert self.quote(self.service()).expires_at == NOW + RATE_LIFE == NOW + timedelta(seconds=60)

    def test_a_floating_offer_in_place_of_a_fixed_one_is_malformed(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_floating"))
        with pytest.raises(MalformedResponse):
            self.quote(self.service())

    def test_more_decimals_than_the_coin_has_are_floored(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_many_decimals"))
        assert self.quote(self.service()).net == Decimal("0.09731206")

    def test_refusals_of_a_quote_have_their_own_types(self, wire: Wire) -> None:
        expected: dict[str, type[ServiceError]] = {
            "quote_pair_unavailable": PairNotSupported,
            "quote_pair_unknown": PairNotSupported,
            "quote_too_small": AmountOutOfRange,
            "order_rate_gone": QuoteExpired,
            "order_bad_address": ServiceRejected,
        }
        for name, kind in expected.items():
            wire.answers("quote", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.quote(self.service())
            assert type(caught.value) is kind

    def test_a_limit_that_is_not_told_is_left_out(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_too_small"))
        with pytest.raises(AmountOutOfRange) as caught:
            self.quote(self.service())
        assert (caught.value.minimum, caught.value.maximum) == (Decimal("1.6042"), None)

    def test_a_page_in_place_of_an_answer_is_malformed(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("any_page"))
        with pytest.raises(MalformedResponse):
            self.quote(self.service())

    def test_the_amount_is_sent_with_eight_decimals_and_no_exponent(self, wire: Wire) -> None:
        for amount, text in (("12.123456789123456789", "12.12345678"), ("0.00000123", "0.00000123")):
            self.service().quote(replace(self.quote_request, amount=Decimal(amount)), Deadline.after(5))
            assert f"amount={text}&" in str(wire.sent("quote")[-1].url)

    # --- Orders ------------------------------------------------------------------------------------------------------

    def test_an_order_names_the_rate_the_address_and_where_a_refund_goes(self, wire: Wire) -> None:
        order = self.execute(self.service(), "order")
        (request,) = wire.sent("order")
        assert json.loads(request.body or "") == {
            **PAIR,
            "amount": "1.5",
            "fixed": True,
            "reverse": False,
            "addressTo": self.order_request.address,
            "extraIdTo": "",
            "userRefundAddress": self.options["refundAddress"],
            "userRefundExtraId": "",
            "rateId": self.quote_reference,
            "customFee": None,
        }
        assert (order.status, order.ref.service_order_id) == (OrderStatus.AWAITING_DEPOSIT, ORDER_ID)
        assert order.deposit is not None
        assert (order.deposit.address, order.deposit.amount, order.deposit.memo) == (PAYIN, Decimal("1.5"), "")

    def test_a_deposit_is_taken_until_the_order_s_end(self, wire: Wire) -> None:
        honest, end = self.recorded("order_created"), datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
        other_name = honest.without("result.validUntil").but({"result.valid_until": "2026-01-01T00:10:00.000Z"})
        for answer, expected in (
            (honest, end),
            (other_name, end),
            (honest.but({"result.validUntil": None}), None),
            (honest.without("result.validUntil"), None),
        ):
            wire.answers("order", answer)
            order = self.execute(self.service(), "order")
            assert order.deposit is not None
            assert order.deposit.valid_until == expected
        for odd_end in ("soon", "2026-01-01T00:10:00", 1767226200):
            wire.answers("order", honest.but({"result.validUntil": odd_end}))
            with pytest.raises(OutcomeUnknown):
                print(odd_end, self.execute(self.service(), "order"))

    def test_a_refund_address_that_is_not_repeated_is_no_mismatch(self, wire: Wire) -> None:
        for value in (None, ""):
            wire.answers("order", self.recorded("order_created").but({"result.userRefundAddress": value}))
            assert self.execute(self.service(), "order").ref.service_order_id == ORDER_ID

    def test_an_order_comes_with_or_without_envelope_and_under_two_names(self, wire: Wire) -> None:
        for name in ("order_created_bare", "order_created_public_id"):
            wire.answers("order", self.recorded(name))
            assert self.execute(self.service(), "order").ref.service_order_id == ORDER_ID
            wire.answers("status", self.recorded(name))
            order = self.find(self.service())
            assert order is not None
            assert order.ref == self.ref()

    def test_a_refund_address_of_another_coin_is_left_out(self, wire: Wire) -> None:
        order = replace(self.order_request, from_asset=BTC, to_asset=ETH)
        for options, sent in ((self.options, ""), ({**self.options, "refundAddressBTC": OTHER_ADDRESS}, OTHER_ADDRESS)):
            service = self.service()
            service._settings = replace(service._settings, options=options)
            with pytest.raises(IntegrityMismatch):  # the recorded answer is of the other direction
                service.place_order(order, Deadline.after(5))
            assert json.loads(wire.sent("order")[-1].body or "")["userRefundAddress"] == sent

    def test_a_memo_of_the_deposit_is_kept_and_an_odd_one_refused(self, wire: Wire) -> None:
        honest = self.recorded("order_created")
        wire.answers("order", honest.but({"result.extraIdFrom": "881"}))
        order = self.execute(self.service(), "order")
        assert order.deposit is not None
        assert order.deposit.memo == "881"
        for memo in (881, 0, False, ["881"], {"tag": 1}, []):
            wire.answers("order", honest.but({"result.extraIdFrom": memo}))
            with pytest.raises(ConverterError) as caught:
                self.execute(self.service(), "order")
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize("scheme", ["", "bitcoincash:"])
    def test_a_cash_address_for_a_deposit_is_told_with_its_prefix(self, wire: Wire, scheme: str) -> None:
        told = {
            "result.tickerFrom": "bch",
            "result.networkFrom": "bch",
            "result.userRefundAddress": None,
            "result.addressFrom": scheme + CASH,
        }
        wire.answers("order", self.recorded("order_created").but(told))
        ordered = replace(self.order_request, from_asset=asset("BCH"))
        order = self.service().place_order(ordered, Deadline.after(5))
        assert order.deposit is not None
        assert order.deposit.address == check_address(asset("BCH"), f"bitcoincash:{CASH}")

    def test_the_prefix_of_a_deposit_address_is_taken_off(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_created").but({"result.addressFrom": f"ethereum:{PAYIN}"}))
        order = self.execute(self.service(), "order")
        assert order.deposit is not None
        assert order.deposit.address == PAYIN

    def test_an_order_at_the_bound_is_taken(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_created").but({"result.amountTo": str(self.minimum_net)}))
        assert self.execute(self.service(), "order").ref.service_order_id == ORDER_ID

    def test_documented_refusals_of_an_order_are_proof(self, wire: Wire) -> None:
        expected: dict[str, type[ServiceError]] = {
            "order_rate_gone": QuoteExpired,
            "order_bad_address": ServiceRejected,
            "quote_pair_unavailable": PairNotSupported,
            "quote_pair_unknown": PairNotSupported,
            "quote_out_of_range": AmountOutOfRange,
        }
        for name, kind in expected.items():
            wire.answers("order", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "order")
            assert type(caught.value) is kind
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_a_refusal_counts_only_under_its_own_status(self, wire: Wire) -> None:
        answers = [self.recorded("order_check_extra_id"), self.recorded("any_page")]
        answers += [self.recorded("order_bad_address").under(status) for status in (404, 409, 500, 502)]
        for answer in answers:
            wire.answers("order", answer)
            with pytest.raises(OutcomeUnknown):
                self.execute(self.service(), "order")

    def test_there_is_no_next_step(self, wire: Wire) -> None:
        with pytest.raises(ServiceRejected):
            self.service().advance_order(Order(self.ref(), OrderStatus.AWAITING_DEPOSIT), Deadline.after(5))
        assert wire.requests == []

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_a_finished_order_tells_what_was_delivered(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_finished").but({"result.amountTo": "0.09725"}))
        order = self.find(self.service())
        assert order is not None
        assert order.delivered == Decimal("0.09725")
        assert order.txid.startswith("d3adbeef")

    def test_a_finished_order_without_an_amount_is_malformed(self, wire: Wire) -> None:
        for value in NO_AMOUNTS:
            wire.answers("status", self.recorded("status_finished").but({"result.amountTo": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.find(self.service()))

    def test_a_finished_order_without_a_transaction_is_malformed(self, wire: Wire) -> None:
        honest = self.recorded("status_finished")
        for answer in (honest.without("result.txTo"), *(honest.but({"result.txTo": value}) for value in (None, "", 7))):
            wire.answers("status", answer)
            with pytest.raises(MalformedResponse):
                print(answer.body, self.find(self.service()))

    def test_a_refund_delivers_nothing_and_went_where_we_said(self, wire: Wire) -> None:
        for hash_told in (None, "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060"):
            wire.answers("status", self.recorded("status_refunded").but({"result.txTo": hash_told}))
            order = self.find(self.service())
            assert order is not None
            assert (order.delivered, order.txid) == (None, "")
            assert order.refund == Refund(self.options["refundAddress"], None, hash_told or "")

    def test_a_refund_to_another_address_is_told_without_one(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_refunded").but({"result.userRefundAddress": PAYIN}))
        elsewhere = self.find(self.service())
        wire.answers("status", self.recorded("status_refunded").but({"result.userRefundAddress": None}))
        nowhere = SimpleSwap(replace(self.service()._settings, options={}), HandClock())
        for order in (elsewhere, nowhere.find_order(self.ref(), Deadline.after(5))):
            assert order is not None
            assert (order.status, order.refund) == (OrderStatus.REFUNDED, None)

    def test_only_a_refunded_order_tells_a_refund(self, wire: Wire) -> None:
        for word in ("failed", "verifying", "expired", "finished"):
            wire.answers("status", self.recorded("status_finished").but({"result.status": word}))
            order = self.find(self.service())
            assert order is not None
            assert order.refund is None

    def test_an_order_without_a_name_is_abandoned(self, wire: Wire) -> None:
        assert self.find(self.service(), service_order_id=None) is None
        assert wire.requests == []
        assert not SimpleSwap.capabilities.rules[OperationKind.ORDER].moves_money

    def test_an_odd_name_stays_in_its_place_on_the_wire(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_not_found"))
        assert self.find(self.service(), service_order_id="../x?y=1") is None
        assert str(wire.sent("status")[0].url).endswith("/v3/exchanges/..%2Fx%3Fy%3D1")

    def test_the_way_back_is_priced_too(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_fixed").but({"result.estimatedAmount": "1.523456789012345678"}))
        asked = replace(self.quote_request, from_asset=BTC, to_asset=ETH, amount=Decimal("0.1"))
        assert self.service().quote(asked, Deadline.after(5)).net == Decimal("1.523456789012345678")
