"""kill -9 of a real worker at every point around a commit; the conversion ends by itself and is paid once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from converter.domain.conversions import State

from .world import World, running_world, until

POINTS = {
    "btcpay_lightning": [
        "before claimed work",
        "before order",
        "after order",
        "before step",
        "after step",
        "after query",
    ],
    "changenow": [
        "before claimed work",
        "before order",
        "after order",
        "before broadcast",
        "after broadcast",
        "before query",
    ],
    # A withdrawal that never left is proven only after minutes; that point is covered on a given clock.
    "binance": ["before claimed work", "before order", "after order", "after step"],
}


@pytest.fixture(scope="module", params=sorted(POINTS))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("crashes")
    celery = ("tests.scenarios.crashing", "-A", "workers.app")
    times = {"CONVERTER_ENGINE__LEASE": "3000", "CONVERTER_ENGINE__QUOTING": "2000"}
    with running_world(home, only=[request.param], celery=celery, environ=times) as running:
        yield running


@pytest.mark.timeout(280)
def test_a_worker_killed_at_any_point_leaves_every_conversion_paid_exactly_once(world: World) -> None:
    """All points of one service, one after the other, each with three conversions under way."""
    service_id = next(iter(world.converter.get_stats()["services"]))
    for point in POINTS[service_id]:
        trap = world.stack.home / "crash-at"
        restarts = world.stack.workers[0].restarts
        trap.write_text(point)
        world.convert(3)
        until(lambda trap=trap: not trap.exists(), 20, f"{service_id}: reached {point}")
        world.wait_until_ended(120)
        assert world.stack.workers[0].restarts > restarts, f"{service_id}: the worker was not killed {point}"
        assert {one.state for one in world.conversions()} == {State.COMPLETED}, f"{service_id}: {point}"
        world.assert_all_completed_once()
