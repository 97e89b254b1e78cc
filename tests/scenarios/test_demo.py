"""The demo is the claim of the project; it runs here as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.services import REGISTRY

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
    home, configured = tmp_path / "home", tmp_path / "ledger.db"
    home.mkdir()
    (tmp_path / "url").write_text(f"sqlite:///{configured}")
    done = command(home, "demo", "--json", CONVERTER_LEDGER_URL_FILE=str(tmp_path / "url"), CONVERTER_KEYS="nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    told = last_json(done.stdout)
    assert set(told) >= FIELDS
    assert (told["conversions"], told["completed"]) == (40, 40)
    assert (told["doubles"], told["lost"], told["failed"], told["in_review"]) == (0, 0, 0, 0)
    assert told["failovers"] > 0
    executions = {service_id: one["executions"] for service_id, one in told["by_service"].items()}
    assert sum(executions.values()) == 40
    assert set(executions) == set(REGISTRY)
    assert min(executions.values()) >= 1, "each takes over when the others are down"
    assert set(told["pairs"]) == {"ETH->BTC", "LTC->BTC", "RVN->BTC"}
    assert not any(home.iterdir()), "a demo leaves nothing in the data folder"
    assert not configured.exists(), "and nothing in the ledger of a configured system"
