"""A wallet that is a person: the pool pays the deposit itself and reports the transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import OutcomeUnknown
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline


class ManualWallet:
    """Signs and broadcasts nothing. Whether a deposit arrived is told by the order at its service."""

    pays_itself = False

    def __init__(self, network: str) -> None:
        self._network = network

    def holds(self, asset: Asset) -> bool:
        """A person pays whatever is on the network."""
        return asset.network == self._network

    def account(self, deadline: Deadline) -> tuple[str, str, int]:  # noqa: ARG002
        """No account that we know of."""
        return self._network, "manual", 0

    def prepare(self, payment: Payment, deadline: Deadline) -> Any:  # noqa: ARG002
        """Nothing to know."""
        return None

    def sign(self, payment: Payment, nonce: int, prepared: Any) -> Transfer:  # noqa: ARG002
        """A person signs."""
        raise OutcomeUnknown("manual", "sign", detail="a person pays this deposit")

    def release(self, prepared: Any, deadline: Deadline) -> None:
        """Nothing was set aside."""

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:  # noqa: ARG002
        """A person broadcasts."""
        raise OutcomeUnknown("manual", "broadcast", detail="a person pays this deposit")

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:  # noqa: ARG002
        """A reported transaction is believed to be on its way; the order at the service tells the rest."""
        return Sighting.PENDING

    def received(self, asset: Asset, refund: Refund, deadline: Deadline) -> Decimal | None:  # noqa: ARG002
        """Not known here: a person confirms a refund."""
        return None
