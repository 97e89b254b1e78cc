"""THORChain: the contract, and what is its own: memos, limits, vaults, and a swap told by its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from converter.domain.coins import Asset, assets
from converter.domain.errors import (
    AmountOutOfRange,
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
from converter.domain.orders import Deposit, OperationKind, Order, OrderRef, OrderStatus, Refund
from converter.domain.quotes import Fee
from converter.ports import Deadline
from converter.services.thorchain import LIFE, QUOTE_LIFE, RESERVE, SILENCE, STUCK, ThorChain
from converter.services.thorchain_assets import CODES
from tests.services.contract import (
    ADDRESS,
    BTC,
    ETH,
    LIGHTNING,
    MISDEEDS,
    NO_AMOUNTS,
    NOW,
    ODD_BODIES,
    ODD_STATUSES,
    OTHER_ADDRESS,
    WAIT,
    HandClock,
    ServiceContract,
)
from tests.services.recorded import Recorded, odd
from tests.services.wire import Wire

LTC, BCH, USDT = Asset("LTC", "LTC", 8), Asset("BCH", "BCH", 8), Asset("USDT", "ETH", 6)
TRON_USDT, XMR, ETC = Asset("USDT", "TRX", 6), Asset("XMR", "XMR", 12), Asset("ETC", "ETC", 18)
CONTRACT = "0XDAC17F958D2EE523A2206206994597C13D831EC7"
VAULT = "0x1F0BC2F2D6E3a8A4f5b6C7d8e9f0A1B2C3D4e5f6"
ETH_ADDRESS = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
CASH = "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"
HASH = "CF524818D42B63D25BBA0CCC4909F127CAA645C0F9CD07324F2824CC151A64C7"
TXID = f"0x{HASH.lower()}"
MEMO = f"=:b:{ADDRESS}:5870080"
DEPOSIT = Deposit(VAULT, Decimal("1.5"), MEMO, NOW + LIFE - RESERVE)
UPPER = ADDRESS.upper()

FOREIGN_MEMOS = (
    "",
    f"=:b:{OTHER_ADDRESS}:5870080",
    f"=:b:{UPPER}:5870080",
    f"=:b:{ADDRESS}:",
    f"=:b:{ADDRESS}",
    f"=:l:{ADDRESS}:5870080",
    f"=:B:{ADDRESS}:5870080",
    f"=:BTC.BTC-1:{ADDRESS}:5870080",
    f"+:b:{ADDRESS}:5870080",
    f"=<:b:{ADDRESS}:5870080",
    f"=:b:{ADDRESS}/{ETH_ADDRESS}:5870080",
    f"=:b:{ADDRESS}:5870080/1/0",
    f"=:b:{ADDRESS}:5870080:",
    f"=:b:{ADDRESS}:5870080:thief:1000",
    f"=:b:{ADDRESS}:5870080::",
    f"=:b:{ADDRESS}:5.87e6",
    f"=:b:{ADDRESS}:-5870080",
    f" =:b:{ADDRESS}:5870080",
    f"=:b:{ADDRESS}:5870080\n",
)


class TestThorChain(ServiceContract):
    service_id = "thorchain"
    make = ThorChain
    keys: ClassVar = {}
    routes: ClassVar = {
        "quote": ("GET", r"/thorchain/quote/swap(?!\?.*destination)"),
        "order": ("GET", r"/thorchain/quote/swap(?=\?.*destination)"),
        "inbound": ("GET", "/thorchain/inbound_addresses"),
        "status": ("GET", "/thorchain/tx/status/[^/]+"),
        "health": ("GET", "/thorchain/ping"),
        "lastblock": ("GET", "/thorchain/lastblock"),
    }
    honest: ClassVar = {
        "quote": "quote_plain",
        "order": "order_memo",
        "inbound": "inbound_open",
        "status": "status_planned",
        "health": "health_ok",
        "lastblock": "lastblock_moving",
    }
    quote_routes = ("quote",)
    find_routes: ClassVar = {"status": {}}
    executing = ()  # all calls read; the deposit is sent by our wallet
    net = Decimal("0.05991101")
    minimum_net = Decimal("0.0587")
    offered = ("0.05998549", ["0.00001448", "0.00006"], "0.05991101")
    unsupported = (
        (ETH, LIGHTNING),
        (LIGHTNING, ETH),
        (BTC, BTC),
        (XMR, BTC),
        (ETH, TRON_USDT),
        (USDT, BTC),
        (ETC, BTC),
    )
    amounts_of_quote = (
        ("quote", "expected_amount_out", (*NO_AMOUNTS, "5991101.0", "5e6", " 5991101", Decimal(5991101), 5991101)),
        ("quote", "fees.liquidity", (Decimal(0), Decimal(-1), "-1", "0.5", None, "", "much", True, [], {})),
        ("quote", "expiry", ("1767226500", None, True, [], {}, Decimal("1.5"))),
    )
    unauthorised = ()
    retry_after = 23
    needed: ClassVar = {}
    foreign = (
        *(("order", {"memo": memo}) for memo in FOREIGN_MEMOS if memo),
        ("order", {"inbound_address": "0xd37bbe5744d730a1d98d8dc97c42f0ca46ad7146"}),
        ("order", {"fees.asset": "LTC.LTC"}),
        ("inbound", {"1.address": "0xd37bbe5744d730a1d98d8dc97c42f0ca46ad7146"}),
        ("quote", {"fees.asset": "ETH.ETH"}),
        ("status", {"tx.id": "AB" * 32}),
        ("status", {"tx.chain": "BTC"}),
        ("status", {"tx.to_address": "0xd37bbe5744d730a1d98d8dc97c42f0ca46ad7146"}),
        ("status", {"tx.memo": f"{MEMO} "}),
        ("status", {"tx.coins.0.asset": "ETH.USDT"}),
        ("status", {"tx.coins.0.amount": "150000001"}),
        ("status", {"tx.coins": []}),
        ("status", {"planned_out_txs.0.to_address": OTHER_ADDRESS}),
        ("status", {"planned_out_txs.0.to_address": UPPER}),
        ("status", {"planned_out_txs.0.coin.asset": "LTC.LTC"}),
    )
    words: ClassVar[Mapping[Any, OrderStatus]] = {
        "unseen": OrderStatus.AWAITING_DEPOSIT,
        "observing": OrderStatus.OPEN,
        "confirming": OrderStatus.OPEN,
        "swapping": OrderStatus.OPEN,
        "planned": OrderStatus.PAYING_OUT,
        "signing": OrderStatus.PAYING_OUT,
        "paid": OrderStatus.SETTLED,
        "refund_planned": OrderStatus.OPEN,
        "refunded": OrderStatus.REFUNDED,
        "partly": OrderStatus.HELD,
        "swallowed": OrderStatus.HELD,
    }
    unknown_words = ("", None, 7, [], {}, {"completed": None}, {"completed": "true"}, {"completed": 1})
    absences = ()

    refund = Refund(
        ETH_ADDRESS, Decimal("1.4996"), "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060"
    )
    deposit_end = NOW + timedelta(minutes=10)

    def ref(self, **changes: Any) -> OrderRef:
        return replace(OrderRef(self.order_request, deposit=DEPOSIT, deposit_txid=TXID), **changes)

    def with_word(self, word: Any) -> dict[str, Recorded]:
        if isinstance(word, str) and word:
            return {"status": self.recorded(f"status_{word}")}
        return {"status": self.recorded("status_planned").but({"stages.inbound_observed": word})}

    def out_of_range(self) -> tuple[dict[str, Recorded], Decimal | None, Decimal | None]:
        return {"quote": self.recorded("quote_small")}, Decimal("1.6"), None

    def from_litecoin(self) -> dict[str, Recorded]:
        vault = "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9"
        return {
            "inbound": self.recorded("inbound_open").but({"1.chain": "LTC", "1.address": vault}),
            "order": self.recorded("order_memo").but({"inbound_address": vault}),
        }

    def _call(self, route: str) -> Any:
        return self.place(self.service()) if route in ("order", "inbound") else super()._call(route)

    def place(self, service: Any, **changes: Any) -> Order:
        order: Order = service.place_order(replace(self.order_request, **changes), Deadline.after(5))
        return order

    def asked(self, wire: Wire, route: str) -> list[dict[str, str]]:
        urls = [urlsplit(str(request.url)) for request in wire.sent(route)]
        return [{name: values[0] for name, values in parse_qs(url.query).items()} for url in urls]

    # --- Coins -------------------------------------------------------------------------------------------------------

    def test_every_known_asset_has_a_name_or_is_known_not_to_be_supported(self) -> None:
        assert set(CODES) == {(one.coin, one.network) for one in assets()}
        named = {place: name for place, name in CODES.items() if name is not None}
        assert named == {
            **{(coin, coin): f"{coin}.{coin}" for coin in ("BTC", "ETH", "LTC", "BCH", "DOGE")},
            ("USDT", "ETH"): f"ETH.USDT-{CONTRACT}",
        }

    # --- Quotes ------------------------------------------------------------------------------------------------------

    def test_a_quote_is_an_estimate_for_a_minute_and_asks_for_no_memo(self, wire: Wire) -> None:
        quote = self.quote(self.service())
        assert self.asked(wire, "quote") == [{"from_asset": "ETH.ETH", "to_asset": "BTC.BTC", "amount": "150000000"}]
        assert (quote.firm, quote.expires_at, quote.reference) == (False, NOW + QUOTE_LIFE, "")
        assert quote.fees == (Fee("service", Decimal("0.00001448")), Fee("network", Decimal("0.00006")))

    def test_a_quote_is_not_used_after_its_own_end(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_plain").but({"expiry": int(NOW.timestamp()) + 7}))
        assert self.quote(self.service()).expires_at == NOW + timedelta(seconds=7)

    def test_fees_that_are_not_told_are_none(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_plain").without("fees.outbound").without("fees.affiliate"))
        quote = self.quote(self.service())
        assert (quote.fees, quote.gross) == ((Fee("service", Decimal("0.00001448")),), Decimal("0.05992549"))

    def test_an_affiliate_is_a_fee_of_the_service(self, wire: Wire) -> None:
        wire.answers("quote", self.recorded("quote_plain").but({"fees.affiliate": "1000"}))
        quote = self.quote(self.service())
        assert quote.fees[0] == Fee("service", Decimal("0.00002448"))
        assert quote.net == self.net

    def test_a_token_is_paid_out_in_its_own_unit(self, wire: Wire) -> None:
        changes = {"fees.asset": f"ETH.USDT-{CONTRACT}", "expected_amount_out": "500012345678"}
        wire.answers("quote", self.recorded("quote_plain").but(changes))
        asked = replace(self.quote_request, from_asset=LTC, to_asset=USDT, amount=Decimal(60))
        assert self.service().quote(asked, Deadline.after(5)).net == Decimal("5000.123456")
        assert self.asked(wire, "quote")[0]["to_asset"] == f"ETH.USDT-{CONTRACT}"

    @pytest.mark.parametrize(
        ("name", "kind", "minimum"),
        [
            ("quote_dust", AmountOutOfRange, None),
            ("quote_min_swap", AmountOutOfRange, Decimal("1.6")),
            ("quote_fee_eats_all", AmountOutOfRange, None),
            ("quote_no_pool", PairNotSupported, None),
            ("quote_no_pool_old", PairNotSupported, None),
            ("quote_bad_asset", PairNotSupported, None),
            ("quote_bad_address", ServiceRejected, None),
            ("quote_memo_too_long", ServiceRejected, None),
            ("quote_halted", ServiceRejected, None),
            ("quote_halted_old", ServiceRejected, None),
            ("quote_limit", QuoteExpired, None),
            ("quote_short_of_limit", QuoteExpired, None),
            ("any_server_error", ServiceUnavailable, None),
            ("any_unavailable", ServiceUnavailable, None),
            ("any_limited", RateLimited, None),
            ("any_limited_bare", RateLimited, None),
        ],
    )
    def test_refusals_have_their_own_types_and_nothing_is_executed(
        self, wire: Wire, name: str, kind: type[ServiceError], minimum: Decimal | None
    ) -> None:
        for route in ("quote", "order"):
            wire.answers(route, self.recorded(name))
            with pytest.raises(ServiceError) as caught:
                self._call(route)
            assert type(caught.value) is kind
            assert getattr(caught.value, "minimum", None) == minimum
            assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        if kind is RateLimited:
            assert vars(caught.value)["retry_after"] == (23 if name == "any_limited" else None)

    def test_a_limited_look_up_is_told_as_one(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("any_limited"))
        with pytest.raises(RateLimited):
            self.find(self.service())

    # --- Placing: the vault and the memo -----------------------------------------------------------------------------

    def test_placing_reads_the_vault_and_a_memo_and_sends_nothing(self, wire: Wire) -> None:
        order = self.place(self.service())
        assert [(name, request.method) for name, request in wire.requests] == [("inbound", "GET"), ("order", "GET")]
        assert self.asked(wire, "order") == [
            {
                "from_asset": "ETH.ETH",
                "to_asset": "BTC.BTC",
                "amount": "150000000",
                "destination": ADDRESS,
                "liquidity_tolerance_bps": "202",
            }
        ]
        assert (order.status, order.ref.request) == (OrderStatus.AWAITING_DEPOSIT, self.order_request)
        assert (order.deposit, order.ref.service_order_id) == (DEPOSIT, None)

    def test_the_deposit_address_is_written_with_its_checksum(self, wire: Wire) -> None:
        order = self.place(self.service())
        assert order.deposit is not None
        assert order.deposit.address == VAULT != VAULT.lower()

    def test_the_order_moves_nothing_and_a_repeated_deposit_is_one(self) -> None:
        known = ThorChain.capabilities
        assert (known.commits_on, known.keys) == (OperationKind.DEPOSIT, ())
        order, deposit = known.rules[OperationKind.ORDER], known.rules[OperationKind.DEPOSIT]
        assert (order.moves_money, order.quiet) == (False, timedelta(0))
        assert (deposit.moves_money, deposit.repeat_recognised) == (True, True)

    @pytest.mark.parametrize(
        "memo",
        [
            f"=:BTC.BTC:{ADDRESS}:5870000",
            f"s:b:{ADDRESS}:5870000",
            f"SWAP:btc.btc:{ADDRESS}:587e4",
            f"=:b:{ADDRESS}:05870001",
        ],
    )
    def test_every_documented_spelling_of_our_swap_is_taken_unchanged(self, wire: Wire, memo: str) -> None:
        wire.answers("order", self.recorded("order_memo").but({"memo": memo}))
        order = self.place(self.service())
        assert order.deposit is not None
        assert order.deposit.memo == memo

    @pytest.mark.parametrize("end", ["-31EC7", "-7", f"-{CONTRACT}", "", "-"])
    def test_a_token_may_be_cut_to_the_end_of_its_contract(self, wire: Wire, end: str) -> None:
        memo = f"=:ETH.USDT{end}:{ETH_ADDRESS.lower()}:450000000000"
        vault = "ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9"
        inbound = self.recorded("inbound_open").but({"0.chain": "LTC", "0.address": vault})
        changes = {"inbound_address": vault, "memo": memo, "fees.asset": f"ETH.USDT-{CONTRACT}"}
        wire.answers("inbound", inbound)
        wire.answers("order", self.recorded("order_memo").but({**changes, "expected_amount_out": "460000000000"}))
        ours = {"from_asset": LTC, "to_asset": USDT, "amount": Decimal(60), "address": ETH_ADDRESS}
        ours |= {"net": Decimal(4600), "minimum_net": Decimal(4500)}
        order = self.place(self.service(), **ours)
        assert order.deposit == Deposit(vault, Decimal(60), memo, NOW + timedelta(minutes=10))
        other = memo.replace(f"USDT{end}", "USDT-31EC8")
        wire.answers("order", self.recorded("order_memo").but({**changes, "memo": other}))
        with pytest.raises(IntegrityMismatch):
            self.place(self.service(), **ours)

    @pytest.mark.parametrize("prefix", ["", "bitcoincash:"])
    def test_bitcoin_cash_goes_without_its_prefix(self, wire: Wire, prefix: str) -> None:
        bare = CASH.removeprefix("bitcoincash:")
        wire.answers("inbound", self.recorded("inbound_open").but({"0.chain": "BCH"}))
        memo = {"memo": f"=:c:{bare}:5870080", "fees.asset": "BCH.BCH"}
        wire.answers("order", self.recorded("order_memo").but(memo))
        order = self.place(self.service(), to_asset=BCH, address=prefix + bare)
        assert self.asked(wire, "order")[0]["destination"] == bare
        assert order.ref.request.address == prefix + bare

    def test_an_amount_finer_than_the_network_s_unit_stays_with_the_pool(self, wire: Wire) -> None:
        order = self.place(self.service(), amount=Decimal("1.500000009999"))
        assert order.deposit is not None
        assert order.deposit.amount == Decimal("1.5")
        assert ThorChain.capabilities.amount_decimals == 8

    def test_a_memo_without_a_text_is_malformed(self, wire: Wire) -> None:
        honest = self.recorded("order_memo")
        for answer in (honest.without("memo"), *(honest.but({"memo": memo}) for memo in ("", None, 7, [MEMO]))):
            wire.answers("order", answer)
            with pytest.raises(MalformedResponse):
                self.place(self.service())

    # --- Placing: the limit ------------------------------------------------------------------------------------------

    def memo_with(self, limit: int, expected: int = 5991101) -> Recorded:
        changes = {"memo": f"=:b:{ADDRESS}:{limit}", "expected_amount_out": str(expected)}
        return self.recorded("order_memo").but(changes)

    def test_the_limit_may_be_the_minimum_itself_and_no_less(self, wire: Wire) -> None:
        wire.answers("order", self.memo_with(5870000))
        assert self.place(self.service()).status is OrderStatus.AWAITING_DEPOSIT
        wire.answers("order", self.memo_with(5869999))
        with pytest.raises(QuoteExpired):
            self.place(self.service())

    def test_a_moved_price_is_asked_for_once_more_with_less_tolerance(self, wire: Wire) -> None:
        wire.answers("order", self.memo_with(5780199, 5899366), self.memo_with(5870459, 5899366))
        order = self.place(self.service())
        assert [asked["liquidity_tolerance_bps"] for asked in self.asked(wire, "order")] == ["202", "49"]
        assert order.deposit is not None
        assert order.deposit.memo.endswith(":5870459")

    def test_a_limit_that_was_rounded_down_is_asked_for_once_more(self, wire: Wire) -> None:
        wire.answers("order", self.memo_with(5800000), self.memo_with(5900000))
        self.place(self.service())
        assert [asked["liquidity_tolerance_bps"] for asked in self.asked(wire, "order")] == ["202", "85"]

    def test_a_price_below_the_bound_is_refused_and_not_asked_for_again(self, wire: Wire) -> None:
        wire.answers("order", self.memo_with(5664780, 5781570))
        with pytest.raises(QuoteExpired):
            self.place(self.service())
        assert len(wire.sent("order")) == 1

    def test_no_tolerance_at_all_is_never_asked_for(self, wire: Wire) -> None:
        """The network would leave the limit out."""
        for limit, expected in ((5990501, 5991101), (5990900, 5991500)):
            wire.answers("order", self.memo_with(limit, expected))
            with pytest.raises(QuoteExpired):
                self.place(self.service(), minimum_net=self.net)
        assert [asked["liquidity_tolerance_bps"] for asked in self.asked(wire, "order")] == ["1", "1"]

    def test_a_bound_finer_than_the_unit_is_rounded_up(self, wire: Wire) -> None:
        wire.answers("order", self.memo_with(5870000))
        with pytest.raises(QuoteExpired):
            self.place(self.service(), minimum_net=Decimal("0.058700001"))

    # --- Placing: what stands against it -----------------------------------------------------------------------------

    @pytest.mark.parametrize("row", [0, 1], ids=["target", "source"])
    @pytest.mark.parametrize("switch", ["halted", "global_trading_paused", "chain_trading_paused"])
    def test_a_chain_that_is_halted_or_paused_is_refused(self, wire: Wire, row: int, switch: str) -> None:
        wire.answers("inbound", self.recorded("inbound_open").but({f"{row}.{switch}": True}))
        with pytest.raises(ServiceRejected):
            self.place(self.service())
        assert not wire.sent("order")

    def test_a_chain_that_is_not_listed_is_refused(self, wire: Wire) -> None:
        for row in ("0", "1"):
            wire.answers("inbound", self.recorded("inbound_open").without(row))
            with pytest.raises(ServiceRejected):
                self.place(self.service())

    def test_a_switch_that_is_not_told_is_no_open_chain(self, wire: Wire) -> None:
        honest = self.recorded("inbound_open")
        for switch in ("halted", "global_trading_paused", "chain_trading_paused"):
            wire.answers("inbound", honest.without(f"1.{switch}"))
            with pytest.raises(MalformedResponse):
                self.place(self.service())
            for value in (None, "false", 0):
                wire.answers("inbound", honest.but({f"1.{switch}": value}))
                with pytest.raises(ServiceRejected):
                    self.place(self.service())

    def test_dust_and_what_fees_may_swallow_is_refused(self, wire: Wire) -> None:
        wire.answers("inbound", self.recorded("inbound_open").but({"1.dust_threshold": "150000000"}))
        with pytest.raises(AmountOutOfRange) as caught:
            self.place(self.service())
        assert caught.value.minimum == Decimal("1.5")
        wire.answers("inbound", self.recorded("inbound_open"))
        wire.answers("order", self.recorded("order_memo").but({"recommended_min_amount_in": "150000001"}))
        with pytest.raises(AmountOutOfRange) as caught:
            self.place(self.service())
        assert caught.value.minimum == Decimal("1.50000001")

    def test_the_end_of_a_quote_is_believed_for_a_quarter_of_an_hour_at_most(self, wire: Wire) -> None:
        for seconds, minutes in ((900, 10), (86400, 10), (480, 3)):
            changes = {"expiry": int(NOW.timestamp()) + seconds}
            wire.answers("order", self.recorded("order_memo").but(changes))
            order = self.place(self.service())
            assert order.deposit is not None
            assert order.deposit.valid_until == NOW + timedelta(minutes=minutes)

    @pytest.mark.parametrize("read", ["inbound", "order"])
    def test_rubbish_is_never_an_order(self, wire: Wire, read: str) -> None:
        for status in (200, *ODD_STATUSES, 401, 403, 429):
            for body in ODD_BODIES:
                wire.answers(read, odd(body, status))
                with pytest.raises(ServiceError) as caught:
                    print(read, status, body, self.place(self.service()))
                assert not isinstance(caught.value, OutcomeUnknown), "a read has no outcome"

    @pytest.mark.parametrize("read", ["inbound", "quote"])
    @pytest.mark.parametrize("misdeed", MISDEEDS)
    def test_no_unclear_answer_makes_an_order(self, misdeed: str, read: str) -> None:
        with self.socket_wire({read: MISDEEDS[misdeed]}, quote=self.recorded("order_memo")) as world:
            with pytest.raises(ConverterError) as caught:
                self.service(world.url).place_order(self.order_request, Deadline.after(WAIT))
            assert not isinstance(caught.value, OutcomeUnknown)

    def test_nobody_there_and_no_time_left_are_proof(self) -> None:
        with self.socket_wire(quote=self.recorded("order_memo")) as world:
            with pytest.raises(ServiceUnavailable):
                self.service(world.url).place_order(self.order_request, Deadline.after(-0.001))
            world.stop_listening()
            with pytest.raises(ServiceUnavailable) as caught:
                self.place(self.service(world.url))
        assert policy_of(caught.value).outcome is Outcome.NOT_EXECUTED
        assert world.seen == []

    def test_there_is_no_next_step(self, wire: Wire) -> None:
        with pytest.raises(ServiceRejected):
            self.service().advance_order(Order(self.ref(), OrderStatus.AWAITING_DEPOSIT), Deadline.after(5))
        assert wire.requests == []

    # --- Looking up --------------------------------------------------------------------------------------------------

    def test_without_a_memo_there_is_nothing_to_find(self, wire: Wire) -> None:
        assert self.find(self.service(), deposit=None, deposit_txid="") is None
        assert wire.requests == []

    def test_an_order_without_a_payment_waits_and_expires(self, wire: Wire) -> None:
        end = DEPOSIT.valid_until
        assert end is not None
        for moment, status in (
            (NOW, OrderStatus.AWAITING_DEPOSIT),
            (end - timedelta(seconds=1), OrderStatus.AWAITING_DEPOSIT),
            (end, OrderStatus.EXPIRED),
        ):
            order = self.find(self.service(clock=HandClock(moment)), deposit_txid="")
            assert order is not None
            assert (order.status, order.deposit) == (status, DEPOSIT)
        assert wire.requests == []

    @pytest.mark.parametrize("txid", [TXID, HASH, HASH.lower(), f"0x{HASH}"])
    def test_the_hash_is_asked_for_in_capitals(self, wire: Wire, txid: str) -> None:
        self.find(self.service(), deposit_txid=txid)
        assert str(wire.sent("status")[0].url).endswith(f"/thorchain/tx/status/{HASH}")

    def test_what_is_no_hash_is_not_asked_for(self, wire: Wire) -> None:
        for txid in ("abc", f"{TXID}0", "../../ping"):
            with pytest.raises(ServiceRejected):
                self.find(self.service(), deposit_txid=txid)
        assert wire.requests == []

    def test_a_deposit_that_nobody_saw_waits_and_hours_later_a_person_looks(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_unseen"))
        end = NOW + LIFE - RESERVE
        for moment, status in ((end + SILENCE, OrderStatus.AWAITING_DEPOSIT), (end + 2 * SILENCE, OrderStatus.HELD)):
            order = self.find(self.service(clock=HandClock(moment)))
            assert order is not None
            assert (order.status, order.deposit) == (status, DEPOSIT)

    def test_a_swap_without_its_deposit_is_malformed(self, wire: Wire) -> None:
        for name in ("confirming", "planned", "paid", "refunded"):
            wire.answers("status", self.recorded(f"status_{name}").without("tx"))
            with pytest.raises(MalformedResponse):
                print(name, self.find(self.service()))
        for name in ("planned", "paid", "refunded"):
            answer = self.recorded(f"status_{name}").without("tx")
            wire.answers("status", answer.but({"stages.inbound_observed.completed": False}))
            with pytest.raises(MalformedResponse):
                print(name, self.find(self.service()))

    def test_a_payout_tells_its_amount_and_transaction(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_paid"))
        order = self.find(self.service())
        assert order is not None
        assert order.delivered == self.net
        assert order.txid == "9d9dd1f6f4a62388797e6beeb76c1a3c34d41942303ce6fb49177d3c88a74d11"
        assert order.refund is None

    def test_less_than_the_limit_is_told_as_it_is(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_paid").but({"out_txs.0.coins.0.amount": "5500000"}))
        order = self.find(self.service())
        assert order is not None
        assert (order.status, order.delivered) == (OrderStatus.SETTLED, Decimal("0.055"))

    def test_payouts_in_parts_are_added(self, wire: Wire) -> None:
        honest = self.recorded("status_paid")
        second = {**honest.body["out_txs"][0], "id": "EE" * 32, "coins": [{"asset": "BTC.BTC", "amount": "1"}]}
        wire.answers("status", honest.but({"out_txs": [honest.body["out_txs"][0], second]}))
        order = self.find(self.service())
        assert order is not None
        assert order.delivered == self.net + Decimal("0.00000001")

    def test_a_payout_that_is_none_is_malformed(self, wire: Wire) -> None:
        honest = self.recorded("status_paid")
        for path, values in (
            ("coins.0.amount", ("0", "-1", "1.5", None, 7, "")),
            ("id", ("", None, 7, "AB" * 31, "nothing")),
            ("memo", ("", None, "OUT:" + "AB" * 32, f"MIGRATE:{HASH}", f"OUT:{HASH}:1")),
            ("coins", (None, {}, "5991101")),
        ):
            for value in values:
                wire.answers("status", honest.but({f"out_txs.0.{path}": value}))
                with pytest.raises(MalformedResponse):
                    print(path, value, self.find(self.service()))

    def test_a_payout_to_somebody_else_is_a_mismatch(self, wire: Wire) -> None:
        for changes in (
            {"out_txs.0.to_address": OTHER_ADDRESS},
            {"out_txs.0.to_address": UPPER},
            {"out_txs.0.coins.0.asset": "BCH.BCH"},
            {"out_txs.0.coins": []},
        ):
            wire.answers("status", self.recorded("status_paid").but(changes))
            with pytest.raises(IntegrityMismatch):
                print(changes, self.find(self.service()))

    def test_an_unsigned_payout_is_not_settled(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_paid").without("stages.outbound_signed"))
        order = self.find(self.service())
        assert order is not None
        assert order.status is OrderStatus.PAYING_OUT

    def test_a_refund_tells_where_it_went(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_refunded"))
        order = self.find(self.service())
        assert order is not None
        txid = "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060"
        assert order.refund == Refund(ETH_ADDRESS, Decimal("1.4996"), txid)
        assert (order.delivered, order.txid) == (None, "")

    def test_a_refund_to_another_than_the_payer_is_told_without_its_place(self, wire: Wire) -> None:
        honest = self.recorded("status_refunded")
        elsewhere = honest.but({"out_txs.0.to_address": VAULT.lower()})
        second = honest.but({"out_txs": honest.body["out_txs"] * 2})
        for answer in (elsewhere, second, honest.without("tx.from_address"), honest.but({"tx.from_address": ""})):
            wire.answers("status", answer)
            order = self.find(self.service())
            assert order is not None
            assert (order.status, order.refund) == (OrderStatus.REFUNDED, None)

    def test_a_refund_that_is_not_signed_yet_is_open(self, wire: Wire) -> None:
        changes = {"stages.outbound_signed.completed": False}
        wire.answers("status", self.recorded("status_refunded").but(changes))
        order = self.find(self.service())
        assert order is not None
        assert (order.status, order.refund) == (OrderStatus.OPEN, None)

    def test_a_refund_beside_a_payout_that_is_only_planned_is_held(self, wire: Wire) -> None:
        plan = self.recorded("status_planned").body["planned_out_txs"]
        refunded = self.recorded("status_refunded")
        wire.answers("status", refunded.but({"planned_out_txs": [*plan, *refunded.body["planned_out_txs"]]}))
        order = self.find(self.service())
        assert order is not None
        assert order.status is OrderStatus.HELD

    def test_an_end_is_seen_without_the_stage_that_is_to_be_retired(self, wire: Wire) -> None:
        wire.answers("status", self.recorded("status_swallowed").without("stages.swap_finalised"))
        swallowed = self.find(self.service())
        wire.answers("status", self.recorded("status_swapping").without("stages.swap_finalised"))
        pending = self.find(self.service())
        assert swallowed is not None
        assert pending is not None
        assert (swallowed.status, pending.status) == (OrderStatus.HELD, OrderStatus.OPEN)

    # --- Health ------------------------------------------------------------------------------------------------------

    def test_a_network_without_blocks_is_not_fit_for_use(self, wire: Wire) -> None:
        for body in ODD_BODIES:
            wire.answers("lastblock", odd(body))
            with pytest.raises(ServiceError):
                self.service().check_health(Deadline.after(5))

    def test_a_network_that_stands_still_is_not_fit_for_use(self, wire: Wire) -> None:
        clock = HandClock()
        service = self.service(clock=clock)
        service.check_health(Deadline.after(5))
        clock.time += STUCK
        service.check_health(Deadline.after(5))
        clock.time += timedelta(seconds=1)
        with pytest.raises(ServiceUnavailable, match="stands still"):
            service.check_health(Deadline.after(5))
        wire.answers("lastblock", self.recorded("lastblock_moving").but({"0.thorchain": 24000013}))
        service.check_health(Deadline.after(5))
