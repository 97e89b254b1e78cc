"""BTCPay Server: the contract, and what is its own: two phases, cancelling what was refused, proofs, Lightning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from converter.domain.coins import Asset
from converter.domain.errors import (
    AuthenticationFailed,
    ConverterError,
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
from converter.domain.orders import OperationKind as Kind
from converter.domain.orders import Order, OrderRef, OrderStatus, step_done
from converter.ports import Deadline
from converter.services.btcpay_lightning import BtcPayLightning
from converter.services.btcpay_lightning_payouts import CODES, is_recognised
from tests.services import listings
from tests.services.contract import (
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

PAYOUT_ID = "Qm4TzR8vKxW2bYc6JpLd9s"
STORE = "/api/v1/stores/StoreOfTheTests"
PAYOUT = f"{STORE}/payouts/[^/]+"
NO_BALANCES = tuple(value for value in NO_AMOUNTS if value not in (0, -1, "0", "-0.5"))

FOREIGN = tuple(
    (route, {path: value})
    for route in ("order", "approve", "status")
    for path, value in (
        ("originalAmount", "0.09778835"),
        ("originalAmount", "0.9778836"),
        ("originalAmount", "0"),
        ("originalCurrency", "USD"),
        ("payoutCurrency", "USD"),
        ("payoutAmount", "0.09778837"),
        ("payoutAmount", "0.08800952"),
        ("payoutMethodId", "BTC-LN"),
        ("payoutMethodId", "LTC-CHAIN"),
        ("destination", OTHER_ADDRESS),
        ("destination", "BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ"),
    )
)


class TestBtcPayLightning(ServiceContract):
    service_id = "btcpay_lightning"
    make = BtcPayLightning
    keys = {"token": "canary-token-3c7d19aa"}  # noqa: RUF012
    options = {"storeId": "StoreOfTheTests"}  # noqa: RUF012
    routes: ClassVar = {
        "quote": ("GET", f"{STORE}/rates"),
        "fee": ("GET", f"{STORE}/payment-methods/BTC-CHAIN/wallet/feerate"),
        "wallet": ("GET", f"{STORE}/payment-methods/BTC-CHAIN/wallet"),
        "lightning": ("GET", f"{STORE}/lightning/BTC/balance"),
        "order": ("POST", f"{STORE}/payouts"),
        "list": ("GET", f"{STORE}/payouts"),
        "status": ("GET", PAYOUT),
        "approve": ("POST", PAYOUT),
        "cancel": ("DELETE", PAYOUT),
        "health": ("GET", "/api/v1/health"),
    }
    honest: ClassVar = {
        "quote": "quote_rate",
        "fee": "fee_rate",
        "wallet": "wallet_balance",
        "lightning": "lightning_balance",
        "order": "order_created",
        "list": "list_ours",
        "status": "status_awaiting_approval",
        "approve": "approve_done",
        "health": "health_ok",
    }
    quote_routes = ("fee", "wallet", "quote")
    find_routes: ClassVar = {"status": {}, "list": {"service_order_id": None}}
    executing = ("order", "approve")
    quote_reads = 3
    net = Decimal("0.09778836")
    offered = ("0.0978", ["0.00001164"], "0.09778836")
    unsupported = ((BTC, ETH), (BTC, BTC), (BTC, LIGHTNING), (LIGHTNING, BTC))
    amounts_of_quote = (
        ("quote", "0.rate", tuple(value for value in NO_AMOUNTS if value is not None)),
        ("fee", "feeRate", NO_AMOUNTS),
        ("wallet", "confirmedBalance", NO_BALANCES),
    )
    unauthorised = ("any_unauthenticated", "any_missing_permission")
    retry_after = 41
    by_status = (429,)
    _fields = ("destination", "payoutMethodId", "originalCurrency", "originalAmount", "state")
    needed: ClassVar = {"order": ("id", *_fields), "approve": (*_fields, "payoutAmount")}
    slow_reads: ClassVar = {"order": "quote", "approve": "status"}
    foreign = FOREIGN
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "AwaitingApproval": OrderStatus.AWAITING_APPROVAL,
        "AwaitingPayment": OrderStatus.PAYING_OUT,
        "InProgress": OrderStatus.PAYING_OUT,
        "Completed": OrderStatus.SETTLED,
        "Cancelled": OrderStatus.REJECTED,
    }
    unknown_words = ("awaitingapproval", "Paid", "", None, 7, [], {})
    absences = (("status", "status_not_found"), ("list", "list_empty"), ("list", "list_others"))
    listing = listings.BTCPAY

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, PAYOUT_ID, f"{KEY}a2"), **changes)

    def order_before(self, route: str) -> Order:
        return Order(self.ref(), OrderStatus.AWAITING_APPROVAL)

    def carried_key(self, route: str) -> str:
        return f'"clientRef":"{KEY}"' if route == "order" else f"/payouts/{PAYOUT_ID}"

    def with_word(self, word: Any) -> dict[str, Recorded]:
        names = {"AwaitingApproval": "awaiting_approval", "InProgress": "in_progress", "Cancelled": "cancelled"}
        name = {**names, "Completed": "completed"}.get(str(word), "awaiting_payment")
        return {"status": self.recorded(f"status_{name}").but({"state": word})}

    def from_litecoin(self) -> dict[str, Recorded]:
        return {"quote": self.recorded("quote_rate").but({"0.currencyPair": "LTC_BTC"})}

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_an_amount_out_of_range_is_refused_with_its_limits(self, wire: Wire) -> None:
        """The service publishes no limits: what the fee eats up or the wallet lacks is refused as it is."""
        wire.answers("quote", self.recorded("quote_rate").but({"0.rate": "0.0000077"}))
        with pytest.raises(ServiceRejected, match="eats the amount"):
            self.quote(self.service())
        wire.answers("quote", self.recorded("quote_rate").but({"0.rate": "0.5615"}))
        with pytest.raises(ServiceRejected, match="does not hold"):
            self.quote(self.service())

    @pytest.mark.parametrize(("amount", "untouched"), [(None, True), ("0.09778836", False)])
    def test_a_cancelled_payout_was_never_approved_only_while_it_has_no_amount(
        self, wire: Wire, amount: str | None, untouched: bool
    ) -> None:
        wire.answers("status", self.recorded("status_cancelled").but({"payoutAmount": amount}))
        found = self.service().find_order(self.ref(), Deadline.after(5))
        assert found is not None
        assert (found.status, found.untouched) == (OrderStatus.REJECTED, untouched)

    def test_a_rate_is_matched_by_its_pair(self, wire: Wire) -> None:
        ours = self.recorded("quote_rate").body
        for name in ("quote_rate_missing", "quote_rate_other_pairs"):
            answer = self.recorded(name)
            wire.answers("quote", answer)
            with pytest.raises(PairNotSupported):
                self.quote(self.service())
            wire.answers("quote", replace(answer, body=answer.body + ours))
            assert self.quote(self.service()).net == self.net

    def test_another_coin_than_bitcoin_is_not_priced_at_the_rate_of_bitcoin(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_rate").but({"0.currencyPair": "BTC_BTC", "0.rate": "1.0"}))
        asked = replace(self.quote_request, from_asset=BTC, to_asset=ETH, amount=Decimal("0.1"))
        with pytest.raises(PairNotSupported):
            print(self.service().quote(asked, Deadline.after(5)))

    def test_every_other_coin_is_priced_by_its_ticker(self, wire: Wire) -> None:
        for coin, network in CODES:
            asset = Asset(coin, network, 6)
            assert BtcPayLightning.supports(asset, BTC) is BtcPayLightning.supports(asset, LIGHTNING) is (coin != "BTC")
            assert not BtcPayLightning.supports(BTC, asset)
        wire.answers("quote", self.recorded("quote_rate").but({"0.currencyPair": "USDT_BTC"}))
        for network in ("TRX", "ETH"):
            asked = replace(self.quote_request, from_asset=Asset("USDT", network, 6))
            assert self.service().quote(asked, Deadline.after(5)).net == self.net
        assert {parse_qs(urlsplit(str(one.url)).query)["currencyPair"][0] for one in wire.sent("quote")} == {"USDT_BTC"}

    def test_an_empty_list_of_rates_is_no_quote(self, wire: Wire) -> None:
        wire.answers("quote", odd(b"[]"))
        with pytest.raises(PairNotSupported):
            self.quote(self.service())

    def test_the_size_of_the_transaction_is_a_setting(self, wire: Wire) -> None:
        service = self.service()
        service._settings.options["feeVbytes"] = "200"
        try:
            assert self.quote(service).fees[0].amount == Decimal("0.00001651")
        finally:
            del service._settings.options["feeVbytes"]

    def test_a_quote_is_an_estimate_for_half_a_minute(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        assert (quote.firm, quote.reference, (quote.expires_at - NOW).total_seconds()) == (False, "", 30)
        (request,) = wire.sent("quote")
        assert parse_qs(urlsplit(str(request.url)).query) == {"currencyPair": ["ETH_BTC"]}
        assert request.headers["Authorization"] == f"token {self.keys['token']}"

    def test_a_lightning_quote_has_no_miner_fee_and_asks_for_the_channels(self, wire: Wire) -> None:
        asked = replace(self.quote_request, to_asset=LIGHTNING)
        wire.answers("quote", self.recorded("quote_rate").but({"0.rate": "0.3216666666666"}))
        quote = self.service().quote(asked, Deadline.after(5))
        assert (quote.gross, quote.fees, quote.net) == (Decimal("0.48249999"), (), Decimal("0.48249999"))
        assert not wire.sent("wallet", "fee")
        wire.answers("lightning", self.recorded("lightning_balance").but({"offchain.local": "48249998999"}))
        with pytest.raises(ServiceRejected, match="does not hold"):
            self.service().quote(asked, Deadline.after(5))
        for value in NO_BALANCES:
            wire.answers("lightning", self.recorded("lightning_balance").but({"offchain.local": value}))
            with pytest.raises(MalformedResponse):
                print(value, self.service().quote(asked, Deadline.after(5)))

    # --- Orders: the payout, unapproved ------------------------------------------------------------------------------

    def test_a_payout_is_created_unapproved_for_the_promised_net(self, wire: Wire) -> None:
        order = self.execute(self.service(), "order")
        (request,) = wire.sent("order")
        assert json.loads(request.body or "") == {
            "destination": self.order_request.address,
            "amount": "0.09778836",
            "payoutMethodId": "BTC-CHAIN",
            "approved": False,
            "metadata": {"clientRef": KEY, "fromCoin": "ETH", "fromAmount": "1.5"},
        }
        assert order.status is OrderStatus.AWAITING_APPROVAL
        assert order.ref.service_order_id == PAYOUT_ID
        assert not wire.sent("approve")

    def test_a_place_where_a_repeat_would_pay_twice_is_refused_before_anything_is_created(self, wire: Wire) -> None:
        for address in ("lnurl1dp68gurn8ghj7um9wfmxjcm99e3k7mf0v9cxj", "pool@example.com", "lnbc@example.com"):
            assert not is_recognised(address, "LIGHTNING")
            order = replace(self.order_request, to_asset=LIGHTNING, address=address)
            with pytest.raises(ServiceRejected, match="not recognised when repeated"):
                self.service().place_order(order, Deadline.after(5))
        assert not wire.sent("order")
        assert is_recognised("lnbc1pqqqqqqqqqqqq", "LIGHTNING")
        assert is_recognised(self.order_request.address, "BTC")

    def test_a_rate_that_fell_below_the_bound_refuses_before_anything_is_created(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_rate").but({"0.rate": "0.06374108"}))
        with pytest.raises(QuoteExpired):
            self.execute(self.service(), "order")
        assert not wire.sent("order")
        wire.answers("quote", self.recorded("quote_rate").but({"0.rate": "0.06374110"}))
        assert self.execute(self.service(), "order").ref.service_order_id == PAYOUT_ID

    def test_documented_refusals_of_a_payout_are_proof(self, wire: Wire) -> None:
        pull = ("expired", "not-started", "archived", "overdraft", "amount-too-low")
        answers = [self.recorded("order_invalid"), self.recorded("order_method_missing")]
        answers += [self.recorded("order_method_missing").but({"code": code}) for code in pull]
        answers += [self.recorded("status_not_found").but({"code": "pullpayment-not-found"})]
        answers += [self.recorded("any_unavailable").but({"code": "not-available"})]
        for answer in answers:
            wire.answers("order", answer)
            with pytest.raises(ServiceRejected) as caught:
                self.execute(self.service(), "order")
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED

    def test_a_refusal_counts_only_under_its_own_status(self, wire: Wire, route: str) -> None:
        wire.answers("cancel", self.recorded("cancel_done"))
        codes = ("overdraft", "rate-unavailable", "payment-method-not-supported", "old-revision", "amount-too-low")
        for code in codes:
            for status in (404, 409, 500, 502, 503, 504):
                wire.answers(route, self.recorded("approve_no_rate").but({"code": code}).under(status))
                with pytest.raises(ConverterError) as caught:
                    self.execute(self.service(), route)
                assert policy_of(caught.value).outcome is Outcome.UNKNOWN, (code, status)

    def test_a_payout_to_the_same_place_may_be_our_own_earlier_send(self, wire: Wire) -> None:
        wire.answers("order", self.recorded("order_duplicate_destination"))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "order")

    # --- Approval: the commit point ----------------------------------------------------------------------------------

    def test_the_revision_that_was_seen_is_approved(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_awaiting_approval").but({"revision": 3}))
        order = self.execute(self.service(), "approve")
        (request,) = wire.sent("approve")
        assert json.loads(request.body or "") == {"revision": 3}
        assert (order.status, order.ref) == (OrderStatus.PAYING_OUT, self.ref())

    def test_what_is_approved_already_is_left_as_it_is(self, wire: Wire) -> None:
        for name in ("status_awaiting_payment", "status_in_progress", "status_completed"):
            wire.answers("status", self.recorded(name))
            order = self.execute(self.service(), "approve")
            assert step_done(Kind.APPROVAL, order.status)
        assert not wire.sent("approve", "cancel")

    def test_a_cancelled_payout_is_not_approved(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_cancelled"))
        assert self.execute(self.service(), "approve").status is OrderStatus.REJECTED
        assert not wire.sent("approve", "cancel")

    def test_invalid_state_may_be_our_own_earlier_approval(self, wire: Wire) -> None:
        wire.answers("approve", self.recorded("approve_invalid_state"))
        with pytest.raises(OutcomeUnknown):
            self.execute(self.service(), "approve")
        assert not wire.sent("cancel")

    def test_an_answer_that_still_awaits_approval_proves_nothing(self, wire: Wire) -> None:
        wire.answers("approve", self.recorded("status_awaiting_approval"))
        with pytest.raises(ConverterError) as caught:
            print(self.execute(self.service(), "approve"))
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize("refusal", ["approve_no_rate", "approve_old_revision", "order_invalid"])
    def test_a_refused_approval_is_cancelled_and_read_back(self, wire: Wire, refusal: str) -> None:
        wire.answers("approve", self.recorded(refusal))
        wire.answers("cancel", self.recorded("cancel_done"))
        wire.answers("status", self.recorded("status_awaiting_approval"), self.recorded("status_cancelled"))
        with pytest.raises(ServiceRejected) as caught:
            self.execute(self.service(), "approve")
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert [name for name, _ in wire.requests] == ["status", "approve", "cancel", "status"]

    def test_a_refused_approval_that_is_not_seen_cancelled_stays_unknown(self, wire: Wire) -> None:
        wire.answers("approve", self.recorded("approve_no_rate"))
        awaiting, gone = self.recorded("status_awaiting_approval"), self.recorded("status_cancelled")
        done = self.recorded("cancel_done")
        endings = [(done, awaiting), (done, self.recorded("status_in_progress"))]
        endings += [(done, odd(body)) for body in ODD_BODIES]
        endings += [(done, self.recorded("any_server_error")), (done, self.recorded("status_not_found"))]
        for name in ("approve_invalid_state", "any_server_error", "any_missing_permission", "any_limited"):
            endings.append((self.recorded(name), gone))
        for cancel, after in endings:
            wire.answers("cancel", cancel)
            wire.answers("status", awaiting, after)
            with pytest.raises(ConverterError) as caught:
                self.execute(self.service(), "approve")
            assert policy_of(caught.value).outcome is Outcome.UNKNOWN, (cancel, after)

    def test_a_key_or_limit_refusal_of_an_approval_is_proof_without_cancelling(self, wire: Wire) -> None:
        expected: dict[str, type[ServiceError]] = {
            "any_missing_permission": AuthenticationFailed,
            "any_limited": RateLimited,
        }
        for name, kind in expected.items():
            wire.answers("approve", self.recorded(name))
            with pytest.raises(kind):
                self.execute(self.service(), "approve")

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_the_cancelled_ones_are_listed_too(self, wire: Wire) -> None:
        assert self.find(self.service(), service_order_id=None) is not None
        (request,) = wire.sent("list")
        assert str(request.url).endswith("?includeCancelled=true")

    def test_an_order_is_found_by_our_reference_among_all(self, wire: Wire) -> None:
        order = self.find(self.service(), service_order_id=None)
        assert order is not None
        assert order.ref == self.ref()

    def test_proofs_are_read_in_any_case(self, wire: Wire) -> None:
        for name in ("status_completed", "status_completed_server_spelling"):
            wire.answers("status", self.recorded(name))
            order = self.find(self.service())
            assert order is not None
            assert (order.txid, order.delivered) == ("9f1c" * 16, self.net)
        lightning = {"paymentProof": {"PROOFTYPE": "PayoutLightningBlob", "PAYMENTHASH": "ab" * 32}}
        wire.answers("status", self.recorded("status_completed").but(lightning))
        order = self.find(self.service())
        assert order is not None
        assert order.txid == "ab" * 32

    def test_completed_by_hand_has_no_proof_and_is_settled(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_completed_by_hand"))
        order = self.find(self.service())
        assert order is not None
        assert (order.status, order.txid) == (OrderStatus.SETTLED, "")

    def test_a_proof_of_another_shape_is_malformed(self, wire: Wire) -> None:
        for proof in ([1], "proof", 7):
            wire.answers("status", self.recorded("status_completed").but({"paymentProof": proof}))
            with pytest.raises(MalformedResponse):
                print(self.find(self.service()))

    def test_another_not_found_is_no_absence(self, wire: Wire) -> None:
        for code in ("store-not-found", "paymentmethod-not-found"):
            for route in self.find_routes:
                wire.answers(route, self.recorded("status_not_found").but({"code": code}))
                with pytest.raises(ServiceError):
                    print(self._call(route))

    def test_a_node_that_is_behind_is_not_fit(self, wire: Wire) -> None:
        wire.answers("health", self.recorded("health_behind"))
        with pytest.raises(ServiceUnavailable):
            self.service().check_health(Deadline.after(5))
