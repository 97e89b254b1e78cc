"""Addresses of Ethereum and the chains of its kind, in EIP-55 mixed case.

An address without case carries no checksum and is refused. The text is the same on every such chain: it cannot say
which of them is meant.
"""

from __future__ import annotations

import re

from converter.domain.keccak import keccak_256

_HEX_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BUILT_IN = 1 << 16
"""Below it lie the contracts that are part of the chain, and the customary place to burn at, 0x…dEaD."""
_NOBODYS = {int("e" * 40, 16), int("f" * 40, 16)}
"""Stands for the chain's own coin in many interfaces; fills a field that has no address."""


def eip55(text: str) -> str:
    """The checksummed spelling of a hex address."""
    digits = text[2:].lower()
    digest = keccak_256(digits.encode()).hex()
    return "0x" + "".join(char.upper() if int(mark, 16) >= 8 else char for char, mark in zip(digits, digest))  # noqa: B905


def check_evm_address(text: str) -> None:
    """ValueError says what is wrong."""
    if not _HEX_ADDRESS.fullmatch(text):
        raise ValueError("is not 0x and 40 hex digits")
    value = int(text, 16)
    if value == 0:
        raise ValueError("is the zero address")
    if value < _BUILT_IN or value in _NOBODYS:
        raise ValueError("is an address that nobody can spend from")
    if text[2:] in (text[2:].lower(), text[2:].upper()) and any(char.isalpha() for char in text[2:]):
        raise ValueError("carries no checksum (all one case)")
    if eip55(text) != text:
        raise ValueError("has a wrong EIP-55 checksum")
