"""The recorded lists of what services paid, `payouts_some`, and what each of their rows says."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from converter.domain.payouts import Payout, PayoutState
from tests.services.contract import ADDRESS, KEY, OTHER_ADDRESS, Listing

PAID, UNDER_WAY, FAILED, UNKNOWN = PayoutState
ETH_PLACE = "0x52908400098527886E0F7030069857D2E4169EE7"
SOL_PLACE = "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV"
TXID = "b5ef8c13b968a406cc62a93a8bd80f9e9a906ef1b3fcf20a2e48573c17659268"
SOME = ("payouts_some",)
WALLET = "7d2c1e90-44b8-4f0a-9d3e-5b1f6a2c8e47"


def row(service_id: str, second: str, state: PayoutState, **told: Any) -> Payout:
    """A payment of so many seconds past midnight; BTC to our address, unless told otherwise."""
    at = datetime.fromisoformat(f"2026-01-01T00:00:{second}").replace(tzinfo=UTC)
    facts = {"reference": "", "coin": "BTC", "address": ADDRESS, "txid": "", **told}
    amount = None if told["amount"] is None else Decimal(told["amount"])
    return Payout(service_id=service_id, at=at, state=state, **{**facts, "amount": amount})


def words(meaning: dict[PayoutState | None, tuple[Any, ...]]) -> dict[Any, PayoutState | None]:
    return {word: state for state, known in meaning.items() for word in known}


_BINANCE = "7213fea8e94b4a5593d507237e5a5c4"
BINANCE = Listing(
    answers={"history": SOME},
    shown=(
        row(
            "binance",
            "09",
            UNDER_WAY,
            reference="9f3kq2-2w2",
            order_id=f"{_BINANCE}3",
            coin="USDT",
            amount="250",
            address=ETH_PLACE,
        ),
        row("binance", "06", PAID, order_id=f"{_BINANCE}2", coin="PEPE", amount="12", address=ETH_PLACE),
        row("binance", "04", PAID, reference=f"{KEY}w2", order_id=f"{_BINANCE}1", amount="0.09757723", txid=TXID),
        row(
            "binance",
            "03",
            FAILED,
            reference="by-hand-1",
            order_id=f"{_BINANCE}0",
            amount="0.2",
            address=OTHER_ADDRESS,
        ),
    ),
    status="2.status",
    named=f"{_BINANCE}1",
    words=words({UNDER_WAY: (0, 2, 4), FAILED: (1, 3, 5), PAID: (6,), UNKNOWN: (7, -1, "6")}),
    empty={"history": (b"[]",)},
)

KRAKEN = Listing(
    answers={"history": SOME},
    shown=(
        row(
            "kraken",
            "09",
            UNDER_WAY,
            order_id="FTOnHold-V6Za8qrWnhzTx67yYHz8Tg",
            coin="ETH",
            amount="3.1",
            address=ETH_PLACE,
        ),
        row("kraken", "04", PAID, order_id="FTQcuak-V6Za8qrWnhzTx67yYHz8Tg", amount="0.09735963", txid=TXID),
        row(
            "kraken",
            "03",
            FAILED,
            order_id="FTOther-V6Za8qrWnhzTx67yYHz8Tg",
            coin="SOL",
            amount="5",
            address=SOL_PLACE,
        ),
    ),
    status="result.1.status",
    named="FTQcuak-V6Za8qrWnhzTx67yYHz8Tg",
    words=words({UNDER_WAY: ("Initial", "Pending", "Settled"), PAID: ("Success",), FAILED: ("Failure",)}),
    empty={},
)

_PAYMENT_HASH = "a737683df3bd93cbc1b025d38a6ef13a0e5c0a4c2880bfa65b3c6c5855b25def"
BTCPAY = Listing(
    answers={"list": SOME},
    shown=(
        row("btcpay_lightning", "02", FAILED, reference="9f3kq2-8", order_id="Cd1TzR8vKxW2bYc6JpLd00", amount=None),
        row(
            "btcpay_lightning",
            "03",
            UNKNOWN,
            reference="9f3kq2-7",
            order_id="Ef1TzR8vKxW2bYc6JpLd00",
            amount="0.09778836",
            address=OTHER_ADDRESS,
        ),
        row(
            "btcpay_lightning",
            "04",
            PAID,
            reference=KEY,
            order_id="Qm4TzR8vKxW2bYc6JpLd9s",
            amount="0.09778836",
            txid=TXID,
        ),
        row(
            "btcpay_lightning",
            "09",
            UNDER_WAY,
            order_id="Gh1TzR8vKxW2bYc6JpLd00",
            amount="0.000978",
            address="lnbc978u1p0canary",
            txid=_PAYMENT_HASH,
        ),
    ),
    status="3.state",
    named="Qm4TzR8vKxW2bYc6JpLd9s",
    words=words(
        {
            None: ("AwaitingApproval",),
            UNDER_WAY: ("AwaitingPayment", "InProgress"),
            PAID: ("Completed",),
            UNKNOWN: ("Cancelled",),
        }
    ),
    empty={"list": (b"[]",)},
)

COINGATE = Listing(
    answers={"list": SOME},
    shown=(
        row(
            "coingate",
            "09",
            UNDER_WAY,
            reference="9f3kq2-4",
            order_id="771206",
            amount="0.2",
            address=OTHER_ADDRESS,
        ),
        row("coingate", "04", PAID, reference=KEY, order_id="771204", amount="0.09634318", txid=TXID),
        row("coingate", "03", FAILED, order_id="771203", amount="0.1"),
    ),
    status="send_requests.3.status",
    named="771204",
    words=words(
        {
            None: ("draft", "expired"),
            UNDER_WAY: ("in_progress", "processing"),
            PAID: ("completed",),
            FAILED: ("failed", "canceled"),
        }
    ),
    empty={},
)

COINPAYMENTS = Listing(
    answers={"currencies": ("currencies_some",), "wallets": ("wallets_one",), "transactions": SOME},
    shown=(
        row(
            "coinpayments",
            "03.250",
            FAILED,
            reference="9f3kq2-0",
            order_id=f"{WALLET}/e3a1b5c2-90d4-4e6f-8a27-000000000002",
            amount="0.097231",
            address=OTHER_ADDRESS,
        ),
        row(
            "coinpayments",
            "04.117",
            PAID,
            reference=KEY,
            order_id=f"{WALLET}/e3a1b5c2-90d4-4e6f-8a27-1c9d0f3b7e58",
            amount="0.097231",
            txid="d3adbeef5a40c1f7e2099b8c6d4e31f0a7b2c85964e1d3f0b9a8c7d6e5f40312",
        ),
        row(
            "coinpayments",
            "08",
            UNDER_WAY,
            order_id="9b8a7c6d-0000-4a3b-8c2d-000000000004",
            coin="USDT",
            amount="250.5",
            address=ETH_PLACE,
        ),
        row(
            "coinpayments",
            "09",
            PAID,
            reference="9f3kq2-5",
            order_id=f"{WALLET}/e3a1b5c2-90d4-4e6f-8a27-000000000005",
            coin="",
            amount=None,
            address=ETH_PLACE,
            txid="d3adbeef5a40c1f7e2099b8c6d4e31f0a7b2c85964e1d3f0b9a8c7d6e5f40312",
        ),
    ),
    status="2.transactionStatus",
    named=f"{WALLET}/e3a1b5c2-90d4-4e6f-8a27-1c9d0f3b7e58",
    words=words(
        {
            UNDER_WAY: ("created", "pending", "Processing", "waitingForConversion"),
            PAID: ("completed", "confirmedOnBlockchain"),
            FAILED: ("failed", "cancelled", "rejected", "expired"),
            UNKNOWN: ("unknown", "failedOnBlockchain"),
        }
    ),
    empty={"wallets": (b"[]",), "transactions": (b"[]",)},
)

CHANGENOW = Listing(
    answers={"list": SOME},
    shown=(
        row(
            "changenow",
            "09.500",
            UNDER_WAY,
            order_id="0a1b2c3d4e5f61",
            coin="USDT",
            amount=None,
            address=ETH_PLACE,
        ),
        row("changenow", "08", PAID, reference=KEY, order_id="7c1e9a04b3f25d", amount="0.09731206", txid=TXID),
        row(
            "changenow",
            "05",
            FAILED,
            reference="9f3kq2-2",
            order_id="0a1b2c3d4e5f62",
            coin="SOL",
            amount=None,
            address=SOL_PLACE,
        ),
    ),
    status="exchanges.2.status",
    named="7c1e9a04b3f25d",
    words=words(
        {
            None: ("new", "waiting", "expired"),
            UNDER_WAY: ("confirming", "exchanging", "sending", "verifying"),
            PAID: ("finished",),
            FAILED: ("failed", "refunded"),
        }
    ),
    empty={},
)

SIMPLESWAP = Listing(
    answers={"list": ("payouts_some", "payouts_none")},
    shown=(
        row(
            "simpleswap",
            "09",
            UNDER_WAY,
            order_id="m1ps8q2vx7d4k0ze",
            coin="USDT",
            amount=None,
            address=ETH_PLACE,
        ),
        row(
            "simpleswap",
            "02.118",
            PAID,
            order_id="k7wq0z3n5t1x8v2m",
            amount="0.09731206",
            txid="d3adbeef5a40c1f7e2099b8c6d4e31f0a7b2c85964e1d3f0b9a8c7d6e5f40312",
        ),
        row("simpleswap", "01", FAILED, order_id="m1ps8q2vx7d4k0zd", amount=None, address=OTHER_ADDRESS),
    ),
    status="result.2.status",
    named="k7wq0z3n5t1x8v2m",
    words=words(
        {
            None: ("waiting", "expired"),
            UNDER_WAY: ("confirming", "exchanging", "sending", "verifying"),
            PAID: ("finished",),
            FAILED: ("failed", "refunded"),
        }
    ),
    empty={"list": (b"[]",)},
)
