"""What carries a coin or token in the sandbox, and deposit addresses for those that nothing carries.

A made-up address has its network's form and checksum, so that a careful client takes it; nothing ever arrives there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from converter.sandbox.rawtx import address_of
from converter.sandbox.twin import World
from converter.sandbox.utxo_coins import COINS, Coin, address_of_hash

_EVM = ("ETH", "ETC")
_OTHERS = {
    "TRX": Coin("TRX", "Tron", 0x41, 0x41, "", 0),
    "LTCT": Coin("LTCT", "Litecoin Testnet", 0x6F, 0x3A, "", 0, hrp="tltc"),
}
"""Networks without a node in the sandbox, as far as their addresses need it."""


class Carrier(NamedTuple):
    """What a chain of the sandbox does for one coin or token; `pay` raises ValueError for an impossible address."""

    new_address: Callable[[str], str]
    received: Callable[[str], list[tuple[str, Decimal]]]
    pay: Callable[[str, Decimal], str]


def carrier_of(world: World, network: str, contract: str | None = None) -> Carrier | None:
    """The sandbox's chain that really carries an asset, if there is one; of tokens only the one on Ethereum."""
    if contract:
        evm = world.chain
        return Carrier(evm.new_address, evm.received_token, evm.pay_token) if network == "ETH" else None
    chain = world.chain_of(network)
    return Carrier(chain.new_address, chain.received, chain.pay) if chain else None


def made_up_address(network: str, number: int) -> str:
    """An address of a network, checksum and all; the same one for the same number."""
    seed = f"{network}:{number}".encode()
    if network in _EVM:
        return address_of(seed)
    return address_of_hash({**COINS, **_OTHERS}[network], hashlib.sha256(seed).digest()[:20])
