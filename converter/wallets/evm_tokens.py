"""Addresses of EVM chains, and ERC-20 in bytes: the calls that a token takes, the Transfer logs that it leaves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from eth_utils.address import to_checksum_address

DECIMALS_CALL = "0x313ce567"
"""`decimals()`."""

TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""Keccak-256 of `Transfer(address,address,uint256)`."""

_BALANCE_OF = "0x70a08231"
_TRANSFER = bytes.fromhex("a9059cbb")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def checksummed(address: str) -> str:
    """The spelling that signing asks for; ValueError for no address, and for a mixed case that is not that spelling."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError("an address is 0x and 40 hex digits")
    spelled = str(to_checksum_address(address))
    if address not in (spelled, address.lower(), "0x" + address[2:].upper()):
        raise ValueError("the checksum of the address is wrong")
    return spelled


def balance_call(address: str) -> str:
    """Calldata of `balanceOf(address)`."""
    return _BALANCE_OF + _word(address).hex()


def transfer_call(address: str, units: int) -> bytes:
    """Calldata of `transfer(address,uint256)`."""
    return _TRANSFER + _word(address) + units.to_bytes(32)


def moved_to(logs: Iterable[Mapping[str, Any]], contract: str, address: str) -> int:
    """Units of the contract's token that a receipt's logs move to an address. Raises what odd logs raise."""
    receiver = "0x" + _word(address).hex()
    total = 0
    for log in logs:
        topics = [str(topic).lower() for topic in log["topics"]]
        if log["address"].lower() != contract.lower() or topics[:1] != [TRANSFER_TOPIC] or log.get("removed"):
            continue
        if len(topics) == 3 and topics[2] == receiver:
            total += int(log["data"], 16)
    return total


def _word(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])
