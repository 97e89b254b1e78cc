"""The demo is the claim of the project; it runs here as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .world import command, last_json

FIELDS = {
    "conversions",
    "completed",
    "failed",
    "in_review",
    "failovers",
    "doubles",
    "lost",
    "p50_ms",
    "p95_ms",
    "by_service",
}


@pytest.mark.timeout(200)
def test_the_demo_completes_everything_once_through_a_failing_service_and_a_killed_worker(tmp_path: Path) -> None:
    done = command(tmp_path, "demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = last_json(done.stdout)
    assert set(told) >= FIELDS
    assert (told["conversions"], told["completed"]) == (40, 40)
    assert (told["doubles"], told["lost"], told["failed"], told["in_review"]) == (0, 0, 0, 0)
    assert told["failovers"] > 0
    assert sum(one["executions"] for one in told["by_service"].values()) == 40
    assert not any(tmp_path.iterdir()), "a demo leaves nothing in the data folder"
