"""Raw transactions of the Bitcoin family as far as a payment is checked: inputs, outputs and the id.

Read here and not asked for, so that what is stored and broadcast is what was looked at. Only what signing adds (scripts
of inputs, witnesses) is skipped over. BIP-144 where a flag follows the version (BTC, LTC), the old form elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from converter.domain.money import from_units, plain
from converter.domain.transfers import Payment

MEMO_BYTES = 80
"""The most that an OP_RETURN output carries past the nodes' policy."""

DECIMALS = 8

Coin = tuple[str, int]
"""An unspent output: transaction id and place."""


@dataclass(frozen=True)
class Output:
    """An amount in whole coins and the script that it is paid to, in hex."""

    amount: Decimal
    script: str


@dataclass(frozen=True)
class RawTransaction:
    """What a raw transaction says."""

    txid: str
    inputs: tuple[Coin, ...]
    outputs: tuple[Output, ...]

    def paid_to(self, script: str) -> Decimal:
        """The sum of the outputs with this script."""
        return sum((output.amount for output in self.outputs if output.script == script), Decimal(0))


def read_transaction(raw: str) -> RawTransaction:
    """Read a raw transaction in hex. Raises ValueError when it is none."""
    data = bytes.fromhex(raw)
    reader = _Reader(data)
    version = reader.take(4)
    if data[4:5] == b"\0" and data[5:6] != b"\0":
        reader.take(2)
    start = reader.place
    inputs = tuple(reader.coin() for _ in range(reader.count()))
    outputs = tuple(reader.output() for _ in range(reader.count()))
    kept = version + data[start : reader.place] + data[-4:]
    if not inputs or reader.place + 4 > len(data):
        raise ValueError("cut off")
    return RawTransaction(_hash(kept), inputs, outputs)


def memo_script(memo: str) -> str:
    """The script of an output that carries a memo."""
    data = memo.encode()
    head = bytes([0x6A, len(data)]) if len(data) < 0x4C else bytes([0x6A, 0x4C, len(data)])
    return (head + data).hex()


def flaw(transaction: RawTransaction, payment: Payment, script: str, change: str) -> str:
    """What is wrong with a transaction that should make a payment to `script`; empty when nothing is.

    The payment comes first, then at most one change (to the script `change`, where one is named), then the memo.
    """
    memos = [output for output in transaction.outputs if output.script.startswith("6a")]
    paid = [output for output in transaction.outputs if output.script == script]
    rest = [output.script for output in transaction.outputs if output not in paid and output not in memos]
    if len(paid) != 1 or transaction.outputs[0] != paid[0] or paid[0].amount != payment.amount:
        return f"the transaction does not pay {plain(payment.amount)} once and first"
    if memos != ([Output(Decimal(0), memo_script(payment.memo))] if payment.memo else []):
        return "the transaction does not carry the memo"
    if len(rest) > 1 or (change and rest not in ([], [change])):
        return "the transaction pays somebody else"
    return ""


def amount_of(told: object) -> Decimal:
    """An amount as a node writes it. Raises ValueError."""
    if isinstance(told, bool) or not isinstance(told, int | Decimal):
        raise ValueError("no amount")  # noqa: TRY004 - an odd answer is a wrong value, not a wrong call
    return Decimal(told)


def places(coins: Sequence[Coin]) -> list[dict[str, object]]:
    """Coins as the nodes take them."""
    return [{"txid": txid, "vout": place} for txid, place in coins]


def _hash(data: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[::-1].hex()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self.place : self.place + size]
        if len(taken) < size:
            raise ValueError("cut off")
        self.place += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def count(self) -> int:
        first = self.number(1)
        return first if first < 0xFD else self.number(2 ** (first - 0xFC))

    def coin(self) -> Coin:
        txid, place = self.take(32)[::-1].hex(), self.number(4)
        self.take(self.count())
        self.take(4)
        return txid, place

    def output(self) -> Output:
        amount = from_units(self.number(8), DECIMALS)
        return Output(amount, self.take(self.count()).hex())
