"""The ledger in memory, for simulations: the same rules as the one on SQL, without a database."""

from __future__ import annotations

from tests.memory_ledger.ledger import MemoryLedger
from tests.memory_ledger.store import ALL_GUARDS, Guard

__all__ = ["ALL_GUARDS", "Guard", "MemoryLedger"]
