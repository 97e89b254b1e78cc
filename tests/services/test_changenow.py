"""ChangeNOW: the contract, and what is its own: fixed rates, the partner's list, errors under 200, many decimals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from converter.domain.addresses import check_address
from converter.domain.coins import Asset, asset
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    ConverterError,
    IntegrityMismatch,
    MalformedResponse,
    Outcome,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    policy_of,
)
from converter.domain.orders import Order, OrderRef, OrderStatus, Refund
from converter.ports import Deadline
from converter.sandbox.server import Sandbox
from converter.services.changenow import ChangeNow
from converter.services.changenow_orders import CODES
from tests.services import listings
from tests.services.contract import BTC, ETH, KEY, LIGHTNING, NO_AMOUNTS, OTHER_ADDRESS, ServiceContract
from tests.services.recorded import Recorded
from tests.services.test_round_trips import Trip, eventually, soon
from tests.services.wire import Wire

ORDER_ID = "7c1e9a04b3f25d"
KAS, ERG, LTC, ETC, RVN = (Asset(coin, coin, 8) for coin in ("KAS", "ERG", "LTC", "ETC", "RVN"))
LTC_ADDRESS = "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez"
REFUND_ADDRESS = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
CASH = "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"
PAYIN = "0x52908400098527886E0F7030069857D2E4169EE7"


class TestChangeNow(ServiceContract):
    service_id = "changenow"
    make = ChangeNow
    keys = {"api_key": "canary-public-5b1e77", "private_key": "canary-private-90fe21"}  # noqa: RUF012
    options = {"refundAddress": REFUND_ADDRESS}  # noqa: RUF012
    routes: ClassVar = {
        "quote": ("GET", "/v2/exchange/estimated-amount"),
        "order": ("POST", "/v2/exchange"),
        "status": ("GET", "/v2/exchange/by-id"),
        "list": ("GET", "/v2/exchanges"),
        "health": ("GET", "/v2/exchange/min-amount"),
    }
    honest: ClassVar = {
        "quote": "quote_fixed",
        "order": "order_created",
        "status": "status_waiting",
        "list": "list_with_payload",
        "health": "health_ok",
    }
    quote_routes = ("quote",)
    find_routes: ClassVar = {"status": {}, "list": {"service_order_id": None}}
    executing = ("order",)
    net = Decimal("0.09731206")
    quote_reference = "hT7pWq2Zs9LmXc4B"
    offered = ("0.09739206", ["0.00008"], "0.09731206")
    unsupported = ((ETH, LIGHTNING), (LIGHTNING, ETH), (ETH, KAS), (ERG, BTC), (KAS, ERG), (BTC, BTC))
    amounts_of_quote = (("quote", "toAmount", NO_AMOUNTS),)
    unauthorised = ("any_unauthorized", "any_unauthorized_plain", "list_wrong_key", "status_forbidden")
    retry_after = 17
    needed: ClassVar = {
        "order": (
            "id",
            "fromAmount",
            "toAmount",
            "payinAddress",
            "payoutAddress",
            "fromCurrency",
            "fromNetwork",
            "toCurrency",
            "toNetwork",
        )
    }
    foreign = (
        ("quote", {"fromAmount": Decimal("1.4")}),
        ("quote", {"toCurrency": "ltc"}),
        ("quote", {"fromNetwork": "arbitrum"}),
        ("order", {"fromAmount": Decimal("1.50000001")}),
        ("order", {"fromAmount": Decimal("0.15")}),
        ("order", {"toAmount": Decimal("0.09559999")}),
        ("order", {"payoutAddress": OTHER_ADDRESS}),
        ("order", {"payoutAddress": "BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ"}),
        ("order", {"payoutExtraId": "77"}),
        ("order", {"flow": "standard"}),
        ("order", {"refundAddress": "0x52908400098527886E0F7030069857D2E4169EE7"}),
        ("order", {"refundAddress": ""}),
        ("order", {"fromCurrency": "etc"}),
        ("order", {"fromNetwork": "bsc"}),
        ("order", {"toCurrency": "ltc"}),
        ("order", {"toNetwork": "lightning"}),
        ("status", {"expectedAmountFrom": Decimal("1.6")}),
        ("status", {"payoutAddress": OTHER_ADDRESS}),
        ("status", {"payoutExtraId": "77"}),
        ("status", {"toNetwork": "lightning"}),
        ("status", {"fromCurrency": "etc"}),
        ("status", {"id": "0a1b2c3d4e5f60"}),
    )
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "new": OrderStatus.AWAITING_DEPOSIT,
        "waiting": OrderStatus.AWAITING_DEPOSIT,
        "confirming": OrderStatus.OPEN,
        "exchanging": OrderStatus.OPEN,
        "sending": OrderStatus.PAYING_OUT,
        "finished": OrderStatus.SETTLED,
        "failed": OrderStatus.HELD,
        "verifying": OrderStatus.HELD,
        "refunded": OrderStatus.REFUNDED,
        "expired": OrderStatus.EXPIRED,
    }
    absences = (("status", "status_not_found"), ("list", "list_empty"), ("list", "list_others"))
    listing = listings.CHANGENOW

    refund = Refund(
        REFUND_ADDRESS, Decimal("1.49958"), "0x88df016429689c079f3b2f6ad39fa052532c56795b733da78a91ebe6a713944b"
    )
    deposit_end = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, ORDER_ID), **changes)

    def order_before(self, route: str) -> Order:
        raise AssertionError(f"{route} is no step of this service")

    def carried_key(self, route: str) -> str:
        return f'"payload":{{"ref":"{KEY}"}}'

    def with_word(self, word: Any) -> dict[str, Recorded]:
        name = {"finished": "status_finished", "refunded": "status_refunded"}.get(str(word), "status_waiting")
        return {"status": self.recorded(name).but({"status": word})}

    def out_of_range(self) -> tuple[dict[str, Recorded], Decimal | None, Decimal | None]:
        return {"quote": self.recorded("quote_out_of_range")}, Decimal("2.25"), Decimal("310.5")

    def from_litecoin(self) -> dict[str, Recorded]:
        pair = {"fromCurrency": "ltc", "fromNetwork": "ltc"}
        return {
            "quote": self.recorded("quote_fixed").but(pair),
            "order": self.recorded("order_created").but({**pair, "refundAddress": None}),
        }

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_a_quote_asks_for_a_fixed_rate_and_keeps_its_name_and_end(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        (request,) = wire.sent("quote")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(str(request.url)).query).items()}
        assert asked == {
            "fromCurrency": "eth",
            "fromNetwork": "eth",
            "toCurrency": "btc",
            "toNetwork": "btc",
            "fromAmount": "1.5",
            "flow": "fixed-rate",
            "type": "direct",
            "useRateId": "true",
        }
        assert (quote.firm, quote.reference) == (True, self.quote_reference)
        assert quote.expires_at == datetime(2026, 1, 1, 0, 20, tzinfo=UTC)
        assert request.headers["x-changenow-api-key"] == self.keys["api_key"]

    def test_a_floating_offer_in_place_of_a_fixed_one_is_malformed(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_floating"))
        with pytest.raises(MalformedResponse):
            self.quote(self.service())

    def test_more_decimals_than_the_coin_has_are_floored(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_many_decimals"))
        quote = self.quote(self.service())
        assert quote.gross == Decimal("0.097392070000000000")
        assert quote.fees[0].amount == Decimal("0.000080000000000001")
        assert quote.net == Decimal("0.09731206")

    def test_a_fee_is_never_negative(self, wire: Wire) -> None:
        for value in (Decimal("-0.00008"), "much", "NaN", True):
            wire.answers("quote", self.recorded("quote_fixed").but({"withdrawalFee": value}))
            with pytest.raises(MalformedResponse):
                print(self.quote(self.service()))

    def test_a_quote_without_a_fee_has_none(self, wire: Wire) -> None:
        for answer in (self.recorded("quote_fixed").but({"withdrawalFee": None}), self.recorded("quote_fixed")):
            wire.answers("quote", answer.but({"withdrawalFee": Decimal(0)}))
            quote = self.quote(self.service())
            assert (quote.fees, quote.gross) == ((), quote.net)

    def test_an_error_under_http_200_is_no_quote(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_error_under_200"))
        with pytest.raises(PairNotSupported):
            self.quote(self.service())

    def test_refusals_of_a_quote_have_their_own_types(self, wire: Wire) -> None:
        expected: dict[str, type[ServiceError]] = {
            "quote_pair_inactive": PairNotSupported,
            "quote_too_small": AmountOutOfRange,
            "order_rate_gone": QuoteExpired,
            "order_bad_address": ServiceRejected,
        }
        for name, kind in expected.items():
            wire.answers("quote", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.quote(self.service())
            assert type(caught.value) is kind

    def test_limits_that_are_no_numbers_are_left_out(self, wire: Wire) -> None:
        told = {"range.min": "much", "range.max": None}
        wire.answers("quote", self.recorded("quote_out_of_range").but(told))
        with pytest.raises(AmountOutOfRange) as caught:
            self.quote(self.service())
        assert (caught.value.minimum, caught.value.maximum) == (None, None)

    def test_the_amount_is_sent_with_eight_decimals_and_no_exponent(self, wire: Wire) -> None:
        service = self.service()
        for amount, text in (("12.123456789123456789", "12.12345678"), ("0.00000123", "0.00000123")):
            wire.answers("quote", self.recorded("quote_fixed").but({"fromAmount": Decimal(text)}))
            service.quote(replace(self.quote_request, amount=Decimal(amount)), Deadline.after(5))
            assert f"fromAmount={text}&" in str(wire.sent("quote")[-1].url)

    def test_every_coin_of_the_system_is_listed_or_ruled_out(self) -> None:
        native = ("BTC", "ETH", "ETC", "LTC", "BCH", "DOGE", "RVN", "XMR", "ZEC", "KAS", "ERG")
        others = {("BTC", "LIGHTNING"), ("USDT", "TRX"), ("USDT", "ETH")}
        assert CODES.keys() == {*((coin, coin) for coin in native), *others}
        assert {asset for asset, code in CODES.items() if code is None} == {
            ("BTC", "LIGHTNING"),
            ("KAS", "KAS"),
            ("ERG", "ERG"),
        }
        assert ChangeNow.supports(Asset("USDT", "TRX", 6), Asset("USDT", "ETH", 6))

    # --- Orders ------------------------------------------------------------------------------------------------------

    def test_an_order_names_the_rate_the_address_and_where_a_refund_goes(self, wire: Wire) -> None:
        order = self.execute(self.service(), "order")
        (request,) = wire.sent("order")
        assert json.loads(request.body or "") == {
            "fromCurrency": "eth",
            "fromNetwork": "eth",
            "toCurrency": "btc",
            "toNetwork": "btc",
            "fromAmount": "1.5",
            "toAmount": "",
            "address": self.order_request.address,
            "extraId": "",
            "refundAddress": self.options["refundAddress"],
            "refundExtraId": "",
            "userId": KEY,
            "payload": {"ref": KEY},
            "contactEmail": "",
            "flow": "fixed-rate",
            "type": "direct",
            "rateId": self.quote_reference,
        }
        assert order.status is OrderStatus.AWAITING_DEPOSIT
        assert order.ref.service_order_id == ORDER_ID
        assert order.deposit is not None
        assert (order.deposit.address, order.deposit.amount, order.deposit.memo) == (PAYIN, Decimal("1.5"), "")
        assert order.deposit.valid_until == datetime(2026, 1, 1, 0, 20, tzinfo=UTC)

    def test_a_refund_address_of_another_coin_is_left_out(self, wire: Wire) -> None:
        order = replace(self.order_request, from_asset=BTC, to_asset=ETH)
        with pytest.raises(IntegrityMismatch):  # the recorded answer is of the other direction
            self.service().place_order(order, Deadline.after(5))
        assert json.loads(wire.sent("order")[0].body or "")["refundAddress"] == ""

    def test_a_refund_address_is_chosen_by_network(self, wire: Wire) -> None:
        service = self.service()
        service._settings = replace(
            service._settings, options={"refundAddress": REFUND_ADDRESS, "refundAddressLTC": "L"}
        )
        expected = {"ltc": (LTC, "L"), "etc": (ETC, REFUND_ADDRESS), "eth": (ETH, REFUND_ADDRESS), "btc": (BTC, "")}
        for coin, (from_asset, address) in expected.items():
            to_asset = ETH if from_asset is BTC else BTC
            pair = {"fromCurrency": coin, "fromNetwork": coin, "toCurrency": to_asset.coin.lower()}
            echo = {**pair, "toNetwork": to_asset.network.lower(), "refundAddress": address}
            wire.answers("order", self.recorded("order_created").but(echo))
            service.place_order(
                replace(self.order_request, from_asset=from_asset, to_asset=to_asset), Deadline.after(5)
            )
            assert json.loads(wire.sent("order")[-1].body or "")["refundAddress"] == address

    def test_an_order_that_does_not_repeat_the_refund_address_is_taken(self, wire: Wire) -> None:
        honest = self.recorded("order_created")
        for answer in (honest.without("refundAddress"), honest.but({"refundAddress": None})):
            wire.answers("order", answer)
            assert self.execute(self.service(), "order").ref.service_order_id == ORDER_ID

    def test_the_end_of_a_deposit_is_told_where_the_service_names_one(self, wire: Wire) -> None:
        end = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)
        told = {"2026-01-01T00:20:00.000Z": end, "2026-01-01T00:20:00.000": end, None: None}
        for value, expected in told.items():
            wire.answers("status", self.recorded("status_waiting").but({"validUntil": value}))
            order = self.find(self.service())
            assert order is not None
            assert order.deposit is not None
            assert order.deposit.valid_until == expected
        for value in ("soon", "", 7, {}):
            wire.answers("status", self.recorded("status_waiting").but({"validUntil": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.find(self.service()))

    @pytest.mark.parametrize("scheme", ["", "bitcoincash:"])
    def test_a_cash_address_for_a_deposit_is_told_with_its_prefix(self, wire: Wire, scheme: str) -> None:
        told = {"fromCurrency": "bch", "fromNetwork": "bch", "refundAddress": None, "payinAddress": scheme + CASH}
        wire.answers("order", self.recorded("order_created").but(told))
        ordered = replace(self.order_request, from_asset=asset("BCH"))
        order = self.service().place_order(ordered, Deadline.after(5))
        assert order.deposit is not None
        assert order.deposit.address == check_address(asset("BCH"), f"bitcoincash:{CASH}")

    def test_a_deposit_address_is_told_without_the_name_of_its_chain(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_created").but({"payinAddress": f"ethereum:{PAYIN}"}))
        order = self.execute(self.service(), "order")
        assert order.deposit is not None
        assert order.deposit.address == PAYIN

    def test_a_memo_of_the_deposit_is_kept_and_an_odd_one_refused(self, wire: Wire) -> None:
        honest = self.recorded("order_created")
        wire.answers("order", honest.but({"payinExtraId": "881"}))
        order = self.execute(self.service(), "order")
        assert order.deposit is not None
        assert order.deposit.memo == "881"
        for memo in (881, ["881"], {"tag": 1}):
            wire.answers("order", honest.but({"payinExtraId": memo}))
            with pytest.raises(ConverterError) as caught:
                self.execute(self.service(), "order")
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_an_order_at_the_bound_is_taken(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_created").but({"toAmount": self.minimum_net}))
        assert self.execute(self.service(), "order").ref.service_order_id == ORDER_ID

    def test_documented_refusals_of_an_order_are_proof(self, wire: Wire) -> None:
        expected: dict[str, type[ServiceError]] = {
            "order_rate_gone": QuoteExpired,
            "order_bad_address": ServiceRejected,
            "order_error_under_200": PairNotSupported,
            "quote_out_of_range": AmountOutOfRange,
        }
        for name, kind in expected.items():
            wire.answers("order", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "order")
            assert type(caught.value) is kind
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_an_unlisted_error_under_http_200_proves_nothing(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_odd_error_under_200"))
        with pytest.raises(ConverterError) as caught:
            self.execute(self.service(), "order")
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_not_found_is_no_refusal_of_an_order(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("status_not_found"))
        with pytest.raises(ConverterError) as caught:
            self.execute(self.service(), "order")
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_there_is_no_next_step(self, wire: Wire) -> None:
        order = Order(self.ref(), OrderStatus.AWAITING_DEPOSIT)
        with pytest.raises(ServiceRejected):
            self.service().advance_order(order, Deadline.after(5))
        assert wire.requests == []

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_a_finished_order_tells_what_was_delivered(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_finished").but({"amountTo": Decimal("0.09725")}))
        order = self.find(self.service())
        assert order is not None
        assert order.delivered == Decimal("0.09725")
        assert order.txid.startswith("d3adbeef")

    def test_a_finished_order_without_an_amount_is_malformed(self, wire: Wire) -> None:
        for value in NO_AMOUNTS:
            wire.answers("status", self.recorded("status_finished").but({"amountTo": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.find(self.service()))

    def test_a_refund_is_told_with_our_own_address(self, wire: Wire) -> None:
        honest = self.recorded("status_refunded")
        txid = str(honest.body["refundHash"])
        for answer in (honest, honest.but({"refundAddress": OTHER_ADDRESS}), honest.but({"refundAddress": None})):
            wire.answers("status", answer)
            order = self.find(self.service())
            assert order is not None
            assert (order.status, order.txid, order.delivered) == (OrderStatus.REFUNDED, txid, None)
            assert order.refund == Refund(REFUND_ADDRESS, Decimal("1.49958"), txid)

    def test_a_refund_is_told_as_far_as_it_is_known(self, wire: Wire) -> None:
        untold = self.recorded("status_refunded").but({"refundHash": None, "refundAmount": None})
        wire.answers("status", untold)
        order = self.find(self.service())
        assert order is not None
        assert order.refund == Refund(REFUND_ADDRESS, None, "")
        service = self.service()
        service._settings = replace(service._settings, options={})
        order = self.find(service)
        assert order is not None
        assert order.refund is None, "without an address of ours it went elsewhere"
        for value in (value for value in NO_AMOUNTS if value is not None):
            wire.answers("status", untold.but({"refundAmount": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.find(self.service()))

    def test_only_a_refunded_order_has_a_refund(self, wire: Wire) -> None:
        for word in ("failed", "verifying", "expired", "finished"):
            wire.answers("status", self.recorded("status_finished").but({"status": word, "refundHash": "0x88df"}))
            order = self.find(self.service())
            assert order is not None
            assert order.refund is None

    def test_not_found_under_any_documented_status_is_an_absence(self, wire: Wire) -> None:
        for status in (200, 400, 404):
            wire.answers("status", self.recorded("status_not_found").under(status))
            assert self.find(self.service()) is None

    @pytest.mark.parametrize("code", ["bad_params", "not_valid_params", "pair_is_inactive", "out_of_range"])
    def test_another_refusal_of_a_look_up_is_no_absence(self, wire: Wire, code: str) -> None:
        for status in (200, 400, 404):
            wire.answers("status", self.recorded("status_not_found").but({"error": code}).under(status))
            with pytest.raises(ServiceError):
                print(status, self.find(self.service()))

    def test_not_found_of_the_list_itself_is_no_absence(self, wire: Wire) -> None:
        wire.answers("list", self.recorded("status_not_found"))
        with pytest.raises(ServiceError):
            print(self.find(self.service(), service_order_id=None))

    def test_the_list_is_searched_by_payload_and_by_user(self, wire: Wire) -> None:
        for name in ("list_with_payload", "list_with_user"):
            wire.answers("list", self.recorded(name))
            order = self.find(self.service(), service_order_id=None)
            assert order is not None
            assert order.ref.service_order_id == ORDER_ID
        request = wire.sent("list")[-1]
        assert request.headers["x-changenow-api-key"] == self.keys["private_key"]
        asked = parse_qs(urlsplit(str(request.url)).query)
        assert asked["payoutAddress"] == [self.order_request.address]
        assert asked["dateFrom"] == ["2025-12-31T23:58:01.000Z"]

    def test_without_our_name_no_order_is_taken(self, wire: Wire) -> None:
        wire.answers("list", self.recorded("list_unnamed_one"))
        assert self.find(self.service(), service_order_id=None) is None
        wire.answers("list", self.recorded("list_unnamed_two"))
        assert self.find(self.service(), service_order_id=None) is None

    def test_an_order_with_another_name_is_never_taken(self, wire: Wire) -> None:
        others = self.recorded("list_unnamed_one").but({"exchanges.0.partnerInfo.payload": {"ref": "9f3kq2-4"}})
        wire.answers("list", others)
        assert self.find(self.service(), service_order_id=None) is None

    def test_without_a_private_key_an_unfunded_order_counts_as_absent(self, wire: Wire) -> None:
        service = self.service(keys={"api_key": self.keys["api_key"]})
        assert self.find(service, service_order_id=None) is None
        assert wire.requests == []

    def test_a_list_that_is_not_enabled_is_no_absence(self, wire: Wire) -> None:
        wire.answers("list", self.recorded("list_wrong_key"))
        with pytest.raises(AuthenticationFailed):
            self.find(self.service(), service_order_id=None)

    def test_a_list_of_another_shape_is_no_absence(self, wire: Wire) -> None:
        for rows in ({}, "", None, 0, {"0": []}):
            wire.answers("list", self.recorded("list_empty").but({"exchanges": rows}))
            with pytest.raises(MalformedResponse):
                print(rows, self.find(self.service(), service_order_id=None))

    def test_a_listed_order_is_still_held_against_ours(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_waiting").but({"toNetwork": "lightning"}))
        with pytest.raises(IntegrityMismatch):
            self.find(self.service(), service_order_id=None)

    def test_the_way_back_is_priced_too(self, wire: Wire) -> None:
        pair = {"fromCurrency": "btc", "fromNetwork": "btc", "toCurrency": "eth", "toNetwork": "eth"}
        answer = {**pair, "fromAmount": Decimal("0.1"), "toAmount": Decimal("1.523456789012345678")}
        wire.answers("quote", self.recorded("quote_fixed").but({**answer, "withdrawalFee": Decimal("0.0009")}))
        quote = self.service().quote(
            replace(self.quote_request, from_asset=BTC, to_asset=ETH, amount=Decimal("0.1")), Deadline.after(5)
        )
        assert quote.net == Decimal("1.523456789012345678")
        assert quote.gross == Decimal("1.524356789012345678")


@pytest.fixture
def trip() -> Iterator[Trip]:
    with Sandbox(speed=20, services=["changenow"]) as sandbox:
        sandbox.market.configure({"volatility": "0", "step_ms": 10**9})
        yield Trip(sandbox, "changenow")
        assert sandbox.problems == []


@pytest.mark.parametrize(("asset", "amount"), [(LTC, "20"), (RVN, "70000")], ids=str)
def test_a_coin_of_a_utxo_chain_is_converted_from_end_to_end(trip: Trip, asset: Asset, amount: str) -> None:
    trip.from_asset, trip.amount = asset, Decimal(amount)
    order = trip.placed()
    assert order.deposit is not None
    trip.sandbox.utxo[asset.network].pay(order.deposit.address, order.deposit.amount)
    settled = trip.settled(service_order_id=order.ref.service_order_id)
    delivery = trip.delivered()
    assert Decimal(delivery["amount"]) == trip.request.net == settled.delivered
    assert (delivery["from_coin"], delivery["txid"]) == (asset.coin, settled.txid)


def test_what_the_service_sends_back_is_told_with_its_transaction(trip: Trip) -> None:
    trip.from_asset, trip.amount = LTC, Decimal(20)
    trip.service._settings = replace(trip.service._settings, options={"refundAddressLTC": LTC_ADDRESS})
    trip.sandbox.twins["changenow"].configure({"ending": "refunded"})
    order = trip.placed()
    assert order.deposit is not None
    assert order.deposit.valid_until is not None
    chain = trip.sandbox.utxo["LTC"]
    chain.pay(order.deposit.address, order.deposit.amount)

    def refund() -> Refund | None:
        found = trip.service.find_order(order.ref, soon())
        return found.refund if found is not None and found.status is OrderStatus.REFUNDED else None

    told = eventually(refund)
    eventually(lambda: chain.received(LTC_ADDRESS))
    assert told == Refund(LTC_ADDRESS, Decimal("19.9998"), chain.received(LTC_ADDRESS)[0][0])
    assert trip.deliveries == []
