"""What must always hold of the ledger, and how a breach of it is told. Names as in `docs/money-safety.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INVARIANTS: Mapping[str, str] = {
    "I1": "a conversion is paid out once at most, by the services' own record",
    "I2": "a conversion has one open attempt at most",
    "I3": "a conversion is completed exactly when one of its attempts is settled",
    "I4": "of a conversion that failed or was cancelled nothing was executed",
    "I5": "nothing is sent that the ledger did not hold before",
    "I6": "a fence never falls",
    "I7": "what has ended never changes",
    "I8": "the books are only ever added to",
    "I9": "the books say of every attempt where its coins are",
    "I10": "what arrived is what was promised, or it is noted",
    "I11": "every conversion has ended, is looked at again in time, or waits for a person who was told",
    "I12": "every end was told, and once",
    "I13": "no stored text holds a key",
}


@dataclass(frozen=True)
class Breach:
    """One invariant that does not hold for one conversion, or for the ledger as a whole."""

    invariant: str
    conversion_id: str | None
    detail: str

    @property
    def name(self) -> str:
        """The name under which it is told once."""
        return f"{PREFIX}{self.invariant}:{self.conversion_id or 'ledger'}"


PREFIX = "breach:"
"""Of conditions: each breach is one, told when it is first found."""
