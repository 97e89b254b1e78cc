"""What a UTXO chain holds: transactions, who spends which output, the mempool, and blocks that can be dropped again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from converter.sandbox.utxo_tx import Outpoint, Output, RawTransaction, double_sha

FIRST_BLOCK = 800_000


class BlockStore:
    """The state of a chain. Nothing is checked here: `utxo_chain` decides what may enter."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.height = FIRST_BLOCK
        self.known: dict[str, RawTransaction] = {}
        self.mempool: dict[str, RawTransaction] = {}
        self.unspent: dict[Outpoint, Output] = {}
        self.seen: dict[str, int] = {}  # when each transaction arrived, in whole seconds
        self._name, self._now = name, now
        self._blocks: dict[int, tuple[int, list[str]]] = {}
        self._heights: dict[str, int] = {}
        self._forks: dict[int, int] = {}
        self._spenders: dict[Outpoint, str] = {}
        self._paid_to: dict[bytes, list[str]] = defaultdict(list)

    def add(self, transaction: RawTransaction) -> str:
        """Take a transaction into the mempool."""
        txid = transaction.txid
        self.known[txid] = self.mempool[txid] = transaction
        self.seen[txid] = int(self._now())
        self.unspent |= {(txid, place): output for place, output in enumerate(transaction.outputs)}
        for item in transaction.inputs:
            self._spenders[item.outpoint] = txid
            self.unspent.pop(item.outpoint, None)
        for script in {output.script for output in transaction.outputs}:
            self._paid_to[script].append(txid)
        return txid

    def mine(self, count: int = 1) -> None:
        """Add so many blocks; what waits goes into the first of them."""
        if self.mempool:
            self._blocks[self.height + 1] = (int(self._now()), list(self.mempool))
            self._heights |= dict.fromkeys(self.mempool, self.height + 1)
            self.mempool = {}
        self.height += count

    def reorganise(self, depth: int) -> None:
        """Drop the last blocks, all but the first: their transactions wait again, and other blocks will follow."""
        for height in range(self.height, max(FIRST_BLOCK + 1, self.height - depth), -1):
            self._forks[height] = self._forks.get(height, 0) + 1
            _, txids = self._blocks.pop(height, (0, []))
            for txid in txids:
                del self._heights[txid]
            self.mempool = {txid: self.known[txid] for txid in txids} | self.mempool
            self.height -= 1

    def find(self, txid: str) -> tuple[RawTransaction | None, int | None]:
        """A transaction and its height; the height is None while it waits, both are for an unknown one."""
        return self.known.get(txid), self._heights.get(txid)

    def confirmations(self, txid: str) -> int:
        """Blocks with and on top of a transaction; 0 while it waits."""
        height = self._heights.get(txid)
        return 0 if height is None else self.height - height + 1

    def output(self, outpoint: Outpoint) -> Output | None:
        """An output of any known transaction, spent or not."""
        transaction = self.known.get(outpoint[0])
        return transaction.outputs[outpoint[1]] if transaction and outpoint[1] < len(transaction.outputs) else None

    def spender(self, outpoint: Outpoint) -> str | None:
        """The known transaction that spends an output."""
        return self._spenders.get(outpoint)

    def paid_to(self, script: bytes) -> list[RawTransaction]:
        """Mined transactions that pay to a script, in the order of their arrival."""
        return [self.known[txid] for txid in self._paid_to.get(script, ()) if txid in self._heights]

    def block(self, height: int) -> tuple[str, list[str]]:
        """Hash and transaction ids of the block at a height up to the present one."""
        text = f"block {self._name} {height} {self._forks.get(height, 0)}"
        return double_sha(text.encode()), self._blocks.get(height, (0, []))[1]

    def mined_at(self, height: int) -> int:
        """When a block was mined, in whole seconds; an empty one counts as mined with the next that is not."""
        if height in self._blocks:
            return self._blocks[height][0]
        later = [when for place, (when, _) in self._blocks.items() if place >= height]
        return min(later, default=int(self._now()))
