"""A UTXO chain: outputs, a mempool, a block every 0.4 seconds, and reorganisations when asked for.

Rules and wordings of refusals follow Bitcoin Core; which of them a fork words otherwise is inferred. Not checked: lock
times, sequence numbers, sizes of blocks; nothing is replaced for a higher fee. A payment from outside (`pay`) spends an
output that nobody else saw.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.sandbox.locking import serialised
from converter.sandbox.truth import TruthBook
from converter.sandbox.utxo_blocks import BlockStore
from converter.sandbox.utxo_coins import Coin, address_of, address_of_hash, script_of
from converter.sandbox.utxo_tx import (
    MAX_MONEY,
    UNIT,
    DecodeError,
    Input,
    Output,
    RawTransaction,
    decode,
    is_signed,
)

BLOCK_SECONDS = 0.4
MAX_DATA_SCRIPT = 83
DECODE, MISSING, REJECTED, KNOWN = -22, -25, -26, -27
START_OUTPUTS, START_ADDRESSES = 200, 10
BAD_SIGNATURE = (
    "mandatory-script-verify-flag-failed "
    "(Script evaluated without error but finished with a false/empty top stack element)"
)


class Rejected(Exception):
    """A transaction that the node does not take."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Policy:
    """What the control interface can change about a node."""

    already_known: bool = False
    reject: str | None = None
    mining: bool = True
    txindex: bool = True


