"""Tier by tier goes down, and comes back by itself: who takes over, how soon it is known, and what operators hear.

One system lives through it all, in the order of the tests. `pytest -s` prints the times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

import pytest

from converter.domain import events
from converter.domain.conversions import State
from converter.domain.events import Event
from converter.settings import load_settings

from .world import ALL_SERVICES, ENDED, World, running_world
from .world import until as until_at_any_moment

pytestmark = pytest.mark.timeout(300)

TIERS = {
    tier: tuple(one.id for one in load_settings().services if one.priority == tier and one.id in ALL_SERVICES)
    for tier in (1, 2, 3, 4)
}
until = partial(until_at_any_moment, pause=0.3)
DETECTED_WITHIN = 30.0
EMERGENCY_AFTER = 3.0
MANY = 4
"""Conversions at once, so that the breakers of services that are down open without waiting for health checks."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("cascade")
    with running_world(home, only=ALL_SERVICES, emergencyAfter=round(EMERGENCY_AFTER * 1000)) as running:
        until(lambda: running.checked() == set(ALL_SERVICES), 30, "every service was checked once")
        yield running


def down(world: World, services: Sequence[str]) -> datetime:
    for service_id in services:
        world.fault(service_id, "down")
    return world.now()


def convert(world: World, limit: float) -> str:
    """Who completes the next conversion."""
    (handle,) = world.convert()
    until(lambda: handle.state is State.COMPLETED, limit, lambda: f"{handle.state}: {handle.details().reason}")
    return handle.details().service_id or ""


def told(world: World, name: str, since: datetime) -> list[Event]:
    return [one for one in world.told() if one.name == name and one.at is not None and one.at >= since]


def test_an_outage_is_known_within_half_a_minute_without_any_traffic(world: World) -> None:
    since = down(world, ["kraken"])

    def known() -> list[Event]:
        return [one for one in told(world, events.SERVICE_UNAVAILABLE, since) if one.payload["serviceId"] == "kraken"]

    until(known, DETECTED_WITHIN + 5, "the outage is told")
    [outage] = known()
    assert outage.at is not None
    took = (outage.at - since).total_seconds()
    print(f"\noutage without traffic: known after {took:.1f} s")
    assert took <= DETECTED_WITHIN
    assert not world.converter.get_stats()["services"]["kraken"]["available"]


def test_secondaries_take_over_within_one_conversions_time(world: World) -> None:
    usual = time.monotonic()
    assert convert(world, 30) in TIERS[1]
    usual = time.monotonic() - usual
    down(world, TIERS[1])
    began = time.monotonic()
    assert convert(world, 30) in TIERS[2]
    took = time.monotonic() - began
    print(f"\nprimaries down: completed by a secondary after {took:.1f} s (usually {usual:.1f} s)")
    assert took <= usual + 5, "nobody waits for breakers or checks"


def test_backups_take_over_and_operators_hear_of_it(world: World) -> None:
    since = down(world, TIERS[2])
    began = time.monotonic()
    assert convert(world, 30) == "binance", "kraken is down as well"
    print(f"\nsecondaries down: completed by a backup after {time.monotonic() - began:.1f} s")

    def degraded() -> list[Event]:
        return [one for one in told(world, events.TIER_DEGRADED, since) if one.payload["tier"] == 3]

    world.convert(MANY)  # they find out that the breakers of the lower tiers are open

    def known() -> list[Event]:
        if not degraded() and all(handle.state in ENDED for handle in world.handles):
            world.convert()
        return degraded()

    until(known, 90, "the pair is known to depend on backups")
    alert, *_ = degraded()  # again, if a breaker on trial let a lower tier in for a moment
    assert (alert.payload["pair"], alert.payload["usual"]) == ("ETH-BTC", 1)
    assert set(alert.payload["unavailable"]) >= {*TIERS[1], *TIERS[2]}


def test_with_nobody_left_a_conversion_waits_and_then_uses_the_emergency_tier(world: World) -> None:
    world.wait_until_ended()  # a withdrawal that is cut off is rightly in doubt for minutes
    since = down(world, TIERS[3])
    handle, *_ = world.convert(MANY)
    began = time.monotonic()
    # Told by its event: it may wait for less than the moment between two looks.
    until(lambda: any(one.name == events.CONVERSION_WAITING for one in world.events(handle.id)), 60, "it waits")
    until(
        lambda: [one for one in told(world, events.TIER_DEGRADED, since) if one.payload["tier"] is None],
        90,
        "operators hear that nobody converts the pair",
    )
    [nobody] = [one for one in told(world, events.TIER_DEGRADED, since) if one.payload["tier"] is None]
    until(lambda: handle.state is State.COMPLETED, 90, lambda: f"{handle.state}: {handle.details().reason}")
    print(f"\nall down: completed by the emergency tier after {time.monotonic() - began:.1f} s")
    assert (handle.details().service_id,) == TIERS[4]
    [activated] = [one for one in world.events(handle.id) if one.name == events.EMERGENCY_ACTIVATED]
    assert activated.at is not None
    assert nobody.at is not None
    assert (activated.at - nobody.at).total_seconds() >= EMERGENCY_AFTER


def test_everything_comes_back_by_itself(world: World) -> None:
    world.mend()
    began = time.monotonic()
    until(lambda: world.converter.get_stats()["healthyServices"] == len(ALL_SERVICES), 120, "all are healthy again")
    print(f"\nfaults over: all services available again after {time.monotonic() - began:.1f} s")
    assert convert(world, 30) in TIERS[1]
    quoting = [one for one in world.told() if one.payload.get("operation") == "quote"]
    away = [one.payload["serviceId"] for one in quoting if one.name == events.SERVICE_UNAVAILABLE]
    back = [one.payload["serviceId"] for one in quoting if one.name == events.SERVICE_RECOVERED]
    assert sorted(away) == sorted(back), "every outage was told once, and so was its end"


def test_nothing_was_paid_twice_or_lost_on_the_way(world: World) -> None:
    world.wait_until_ended()
    world.assert_all_completed_once()
