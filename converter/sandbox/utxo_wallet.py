"""The pool's wallet inside a node: which outputs are its own, locked or free, how it funds and signs.

Inferred here: coins are chosen as the smallest single output that suffices, else the largest ones; the place of the
change, where none is asked for, depends on the transaction and looks random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from converter.sandbox.utxo_chain import UtxoChain
from converter.sandbox.utxo_coins import script_of
from converter.sandbox.utxo_tx import UNIT, Input, Outpoint, Output, RawTransaction, is_signed, signed

VARIED = 3  # marker, flag and the longer count of many inputs


class Unfunded(Exception):
    """The wallet cannot fund a transaction; the text is the node's."""


@dataclass(frozen=True)
class Funded:
    """A transaction with inputs and change; `change` is the change's place or -1."""

    transaction: RawTransaction
    fee: int
    change: int


class Wallet:
    """Own outputs of a chain."""

    def __init__(self, chain: UtxoChain) -> None:
        self._chain, self._store = chain, chain.store
        self.locked: set[Outpoint] = set()

    def own(self) -> dict[Outpoint, tuple[Output, int]]:
        """Own unspent outputs with their confirmations."""
        return {
            outpoint: (output, self._store.confirmations(outpoint[0]))
            for outpoint, output in self._store.unspent.items()
            if self._chain.is_mine(output.script)
        }

    def locks(self) -> list[Outpoint]:
        """Locked outputs; a lock ends when its output is spent."""
        self.locked &= self._store.unspent.keys()
        return sorted(self.locked)

    def trusts(self, txid: str) -> bool:
        """Whether an unconfirmed transaction is the wallet's own, so that its change may be spent."""
        transaction, _ = self._store.find(txid)
        return transaction is not None and all(self._is_own(item) for item in transaction.inputs)

    def fund(self, transaction: RawTransaction, rate: int, change_address: str | None, position: int | None) -> Funded:
        """Add inputs and change; `rate` is the fee in smallest units per 1000 bytes."""
        change_script = script_of(self._chain.coin, change_address or self._chain.new_address("wallet"))
        given = {item.outpoint for item in transaction.inputs}
        total = sum(self._value(outpoint) for outpoint in given)
        needed = sum(output.value for output in transaction.outputs)
        free = self._free(given, needed)
        chosen: list[Outpoint] = []
        base = replace(transaction, inputs=(), outputs=(*transaction.outputs, Output(0, change_script))).vsize
        while True:
            fee = -(-(base + VARIED + (len(given) + len(chosen)) * self._input_size) * rate // 1000)
            rest = total - needed - fee
            if rest >= 0 and (given or chosen):
                break
            if not free:
                raise Unfunded("Insufficient funds")
            outpoint = _choose(free, -rest)
            chosen.append(outpoint)
            total += free.pop(outpoint)
        inputs = (*transaction.inputs, *(Input(*outpoint) for outpoint in chosen))
        if rest < self._chain.coin.dust:
            return Funded(replace(transaction, inputs=inputs), fee + rest, -1)
        count = len(transaction.outputs)
        place = int(transaction.txid[:8], 16) % (count + 1) if position is None else position
        outputs = (*transaction.outputs[:place], Output(rest, change_script), *transaction.outputs[place:])
        return Funded(replace(transaction, inputs=inputs, outputs=outputs), fee, place)

    def sign(self, transaction: RawTransaction) -> tuple[RawTransaction, dict[int, str]]:
        """Sign every own input; the second part says which inputs stay unsigned, and why."""
        problems: dict[int, str] = {}
        for place, item in enumerate(transaction.inputs):
            spent = self._store.output(item.outpoint)
            if spent is None or self._store.spender(item.outpoint) not in {None, transaction.txid}:
                problems[place] = "Input not found or already spent"
            elif self._chain.is_mine(spent.script):
                transaction = signed(transaction, place, spent, self._chain.secret)
            elif not is_signed(transaction, place, spent, self._chain.secret):
                problems[place] = "Unable to sign input, invalid stack size (possibly missing key)"
        return transaction, problems

    def amounts(self, txid: str) -> tuple[int, int]:
        """What a transaction takes from the wallet and what it gives to it."""
        transaction, _ = self._store.find(txid)
        if transaction is None:
            return 0, 0
        outputs = [self._store.output(item.outpoint) for item in transaction.inputs if self._is_own(item)]
        spent = sum(output.value for output in outputs if output)
        got = sum(output.value for output in transaction.outputs if self._chain.is_mine(output.script))
        return spent, got

    def _free(self, taken: set[Outpoint], needed: int) -> dict[Outpoint, int]:
        """What may be spent: confirmed outputs, and own change only when they do not suffice."""
        free = {
            outpoint: (output.value, count)
            for outpoint, (output, count) in self.own().items()
            if outpoint not in taken | self.locked and (count or self.trusts(outpoint[0]))
        }
        confirmed = {outpoint: value for outpoint, (value, count) in free.items() if count}
        if sum(confirmed.values()) > needed + UNIT:
            return confirmed
        return {outpoint: value for outpoint, (value, _) in free.items()}

    def _is_own(self, item: Input) -> bool:
        output = self._store.output(item.outpoint)
        return output is not None and self._chain.is_mine(output.script)

    def _value(self, outpoint: Outpoint) -> int:
        output = self._store.output(outpoint)
        if output is None or self._store.spender(outpoint):
            raise Unfunded("Insufficient funds")
        return output.value

    @property
    def _input_size(self) -> int:
        """What a signed input adds to the size: signature and key count a quarter in a witness."""
        return 41 + (26 if self._chain.coin.hrp else 100)


def _choose(free: Mapping[Outpoint, int], missing: int) -> Outpoint:
    enough = [outpoint for outpoint, value in free.items() if value >= missing]
    if enough:
        return min(enough, key=lambda outpoint: (free[outpoint], outpoint))
    return max(free, key=lambda outpoint: (free[outpoint], outpoint))
