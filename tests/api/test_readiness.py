"""`/readyz` says what is missing, within its time, whatever hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from converter.api.readiness import ANSWER_WITHIN
from converter.enqueue import PULSE_KEY
from converter.ledger.repository import SqlLedger
from converter.local.redis_server import RedisServer
from tests.api.front import front_of, settings_of
from tests.app.conftest import kept_ledger
from tests.shared_state.redis_fixture import NOWHERE, client, frozen, redis_url, server

__all__ = ["client", "redis_url", "server"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    for opened, _ in kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('ready') / 'ledger.db'}"):
        yield opened


@contextmanager
def asking(ledger: SqlLedger, home: Path, url: str) -> Iterator[Any]:
    settings = settings_of(home).model_copy(update={"redis_url": url})
    with front_of(ledger, settings) as front:

        def ask(status: int) -> dict[str, Any]:
            began = time.monotonic()
            answer = front.http.get("/readyz")
            assert answer.status_code == status, answer.text
            assert time.monotonic() - began < ANSWER_WITHIN + 2
            told: dict[str, Any] = answer.json()
            assert told.pop("ready") == (status == 200)
            return told

        yield ask


def test_it_is_ready_while_a_worker_was_seen_a_moment_ago(
    ledger: SqlLedger, client: Redis, redis_url: str, tmp_path: Path
) -> None:
    well = {"ledger": "ok", "broker": "ok"}
    with asking(ledger, tmp_path, redis_url) as ask:
        assert ask(503) == {**well, "workers": "not seen: no worker has run a sweep"}
        client.set(PULSE_KEY, int(time.time() * 1000) - 5_000)
        assert ask(200) == {**well, "workers": "ok"}
        client.set(PULSE_KEY, int(time.time() * 1000) - 40_000)
        assert ask(503) == {**well, "workers": "not seen for 40 s"}


def test_a_broker_that_is_frozen_or_absent_is_said_to_be_away(
    ledger: SqlLedger, server: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    away = "not seen: the broker does not answer"
    with asking(ledger, tmp_path, redis_url) as ask, frozen(server):
        assert ask(503) == {"ledger": "ok", "broker": "did not answer (TimeoutError)", "workers": away}
    with asking(ledger, tmp_path, NOWHERE) as ask:
        assert ask(503) == {"ledger": "ok", "broker": "did not answer (ConnectionError)", "workers": away}
    with asking(ledger, tmp_path, "") as ask:
        assert ask(503) == {"ledger": "ok", "broker": "none is configured", "workers": away}


def test_a_ledger_that_hangs_is_said_to_be_away_and_holds_up_nobody(ledger: SqlLedger, tmp_path: Path) -> None:
    with asking(ledger, tmp_path, "") as ask:
        with ledger.begin():  # nobody else gets in
            assert ask(503)["ledger"] == f"did not answer within {ANSWER_WITHIN:.0f} s"
        assert ask(503)["ledger"] == "ok"