class UtxoChain:
    """See `twin.Chain` for what twins use of it; the JSON-RPC side is in `utxo_rpc`."""

    def __init__(
        self, coin: Coin, truth: TruthBook, now: Callable[[], float], *, speed: float = 1.0, seed: int = 7
    ) -> None:
        self.coin, self.policy, self.now = coin, Policy(), now
        self.secret = hashlib.sha256(f"wallet {coin.ticker} {seed}".encode()).digest()
        self.lock = threading.RLock()
        self.store = BlockStore(f"{coin.ticker} {seed}", now)
        self._truth, self._seed = truth, seed
        self._pause = BLOCK_SECONDS / speed
        self._next_block = now() + self._pause
        self._addresses = self._payments = 0
        self._wallet_scripts: set[bytes] = set()
        scripts = [script_of(coin, self.new_address("wallet")) for _ in range(START_ADDRESSES)]
        outputs = tuple(Output(coin.each * UNIT, scripts[place % START_ADDRESSES]) for place in range(START_OUTPUTS))
        self.store.add(RawTransaction((Input("00" * 32, 0xFFFFFFFF, b"\x04sand"),), outputs))
        self.store.mine()

    @serialised
    def new_address(self, owner: str) -> str:
        """A fresh address, the same on every run with the same seed. Owner `wallet`: the pool's wallet can spend it."""
        self._addresses += 1
        text = f"{self._seed}:{self.coin.ticker}:{self._addresses}:{owner}"
        address = address_of_hash(self.coin, hashlib.sha256(text.encode()).digest()[:20])
        if owner == "wallet":
            self._wallet_scripts.add(script_of(self.coin, address))
        return address

    def is_mine(self, script: bytes) -> bool:
        """Whether the pool's wallet can spend what is paid to this script."""
        return script in self._wallet_scripts

    def received(self, address: str) -> list[tuple[str, Decimal]]:
        """Mined payments to an address: transaction id and amount in whole coins."""
        return [(txid, amount) for txid, amount, _ in self.received_with_data(address)]

    @serialised
    def received_with_data(self, address: str) -> list[tuple[str, Decimal, bytes]]:
        """Like `received`, with the data of the first OP_RETURN output (empty when there is none)."""
        script = script_of(self.coin, address)
        found = []
        for transaction in self.store.paid_to(script):
            value = sum(output.value for output in transaction.outputs if output.script == script)
            data = next((output.data for output in transaction.outputs if output.data), b"")
            found.append((transaction.txid, coins(value), data))
        return found

    @serialised
    def pay(self, address: str, amount: Decimal) -> str:
        """Pay from outside, in the next block; the payer's pockets are deep. ValueError: no such address."""
        script = script_of(self.coin, address)
        self._payments += 1
        source = hashlib.sha256(f"{self._seed}:{self.coin.ticker}:payment {self._payments}".encode()).hexdigest()
        return self.store.add(RawTransaction((Input(source, 0, b"\x04paid"),), (Output(int(amount * UNIT), script),)))

    @serialised
    def sender(self, txid: str) -> str | None:
        """Address of the first input of a transaction; None when it came from outside."""
        transaction, _ = self.store.find(txid)
        spent = self.store.output(transaction.inputs[0].outpoint) if transaction else None
        return address_of(self.coin, spent.script) if spent else None

    @serialised
    def send(self, raw: bytes, max_fee_rate: int = 0) -> str:
        """Take a raw transaction into the mempool; `Rejected` says why not."""
        try:
            transaction = decode(raw)
        except DecodeError as error:
            text = "TX decode failed"
            raise Rejected(
                DECODE, text if self.coin.old else f"{text}. Make sure the tx has at least one input."
            ) from error
        txid = transaction.txid
        if txid in self.store.mempool:
            if self.policy.already_known:
                raise Rejected(KNOWN, "txn-already-known")
            return txid
        self.check(transaction, max_fee_rate)
        self.store.add(transaction)
        self._truth.executed(self.coin.service_id, "send", txid=txid, **self._facts(transaction))
        return txid

    def check(self, transaction: RawTransaction, max_fee_rate: int = 0) -> int:
        """The fee of a transaction that may enter the mempool; `Rejected` says why it may not."""
        if self.store.confirmations(transaction.txid) and any(
            self.store.spender((transaction.txid, place)) is None for place in range(len(transaction.outputs))
        ):
            text = "transaction already in block chain"
            raise Rejected(KNOWN, text if self.coin.old else text.capitalize())
        if self.policy.reject:
            raise self.rejection(self.policy.reject)
        self._check_form(transaction)
        fee = self._check_inputs(transaction)
        needed = transaction.vsize * self.coin.relay_fee // 1000
        if fee < needed:
            raise self._rejected(REJECTED, f"min relay fee not met, {fee} < {needed}")
        if max_fee_rate and fee * 1000 > max_fee_rate * transaction.vsize:
            message = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
            raise Rejected(MISSING, message)
        return fee

    def rejection(self, way: str) -> Rejected:
        """The refusal of a name in `REJECTS`, in the words of this coin's node."""
        if way == "missing" and self.coin.old:
            return Rejected(MISSING, "Missing inputs")
        return self._rejected(*REJECTS[way])

    @serialised
    def tick(self) -> None:
        """Mine the blocks that are due."""
        late = self.now() - self._next_block
        if late < 0:
            return
        blocks = 1 + int(late / self._pause)
        self._next_block += blocks * self._pause
        if self.policy.mining:
            self.store.mine(blocks)

    def _check_form(self, transaction: RawTransaction) -> None:
        if not transaction.inputs or not transaction.outputs:
            raise self._rejected(REJECTED, "bad-txns-vin-empty" if transaction.outputs else "bad-txns-vout-empty")
        if len({item.outpoint for item in transaction.inputs}) < len(transaction.inputs):
            raise self._rejected(REJECTED, "bad-txns-inputs-duplicate")
        data = [output for output in transaction.outputs if output.data is not None]
        if len(data) > 1:
            raise self._rejected(REJECTED, "multi-op-return")
        for output in transaction.outputs:
            if output in data:
                if len(output.script) > MAX_DATA_SCRIPT:
                    raise self._rejected(REJECTED, "scriptpubkey")
            elif address_of(self.coin, output.script) is None:
                raise self._rejected(REJECTED, "scriptpubkey")
            elif output.value < self.coin.dust:
                raise self._rejected(REJECTED, "dust")

    def _check_inputs(self, transaction: RawTransaction) -> int:
        total = 0
        for place, item in enumerate(transaction.inputs):
            spent, spender = self.store.output(item.outpoint), self.store.spender(item.outpoint)
            if spender in self.store.mempool:
                raise self._rejected(REJECTED, "txn-mempool-conflict")
            if spent is None or spender:
                raise self.rejection("missing")
            total += spent.value
            if not is_signed(transaction, place, spent, self.secret):
                raise self._rejected(REJECTED, BAD_SIGNATURE)
        fee = total - sum(output.value for output in transaction.outputs)
        if fee < 0 or total > MAX_MONEY:
            raise self._rejected(REJECTED, "bad-txns-in-belowout")
        return fee

    def _rejected(self, code: int, message: str) -> Rejected:
        if not self.coin.old or code != REJECTED:
            return Rejected(code, message)
        reason = message.partition(",")[0]  # older nodes keep the details to themselves
        return Rejected(code, f"{REJECT_NUMBERS.get(re.split(r' [(]', reason)[0], 64)}: {reason}")

    def _facts(self, transaction: RawTransaction) -> dict[str, Any]:
        paid = [output for output in transaction.outputs if output.data is None and not self.is_mine(output.script)]
        first = paid[0] if paid else transaction.outputs[0]
        data = next((output.data for output in transaction.outputs if output.data), b"")
        return {"to": address_of(self.coin, first.script), "amount": coins(first.value), "data": data.hex()}


REJECTS = {
    "policy": (REJECTED, "mempool min fee not met"),
    "missing": (MISSING, "bad-txns-inputs-missingorspent"),
    "pool_full": (REJECTED, "mempool full"),
    "chain_too_long": (REJECTED, "too-long-mempool-chain, too many unconfirmed ancestors [limit: 25]"),
}
REJECT_NUMBERS = {  # older nodes write the number of the reject message in front
    "txn-mempool-conflict": 258,
    "min relay fee not met": 66,
    "mempool min fee not met": 66,
    "mempool full": 66,
    "mandatory-script-verify-flag-failed": 16,
    "bad-txns-in-belowout": 16,
    "bad-txns-vin-empty": 16,
    "bad-txns-vout-empty": 16,
    "bad-txns-inputs-duplicate": 16,
}


def coins(value: int) -> Decimal:
    """Smallest units as whole coins, with eight decimals."""
    return (Decimal(value) / UNIT).quantize(Decimal("1e-8"))
