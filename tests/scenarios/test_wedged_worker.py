"""A worker that is alive but takes no work, as after some broker failures: noticed, replaced, nothing doubled."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .world import running_world, until


@pytest.mark.chaos
@pytest.mark.timeout(240)
def test_a_worker_that_takes_no_work_is_replaced_and_nothing_is_doubled(tmp_path: Path) -> None:
    with running_world(tmp_path) as world:
        world.convert(5)
        world.wait_until_ended()
        worker = world.stack.workers[0]
        assert worker.pid is not None
        world.convert(5)
        os.kill(worker.pid, signal.SIGSTOP)
        told = until(world.stack.watch, 80, "the stack noticed")
        assert "took no work" in told[0]
        world.wait_until_ended(120)
        world.assert_all_completed_once()
