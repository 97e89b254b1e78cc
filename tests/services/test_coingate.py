"""CoinGate: the contract, and what is its own: drafts and their cost, registering an address, cancelling, pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from converter.domain.coins import Asset
from converter.domain.errors import (
    ConverterError,
    MalformedResponse,
    Outcome,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    policy_of,
)
from converter.domain.orders import OperationKind as Kind
from converter.domain.orders import Order, OrderRef, OrderStatus, step_done
from converter.ports import Deadline
from converter.services.coingate import CoinGate
from tests.services import listings
from tests.services.contract import (
    ADDRESS,
    BTC,
    ETH,
    KEY,
    LIGHTNING,
    NO_AMOUNTS,
    NOW,
    ODD_BODIES,
    OTHER_ADDRESS,
    ServiceContract,
)
from tests.services.recorded import Recorded, odd
from tests.services.wire import Wire

SEND_ID = "771204"
STEP_KEY = f"{KEY}a2"
SENDS = "/v2/send_requests"
LTC, DOGE, RVN = (Asset(coin, coin, 8) for coin in ("LTC", "DOGE", "RVN"))
TETHERS = tuple(Asset("USDT", network, 6) for network in ("TRX", "ETH"))
OWNER = {"companyName": "Deep Shaft Mining", "companyCode": "14-2201", "email": "payouts@deepshaft.example"}
NO_BALANCES = tuple(value for value in NO_AMOUNTS if value not in (0, -1, "0", "-0.5"))
SETTING = "beneficiary_payout_setting"

FOREIGN = tuple(
    (route, {path: value})
    for route in ("order", "approve", "status")
    for path, value in (
        ("sending_amount", "0.09634317"),
        ("sending_amount", "0.9634318"),
        ("sending_currency.symbol", "LTC"),
        ("balance_debit_currency.symbol", "BTC"),
        ("external_id", "9f3kq2-2"),
        ("external_id", None),
        (f"{SETTING}.crypto_address", OTHER_ADDRESS),
        (f"{SETTING}.crypto_address", ADDRESS.upper()),
        (f"{SETTING}.crypto_address_metadata", "77"),
        (f"{SETTING}.platform.id_name", "liquid"),
        (f"{SETTING}.currency.symbol", "LTC"),
    )
)


class TestCoinGate(ServiceContract):
    service_id = "coingate"
    make = CoinGate
    keys = {"token": "canary-token-51c0de77"}  # noqa: RUF012
    options = {**OWNER, "country": "EST"}  # noqa: RUF012
    routes: ClassVar = {
        "quote": ("GET", "/v2/ledger/conversions/rates/[A-Z]+"),
        "accounts": ("GET", "/v2/ledger/accounts"),
        "settings": ("GET", "/v2/beneficiary_payout_settings"),
        "supported": ("GET", f"{SENDS}/supported-currencies"),
        "register": ("POST", "/v2/beneficiaries"),
        "order": ("POST", SENDS),
        "list": ("GET", SENDS),
        "status": ("GET", rf"{SENDS}/\d+"),
        "approve": ("PATCH", rf"{SENDS}/\d+/confirm"),
        "cancel": ("PATCH", rf"{SENDS}/\d+/cancel"),
        "health": ("GET", "/v2/ping"),
    }
    honest: ClassVar = {
        "quote": "quote_rates",
        "accounts": "accounts_three",
        "settings": "settings_ours",
        "order": "order_draft",
        "list": "list_ours",
        "status": "status_draft",
        "approve": "approve_in_progress",
        "health": "health_ok",
    }
    quote_routes = ("quote", "accounts")
    find_routes: ClassVar = {"status": {}, "list": {"service_order_id": None}}
    executing = ("order", "approve")
    quote_reads = 2
    net = Decimal("0.09634318")
    offered = ("0.0978", ["0.001456818053284911"], "0.09634318")
    unsupported = ((ETH, LIGHTNING), (LIGHTNING, ETH), (BTC, BTC), (ETH, ETH), (ETH, LTC), (LTC, DOGE), (RVN, BTC))
    amounts_of_quote = (
        ("quote", "rates.ETH.EUR", NO_AMOUNTS),
        ("accounts", "accounts.2.balance", NO_BALANCES),
    )
    unauthorised = ("any_bad_token", "any_bad_credentials")
    retry_after = 61
    _echoed = ("id", "status", "external_id", "sending_amount", "sending_currency", "balance_debit_currency", SETTING)
    needed: ClassVar = {
        "order": (
            *_echoed,
            "balance_debit_amount",
            "fees",
            "fees.service_fee",
            "fees.conversion_fee",
            "actions_required",
            "actions_required.confirm",
            "requires_2fa_confirmation",
        ),
        "approve": _echoed,
    }
    slow_reads: ClassVar = {"order": "settings", "approve": "status"}
    foreign = (*FOREIGN, ("approve", {"id": 771203}), ("status", {"id": 771203}))
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "draft": OrderStatus.AWAITING_APPROVAL,
        "in_progress": OrderStatus.OPEN,
        "processing": OrderStatus.PAYING_OUT,
        "completed": OrderStatus.SETTLED,
        "expired": OrderStatus.AWAITING_APPROVAL,
        "failed": OrderStatus.HELD,
        "canceled": OrderStatus.REJECTED,
    }
    unknown_words = ("pending", "cancelled", "", None, 7, [], {})
    absences = (("status", "status_not_found"), ("list", "list_empty"), ("list", "list_others"))
    listing = listings.COINGATE

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, SEND_ID), **changes)

    def order_before(self, route: str) -> Order:
        return Order(self.ref(step_key=STEP_KEY), OrderStatus.AWAITING_APPROVAL)

    def carried_key(self, route: str) -> str:
        return f'"external_id":"{KEY}"' if route == "order" else f"{SENDS}/{SEND_ID}/confirm"

    def with_word(self, word: Any) -> dict[str, Recorded]:
        name = word if word in ("completed", "expired") else "draft"
        return {"status": self.recorded(f"status_{name}").but({"status": word})}

    def from_litecoin(self) -> dict[str, Recorded]:
        fees = {f"fees.{name}.currency.symbol": "LTC" for name in ("service_fee", "conversion_fee")}
        rates = self.recorded("quote_rates").body["rates"]["ETH"]
        return {
            "quote": self.recorded("quote_rates").but({"rates": {"LTC": rates}}),
            "accounts": self.recorded("accounts_three").but({"accounts.2.currency.symbol": "LTC"}),
            "order": self.recorded("order_draft").but({**fees, "balance_debit_currency.symbol": "LTC"}),
        }

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_an_amount_out_of_range_is_refused_with_its_limits(self, wire: Wire) -> None:
        """The service publishes no limits: what the fees eat up or the account lacks is refused as it is."""
        wire.answers("quote", self.recorded("quote_rates").but({"rates.ETH.EUR": "0.3"}))
        with pytest.raises(ServiceRejected, match="eat the amount"):
            self.quote(self.service())
        wire.answers("quote", self.recorded("quote_rates"))
        wire.answers("accounts", self.recorded("accounts_three").but({"accounts.2.balance": "1.49999999"}))
        with pytest.raises(ServiceRejected, match="does not hold"):
            self.quote(self.service())

    def test_a_pair_without_a_rate_is_not_offered(self, wire: Wire) -> None:
        honest = self.recorded("quote_rates")
        for answer in (honest.without("rates.ETH.BTC"), honest.but({"rates": {}}), honest.but({"rates.ETH": {}})):
            wire.answers("quote", answer)
            with pytest.raises(PairNotSupported):
                self.quote(self.service())
        for value in NO_AMOUNTS:
            wire.answers("quote", honest.but({"rates.ETH.BTC": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.quote(self.service()))

    def test_only_the_active_main_account_of_the_coin_counts(self, wire: Wire) -> None:
        for change in ({"accounts.2.status": "inactive"}, {"accounts.2.account_type": "secondary"}):
            wire.answers("accounts", self.recorded("accounts_three").but(change))
            with pytest.raises(ServiceRejected, match="no ledger account"):
                self.quote(self.service())

    def test_a_quote_is_an_estimate_for_a_minute(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        assert (quote.firm, quote.reference, quote.expires_at) == (False, "", NOW + timedelta(seconds=60))
        (request,) = wire.sent("quote")
        assert str(request.url).endswith("/v2/ledger/conversions/rates/ETH")
        assert request.headers["Authorization"] == f"Token {self.keys['token']}"

    def test_the_price_list_is_a_setting(self, wire: Wire) -> None:
        free = {"serviceFee": "0", "serviceFeeEur": "0", "conversionFee": "0"}
        service = self.service()
        service._settings = replace(service._settings, options=free)
        assert self.quote(service).net == Decimal("0.0978")

    def test_a_coin_on_a_platform_without_a_documented_name_is_taken_and_not_paid_out(self) -> None:
        supports = CoinGate.supports
        assert [supports(one, BTC) for one in (ETH, LTC, DOGE, *TETHERS, RVN)] == [True, True, True, True, True, False]
        assert [supports(BTC, one) for one in (ETH, LTC, DOGE, *TETHERS, RVN)] == [True, *3 * [False], True, False]
        assert not supports(*TETHERS), "the same coin is paid out without a confirmation"

    # --- Drafts ------------------------------------------------------------------------------------------------------

    def test_a_draft_asks_for_the_promised_net(self, wire: Wire) -> None:
        order = self.execute(self.service(), "order")
        (request,) = wire.sent("order")
        assert json.loads(request.body or "") == {
            "ledger_account_id": "01J8C2M4Y6ZQ3T5V7X9A1B2C3D",
            "beneficiary_payout_setting_id": 5119,
            "amount": "0.09634318",
            "amount_currency_id": 8,
            "purpose": "payout",
            "external_id": KEY,
        }
        assert (order.status, order.ref.service_order_id) == (OrderStatus.AWAITING_APPROVAL, SEND_ID)
        assert not wire.sent("approve", "register")

    def test_what_a_draft_costs_is_bound(self, wire: Wire, route: str) -> None:
        """1.5 x 0.09634318 / 0.0956 = 1.5116607..., fees on top of the debit."""
        read = {"order": "order", "approve": "status"}[route]
        wire.answers("cancel", self.recorded("cancel_done"))
        for debit, taken in (("1.48931692", True), ("1.48931693", False)):
            wire.answers(read, self.recorded("order_draft").but({"balance_debit_amount": debit}))
            if taken:
                assert self.execute(self.service(), route).ref.service_order_id == SEND_ID
                continue
            with pytest.raises(QuoteExpired) as caught:
                self.execute(self.service(), route)
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert (len(wire.sent("cancel")), len(wire.sent("approve"))) == (1, 1 if route == "approve" else 0)

    def test_a_fee_of_another_coin_or_below_zero_is_not_taken(self, wire: Wire) -> None:
        wire.answers("cancel", self.recorded("cancel_done"))
        wire.answers("order", self.recorded("order_draft").but({"fees.service_fee.currency.symbol": "BTC"}))
        with pytest.raises(ServiceRejected, match="another coin"):
            self.execute(self.service(), "order")
        wire.answers("order", self.recorded("order_draft").but({"fees.service_fee.amount": "-0.1"}))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "order")

    def test_a_second_factor_is_refused_once_the_draft_is_seen_cancelled(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_draft").but({"requires_2fa_confirmation": True}))
        wire.answers("cancel", self.recorded("cancel_done"))
        with pytest.raises(ServiceRejected, match="second factor"):
            self.execute(self.service(), "order")
        wire.answers("cancel", self.recorded("cancel_not_draft"))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "order")

    def test_a_payout_that_began_by_itself_is_followed(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("approve_in_progress"))
        assert self.execute(self.service(), "order").status is OrderStatus.OPEN

    def test_documented_refusals_of_a_draft_are_proof(self, wire: Wire) -> None:
        expected = {"order_no_balance": ServiceRejected, "order_no_account": ServiceRejected}
        for name, kind in {**expected, "order_pair": PairNotSupported}.items():
            wire.answers("order", self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self.execute(self.service(), "order")
            assert type(caught.value) is kind
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_a_refusal_counts_only_under_its_own_status(self, wire: Wire) -> None:
        for status in (400, 404, 409, 500, 502):
            wire.answers("order", self.recorded("order_no_balance").under(status))
            with pytest.raises(OutcomeUnknown):
                self.execute(self.service(), "order")

    def test_a_repeated_external_id_may_be_our_own_earlier_send(self, wire: Wire) -> None:
        honest = self.recorded("order_duplicate")
        undocumented = ({"external_id": ["has already been taken"]}, ["External has already been taken"], [])
        for errors in undocumented:
            wire.answers("order", honest.but({"errors": errors, "message": "External ID must be unique"}))
            with pytest.raises(OutcomeUnknown):
                self.execute(self.service(), "order")
        wire.answers("order", honest)
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "order")

    # --- Registering -------------------------------------------------------------------------------------------------

    def test_an_address_that_is_not_registered_is_registered(self, wire: Wire) -> None:
        wire.answers("settings", self.recorded("settings_others"))
        wire.answers("supported", self.recorded("currencies_supported"))
        wire.answers("register", self.recorded("register_done"))
        self.execute(self.service(), "order")
        (request,) = wire.sent("register")
        assert json.loads(request.body or "") == {
            "beneficiary_type": "business",
            "business": {"company_name": "Deep Shaft Mining", "company_code": "14-2201"},
            "email": "payouts@deepshaft.example",
            "country": "EST",
            "currency_id": 8,
            "platform_id": 5,
            "crypto_address": ADDRESS,
        }
        assert json.loads(wire.sent("order")[0].body or "")["beneficiary_payout_setting_id"] == 5200

    def test_what_cannot_be_registered_is_refused_before_a_draft(self, wire: Wire) -> None:
        wire.answers("settings", self.recorded("settings_others"))
        listed = self.recorded("currencies_supported")
        wire.answers("supported", listed)
        wire.answers("register", self.recorded("register_refused"))
        with pytest.raises(ServiceRejected):
            self.execute(self.service(), "order")
        wire.answers("register", self.recorded("register_done"))
        for change in ({"0.enabled": False}, {"0.platforms.0.enabled": False}, {"0.platforms": []}):
            wire.answers("supported", listed.but(change))
            with pytest.raises(ServiceRejected, match="not paid out"):
                self.execute(self.service(), "order")
        assert not wire.sent("order")

    def test_a_registration_of_something_else_is_not_used(self, wire: Wire) -> None:
        wire.answers("settings", self.recorded("settings_others"))
        wire.answers("supported", self.recorded("currencies_supported"))
        rows = "beneficiary_payout_settings"
        other = self.recorded("register_done").but({f"{rows}.0.crypto_address": OTHER_ADDRESS})
        for answer in (other, other.but({rows: []}), *map(odd, ODD_BODIES)):
            wire.answers("register", answer)
            with pytest.raises(ServiceError):
                self.execute(self.service(), "order")
        assert not wire.sent("order")

    def test_nobody_is_registered_without_an_owner(self, wire: Wire) -> None:
        wire.answers("settings", self.recorded("settings_others"))
        for name in self.options:
            service = self.service()
            service._settings = replace(service._settings, options={**self.options, name: ""})
            with pytest.raises(ServiceRejected, match="not registered"):
                self.execute(service, "order")
        assert not wire.sent("register", "order")

    # --- Confirming: the commit point --------------------------------------------------------------------------------

    def test_what_is_confirmed_already_is_left_as_it_is(self, wire: Wire) -> None:
        for name in ("approve_in_progress", "status_completed"):
            wire.answers("status", self.recorded(name))
            assert step_done(Kind.APPROVAL, self.execute(self.service(), "approve").status)
        wire.answers("status", self.recorded("cancel_done"))
        assert self.execute(self.service(), "approve").status is OrderStatus.REJECTED
        assert not wire.sent("approve", "cancel")

    def test_a_lapsed_draft_is_not_confirmed(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_expired"))
        with pytest.raises(QuoteExpired):
            self.execute(self.service(), "approve")
        assert not wire.sent("approve", "cancel")

    def test_an_answer_that_is_still_a_draft_proves_nothing(self, wire: Wire) -> None:
        for name in ("status_draft", "status_expired"):
            wire.answers("approve", self.recorded(name))
            with pytest.raises(OutcomeUnknown):
                self.execute(self.service(), "approve")

    def test_a_refused_confirmation_is_cancelled_and_so_proven(self, wire: Wire) -> None:
        wire.answers("cancel", self.recorded("cancel_done"))
        for name in ("order_no_balance", "approve_not_draft", "status_not_found"):
            wire.answers("approve", self.recorded(name))
            with pytest.raises(ServiceRejected) as caught:
                self.execute(self.service(), "approve")
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert [name for name, _ in wire.requests[-3:]] == ["status", "approve", "cancel"]

    def test_a_refused_confirmation_that_is_not_seen_cancelled_stays_unknown(self, wire: Wire) -> None:
        wire.answers("approve", self.recorded("approve_not_draft"))
        names = ("cancel_not_draft", "any_server_error", "any_limited", "any_bad_token", "status_draft")
        for cancel in (*map(self.recorded, (*names, "approve_in_progress")), *map(odd, ODD_BODIES)):
            wire.answers("cancel", cancel)
            with pytest.raises(ConverterError) as caught:
                self.execute(self.service(), "approve")
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    def test_a_confirmation_is_never_repeated(self) -> None:
        rule = CoinGate.capabilities.rules[Kind.APPROVAL]
        assert (rule.moves_money, rule.repeat_recognised) == (True, False)

    def test_only_an_expired_draft_proves_that_a_confirmation_was_lost(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_expired"))
        order = self.find(self.service(), step_key=STEP_KEY)
        assert order is not None
        assert not step_done(Kind.APPROVAL, order.status)
        for name in ("status_draft", "status_not_found"):
            wire.answers("status", self.recorded(name))
            with pytest.raises(OutcomeUnknown):
                print(name, self.find(self.service(), step_key=STEP_KEY))
        for name in ("list_ours", "list_empty"):
            wire.answers("list", self.recorded(name))
            with pytest.raises(OutcomeUnknown):
                print(name, self.find(self.service(), service_order_id=None, step_key=STEP_KEY))

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_a_completed_request_tells_its_transaction(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_completed"))
        order = self.find(self.service())
        assert order is not None
        assert order.delivered == self.net
        assert order.txid.startswith("d3adbeef")

    def test_a_transaction_that_has_no_id_yet_is_left_out(self, wire: Wire) -> None:
        under_way = {"status": "processing", "blockchain_transactions.0.txid": None}
        wire.answers("status", self.recorded("status_completed").but(under_way))
        order = self.find(self.service())
        assert order is not None
        assert (order.status, order.txid) == (OrderStatus.PAYING_OUT, "")

    def test_the_list_is_read_page_by_page(self, wire: Wire) -> None:
        wire.answers("list", self.recorded("list_first_of_two"), self.recorded("list_second_of_two"))
        order = self.find(self.service(), service_order_id=None)
        assert order is not None
        assert order.ref == self.ref()
        assert [str(request.url).rpartition("?")[2] for request in wire.sent("list")] == [
            "page=1&per_page=100",
            "page=2&per_page=100",
        ]

    def test_a_draft_that_is_not_on_the_first_pages_is_abandoned(self, wire: Wire) -> None:
        wire.answers("list", self.recorded("list_one_of_many"))
        assert self.find(self.service(), service_order_id=None) is None
        assert len(wire.sent("list")) == 5
        assert not CoinGate.capabilities.rules[Kind.ORDER].moves_money

    def test_a_list_of_another_shape_is_no_absence(self, wire: Wire) -> None:
        for rows in ({}, "", None, 0, {"0": []}):
            wire.answers("list", self.recorded("list_empty").but({"send_requests": rows}))
            with pytest.raises(MalformedResponse):
                print(rows, self.find(self.service(), service_order_id=None))

    def test_the_way_back_is_priced_with_eight_decimals(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_rates").but({"rates": {"BTC": {"ETH": "15.3", "EUR": "42800"}}}))
        asked = replace(self.quote_request, from_asset=BTC, to_asset=ETH, amount=Decimal("0.1"))
        quote = self.service().quote(asked, Deadline.after(5))
        assert quote.net == Decimal("1.50721306")
