"""The HTTP API in front of a ledger or a house, and a pool backend that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from converter.api.app import Parts, create_app
from converter.api.wiring import make_door, make_parts
from converter.ledger.repository import SqlLedger
from converter.security.keys import EnvironmentKeys
from converter.settings import Settings, load_settings
from converter.settings_faces import Api
from tests.builders import BTC_ADDRESS

CONVERSIONS = "/api/v1/conversions"
WANTED = {"fromCoin": "ETH", "toCoin": "BTC", "amount": "1.5", "address": BTC_ADDRESS}


def settings_of(home: Path, **api: Any) -> Settings:
    return load_settings(home=home).model_copy(update={"api": Api(**api)})


@dataclass
class Front:
    """`http` asks in this process, all requests on one event loop. `asked` keeps the hints."""

    parts: Parts
    http: TestClient
    asked: list[tuple[str, str]] = field(default_factory=list)

    def post(self, key: str | None = "k", headers: dict[str, str] | None = None, **changes: Any) -> Any:
        given = {} if key is None else {"Idempotency-Key": key}
        body = json.dumps({**WANTED, **changes})  # in ASCII, with whatever half characters there are
        kind = {"Content-Type": "application/json"}
        return self.http.post(CONVERSIONS, content=body, headers={**kind, **given, **(headers or {})})

    def accepted(self, key: str, **changes: Any) -> str:
        answer = self.post(key, **changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def act(self, conversion_id: str, action: str, **body: Any) -> Any:
        return self.http.post(f"{CONVERSIONS}/{conversion_id}/{action}", json=body)

    def ids(self, **search: Any) -> list[str]:
        answer = self.http.get(CONVERSIONS, params=search)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["conversions"]]

    def count(self) -> int:
        """Conversions in the ledger."""
        with self.parts.ledger.begin() as work:
            return len(work.conversions.page(limit=10_000))


@contextmanager
def front_of(
    ledger: SqlLedger,
    settings: Settings,
    change: Callable[[Parts], Parts] = lambda parts: parts,
    environ: dict[str, str] | None = None,
) -> Iterator[Front]:
    """A front on this ledger; `change` puts other parts in."""
    asked: list[tuple[str, str]] = []

    def send(task: str, conversion_id: str) -> bool:
        asked.append((task, conversion_id))
        return True

    keys = EnvironmentKeys(environ or {})
    parts = change(make_parts(settings, keys, ledger, send))
    app = create_app(parts, make_door(settings, keys, "127.0.0.1"))
    with TestClient(app, base_url="http://127.0.0.1:8080", raise_server_exceptions=False) as http:
        yield Front(parts, http, asked)


def on_another_ledger(ledger: SqlLedger) -> Callable[[Parts], Parts]:
    """Every route asks this ledger, which may be one that does not answer."""

    def change(parts: Parts) -> Parts:
        accepting = type(parts.accepting)(ledger, lambda gives, gets: {"any": None}, parts.send)
        return replace(parts, engine=replace(parts.engine, ledger=ledger), accepting=accepting)

    return change


def problem(answer: Any, status: int, error: str) -> dict[str, Any]:
    """The problem body of an answer that must be one."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    told: dict[str, Any] = json.loads(answer.text)
    assert (told["status"], told["error"], told["type"]) == (status, error, "about:blank")
    return told
