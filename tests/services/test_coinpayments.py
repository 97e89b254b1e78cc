"""CoinPayments: the contract, and what is its own: signatures, previews, confirmations without a body, two units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    IntegrityMismatch,
    MalformedResponse,
    Outcome,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceError,
    ServiceRejected,
    policy_of,
)
from converter.domain.orders import OperationKind as Kind
from converter.domain.orders import Order, OrderRef, OrderStatus
from converter.ports import Deadline
from converter.services.base import ServiceSettings
from converter.services.coinpayments import CoinPayments
from converter.services.coinpayments_requests import CODES, currency_of, rate_of, signature, wallet_of
from tests.services import listings
from tests.services.contract import (
    ADDRESS,
    BTC,
    ETH,
    KEY,
    LIGHTNING,
    MISDEEDS,
    NO_AMOUNTS,
    NOW,
    OTHER_ADDRESS,
    HandClock,
    ServiceContract,
)
from tests.services.recorded import Recorded, odd, recorded
from tests.services.wire import Wire

WALLET = "7d2c1e90-44b8-4f0a-9d3e-5b1f6a2c8e47"
REQUEST = "e3a1b5c2-90d4-4e6f-8a27-1c9d0f3b7e58"
WALLETS = "/api/v1/merchant/wallets"
USDT, TRON_USDT, KAS = Asset("USDT", "ETH", 6), Asset("USDT", "TRX", 6), Asset("KAS", "KAS", 8)
CONTRACT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
ASSETS = {
    ("BTC", "BTC"),
    ("BTC", "LIGHTNING"),
    ("USDT", "TRX"),
    ("USDT", "ETH"),
    *((coin, coin) for coin in ("ETH", "ETC", "LTC", "BCH", "DOGE", "RVN", "XMR", "ZEC", "KAS", "ERG")),
}
NO_UNITS = (-1, "-0.5", Decimal("0.5"), "1e99", None, "", "much", "NaN", "Infinity", True, [], {})
NO_BALANCES = tuple(value for value in NO_AMOUNTS if value not in (0, -1, "0", "-0.5"))
ACCEPTED = ("nothing", "null", "half a body")
"""Misdeeds that look like the documented answer to a confirmation, which has no body."""

FOREIGN = tuple(
    (route, {path: value})
    for route in ("order", "status")
    for path, value in (
        ("fromAmount", Decimal("1.50000001")),
        ("fromAmount", Decimal(15)),
        ("fromCurrencyId", "1"),
        ("toCurrencyId", "4"),
        ("fromCurrencyId", f"4:{CONTRACT}"),
        ("fromContractAddress", CONTRACT),
        ("toContractAddress", CONTRACT),
        ("toAddress", OTHER_ADDRESS),
        ("toAddress", ADDRESS.upper()),
        ("memo", "9f3kq2-2"),
    )
)


class TestCoinPayments(ServiceContract):
    service_id = "coinpayments"
    make = CoinPayments
    keys = {"client_id": "canary-client-8b1d", "client_secret": "canary-secret-c3f0"}  # noqa: RUF012
    routes: ClassVar = {
        "currencies": ("GET", "/api/v1/currencies"),
        "limits": ("GET", "/api/v1/currencies/limits/[^/]+/[^/]+"),
        "rates": ("GET", "/api/v1/rates"),
        "fee": ("GET", "/api/v1/fees/blockchain/[^/]+"),
        "wallets": ("GET", WALLETS),
        "order": ("POST", f"{WALLETS}/[^/]+/spend/request"),
        "approve": ("POST", f"{WALLETS}/[^/]+/spend/confirmation"),
        "status": ("GET", f"{WALLETS}/[^/]+/transaction"),
        "transactions": ("GET", f"{WALLETS}/[^/]+/transactions"),
        "health": ("GET", "/api/v1/currencies/1"),
    }
    honest: ClassVar = {
        "currencies": "currencies_some",
        "limits": "limits_pair",
        "rates": "rates_pair",
        "fee": "fee_units",
        "wallets": "wallets_some",
        "order": "order_preview",
        "approve": "approve_done",
        "status": "status_created",
        "health": "health_bitcoin",
    }
    quote_routes = ("currencies", "limits", "rates", "fee", "wallets")
    find_routes: ClassVar = {"status": {}}
    executing = ("order", "approve")
    quote_reads = 4
    net = Decimal("0.097231")
    offered = ("0.0978", ["0.000489", "0.00008"], "0.097231")
    unsupported = ((ETH, LIGHTNING), (LIGHTNING, ETH), (BTC, BTC), (ETH, ETH), (KAS, BTC), (ETH, KAS))
    amounts_of_quote = (
        ("rates", "items.0.rate", NO_AMOUNTS),
        ("limits", "min", NO_UNITS),
        ("limits", "max", NO_UNITS),
        ("wallets", "3.confirmedBalance.valueAsDecimal", NO_BALANCES),
    )
    unauthorised = ("any_unauthorized", "any_forbidden")
    retry_after = 9
    needed: ClassVar = {
        "order": (
            "spendRequestId",
            "fromWalletId",
            "toAddress",
            "fromCurrencyId",
            "toCurrencyId",
            "fromAmount",
            "toAmount",
            "memo",
        ),
        "approve": (),
    }
    slow_reads: ClassVar = {"order": "wallets"}
    foreign = (
        *FOREIGN,
        ("order", {"fromWalletId": "1f0e9d8c-7b6a-4958-8473-62514f3e2d1c"}),
        ("order", {"toAmount": Decimal("0.19446201")}),
        ("status", {"spendRequestId": "00000000-90d4-4e6f-8a27-1c9d0f3b7e58"}),
    )
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "unknown": OrderStatus.OPEN,
        "created": OrderStatus.OPEN,
        "pending": OrderStatus.OPEN,
        "processing": OrderStatus.OPEN,
        "waitingForConversion": OrderStatus.OPEN,
        "pendingReceive": OrderStatus.OPEN,
        "completed": OrderStatus.PAYING_OUT,
        "confirmedOnBlockchain": OrderStatus.SETTLED,
        "ConfirmedOnBlockchain": OrderStatus.SETTLED,
        "failedOnBlockchain": OrderStatus.HELD,
        "failed": OrderStatus.HELD,
        "cancelled": OrderStatus.HELD,
        "rejected": OrderStatus.HELD,
        "expired": OrderStatus.HELD,
    }
    empty: ClassVar = {"status": b""}
    absences = ()
    listing = listings.COINPAYMENTS

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, f"{WALLET}/{REQUEST}", f"{KEY}a2"), **changes)

    def order_before(self, route: str) -> Order:
        return Order(self.ref(), OrderStatus.AWAITING_APPROVAL)

    def carried_key(self, route: str) -> str:
        return f'"memo":"{KEY}"' if route == "order" else f'{{"spendRequestId":"{REQUEST}"}}'

    def with_word(self, word: Any) -> dict[str, Recorded]:
        name = "confirmed" if str(word).lower() == "confirmedonblockchain" else "created"
        return {"status": self.recorded(f"status_{name}").but({"transactionStatus": word})}

    def out_of_range(self) -> tuple[dict[str, Recorded], Decimal | None, Decimal | None]:
        limits = self.recorded("limits_pair").but({"min": 1600000000000000000})
        return {"limits": limits}, Decimal("1.6"), Decimal("6939.885265")

    def from_litecoin(self) -> dict[str, Recorded]:
        listed = {"3.symbol": "LTC", "3.id": "2"}
        return {
            "currencies": self.recorded("currencies_some").but(listed),
            "limits": self.recorded("limits_pair").but({"min": 1800000, "max": 693988526500}),
            "rates": self.recorded("rates_pair").but({"items.0.baseCurrencyId": 2}),
            "wallets": self.recorded("wallets_some").but({"3.currencyId": "2"}),
            "order": self.recorded("order_preview").but({"fromCurrencyId": "2"}),
        }

    @pytest.mark.parametrize("misdeed", MISDEEDS)
    def test_an_unclear_answer_leaves_the_outcome_unknown(
        self, misdeed: str, route: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """But for a confirmation: it is documented to be accepted with no body at all."""
        if route != "approve" or misdeed not in ACCEPTED:
            super().test_an_unclear_answer_leaves_the_outcome_unknown(misdeed, route, monkeypatch)
            return
        with self.socket_wire({route: MISDEEDS[misdeed]}) as world:
            assert self.execute(self.service(world.url), route).status is OrderStatus.OPEN
            assert world.saw([route]) == [route], "sent once"

    # --- Coins -------------------------------------------------------------------------------------------------------

    def test_every_known_asset_has_a_symbol_or_is_known_not_to_be_supported(self) -> None:
        assert set(CODES) == ASSETS
        unsupported = {place for place, code in CODES.items() if code is None}
        assert unsupported == {("BTC", "LIGHTNING"), *((coin, coin) for coin in ("XMR", "ZEC", "KAS", "ERG"))}
        for place in CODES:
            other = ETH if place[0] == "BTC" else BTC
            assert CoinPayments.supports(Asset(*place, 8), other) == (place not in unsupported)
        assert not CoinPayments.supports(USDT, TRON_USDT), "a coin is not converted into itself"

    # --- Signatures --------------------------------------------------------------------------------------------------

    def test_the_documented_rule_gives_the_known_signatures(self) -> None:
        place, wallet = "https://api.coinpayments.com/api/v1/merchant/wallets/", "0a54b29f-51cb-44a8-9bed-111c5cb1b335"
        other = "https://a-api.coinpayments.net/api/v2/merchant/wallets/"
        address, request = "0x86d526d6624AbC0178cF7296cD538Ecc080A95F1", "02741e6d-f5c5-43bb-8f08-9a523173cb42"
        amount = '"amountInSmallestUnits":"50000000","memo":"cv_01J9Z7Q0","receiverPaysFee":true}'
        client, stamp = "cc7caaa431d54ad6accfd28b20170ee4", "2026-01-15T10:30:00"
        vectors = {
            f'POST{place}{wallet}/spend/request{client}{stamp}{{"toCurrencyId":4,"toAddress":"{address}",{amount}': (
                "MqXpgiaRA2Bq8+/Y86STAUXhDkznZA4b0VPWO80I7tc="
            ),
            f"GET{place}{wallet}/transaction?spendRequestId={request}{client}{stamp}": (
                "TViNOIckGHFDVUIcA4F0OSQ8XBd0onlAS6BboO1eXPQ="
            ),
            f'POST{other}{wallet}/spend/request{client}{stamp}{{"toAddress":"{address}","toCurrency":"4",'
            '"amount":"0.5","memo":"cv_01J9Z7Q0","receiverPaysFee":true}': (
                "zC8nKKWdixmsSmupe3M+QYo1xbF6YiytcF6JGWAu7CU="
            ),
            f'POST{other}{wallet}/spend/confirmation{client}{stamp}{{"spendRequestId":"{request}"}}': (
                "N51qI4xUiQS+WqDen7Hen+EC8/oVvkfJB0ln0bKbvUA="
            ),
        }
        for message, expected in vectors.items():
            assert signature("dGVzdC1zZWNyZXQtZm9yLXNhbmRib3g=", f"\ufeff{message}".encode()) == expected

    def test_a_call_is_signed_as_it_is_sent(self) -> None:
        keys = {"client_id": "cc7caaa431d54ad6accfd28b20170ee4", "client_secret": "dGVzdC1zZWNyZXQtZm9yLXNhbmRib3g="}
        clock = HandClock(
            datetime(2026, 1, 15, 10, 30, 0, 700_000, tzinfo=UTC).astimezone(timezone(timedelta(hours=3)))
        )
        service = CoinPayments(ServiceSettings("https://api.coinpayments.com/", keys), clock)
        wallet = "/0a54b29f-51cb-44a8-9bed-111c5cb1b335"
        content = {
            "toCurrencyId": 4,
            "toAddress": "0x86d526d6624AbC0178cF7296cD538Ecc080A95F1",
            "amountInSmallestUnits": "50000000",
            "memo": "cv_01J9Z7Q0",
            "receiverPaysFee": True,
        }
        call = service._signed("order", "POST", f"{wallet}/spend/request", content=content)
        assert call.headers["X-CoinPayments-Signature"] == "MqXpgiaRA2Bq8+/Y86STAUXhDkznZA4b0VPWO80I7tc="
        assert call.headers["X-CoinPayments-Timestamp"] == "2026-01-15T10:30:00"
        query = "spendRequestId=02741e6d-f5c5-43bb-8f08-9a523173cb42"
        call = service._signed("status", "GET", f"{wallet}/transaction", query)
        assert call.headers["X-CoinPayments-Signature"] == "TViNOIckGHFDVUIcA4F0OSQ8XBd0onlAS6BboO1eXPQ="

    def test_only_calls_to_the_wallets_are_signed(self, wire: Wire) -> None:
        self.quote(self.service())
        signed = {name for name, request in wire.requests if "X-CoinPayments-Signature" in request.headers}
        assert signed == {"wallets"}

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_a_quote_is_an_estimate_for_half_a_minute(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        assert (quote.firm, quote.reference, quote.expires_at) == (False, "", NOW + timedelta(seconds=30))
        assert [str(request.url).partition("/api/v1")[2] for _, request in wire.requests] == [
            "/currencies?q=ETH",
            "/currencies?q=BTC",
            "/currencies/limits/4/1",
            "/rates?from=4&to=1",
            "/fees/blockchain/1",
            "/merchant/wallets",
        ]

    def test_currencies_are_looked_up_once(self, wire: Wire) -> None:
        service = self.service()
        for _ in range(3):
            self.quote(service)
        assert len(wire.sent("currencies")) == 2

    def test_a_currency_must_be_the_only_one_of_its_name_and_decimals(self, wire: Wire) -> None:
        honest = self.recorded("currencies_some")
        for change in (
            {"3.symbol": "ETH"},
            {"1.symbol": "ETHX"},
            {"1.type": "token"},
            {"1.status": "deleted"},
            {"1.decimalPlaces": 8},
        ):
            wire.answers("currencies", honest.but(change))
            with pytest.raises(PairNotSupported):
                print(change, self.quote(self.service()))
        wire.answers("currencies", honest.but({"1.status": "underMaintenance"}))
        assert self.quote(self.service()).net == self.net

    def test_a_token_is_known_by_its_contract(self) -> None:
        rows, contract = recorded("coinpayments", "currencies_some").body, CONTRACT
        tether, ether = currency_of(rows, USDT), currency_of(rows, ETH)
        assert (tether.currency_id, tether.number, tether.contract) == (f"4:{contract}", "4", contract)
        assert (ether.currency_id, ether.contract) == ("4", "")
        wallets = recorded("coinpayments", "wallets_some").body
        assert wallet_of(wallets, tether, Decimal(1)) == "2a1b0c9d-8e7f-4a6b-9c5d-4e3f2a1b0c9d"
        rate = {"baseCurrencyId": 4, "quoteCurrencyId": 4, "rate": "0.0003", "baseToken": contract.upper()}
        assert rate_of({"items": [rate]}, tether, ether) == Decimal("0.0003")
        with pytest.raises(PairNotSupported):
            rate_of({"items": [rate]}, ether, tether)

    def test_a_contract_that_is_no_hexadecimal_number_is_compared_as_it_is_written(self) -> None:
        row = {"type": "token", "symbol": "USDT", "decimalPlaces": 6, "status": "active"}
        contract = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
        assert currency_of([{**row, "id": f"9:{contract}"}], TRON_USDT).contract == contract
        with pytest.raises(PairNotSupported):
            currency_of([{**row, "id": f"9:{contract.lower()}"}], TRON_USDT)
        assert currency_of([{**row, "id": f"4:{CONTRACT.upper().replace('X', 'x')}"}], USDT).number == "4"

    def test_a_payout_in_a_token_may_go_by_its_network_alone_but_by_no_other_contract(self, wire: Wire) -> None:
        order = replace(self.order_request, from_asset=BTC, to_asset=USDT, net=Decimal(5000), minimum_net=Decimal(4900))
        about = {"fromWalletId": "1f0e9d8c-7b6a-4958-8473-62514f3e2d1c", "fromCurrencyId": "1", "toAmount": 4950}
        honest = self.recorded("order_preview").but({**about, "fromAmount": Decimal("0.5")})
        order = replace(order, amount=Decimal("0.5"))
        for name in ("4", f"4:{CONTRACT}"):
            wire.answers("order", honest.but({"toCurrencyId": name}))
            assert self.service().place_order(order, Deadline.after(5)).ref.service_order_id
        sent = json.loads(wire.sent("order")[-1].body or "")
        assert (sent["toCurrencyId"], sent["toContractAddress"]) == (4, CONTRACT)
        for changes in ({"toCurrencyId": "4:0x1"}, {"toCurrencyId": "4", "toContractAddress": "0x1"}):
            wire.answers("order", honest.but(changes))
            with pytest.raises(IntegrityMismatch):
                print(changes, self.service().place_order(order, Deadline.after(5)))

    def test_a_pair_without_a_rate_is_refused(self, wire: Wire) -> None:
        wire.answers("rates", self.recorded("rates_none"))
        with pytest.raises(PairNotSupported):
            self.quote(self.service())
        for name, value in (("baseCurrencyId", 1), ("quoteCurrencyId", 2), ("quoteToken", "0x1"), ("baseToken", "0x1")):
            wire.answers("rates", self.recorded("rates_pair").but({f"items.0.{name}": value}))
            with pytest.raises(PairNotSupported):
                self.quote(self.service())

    def test_a_network_fee_is_a_count_of_units_above_zero(self, wire: Wire) -> None:
        for body in (b"0", b"-8000", b"0.5", b'"much"', b"true", b"null", b"1e99", b'{"fee": 8000}'):
            wire.answers("fee", odd(body))
            with pytest.raises(MalformedResponse):
                print(body, self.quote(self.service()))

    def test_a_wallet_must_be_free_and_hold_the_amount(self, wire: Wire) -> None:
        for path, value in (
            ("isActive", False),
            ("isLocked", True),
            ("isVaultLocked", True),
            ("contractAddress", "0x1"),
            ("confirmedBalance.valueAsDecimal", "1.49999999"),
        ):
            wire.answers("wallets", self.recorded("wallets_some").but({f"3.{path}": value}))
            with pytest.raises(ServiceRejected, match="no wallet"):
                self.quote(self.service())

    def test_an_open_end_of_the_limits_is_none(self, wire: Wire) -> None:
        wire.answers("limits", self.recorded("limits_pair").but({"max": 0}))
        assert self.quote(self.service()).net == self.net

    # --- Spend requests ----------------------------------------------------------------------------------------------

    def test_every_fee_comes_out_of_the_amount(self, wire: Wire) -> None:
        order = self.execute(self.service(), "order")
        (request,) = wire.sent("order")
        assert f"{WALLETS}/{WALLET}/" in str(request.url)
        assert json.loads(request.body or "") == {
            "toCurrencyId": 1,
            "toAddress": ADDRESS,
            "amountInSmallestUnits": "1500000000000000000",
            "memo": KEY,
            "receiverPaysFee": True,
        }
        assert (order.status, order.ref.service_order_id) == (
            OrderStatus.AWAITING_APPROVAL,
            f"{WALLET}/{REQUEST}",
        )

    def test_a_preview_below_the_bound_is_refused(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_preview").but({"toAmount": Decimal("0.09559999")}))
        with pytest.raises(QuoteExpired) as caught:
            self.execute(self.service(), "order")
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        wire.answers("order", self.recorded("order_preview").but({"toAmount": Decimal("0.0956")}))
        assert self.execute(self.service(), "order").ref.service_order_id

    def test_an_id_that_is_none_proves_nothing(self, wire: Wire) -> None:
        for value in ("", "../../x", "a/b-00000000", 7, ["e3a1b5c2"]):
            wire.answers("order", self.recorded("order_preview").but({"spendRequestId": value}))
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "order")
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_documented_refusals_of_a_request_are_proof(self, wire: Wire) -> None:
        expected: dict[str, type[ServiceError]] = {
            "order_below_limit": AmountOutOfRange,
            "order_pair": PairNotSupported,
            "order_address": ServiceRejected,
            "order_no_funds": ServiceRejected,
        }
        for name, kind in expected.items():
            wire.answers("order", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "order")
            assert type(caught.value) is kind
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_a_refusal_counts_only_under_its_own_status(self, wire: Wire, route: str) -> None:
        for name in ("order_no_funds", "approve_gone"):
            for status in (402, 409, 422, 500, 503):
                wire.answers(route, self.recorded(name).under(status))
                with pytest.raises(ServiceError) as caught:
                    self.execute(self.service(), route)
                assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_a_bare_403_is_a_limit(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("any_forbidden_bare"))
        with pytest.raises(RateLimited):
            self.execute(self.service(), "order")

    # --- Confirmation: the commit point ------------------------------------------------------------------------------

    def test_a_confirmation_names_the_request_alone(self, wire: Wire) -> None:
        order = self.execute(self.service(), "approve")
        assert (order.status, order.ref) == (OrderStatus.OPEN, self.ref())
        (request,) = wire.sent("approve")
        assert json.loads(request.body or "") == {"spendRequestId": REQUEST}

    def test_a_request_that_is_gone_is_a_refusal(self, wire: Wire) -> None:
        """Of a first send; of another one the use-case makes nothing of it."""
        wire.answers("approve", self.recorded("approve_gone"))
        with pytest.raises(ServiceRejected) as caught:
            self.execute(self.service(), "approve")
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_a_bare_403_proves_nothing_of_a_confirmation(self, wire: Wire) -> None:
        for answer in (self.recorded("any_forbidden_bare"), odd(b"<html>Forbidden</html>", 403), odd(b"{}", 403)):
            wire.answers("approve", answer)
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "approve")
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_a_stale_preview_is_not_confirmed(self, wire: Wire) -> None:
        prepared = self.order_request.prepared_at
        for seconds, sent in ((60, True), (60.001, False)):
            service = self.service(clock=HandClock(prepared + timedelta(seconds=seconds)))
            if sent:
                self.execute(service, "approve")
                continue
            with pytest.raises(QuoteExpired):
                self.execute(service, "approve")
        assert len(wire.sent("approve")) == 1

    def test_neither_a_repeat_nor_an_absence_proves_anything(self) -> None:
        rule = CoinPayments.capabilities.rules[Kind.APPROVAL]
        assert (rule.moves_money, rule.repeat_recognised, rule.quiet) == (True, False, None)

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_no_transaction_yet_is_a_request_that_is_not_confirmed(self, wire: Wire) -> None:
        for name in ("status_none", "status_empty"):
            wire.answers("status", self.recorded(name))
            order = self.find(self.service())
            assert order is not None
            assert (order.status, order.ref) == (OrderStatus.AWAITING_APPROVAL, self.ref())

    def test_an_empty_answer_to_anything_else_is_malformed(self, wire: Wire) -> None:
        wire.answers("wallets", self.recorded("status_empty"))
        with pytest.raises(MalformedResponse):
            self.quote(self.service())

    def test_a_request_without_a_name_is_forgotten(self, wire: Wire) -> None:
        assert self.find(self.service(), service_order_id=None) is None
        assert wire.requests == []

    def test_both_units_of_a_transaction_are_read(self, wire: Wire) -> None:
        for name in ("status_confirmed", "status_confirmed_units"):
            wire.answers("status", self.recorded(name))
            order = self.find(self.service())
            assert order is not None
            assert (order.status, order.delivered) == (OrderStatus.SETTLED, self.net)
            assert order.txid.startswith("d3adbeef")

    def test_what_arrived_is_told_as_it_is(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_confirmed").but({"toAmount": "0.0951"}))
        order = self.find(self.service())
        assert order is not None
        assert order.delivered == Decimal("0.0951") < self.minimum_net

    def test_what_is_far_from_the_promise_is_a_mismatch(self, wire: Wire) -> None:
        for value in ("9723100", "0.00000009", "0.19446201"):
            wire.answers("status", self.recorded("status_confirmed").but({"toAmount": value}))
            with pytest.raises(IntegrityMismatch):
                print(value, self.find(self.service()))

    def test_a_settled_transaction_without_an_amount_is_malformed(self, wire: Wire) -> None:
        for value in NO_AMOUNTS:
            wire.answers("status", self.recorded("status_confirmed").but({"toAmount": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.find(self.service()))

    def test_a_confirmed_transaction_without_a_hash_is_malformed(self, wire: Wire) -> None:
        honest = self.recorded("status_confirmed")
        for answer in (honest.without("txHash"), *(honest.but({"txHash": value}) for value in (None, "", 7))):
            wire.answers("status", answer)
            with pytest.raises(MalformedResponse):
                print(answer.body, self.find(self.service()))

    def test_unset_fields_may_be_absent(self, wire: Wire) -> None:
        honest = self.recorded("status_created")
        for answer in (honest.without("memo"), honest.but({"memo": None, "txHash": None})):
            wire.answers("status", answer)
            assert self.find(self.service()) is not None

    def test_a_failed_look_up_for_want_of_a_permission_is_no_absence(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("any_forbidden"))
        with pytest.raises(AuthenticationFailed):
            self.find(self.service())

    def test_the_way_back_is_priced_with_eight_decimals(self, wire: Wire) -> None:
        wire.answers("limits", self.recorded("limits_pair").but({"min": 10000, "max": 0}))
        swapped = {"items.0.baseCurrencyId": 1, "items.0.quoteCurrencyId": 4, "items.0.rate": "15.33333333"}
        wire.answers("rates", self.recorded("rates_pair").but(swapped))
        wire.answers("fee", odd(b"2400000000000000"))
        asked = replace(self.quote_request, from_asset=BTC, to_asset=ETH, amount=Decimal("0.1"))
        quote = self.service().quote(asked, Deadline.after(5))
        assert quote.net == Decimal("1.52326666")
