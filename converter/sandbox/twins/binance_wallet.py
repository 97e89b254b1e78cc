"""Withdrawals of the Binance twin, and the wallet's other endpoints.

Source: `services/binance.md` sections 5.4, 6 to 8. The amount asked for is gross; history rows show the net amount
beside the fee. A second request with the same `withdrawOrderId` is a second withdrawal. Without `network` the coin's
default one is used. Inferred here: an unknown network is -4018 like an unknown coin; a window over seven days beside
`withdrawOrderId` is -1127; the funding wallet (`walletType` 1) is empty; a row shows its transaction id once it is
completed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.binance_account import Account
from converter.sandbox.twins.binance_auth import BinanceError, Endpoint, Params, ServerClock, flat
from converter.sandbox.twins.binance_book import SERVICE_ID
from converter.sandbox.twins.binance_coins import Network, coin_listings, network_of, plain

STEP_SECONDS = 0.3
ENDINGS = {"completed": 6, "rejected": 3, "failed": 5, "cancelled": 1}
_EMAIL_SENT, _CANCELLED, _APPROVAL, _REJECTED, _PROCESSING, _FAILURE, _COMPLETED = range(7)
_OPEN = frozenset({_EMAIL_SENT, _APPROVAL, _PROCESSING})
_ROAD = {_EMAIL_SENT: _APPROVAL, _APPROVAL: _PROCESSING, _PROCESSING: _COMPLETED}
_LEAVES_ROAD = {"cancelled": _EMAIL_SENT, "rejected": _APPROVAL, "failed": _PROCESSING}
_DAY_MS = 86_400_000
_MAX_IDS, _MAX_ROWS = 45, 1000
_REASONS = {_CANCELLED: "Cancelled by the user", _REJECTED: "Rejected after review", _FAILURE: "The network failed"}


@dataclass
class Withdrawal:
    """One withdrawal, accepted and on its way."""

    withdraw_id: str
    network: Network
    address: str
    gross: Decimal
    order_id: str | None
    wallet_type: int
    applied: int
    due: float
    status: int = _EMAIL_SENT
    txid: str = ""
    completed: int | None = None

    @property
    def net(self) -> Decimal:
        """What the receiver gets."""
        return self.gross - self.network.fee

    def view(self) -> dict[str, Any]:
        """A row of the history."""
        row = {
            "id": self.withdraw_id,
            "amount": plain(self.net),
            "transactionFee": plain(self.network.fee),
            "coin": self.network.coin,
            "status": self.status,
            "address": self.address,
            "txId": self.txid,
            "applyTime": _clock_text(self.applied),
            "network": self.network.code,
            "transferType": 0,
            "info": _REASONS.get(self.status, ""),
            "confirmNo": 3 if self.status == _COMPLETED else 0,
            "walletType": self.wallet_type,
            "txKey": "",
        }
        if self.order_id is not None:
            row["withdrawOrderId"] = self.order_id
        if self.completed is not None:
            row["completeTime"] = _clock_text(self.completed)
        return row


class Wallet:
    """All withdrawals of the account."""

    def __init__(self, world: World, clock: ServerClock, account: Account) -> None:
        self.ending = "completed"
        self.closed: set[str] = set()
        self.hidden_lookups = 0
        self._world = world
        self._clock = clock
        self._account = account
        self._all: list[Withdrawal] = []
        self._seed = f"{SERVICE_ID} withdrawals {world.now()}"

    def endpoints(self) -> list[Endpoint]:
        """Withdrawals, coins, deposit addresses."""
        capital = "/sapi/v1/capital"
        apply, history = f"{capital}/withdraw/apply", f"{capital}/withdraw/history"
        coins, address = f"{capital}/config/getall", f"{capital}/deposit/address"
        return [
            Endpoint("POST", apply, "withdraw", self._apply, flat(900), signed=True, counter="uid", executes=True),
            Endpoint("GET", history, "status", self._history, flat(18000), signed=True, counter="uid"),
            Endpoint("GET", coins, "info", self._coins, flat(10), signed=True, counter="ip"),
            Endpoint("GET", address, "info", self._deposit_address, flat(10), signed=True, counter="ip"),
        ]

    def tick(self) -> None:
        """Take every step that is due."""
        now = self._world.now()
        for row in self._all:
            if row.status in _OPEN and now >= row.due:
                self._advance(row)
                row.due = now + self._pause()

    def describe(self) -> dict[str, Any]:
        """Figures for the sandbox's control interface."""
        return {
            "withdraw_ending": self.ending,
            "withdraw_disabled": sorted(self.closed),
            "hide_withdrawals": self.hidden_lookups,
            "withdrawals": len(self._all),
            "open_withdrawals": [row.view() for row in self._all if row.status in _OPEN],
        }

    def _advance(self, row: Withdrawal) -> None:
        coin = row.network.coin
        if _LEAVES_ROAD.get(self.ending) == row.status:
            row.status = ENDINGS[self.ending]
            self._account.withdraw(coin, -row.gross)
            return
        if _ROAD[row.status] == _COMPLETED:
            self._account.withdrawn(coin, row.gross)
            row.txid, row.completed = self._send(row), self._clock.ms()
            self._world.truth.delivered(
                SERVICE_ID,
                order_id=row.withdraw_id,
                reference=row.order_id,
                from_coin=None,
                from_amount=None,
                to_coin=coin,
                amount=row.net,
                address=row.address,
                txid=row.txid,
            )
        row.status = _ROAD[row.status]

    def _send(self, row: Withdrawal) -> str:
        if row.network.on_account_chain:
            return self._world.chain.pay(row.address, row.net)
        digest = hashlib.sha256(f"txid {row.withdraw_id}".encode()).hexdigest()
        return digest if row.network.prefix != "0x" else f"0x{digest}"

    def _apply(self, params: Params) -> dict[str, str]:
        coin, address = params.need("coin"), params.need("address")
        params.need("amount")
        amount = params.decimal("amount") or Decimal(0)
        wallet_type = params.whole("walletType") or 0
        network = network_of(coin, params.text("network"))
        if network is None:
            raise BinanceError(-4018, "This asset or this network of it does not exist.")
        self._check(network, address, params.text("addressTag"))
        self._check_amount(network, amount, wallet_type)
        now = self._clock.ms()
        row = Withdrawal(
            withdraw_id=hashlib.sha256(f"{self._seed} {len(self._all)}".encode()).hexdigest()[:32],
            network=network,
            address=address,
            gross=amount,
            order_id=params.text("withdrawOrderId"),
            wallet_type=wallet_type,
            applied=now,
            due=self._world.now() + self._pause(),
        )
        self._account.withdraw(coin, amount)
        self._all.append(row)
        facts = {"order_id": row.withdraw_id, "reference": row.order_id, "address": address, "amount": amount}
        self._world.truth.executed(SERVICE_ID, "withdraw", **facts)
        return {"id": row.withdraw_id}

    def _check(self, network: Network, address: str, tag: str | None) -> None:
        if network.coin in self.closed:
            raise BinanceError(-4019, "The current currency is not open for withdrawal.")
        if not re.fullmatch(network.address_regex, address):
            raise BinanceError(-4007, "The address has failed validation.")
        if tag is not None:
            raise BinanceError(-4106, "This network does not support a memo.")

    def _check_amount(self, network: Network, amount: Decimal, wallet_type: int) -> None:
        if amount > network.maximum:
            raise BinanceError(-4023, "The amount exceeds the 24-hour maximum.")
        if amount % network.multiple:
            raise BinanceError(-4021, f"The amount must be a multiple of {plain(network.multiple)}.")
        if amount <= network.fee:
            raise BinanceError(-4028, "The amount must be greater than the fee.")
        if amount < network.minimum:
            raise BinanceError(-4022, f"The amount must be at least {plain(network.minimum)}.")
        if wallet_type or amount > self._account.free(network.coin):
            raise BinanceError(-4026, "The account has not enough funds.")

    def _history(self, params: Params) -> list[dict[str, Any]]:
        start, end = self._window(params)
        ids = (params.text("idList") or "").split(",") if params.has("idList") else None
        if ids is not None and len(ids) > _MAX_IDS:
            raise BinanceError(-1102, f"'idList' contains unexpected value. Cannot be greater than '{_MAX_IDS}'.")
        coin, order_id, status = params.text("coin"), params.text("withdrawOrderId"), params.whole("status")
        offset, limit = params.whole("offset") or 0, params.whole("limit")
        if self.hidden_lookups:
            self.hidden_lookups -= 1
            return []
        rows = [
            row.view()
            for row in reversed(self._all)
            if start <= row.applied <= end
            and (ids is None or row.withdraw_id in ids)
            and coin in {None, row.network.coin}
            and order_id in {None, row.order_id}
            and status in {None, row.status}
        ]
        return rows[offset : offset + min(_MAX_ROWS, limit or _MAX_ROWS)]

    def _window(self, params: Params) -> tuple[int, int]:
        by_order = params.has("withdrawOrderId")
        span = (7 if by_order else 90) * _DAY_MS
        start, end = params.whole("startTime"), params.whole("endTime")
        if end is None:
            end = self._clock.ms() if start is None else max(start, min(start + span, self._clock.ms()))
        if start is None:
            start = end - span
        if end - start > span:
            code, hours = (-1127, 168) if by_order else (-4047, 2160)
            raise BinanceError(code, f"More than {hours} hours between startTime and endTime.")
        return start, end

    def _coins(self, params: Params) -> list[dict[str, Any]]:  # noqa: ARG002
        return coin_listings(self._account, self.closed)

    def _deposit_address(self, params: Params) -> dict[str, str]:
        network = network_of(params.need("coin"), params.text("network"))
        if network is None:
            raise BinanceError(-4018, "This asset or this network of it does not exist.")
        return {"coin": network.coin, "address": network.deposit_address(), "tag": "", "url": ""}

    def _pause(self) -> float:
        return STEP_SECONDS / self._world.speed


def _clock_text(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
