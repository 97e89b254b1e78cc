"""Swap memos. Source: `services/thorchain.md` section 5.

`=:ASSET:DEST[/REFUND]:LIMIT[/INTERVAL/QUANTITY]:AFFILIATE:BPS`; `=`, `s` and `SWAP` are the same; trailing parts are
optional; the limit may use scientific notation; further fields break a memo. Inferred here: an affiliate's part is
taken, but paid to nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from converter.sandbox.twins.thorchain_pools import PoolAsset, asset_meant, is_address

MOST_BPS = 1000
MOST_BYTES = {True: 80, False: 250}
"""What a memo may measure: on UTXO chains, on others."""
_ACTIONS = {"=", "s", "swap"}
_LIMIT = re.compile(r"(\d{1,20})(?:e(\d{1,2}))?")


class BadMemo(ValueError):
    """A memo that no swap can be made of."""


@dataclass(frozen=True)
class Memo:
    """What a depositor wants."""

    target: PoolAsset
    destination: str
    refund: str | None = None
    limit: int = 0
    interval: int = 0
    quantity: int = 0
    affiliate_bps: int = 0

    @property
    def parts(self) -> int:
        """Into how many swaps the amount is split."""
        return max(1, self.quantity) if self.interval else 1


def parse_memo(text: str, most: int = MOST_BYTES[False]) -> Memo:
    """Read a memo of at most so many bytes; BadMemo says what is wrong."""
    if len(text) > most:
        raise BadMemo(f"longer than {most} bytes")
    action, *rest = text.split(":")
    if action.lower() not in _ACTIONS or len(rest) < 2:
        raise BadMemo(f"invalid memo: {text!r:.80}")
    target = asset_meant(rest[0])
    if target is None:
        raise BadMemo(f"unknown asset: {rest[0]!r:.40}")
    after = rest[1:]
    if target.chain == "BCH" and after[0] == "bitcoincash" and len(after) > 1:
        after = [f"{after[0]}:{after[1]}", *after[2:]]  # the prefix of a cash address has a colon of its own
    if len(after) > 4:
        raise BadMemo(f"too many fields: {text!r:.80}")
    destination, _, refund = after[0].partition("/")
    if not is_address(target.chain, destination):
        raise BadMemo(f"bad destination address: {destination!r:.80}")
    limit, interval, quantity = _limits(after[1] if len(after) > 1 else "")
    bps = after[3] if len(after) > 3 else ""
    if bps and (not bps.isdigit() or int(bps) > MOST_BPS):
        raise BadMemo("affiliate fee must not be more than 1000 bps")
    return Memo(target, destination, refund or None, limit, interval, quantity, int(bps or 0))


def _limits(text: str) -> tuple[int, int, int]:
    limit, *streaming = text.split("/")
    found = _LIMIT.fullmatch(limit) if limit else None
    if limit and not found:
        raise BadMemo(f"bad trade target: {limit!r:.40}")
    numbers = [part or "0" for part in (*streaming, "", "")][:2]
    if len(streaming) > 2 or not all(number.isdigit() and len(number) < 10 for number in numbers):
        raise BadMemo("bad streaming parameters")
    value = int(found[1]) * 10 ** int(found[2] or 0) if found else 0
    return value, int(numbers[0]), int(numbers[1])
