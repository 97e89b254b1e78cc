"""The UTXO chains of a sandbox. Each is built when it is first used: most users of a sandbox need none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from converter.sandbox.utxo_chain import UtxoChain
from converter.sandbox.utxo_coins import COINS, Coin


class UtxoChains(Mapping[str, UtxoChain]):
    """The chains by ticker: BTC, LTC, DOGE, BCH, RVN. Safe from any thread."""

    def __init__(self, build: Callable[[Coin], UtxoChain]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._built: dict[str, UtxoChain] = {}

    def __getitem__(self, ticker: str) -> UtxoChain:
        coin = COINS[ticker]
        with self._lock:
            if ticker not in self._built:
                self._built[ticker] = self._build(coin)
            return self._built[ticker]

    def __contains__(self, ticker: object) -> bool:
        return ticker in COINS

    def __iter__(self) -> Iterator[str]:
        return iter(COINS)

    def __len__(self) -> int:
        return len(COINS)

    def tick(self, ticker: str) -> None:
        """Let time pass on a chain; one that nobody used has none."""
        if chain := self._built.get(ticker):
            chain.tick()
