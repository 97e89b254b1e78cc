"""A small run of the long drill, so that the harness itself works; `make chaos` runs the large ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .world import command, last_json

QUICK = ("changenow", "simpleswap", "thorchain")
"""Services where every doubt is settled within seconds; others wait for minutes until an absence is a proof."""


@pytest.mark.chaos
@pytest.mark.timeout(250)
def test_a_small_drill_keeps_every_promise_through_lost_answers_and_a_killed_worker(tmp_path: Path) -> None:
    services = [word for name in QUICK for word in ("--service", name)]
    size = ("--conversions", "60", "--workers", "2", "--under-way", "12")
    done = command(tmp_path, "drill", "--profile", "smoke", "--ledger", "sqlite", *size, *services, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = last_json(done.stdout)
    assert told["broken"] == []
    assert (told["conversions"], told["completed"]) == (60, 60)
    assert (told["doubles"], told["lost"], told["phantom"], told["failed"]) == (0, 0, 0, 0)
    assert told["strikes"]["kill"] >= 1
    assert told["faults_struck"] > 0
    assert {name for name, one in told["services"].items() if one["executions"]} <= set(QUICK)
    assert told["traces"] == []
