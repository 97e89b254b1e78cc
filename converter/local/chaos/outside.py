"""The sandbox' controls, as the drill uses them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import requests

_PATIENCE = 30.0


class Outside:
    """Faults, prices, accounts and truth of the outside world at `url`."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sandbox"
        self._session = requests.Session()

    def operations(self) -> dict[str, list[str]]:
        """Services and nodes, each with the operations that faults can name."""
        return {name: one["operations"] for name, one in self._get("services").items()}

    def configure(self, service_id: str, settings: dict[str, Any]) -> None:
        """Set up our account at a service."""
        self._put(f"services/{service_id}", settings)

    def strike(self, name: str, faults: Sequence[dict[str, Any]]) -> None:
        """Replace the faults of a service or node."""
        self._put(f"faults/{name}", {"faults": list(faults)})

    def calm(self) -> None:
        """Clear all faults."""
        self._session.delete(f"{self._url}/faults", timeout=_PATIENCE).raise_for_status()

    def prices(self) -> dict[str, Decimal]:
        """Dollars by coin."""
        return {coin: Decimal(price) for coin, price in self._get("market")["prices"].items()}

    def set_price(self, coin: str, price: Decimal) -> None:
        """Move a price at once."""
        self._put("market", {"prices": {coin: f"{price:.8f}"}})

    def struck(self) -> int:
        """How often a fault other than mere latency acted since the faults were set."""
        found = [fault for faults in self._get("faults").values() for fault in faults]
        return sum(fault["struck"] for fault in found if fault["kind"] != "latency")

    def truth(self) -> dict[str, list[dict[str, Any]]]:
        """`deliveries` and `executions`, by the outside world's own record."""
        return cast("dict[str, list[dict[str, Any]]]", self._get("truth"))

    def problems(self) -> list[str]:
        """Tracebacks of twins that failed by themselves: then the drill proves nothing."""
        return list(self._get("health")["problems"])

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._session.get(f"{self._url}/{path}", timeout=_PATIENCE)
        answer.raise_for_status()
        return cast("dict[str, Any]", answer.json())

    def _put(self, path: str, content: dict[str, Any]) -> None:
        self._session.put(f"{self._url}/{path}", json=content, timeout=_PATIENCE).raise_for_status()
