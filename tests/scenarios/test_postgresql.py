"""The main job on a PostgreSQL ledger, with the worker killed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.domain.conversions import State
from tests.ledger.conftest import new_database

from .world import running_world, until


@pytest.mark.timeout(150)
def test_conversions_on_postgresql_survive_a_killed_worker(tmp_path: Path, postgres_url: str) -> None:
    with new_database(postgres_url) as url, running_world(tmp_path, environ={"CONVERTER_LEDGER_URL": url}) as world:
        assert world.stack.addresses()["ledger"] == url
        world.convert(10)
        until(
            lambda: any(one.state in (State.EXECUTING, State.SETTLING) for one in world.conversions()),
            20,
            "conversions under way",
        )
        world.stack.workers[0].kill()
        world.wait_until_ended(90)
        world.assert_all_completed_once()
