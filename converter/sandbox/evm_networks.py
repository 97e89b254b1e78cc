"""The two EVM chains, and where they differ.

Ethereum Classic never took EIP-1559: a transaction names one price for its gas and pays exactly that, blocks carry no
base fee, and a node of that age does not know the methods and the transactions that speak of one. The token lives on
Ethereum alone. Inferred: the price that the Ethereum Classic node suggests.
"""

from __future__ import annotations

from dataclasses import dataclass

from converter.sandbox.credentials import ETC_CHAIN_ID, EVM_CHAIN_ID, USDT_CONTRACT

GWEI = 10**9
BASE_FEE = 8 * GWEI
TIP = 1 * GWEI


@dataclass(frozen=True)
class Network:
    """A chain; under `service_id` the server mounts it and faults address it. Prices in wei."""

    ticker: str
    service_id: str
    chain_id: int
    gas_price: int
    base_fee: int | None = None  # None: before EIP-1559
    token: str | None = None


ETH = Network("ETH", "evm", EVM_CHAIN_ID, BASE_FEE + TIP, BASE_FEE, USDT_CONTRACT)
ETC = Network("ETC", "etc", ETC_CHAIN_ID, TIP)
