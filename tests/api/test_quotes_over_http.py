"""Quotes side by side over HTTP: exact, told apart from errors, bounded in number, and nothing else happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converter.api.quotes import AT_ONCE
from converter.domain.errors import BreakerRefused, LimiterRefused, ServiceUnavailable
from converter.ledger.repository import SqlLedger
from converter.surveying import Surveying
from tests.api.front import Front, front_of, problem, settings_of
from tests.app.conftest import kept_ledger
from tests.app.test_surveying import a_service, an_entry
from tests.fakes import HandClock, Scene, ScriptedService, refuse

QUOTES = "/api/v1/quotes"
WANTED = {"fromCoin": "ETH", "toCoin": "BTC", "amount": "1.5"}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    for opened, _ in kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('quotes') / 'ledger.db'}"):
        yield opened


@contextmanager
def asking(ledger: SqlLedger, home: Path, *services: ScriptedService, **entries: dict[str, Any]) -> Iterator[Front]:
    made = {one.service_id: one for one in services}
    listed = [an_entry(name, **entries.get(name, {})) for name in (*made, *(set(entries) - set(made)))]
    surveying = Surveying(listed, made.__getitem__, HandClock())
    with front_of(ledger, settings_of(home), lambda parts: replace(parts, surveying=surveying)) as front:
        yield front


def test_offers_stand_side_by_side_and_the_best_is_marked(ledger: SqlLedger, tmp_path: Path) -> None:
    down, open_, limited = a_service("down"), a_service("open"), a_service("limited")
    down.always("quote", refuse(ServiceUnavailable, detail="HTTP 503"))
    open_.always("quote", refuse(BreakerRefused))
    limited.always("quote", refuse(LimiterRefused))
    services = (a_service("alpha", "0.08999999"), a_service("beta", "0.09"), down, open_, limited)
    missing = {"keyless": {"missing": ("CONVERTER_KEY_KEYLESS_API_KEY",)}, "out": {"enabled": False}}
    with asking(ledger, tmp_path, *services, **missing) as front:
        answer = front.http.post(QUOTES, json=WANTED)
        assert answer.status_code == 200
        told = answer.json()
    assert (told["fromCoin"], told["toNetwork"], told["amount"]) == ("ETH", "BTC", "1.5")
    found = {one["service"]: one for one in told["quotes"]}
    assert [one["service"] for one in told["quotes"]][:2] == ["beta", "alpha"]
    assert [one["service"] for one in told["quotes"] if one["best"]] == ["beta"]
    assert set(found) == {"alpha", "beta", "down", "open", "limited", "keyless"}
    assert found["beta"]["net"] == "0.09"
    assert found["beta"]["rate"] == "0.06"
    assert found["beta"]["error"] is None
    assert isinstance(found["beta"]["ms"], int)
    assert found["beta"]["fees"]
    assert found["down"] | {"ms": 0} == {
        **dict.fromkeys(("net", "gross", "rate", "firm", "expiresIn")),
        "service": "down",
        "tier": 1,
        "fees": [],
        "ms": 0,
        "error": "unavailable (HTTP 503)",
        "best": False,
    }
    assert found["open"]["error"] == "not asked: its breaker is open"
    assert found["limited"]["error"].startswith("not asked: the limit of calls")
    assert "CONVERTER_KEY_KEYLESS_API_KEY" in found["keyless"]["error"]


def test_nothing_is_created_stored_or_executed(ledger: SqlLedger, tmp_path: Path) -> None:
    alpha = a_service("alpha")
    with asking(ledger, tmp_path, alpha) as front:
        front.http.post(QUOTES, json=WANTED)
        assert (front.count(), front.asked) == (0, [])
    assert [name for name in ("place", "advance", "find") if alpha.count(name)] == []


def test_only_a_few_are_asked_for_at_the_same_time(ledger: SqlLedger, tmp_path: Path) -> None:
    alpha, may, under_way = a_service("alpha"), threading.Event(), threading.Semaphore(0)

    def wait(scene: Scene) -> Any:
        under_way.release()
        assert may.wait(20)
        return scene.do()

    alpha.always("quote", wait)
    with asking(ledger, tmp_path, alpha) as front, ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(front.http.post, QUOTES, json=WANTED) for _ in range(AT_ONCE)]
        for _ in asked:
            under_way.acquire(timeout=20)
        assert front.http.post(QUOTES, json=WANTED).headers["retry-after"] == "1"
        assert front.http.get("/healthz").status_code == 200
        may.set()
        assert {one.result().status_code for one in asked} == {200}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 1.5}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "1.0000000000000000001"}, "amount"),
        ({"toCoin": "ETH"}, "toCoin"),
        ({"toNetwork": "ETH"}, "toNetwork"),
        ({"address": "x"}, "address"),
    ],
    ids=str,
)
def test_a_question_that_means_nothing_is_refused(
    ledger: SqlLedger, tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    with asking(ledger, tmp_path) as front:
        answer = front.http.post(QUOTES, json={**WANTED, **change})
    assert problem(answer, 422, "InvalidRequest")["field"] == field
