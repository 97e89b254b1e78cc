"""Ergo addresses: base58 over a byte for network and kind, the content, and four bytes of its BLAKE2b-256.

Paid are keys (`9…`) and script hashes. An address that carries a whole script is refused: what an ordinary payment
there may need in addition cannot be seen from the text.
"""

from __future__ import annotations

import hashlib

from converter.domain import base58

_KEY, _SCRIPT_HASH, _SCRIPT = 1, 2, 3
_SIZES = {_KEY: 33, _SCRIPT_HASH: 24}


def check_ergo_address(text: str) -> None:
    """ValueError says what is wrong."""
    raw = base58.decode(text)
    if len(raw) < 6:
        raise ValueError("has the wrong length")
    payload, checksum = raw[:-4], raw[-4:]
    if hashlib.blake2b(payload, digest_size=32).digest()[:4] != checksum:
        raise ValueError("has a wrong checksum")
    kind, body = payload[0], payload[1:]
    if kind == _SCRIPT:
        raise ValueError("carries a whole script, which an ordinary payment may not satisfy")
    if kind not in _SIZES:
        raise ValueError("belongs to another network or coin")
    if len(body) != _SIZES[kind]:
        raise ValueError("has the wrong length")
    if kind == _KEY and body[0] not in (2, 3):
        raise ValueError("holds no public key")
    if not any(body[-24:]):
        raise ValueError("is an address that nobody can spend from")
