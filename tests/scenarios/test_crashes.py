"""kill -9 of a real worker at every point around a commit; the conversion ends by itself and is paid once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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


@pytest.mark.timeout(240)
def test_a_worker_killed_at_any_point_leaves_every_conversion_paid_exactly_once(world: World) -> None:
    """Every point of one service in a row, each with fresh conversions under way beside those of the points before."""
    service_id = next(iter(world.converter.get_stats()["services"]))
    worker = world.stack.workers[0]
    for point in POINTS[service_id]:
        trap = world.stack.home / "crash-at"
        trap.write_text(point)
        world.convert(2)
        until(lambda: not worker.is_alive, 40, f"{service_id}: killed {point}")
        assert not trap.exists(), f"{service_id}: the worker died elsewhere than {point}"
        world.stack.watch()
    conversions = world.wait_until_ended(150)
    assert worker.restarts == len(POINTS[service_id])
    assert {one.service_id for one in conversions} == {service_id}
    world.assert_all_completed_once()
