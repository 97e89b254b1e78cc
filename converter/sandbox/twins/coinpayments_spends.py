"""Spend requests of the CoinPayments twin, their confirmation, and the transactions that come of it.

Source: `services/coinpayments.md` sections B5 to B7. The request moves nothing; the confirmation debits the wallet and
works once. Inferred here: a preview lives 60 seconds, a deadline of the client, not divided by the sandbox's speed; a
request that was used, has expired or belongs to another wallet is 404; the service fee is of the coin sent, the network
fee of the coin received; with `receiverPaysFee` false both come on top, the network fee at the preview's rate; the
preview's amounts hold unless `floating` is set; whatever fails is credited back whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.coinpayments_assets import FEE, Currency, Prices
from converter.sandbox.twins.coinpayments_auth import SERVICE_ID, Problem
from converter.sandbox.twins.coinpayments_requests import Order, read_order
from converter.sandbox.twins.coinpayments_views import Cost, Preview, Transaction
from converter.sandbox.twins.coinpayments_wallets import Wallet, Wallets

STEP_SECONDS = 0.3
_LOST = ("failed", "cancelled", "rejected", "expired")
ENDINGS = ("confirmedOnBlockchain", "completed", "processing", "failedOnBlockchain", *_LOST)


class Spends:
    """Previews and transactions. `changed` is told of every new status of a transaction."""

    def __init__(self, world: World, prices: Prices, wallets: Wallets, changed: Callable[[Transaction], None]) -> None:
        self.ending = "confirmedOnBlockchain"
        self.preview_seconds = 60
        self.floating = False
        self.final_factor = Decimal(1)
        self._world, self._prices, self._wallets, self._changed = world, prices, wallets, changed
        self._previews: dict[str, Preview] = {}
        self._orders: dict[str, Order] = {}
        self._transactions: list[Transaction] = []
        self._open: list[Transaction] = []

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._transactions)

    @property
    def open(self) -> list[Transaction]:
        """The transactions that are not at their end."""
        return list(self._open)

    def request(self, wallet: Wallet, body: Mapping[str, Any], version: str) -> Preview:
        """Make a preview."""
        order = read_order(wallet, body, version)
        order = order._replace(amount=order.amount * self._world.wrong_amount(SERVICE_ID))
        address, memo = body.get("toAddress"), body.get("memo")
        if not isinstance(address, str) or not order.receiver.accepts(address):
            raise Problem(400, "addressIsNotValid", "The address is not valid for this currency")
        if memo is not None and not isinstance(memo, str):
            raise Problem(400, "validationError", "memo must be a string")
        if wallet.locked:
            raise Problem(400, "userWalletIsLocked", "The wallet is locked")
        cost = self._cost(order)
        _check_funds(wallet, cost)
        request_id = self._wallets.new_uuid()
        preview = Preview(request_id, wallet, order.receiver, address, cost, self._world.now(), memo)
        self._previews[request_id], self._orders[request_id] = preview, order
        return preview

    def confirm(self, wallet: Wallet, request_id: object) -> Transaction:
        """Execute a preview, once."""
        preview = self._previews.get(request_id.lower()) if isinstance(request_id, str) else None
        old = preview is not None and self._world.now() - preview.created > self.preview_seconds
        if preview is None or old or preview.used or preview.wallet is not wallet:
            raise Problem(404, "spendRequestNotFound", "The spend request does not exist or has expired")
        if wallet.locked:
            raise Problem(400, "userWalletIsLocked", "The wallet is locked")
        cost = self._cost(self._orders[preview.request_id]) if self.floating else preview.cost
        factor = self.final_factor * self._world.wrong_amount(SERVICE_ID)
        cost = replace(cost, to_amount=(cost.to_amount * factor).quantize(preview.receiver.step, ROUND_FLOOR))
        _check_funds(wallet, cost)
        wallet.balance -= cost.debit
        preview.used = True
        transaction = Transaction(
            transaction_id=self._wallets.new_uuid(),
            wallet=wallet,
            receiver=preview.receiver,
            address=preview.address,
            cost=cost,
            created=self._world.now(),
            kind="conversion" if preview.converts else "externalSpend",
            status="created",
            preview=preview,
            ending=self.ending,
        )
        self._transactions.append(transaction)
        self._open.append(transaction)
        self._move(transaction, "created")
        return transaction

    def find(self, wallet: Wallet, transaction_id: str | None, request_id: str | None) -> Transaction | None:
        """A wallet's transaction by its own id, or else by its spend request."""
        for row in self._transactions:
            own = row.transaction_id if transaction_id else row.preview and row.preview.request_id
            if row.wallet is wallet and own == (transaction_id or request_id or "").lower():
                return row
        return None

    def tick(self) -> None:
        """See deposits and take every step that is due."""
        now = self._world.now()
        for wallet, txid, amount in self._wallets.deposits():
            kind = "accountBasedExternalReceive" if wallet.currency.network == "ETH" else "utxoExternalReceive"
            cost = Cost(amount, amount, Decimal(0), Decimal(0), amount)
            row = Transaction(
                self._wallets.new_uuid(), wallet, wallet.currency, wallet.address, cost, now, kind, "pendingReceive"
            )
            row.tx_hash, row.confirmations = txid, wallet.currency.confirmations
            self._transactions.append(row)
            self._move(row, "confirmedOnBlockchain")
        for row in self.open:
            if now >= row.due:
                self._advance(row)

    def _advance(self, row: Transaction) -> None:
        if row.status == "created":
            if row.ending in _LOST:
                self._lose(row)
            else:
                self._move(row, "waitingForConversion" if row.kind == "conversion" else "processing")
        elif row.status == "waitingForConversion":
            self._move(row, "processing")
        elif row.status == "processing" and row.ending == "failedOnBlockchain":
            row.tx_hash = self._made_up_hash(row.receiver)
            self._lose(row)
        elif row.status == "processing" and row.ending != "processing":
            self._pay_out(row)
        elif row.status == "completed" and row.ending != "completed" and self._is_mined(row):
            row.confirmations = row.receiver.confirmations
            self._open.remove(row)
            self._move(row, "confirmedOnBlockchain")

    def _pay_out(self, row: Transaction) -> None:
        carrier = row.receiver.carrier(self._world)
        amount = row.cost.to_amount
        try:
            row.tx_hash = carrier.pay(row.address, amount) if carrier else self._made_up_hash(row.receiver)
        except ValueError:  # right in shape, but no address of the chain
            row.ending = "failed"
            self._lose(row)
            return
        self._world.truth.delivered(
            SERVICE_ID,
            order_id=row.preview.request_id if row.preview else None,
            reference=row.preview.memo if row.preview else None,
            from_coin=row.wallet.currency.symbol,
            from_amount=row.cost.debit,
            to_coin=row.receiver.symbol,
            amount=amount,
            address=row.address,
            txid=row.tx_hash,
        )
        self._move(row, "completed")

    def _is_mined(self, row: Transaction) -> bool:
        carrier = row.receiver.carrier(self._world)
        return carrier is None or any(txid == row.tx_hash for txid, _ in carrier.received(row.address))

    def _lose(self, row: Transaction) -> None:
        row.wallet.balance += row.cost.debit
        self._open.remove(row)
        self._move(row, row.ending)

    def _made_up_hash(self, currency: Currency) -> str:
        return ("0x" if currency.network in ("ETH", "ETC") else "") + f"{self._wallets.digest():064x}"

    def _move(self, row: Transaction, status: str) -> None:
        row.status = status
        row.due = self._world.now() + STEP_SECONDS / self._world.speed
        self._changed(row)

    def _cost(self, order: Order) -> Cost:
        sender, receiver = order.sender, order.receiver
        rate = self._prices.rate(sender, receiver)
        amount = order.amount / rate if order.of_receiver else order.amount
        amount = amount.quantize(sender.unit, ROUND_CEILING if order.of_receiver else ROUND_FLOOR)
        service_fee = Decimal(0)
        if sender != receiver:
            service_fee = (amount * FEE).quantize(sender.step, ROUND_CEILING)
            least, most = self._prices.limits(sender)
            if amount < least:
                raise Problem(400, "amountIsBelowOfConversionLimit", f"The least amount is {least:f}")
            if amount > most:
                raise Problem(400, "amountIsAboveOfConversionLimit", f"The most is {most:f}")
        if order.receiver_pays:
            debit, arriving = amount, (amount - service_fee) * rate - order.network_fee
        else:
            on_top = (order.network_fee / rate).quantize(sender.step, ROUND_CEILING)
            debit, arriving = amount + service_fee + on_top, amount * rate
        arriving = arriving.quantize(receiver.step, ROUND_FLOOR)
        if arriving <= 0:
            raise Problem(400, "amountIsBelowOfConversionLimit", "The amount does not cover the fees")
        return Cost(amount, arriving, service_fee, order.network_fee, debit)


def _check_funds(wallet: Wallet, cost: Cost) -> None:
    if wallet.balance < cost.debit:
        raise Problem(400, "insufficientFunds", "Insufficient funds in the wallet")
