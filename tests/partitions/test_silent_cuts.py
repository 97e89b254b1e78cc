"""What a silent partition between a worker and the ledger costs, with every kind of thing under way when it begins.

Nothing waits for longer than seconds, on either side of the cut; afterwards the pool is as good as new.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from converter.ledger.engines import create_engine
from tests.own_postgres import OwnPostgres, postgres_folder
from tests.partitions.network import Cable, Place, network
from tests.scenarios.world import until

pytestmark = pytest.mark.chaos

WRITE = "UPDATE kept SET number = number + 1"


@dataclass
class Wire:
    """A worker's place, the ledger's, and the cable between them."""

    region: Place
    ledger: Place
    cable: Cable
    server: OwnPostgres
    engine: Engine
    """The worker's, as the product makes it."""
    beside: Engine
    """At the ledger itself: whoever is not cut off."""

    def write(self) -> None:
        """A transaction of the worker's."""
        with self.region.inside(), self.engine.begin() as connection:
            connection.exec_driver_sql(WRITE)

    def others(self, statement: str = WRITE) -> None:
        """A transaction of somebody else's, with the worker's patience for locks."""
        with self.ledger.inside(), self.beside.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = 5000")
            connection.exec_driver_sql(statement)

    def sessions(self) -> int:
        """How many of the worker's sessions the server has."""
        with self.ledger.inside(), self.beside.connect() as connection:
            found = "SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL AND client_addr <> '127.0.0.1'"
            return int(connection.exec_driver_sql(found).scalar_one())


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Place, Place, Cable, OwnPostgres]]:
    with network(["region", "ledger"], [("region", "ledger")]) as made, postgres_folder() as folder:
        region, ledger = made.places["region"], made.places["ledger"]
        server = OwnPostgres(folder, "0.0.0.0", 5432)
        try:
            with ledger.inside():
                server.start()
            yield region, ledger, made.cables["region-ledger"], server
        finally:
            server.stop()


@pytest.fixture
def wire(places: tuple[Place, Place, Cable, OwnPostgres]) -> Iterator[Wire]:
    region, _, cable, server = places
    found = Wire(
        *places,
        engine=create_engine(server.url(region.addresses["ledger"])),
        beside=sa.create_engine(sa.make_url(server.url()).set(drivername="postgresql+psycopg")),
    )
    found.others("CREATE TABLE IF NOT EXISTS kept (number integer)")
    found.others("DELETE FROM kept")
    found.others("INSERT INTO kept VALUES (0)")
    yield found
    while cable.is_cut:
        cable.heal()
    found.engine.dispose()
    found.beside.dispose()


def seconds_to_fail(work: Callable[[], None]) -> float:
    began = time.monotonic()
    with pytest.raises(sa.exc.OperationalError):
        work()
    return time.monotonic() - began


def test_a_transaction_on_a_kept_connection_fails_within_seconds_and_the_next_one_sooner(wire: Wire) -> None:
    wire.write()
    wire.cable.cut()
    assert seconds_to_fail(wire.write) < 8
    assert seconds_to_fail(wire.write) < 4, "there is no kept connection to try any more"
    wire.cable.heal()
    wire.write()


@pytest.mark.parametrize("under_way", ["a statement", "the commit"])
def test_what_is_under_way_fails_within_seconds_and_locks_nobody_out(wire: Wire, under_way: str) -> None:
    def work() -> None:
        with wire.region.inside(), wire.engine.begin() as connection:
            connection.exec_driver_sql(WRITE)
            wire.cable.cut()
            if under_way == "a statement":
                connection.exec_driver_sql(WRITE)

    assert seconds_to_fail(work) < 7
    wire.others()  # the server has let the row go, though nobody has told it anything
    wire.cable.heal()
    wire.write()
    with wire.ledger.inside(), wire.beside.connect() as connection:
        assert connection.exec_driver_sql("SELECT number FROM kept").scalar_one() == 2


def test_an_answer_that_never_comes_is_not_waited_for(wire: Wire) -> None:
    """Nothing of ours is unacknowledged here: only keepalives tell."""

    def work() -> None:
        with wire.region.inside(), wire.engine.begin() as connection:
            cut = threading.Timer(0.5, wire.cable.cut)
            cut.start()
            connection.exec_driver_sql("SELECT pg_sleep(8)")

    assert seconds_to_fail(work) < 7


def test_a_slow_answer_is_waited_for(wire: Wire) -> None:
    with wire.region.inside(), wire.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(6)")
        connection.exec_driver_sql(WRITE)


def test_a_cut_of_a_second_breaks_nothing(wire: Wire) -> None:
    with wire.region.inside(), wire.engine.begin() as connection:
        connection.exec_driver_sql(WRITE)
        wire.cable.cut()
        healing = threading.Timer(1.0, wire.cable.heal)
        healing.start()
        connection.exec_driver_sql(WRITE)
    healing.join()


def test_all_threads_of_a_worker_are_free_again_within_seconds_and_leave_no_sessions_behind(wire: Wire) -> None:
    threads = 16
    together = threading.Barrier(threads)

    def warm(_: int) -> None:
        with wire.region.inside(), wire.engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")
            together.wait(20)  # so that each has a connection of its own

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(warm, range(threads)))
        assert wire.sessions() == threads
        wire.cable.cut()
        took = list(pool.map(lambda _: seconds_to_fail(wire.write), range(threads)))
        assert max(took) < 9
        until(lambda: wire.sessions() == 0, 20, "the server has let the dead sessions go")
        wire.cable.heal()
        list(pool.map(lambda _: wire.write(), range(threads)))
