"""All guards of the money rule, in the order in which they are tried."""

from __future__ import annotations

from tests.sabotage import book_guards, ledger_guards, sending_guards, settling_guards, wire_guards
from tests.sabotage.guard import Guard

GUARDS: tuple[Guard, ...] = (
    *ledger_guards.GUARDS,
    *sending_guards.GUARDS,
    *settling_guards.GUARDS,
    *wire_guards.GUARDS,
    *book_guards.GUARDS,
)
