"""The connection to PostgreSQL breaks during a COMMIT, so that its owner cannot know whether it was committed.

Every COMMIT of a conversion in turn, in both ways: the request is lost, or the answer to it. Nothing is sent on an
uncertain PREPARED; whatever happened is found by the next owner; the conversion is executed once and completed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from converter.domain.conversions import AttemptState, Conversion, State
from converter.domain.orders import OperationKind
from converter.ledger.engines import create_engine
from converter.ledger.migrations.run import upgrade
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import metadata
from tests.app.house import EXCHANGE, KINDS, House
from tests.app.test_crashes import stage
from tests.builders import START
from tests.fakes import HandClock, Scene
from tests.ledger.commit_proxy import CommitProxy, Lost, commit_proxy
from tests.ledger.conftest import new_database
from tests.scenarios.world import until

MOST = 60
"""More transactions than a conversion takes."""


@dataclass(frozen=True)
class Ways:
    """The ledger as a worker reaches it, over the place where that breaks, and the same ledger for us."""

    proxy: CommitProxy
    worker: SqlLedger
    direct: SqlLedger
    clock: HandClock

    def house(self) -> House:
        """A new one on an empty ledger."""
        with self.direct.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE postings DISABLE TRIGGER USER")
            for table in reversed(metadata.sorted_tables):  # a handful of rows: far quicker than TRUNCATE
                connection.execute(table.delete())
            connection.exec_driver_sql("ALTER TABLE postings ENABLE TRIGGER USER")
        self.clock.time = START
        return House(self.direct, self.clock)


@pytest.fixture(scope="module")
def ways(postgres_url: str) -> Iterator[Ways]:
    with new_database(postgres_url) as url, commit_proxy(url) as proxy:
        engines = [create_engine(proxy.url), create_engine(url)]
        upgrade(engines[1])
        with engines[1].begin() as connection:  # nobody pulls the plug of the machine here
            connection.exec_driver_sql(f"ALTER DATABASE {engines[1].url.database} SET synchronous_commit = off")
        engines[1].dispose()
        clock = HandClock()
        yield Ways(proxy, SqlLedger(engines[0], clock=clock), SqlLedger(engines[1], clock=clock), clock)
        for engine in engines:
            engine.dispose()


def finish(house: House, conversion_id: str, ledger: SqlLedger) -> Conversion:
    """Sweep to the end; an owner whose ledger broke under it is not seen again."""
    owner = "a"
    for _ in range(150):
        conversion = house.get(conversion_id)
        if conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW:
            break
        house.wait_until_due(conversion_id)
        try:
            house.sweep(owner, ledger)
        except sa.exc.OperationalError:
            owner = "b"
            until(lambda: nobody_is_in_a_transaction(house), 10, "the server let go of the lost connection", pause=0.01)
    return house.get(conversion_id)


def nobody_is_in_a_transaction(house: House) -> bool:
    """A sweep passes over rows that somebody still holds."""
    assert isinstance(house.ledger, SqlLedger)
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in trans%%'"
    with house.ledger.engine.connect() as connection:
        return connection.exec_driver_sql(idle).scalar_one() == 0


def sweep_until_it_breaks(house: House, conversion_id: str, ledger: SqlLedger) -> None:
    for _ in range(10):
        house.wait_until_due(conversion_id)
        house.sweep("a", ledger)


@pytest.mark.parametrize("lost", list(Lost))
@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_lost_during_any_commit_neither_doubles_nor_loses(
    ways: Ways, kind: OperationKind, lost: Lost
) -> None:
    troubles = []
    for number in range(1 + (lost is Lost.ANSWER), MOST, 2):
        house = ways.house()
        cid = stage(house, kind, "plain")
        ways.proxy.lose(number, lost)
        done = finish(house, cid, ways.worker)
        open_attempts = [one for one in house.attempts(cid) if one.is_open]
        if (done.state, len(house.payouts()), len(open_attempts)) != (State.COMPLETED, 1, 1):
            troubles.append(f"commit {number}: {done.state} {done.reason}, {len(house.payouts())} payouts")
        if not ways.proxy.lost:
            break
    else:
        pytest.fail("the conversion did not end")
    assert not troubles
    assert number > 8, "too few commits to mean anything"


@pytest.mark.parametrize("lost", list(Lost))
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_sent_for_an_attempt_whose_commit_is_uncertain(ways: Ways, kind: OperationKind, lost: Lost) -> None:
    house = ways.house()
    cid = stage(house, kind, "plain")
    before_sending: list[int] = []

    def note(scene: Scene) -> Any:
        before_sending.append(ways.proxy.commits)
        return scene.do()

    alpha = house.services["alpha"]
    alpha.always("place", note)
    ways.proxy.lose(0, lost)
    finish(house, cid, ways.worker)
    [prepared] = before_sending

    house = ways.house()
    cid = stage(house, kind, "plain")
    alpha = house.services["alpha"]
    ways.proxy.lose(prepared, lost)
    with pytest.raises(sa.exc.OperationalError):
        sweep_until_it_breaks(house, cid, ways.worker)
    assert ways.proxy.lost == 1
    assert alpha.count("place") == 0
    attempts = [one.state for one in house.attempts(cid)]
    assert attempts == ([AttemptState.PREPARED] if lost is Lost.ANSWER else [])
    assert finish(house, cid, ways.worker).state is State.COMPLETED
    assert len(house.payouts()) == 1


@pytest.mark.parametrize("lost", list(Lost))
def test_an_order_whose_record_is_uncertain_is_found_by_the_next_owner_and_not_sent_again(
    ways: Ways, lost: Lost
) -> None:
    house = ways.house()
    cid = stage(house, EXCHANGE, "plain")
    alpha = house.services["alpha"]

    def break_next(scene: Scene) -> Any:
        order = scene.do()
        ways.proxy.lose(1, lost)  # the very next commit records what we have just learnt
        return order

    alpha.on("place", break_next)
    with pytest.raises(sa.exc.OperationalError):
        sweep_until_it_breaks(house, cid, ways.worker)
    assert alpha.count("place") == 1
    [attempt] = house.attempts(cid)
    assert attempt.state is (AttemptState.EXECUTED if lost is Lost.ANSWER else AttemptState.PREPARED)
    assert finish(house, cid, ways.worker).state is State.COMPLETED
    assert alpha.count("place") == 1
    assert len(house.payouts()) == 1
