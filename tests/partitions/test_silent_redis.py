"""A region that is cut off from its Redis, in silence, in the middle of its work: nothing is lost, and it goes on soon
after the healing, by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.domain.conversions import State
from converter.local.processes import Child
from converter.local.redis_server import _find_binary
from converter.local.stack import Stack, StackOptions
from tests.partitions.network import Cable, network
from tests.scenarios.world import SERVICES, World, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

CUT_SECONDS = 20.0


@pytest.fixture
def cut_off(tmp_path: Path) -> Iterator[tuple[World, Cable]]:
    """A running system whose Redis is at the other end of a cable; this thread is where the system is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    with network(["region", "redis"], [("region", "redis")]) as net:
        region, there = net.places["region"], net.places["redis"]
        words = ["--bind", "0.0.0.0", "--protected-mode", "no", "--port", "6379", "--save", "", "--dir", str(tmp_path)]
        redis = Child("redis", [_find_binary(kept), *words], kept, tmp_path / "redis.log")
        with there.inside():
            redis.start()
        with region.inside():
            environ = {**kept, "CONVERTER_REDIS_URL": f"redis://{region.addresses['redis']}:6379/0"}
            options = StackOptions(sandbox_speed=5.0, services=SERVICES)
            stack = Stack(tmp_path / "home", environ, sandbox=True, options=options)
            try:
                stack.start()
                world = World(stack)
                yield world, net.cables["region-redis"]
                world.close()
            finally:
                net.heal()
                stack.stop()
                redis.stop()


def test_a_silent_cut_from_redis_loses_nothing_and_work_goes_on_soon_after_it(cut_off: tuple[World, Cable]) -> None:
    world, cable = cut_off
    world.convert(20)
    until(lambda: any(one.state is State.EXECUTING for one in world.conversions()), 30, "conversions under way")
    cable.cut()
    over = time.monotonic() + CUT_SECONDS
    world.convert(5)  # accepting goes on: each hint costs seconds at the most
    assert time.monotonic() - over < CUT_SECONDS
    until(lambda: time.monotonic() > over, CUT_SECONDS + 1, "cut for long enough")
    cable.heal()
    began = time.monotonic()
    world.wait_until_ended(240)
    print(f"\nall ended {time.monotonic() - began:.1f} s after the healing; {world.stack.workers[0].restarts} restarts")
    world.assert_all_completed_once()
    assert world.stack.workers[0].restarts == 0, "by itself, without being taken for wedged"
    fresh = time.monotonic()
    world.convert(3)
    world.wait_until_ended(60)
    print(f"three more took {time.monotonic() - fresh:.1f} s")
