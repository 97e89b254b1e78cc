"""How each service stands, from its breakers, the operator's word, the judging of its rates and its last check."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import pytest
from redis import Redis

from converter.domain.breakers import BreakerState
from converter.domain.health import Check
from converter.domain.quarantine import Change, Standing
from converter.operating import Operating
from converter.shared_state.rates import Rates
from converter.shared_state.redis_access import RedisAccess
from converter.sharing import breakers_of
from converter.standing import ServiceStanding, standings
from tests.app.house import House
from tests.builders import START, a_place, seconds
from tests.shared_state.redis_fixture import NOWHERE, client, redis_url, server

__all__ = ["client", "redis_url", "server"]


class Scene:
    """Two services over a Redis, or over none."""

    def __init__(self, house: House, url: str) -> None:
        access = RedisAccess(url, timeout=10, away=0.0)
        self.house = house
        self.rates = Rates(access)
        self.breakers = {one: breakers_of(access, a_place(one)) for one in ("alpha", "beta")}
        self.operating = Operating(house.ledger, self.breakers, self.rates)

    def of(self, service_id: str = "alpha", *, ledger: bool = True) -> ServiceStanding:
        found = standings(self.house.ledger if ledger else None, self.breakers, self.rates)
        assert set(found) == {"alpha", "beta"}
        return found[service_id]

    def move(self, operation: str, state: BreakerState, service_id: str = "alpha") -> None:
        self.breakers[service_id][operation].move(state)

    def quarantine(self, until: datetime, *, needs_operator: bool = False) -> None:
        out = Change(Standing(until=until, needs_operator=needs_operator))
        self.rates.note("alpha", partial(_become, out), START)


def _become(change: Change, _before: Standing) -> Change:
    return change


@pytest.fixture
def scene(house: House, redis_url: str, client: Redis) -> Scene:
    return Scene(house, redis_url)


def test_a_service_without_trouble_is_closed(scene: Scene) -> None:
    standing = scene.of()
    assert (standing.state, standing.detail(START), standing.check) == ("closed", "", None)
    assert set(standing.breakers) == {"quote", "execute"}


@pytest.mark.parametrize("operation", ["quote", "execute"])
def test_an_open_breaker_tells_when_it_is_probed_next(scene: Scene, operation: str) -> None:
    scene.move(operation, BreakerState.OPEN)
    standing = scene.of()
    assert standing.state == "open"
    wait = standing.breakers[operation].retry_after
    assert wait is not None
    assert standing.detail(START) == f"{operation}: next probe in {-(-wait // timedelta(seconds=1))} s"
    assert wait > seconds(0)
    assert scene.of("beta").state == "closed"


def test_a_half_open_breaker_is_told_and_an_open_one_is_worse(scene: Scene) -> None:
    scene.move("execute", BreakerState.HALF_OPEN)
    assert (scene.of().state, scene.of().detail(START)) == ("half-open", "execute: being probed")
    scene.move("quote", BreakerState.OPEN)
    assert scene.of().state == "open"
    assert scene.of().detail(START).endswith("; execute: being probed")


def test_an_isolated_service_is_isolated_until_it_is_released(scene: Scene) -> None:
    scene.move("quote", BreakerState.OPEN)
    scene.operating.isolate("alpha")
    assert (scene.of().state, scene.of().detail(START)) == ("isolated", "taken out by an operator")
    scene.operating.release("alpha")
    assert scene.of().state == "closed"


def test_an_isolation_outlives_what_redis_knows(scene: Scene, client: Redis) -> None:
    scene.operating.isolate("alpha")
    client.flushall()
    assert scene.of().state == "isolated"


@pytest.mark.parametrize(
    ("until", "needs_operator", "text"),
    [
        (START + timedelta(minutes=5), False, "rates: in quarantine until 2026-03-04 12:05:00 UTC"),
        (START - timedelta(minutes=5), False, "rates: in quarantine until its quotes are good again"),
        (START + timedelta(minutes=5), True, "rates: in quarantine, needs an operator"),
    ],
)
def test_a_quarantine_tells_how_it_ends(scene: Scene, until: datetime, needs_operator: bool, text: str) -> None:
    scene.quarantine(until, needs_operator=needs_operator)
    assert (scene.of().state, scene.of().detail(START)) == ("quarantined", text)
    scene.operating.recover("alpha")
    assert scene.of().state == "closed"


def test_an_open_breaker_does_not_hide_a_quarantine(scene: Scene) -> None:
    scene.quarantine(START + timedelta(minutes=5))
    scene.move("quote", BreakerState.OPEN)
    assert scene.of().state == "open"
    assert "in quarantine until" in scene.of().detail(START)


def test_the_last_health_check_is_told(scene: Scene) -> None:
    with scene.house.ledger.begin() as work:
        work.memory.checked("alpha", Check(START, "away", 12))
    check = scene.of().check
    assert check is not None
    assert (check.at, check.ok, check.error, check.misses) == (START, False, "away", 1)
    assert scene.of("beta").check is None


def test_without_redis_the_state_is_unknown_and_an_isolation_still_told(house: House) -> None:
    scene = Scene(house, NOWHERE)
    assert (scene.of().state, scene.of().detail(START)) == ("unknown", "Redis did not answer")
    scene.operating.isolate("beta")
    other = Scene(house, NOWHERE)
    assert (other.of().state, other.of("beta").state) == ("unknown", "isolated")


def test_without_the_ledger_the_state_is_unknown(scene: Scene) -> None:
    standing = scene.of(ledger=False)
    assert (standing.state, standing.detail(START)) == ("unknown", "the ledger did not answer")
    assert standing.breakers["quote"].state is BreakerState.CLOSED
