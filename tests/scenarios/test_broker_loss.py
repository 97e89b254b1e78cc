"""Redis emptied or gone in the middle of conversions: the ledger knows, the sweep repairs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from converter.domain.conversions import State

from .world import World, running_world, until


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("broker")) as running:
        yield running


def some_are_under_way(world: World) -> bool:
    states = [one.state for one in world.conversions()]
    return State.COMPLETED not in states[-5:] and any(state is not State.RECEIVED for state in states)


@pytest.mark.timeout(200)
def test_flushall_in_the_middle_of_twenty_conversions_loses_and_doubles_none(world: World) -> None:
    world.convert(20)
    until(lambda: some_are_under_way(world), 20, "conversions under way")
    assert world.stack.redis is not None
    with Redis.from_url(world.stack.redis.url) as client:
        for _ in range(3):
            client.flushall()
            time.sleep(0.3)  # three losses spread over the work, not one lucky moment
    world.wait_until_ended(90)
    world.assert_all_completed_once()


@pytest.mark.timeout(200)
def test_redis_stopped_for_ten_seconds_loses_and_doubles_none(world: World) -> None:
    world.convert(10)
    until(lambda: some_are_under_way(world), 20, "conversions under way")
    assert world.stack.redis is not None
    world.stack.redis.stop()
    started = time.monotonic()
    world.convert(10)
    assert time.monotonic() - started < 60, "accepting went on while Redis was away"
    until(lambda: time.monotonic() - started > 10, 11, "ten seconds without Redis")
    world.stack.redis.restart()
    world.wait_until_ended(120)
    world.assert_all_completed_once()


@pytest.mark.timeout(200)
@pytest.mark.chaos
def test_a_redis_that_is_killed_is_started_again_and_the_conversions_go_on(world: World) -> None:
    world.convert(6)
    until(lambda: some_are_under_way(world), 20, "conversions under way")
    redis = world.stack.redis
    assert redis is not None
    assert redis.pid is not None
    os.kill(redis.pid, signal.SIGKILL)
    said: list[str] = []

    def started_again() -> bool:
        said.extend(world.stack.watch())
        return "Redis died and was started again" in said

    until(started_again, 15, "Redis was started again")
    world.convert(4)
    world.wait_until_ended(90)
    world.assert_all_completed_once()
