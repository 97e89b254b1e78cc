"""A wallet that is a person: the pool pays the deposit itself and reports the transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from converter.domain.errors import OutcomeUnknown
from converter.ports import Deadline, Sighting, Transfer


class ManualWallet:
    """Signs and broadcasts nothing. Whether a deposit arrived is told by the order at its service."""

    pays_itself = False

    def __init__(self, chain: str) -> None:
        self._chain = chain

    def account(self, deadline: Deadline) -> tuple[str, str, int]:  # noqa: ARG002
        """No account that we know of."""
        return self._chain, "manual", 0

    def terms(self, amount: Decimal, deadline: Deadline) -> Any:  # noqa: ARG002
        """Nothing to know."""
        return None

    def sign(self, transfer_to: tuple[str, Decimal, str], nonce: int, terms: Any) -> Transfer:  # noqa: ARG002
        """A person signs."""
        raise OutcomeUnknown("manual", "sign", detail="a person pays this deposit")

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:  # noqa: ARG002
        """A person broadcasts."""
        raise OutcomeUnknown("manual", "broadcast", detail="a person pays this deposit")

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:  # noqa: ARG002
        """A reported transaction is believed to be on its way; the order at the service tells the rest."""
        return Sighting.PENDING
