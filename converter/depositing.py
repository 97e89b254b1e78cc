"""Prepares the payment of an order's deposit: checked against what we asked for, signed and stored, not yet sent."""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from converter.desk import Desk
from converter.domain import events
from converter.domain.addresses import check_address
from converter.domain.conversions import Attempt, Conversion, OperationState
from converter.domain.errors import (
    ClaimLost,
    ConverterError,
    IntegrityMismatch,
    InvalidRequest,
    OutcomeUnknown,
    QuoteExpired,
    ServiceError,
)
from converter.domain.events import Event
from converter.domain.money import floor_unit, plain
from converter.domain.orders import Deposit, OperationKind, Order
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline, Ledger, Wallet
from converter.sending import Prepared, Sending

log = logging.getLogger(__name__)

_IN_TIME = timedelta(seconds=60)
"""A deposit leaves at least this long before its order's end, or not at all."""


class Depositing:
    """The step before the commit point of a deposit swap."""

    def __init__(self, desk: Desk, sending: Sending) -> None:
        self._desk = desk
        self._sending = sending

    def prepare(self, conversion: Conversion, attempt: Attempt, order: Order) -> tuple[Prepared, Transfer | None]:
        """Store the deposit operation and its signed transaction in one transaction.

        The transfer is None where a person pays. Until this returns nothing is prepared and nothing can be sent, so
        every error raised here leaves the attempt proven not executed; save ClaimLost, after which it is not ours.
        """
        deposit = self._checked(conversion, attempt, order)
        asset = conversion.request.from_asset
        wallet = self._desk.wallets[asset.network]
        if not wallet.pays_itself:
            return self._by_hand(conversion, attempt, deposit), None
        deadline = Deadline.after(self._desk.timing.read.total_seconds())
        payment = Payment(asset, deposit.address, deposit.amount, deposit.memo)
        try:
            place = wallet.account(deadline)
            coins = wallet.prepare(payment, deadline)
        except OutcomeUnknown as error:  # nothing was sent that could have an outcome
            raise ServiceError(attempt.service_id, "deposit", detail=str(error)) from error
        try:
            with self._desk.ledger.begin() as work:
                prepared = self._sending.prepare_step(work, conversion, attempt, OperationKind.DEPOSIT)
                sign = partial(self._sign, wallet, payment, coins)
                transfer = work.transfers.add(prepared.operation, place, sign)
        except ClaimLost:
            # Rolled back for certain. After any other error the payment may be stored, so its coins stay set aside.
            self._release(wallet, coins)
            raise
        return prepared, transfer

    @staticmethod
    def _sign(wallet: Wallet, payment: Payment, coins: Any, nonce: int) -> Transfer:
        return wallet.sign(payment, nonce, coins)

    def _release(self, wallet: Wallet, coins: Any) -> None:
        try:
            wallet.release(coins, Deadline.after(self._desk.timing.read.total_seconds()))
        except ConverterError as error:
            log.warning("coins of a payment that was not stored stay set aside: %s", error)

    def keep_known(self, conversion: Conversion, attempt: Attempt) -> None:
        """Broadcast a deposit again that its chain has forgotten: the same bytes, so harmless."""
        wallet = self._desk.wallets.get(conversion.request.from_asset.network)
        with self._desk.ledger.begin() as work:
            kinds = [one for one in work.attempts.operations(attempt.id) if one.kind is OperationKind.DEPOSIT]
            transfer = work.transfers.of(kinds[-1]) if kinds else None
        if wallet is None or transfer is None or not transfer.raw:
            return
        deadline = Deadline.after(self._desk.timing.read.total_seconds())
        try:
            if wallet.observe(transfer, deadline) is Sighting.UNKNOWN:
                wallet.broadcast(transfer, deadline)
        except ConverterError as error:
            log.info("deposit of %s not looked after: %s", conversion.id, error)

    def _by_hand(self, conversion: Conversion, attempt: Attempt, deposit: Deposit) -> Prepared:
        payload = {
            "serviceId": attempt.service_id,
            "orderId": attempt.service_order_id,
            "coin": conversion.request.from_asset.coin,
            "amount": plain(deposit.amount),
            "address": deposit.address,
            "memo": deposit.memo,
        }
        with self._desk.ledger.begin() as work:
            prepared = self._sending.prepare_step(work, conversion, attempt, OperationKind.DEPOSIT)
            work.outbox.add(Event(events.DEPOSIT_REQUESTED, payload, conversion.id))
        return prepared

    def _checked(self, conversion: Conversion, attempt: Attempt, order: Order) -> Deposit:
        """The deposit to pay: what the service named first, unchanged since, for exactly our amount."""
        deposit, asset = order.deposit, conversion.request.from_asset

        def mismatch(what: str) -> IntegrityMismatch:
            return IntegrityMismatch(attempt.service_id, "deposit", detail=what)

        if deposit is None:
            raise mismatch("the service names no deposit address")
        if deposit.valid_until is not None and self._desk.ledger.now() + _IN_TIME >= deposit.valid_until:
            raise QuoteExpired(attempt.service_id, "deposit", detail="the deposit would come too late")
        if attempt.deposit_address and (deposit.address, deposit.memo) != (
            attempt.deposit_address,
            attempt.deposit_memo,
        ):
            raise mismatch("the deposit address changed")
        decimals = self._desk.services[attempt.service_id].capabilities.amount_decimals
        if deposit.amount != floor_unit(conversion.request.amount, decimals):
            raise mismatch(f"the service asks for {plain(deposit.amount)}")
        if deposit.address == conversion.request.address:
            raise mismatch("the deposit address is the destination")
        try:
            check_address(asset, deposit.address, "deposit address")
        except InvalidRequest as error:
            raise mismatch(error.problem) from error
        return deposit


def report_deposit(ledger: Ledger, conversion_id: str, txid: str) -> None:
    """Note the transaction with which a person paid a deposit. Raises InvalidRequest when none waits for one."""
    if not 1 <= len(txid) <= 200 or not txid.isalnum():
        raise InvalidRequest("txid", "is not a transaction id", "the id as the chain shows it")
    with ledger.begin() as work:
        work.conversions.get(conversion_id)
        waiting = [
            (attempt, operation)
            for attempt in work.attempts.of(conversion_id)
            for operation in work.attempts.operations(attempt.id)
            if operation.kind is OperationKind.DEPOSIT and operation.state is OperationState.PREPARED
        ]
        if not waiting or work.transfers.of(waiting[-1][1]) is not None:
            raise InvalidRequest("conversion_id", "waits for no deposit by hand", "a conversion that asked for one")
        attempt, operation = waiting[-1]
        amount = attempt.deposit_amount or Decimal(0)
        work.transfers.report(operation, Transfer("manual", "manual", -1, "", txid, attempt.deposit_address, amount))
