"""Makes the signed transaction of a payment inside a node's wallet, and checks every byte that matters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from converter.domain.errors import ConverterError, ServiceRejected
from converter.domain.money import plain
from converter.domain.transfers import Payment
from converter.ports import Deadline
from converter.wallets.bitcoin_tx import Coin, RawTransaction, amount_of, flaw, places, read_transaction
from converter.wallets.bitcoind_node import CoreNode

MOST_FEE: Mapping[str, Decimal] = {
    "BTC": Decimal("0.005"),
    "LTC": Decimal("0.1"),
    "DOGE": Decimal(100),
    "BCH": Decimal("0.01"),
    "RVN": Decimal(50),
}
"""The most that one payment may cost, where nothing else is set."""

RELEASE_WITHIN = 5.0
"""Seconds in which the coins of a failed preparation are freed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signed:
    """A signed transaction that is nowhere yet, and the coins that were set aside for it."""

    raw: str
    txid: str
    coins: tuple[Coin, ...]


@dataclass(frozen=True)
class _Funded:
    raw: str
    fee: Decimal
    coins: tuple[Coin, ...]
    change: str = ""
    """Script that the change must go to; any of the wallet's when empty."""


class Signing:
    """Nothing that it does has an effect outside of the wallet; there, coins are set aside."""

    def __init__(self, node: CoreNode, most_fee: Decimal | None) -> None:
        self._node = node
        self._most_fee = MOST_FEE[node.coin] if most_fee is None else most_fee

    def signed(self, payment: Payment, deadline: Deadline) -> Signed:
        """The transaction, its coins set aside; after any error they are free again."""
        script = self._node.script(payment.address, deadline)
        funded = self._funded(payment, (), {}, deadline)
        coins = funded.coins
        try:
            if payment.memo:
                funded = self._refundable(payment, funded, deadline)
                coins = (*coins, *(coin for coin in funded.coins if coin not in coins))
            raw, transaction = self._sign(funded.raw, deadline)
            if funded.fee > self._most_fee:
                raise self._node.rejected(f"the fee of {plain(funded.fee)} is above {plain(self._most_fee)}")
            if problem := flaw(transaction, payment, script, funded.change):
                raise self._node.rejected(problem)
            if transaction.inputs != funded.coins:
                raise self._node.rejected("the transaction spends other coins")
            self._check_accepted(raw, transaction.txid, deadline)
        except ConverterError:
            self.free(coins, Deadline.after(RELEASE_WITHIN))
            raise
        return Signed(raw, transaction.txid, coins)

    def free(self, coins: Sequence[Coin], deadline: Deadline) -> None:
        """Make coins spendable again. What the node does not answer stays set aside until it restarts."""
        for coin in coins:
            try:
                self._node.ask("lockunspent", [True, places([coin])], deadline)
            except ServiceRejected as error:
                log.info("a coin was not set aside any more: %s", error)
            except ConverterError as error:
                log.warning("coins stay set aside in the %s wallet: %s", self._node.coin, error)
                return

    def _funded(
        self, payment: Payment, coins: Sequence[Coin], options: Mapping[str, object], deadline: Deadline
    ) -> _Funded:
        """Have the node add inputs and change, and set the inputs aside."""
        outputs = {payment.address: plain(payment.amount)}
        if payment.memo:
            outputs["data"] = payment.memo.encode().hex()
        raw = self._node.ask("createrawtransaction", [places(coins), outputs], deadline)
        asked = {"changePosition": 1, "lockUnspents": True, **options}
        with self._node.reading("fundrawtransaction"):
            told = self._node.ask("fundrawtransaction", [raw, asked], deadline)
            return _Funded(told["hex"], amount_of(told["fee"]), read_transaction(told["hex"]).inputs)

    def _refundable(self, payment: Payment, funded: _Funded, deadline: Deadline) -> _Funded:
        """The same payment with its change at the address of input 0."""
        with self._node.reading("gettxout"):
            script = self._node.ask("gettxout", [*funded.coins[0]], deadline)["scriptPubKey"]
            named = script.get("address") or (script.get("addresses") or [""])[0]
            change = str(script["hex"])
        if not named:
            raise self._node.rejected("the first input has no address that a refund could go to")
        again = self._funded(payment, funded.coins, {"changeAddress": named}, deadline)
        if again.coins[0] != funded.coins[0]:
            self.free([coin for coin in again.coins if coin not in funded.coins], Deadline.after(RELEASE_WITHIN))
            raise self._node.rejected("the node put another input first")
        return replace(again, change=change)

    def _sign(self, raw: str, deadline: Deadline) -> tuple[str, RawTransaction]:
        """The signed bytes and what they say; the id by our reckoning is also the node's."""
        with self._node.reading("signrawtransactionwithwallet"):
            told = self._node.offered("signrawtransactionwithwallet", [raw], deadline)
            if told is None:
                told = self._node.ask("signrawtransaction", [raw], deadline)
            if told["complete"] is not True:
                raise self._node.rejected("the wallet cannot sign all inputs")
            signed, transaction = str(told["hex"]), read_transaction(told["hex"])
        with self._node.reading("decoderawtransaction"):
            if self._node.ask("decoderawtransaction", [signed], deadline)["txid"] != transaction.txid:
                raise self._node.rejected("the node reads another transaction")
        return signed, transaction

    def _check_accepted(self, raw: str, txid: str, deadline: Deadline) -> None:
        """Whether the node would take it, where it tells that without taking it."""
        with self._node.reading("testmempoolaccept"):
            told = self._node.offered("testmempoolaccept", [[raw]], deadline)
            if told is None:
                return
            if told[0]["txid"] != txid or told[0]["allowed"] is not True:
                raise self._node.rejected(f"the node would refuse it: {str(told[0].get('reject-reason'))[:100]}")
            fee = amount_of(told[0].get("fees", {}).get("base", 0))
        if fee > self._most_fee:
            raise self._node.rejected(f"the fee of {plain(fee)} is above {plain(self._most_fee)}")
