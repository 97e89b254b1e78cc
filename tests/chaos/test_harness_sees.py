"""The drill must be able to fail: a chain without the money rule pays twice under the same bad day, and is seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converter.local.chaos.profiles import BAD_DAY
from converter.local.chaos.trial import Task, Trial
from converter.local.stack import Stack, StackOptions

SERVICES = ("btcpay_lightning", "coingate", "coinpayments")
"""Those that pay out by an approval: the naive chain has no wallet."""

LEASE = 3.0


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_chain_that_fails_over_on_any_error_is_seen_paying_twice(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    times = {"CONVERTER_ENGINE__LEASE": str(round(LEASE * 1000)), "CONVERTER_ENGINE__QUOTING": "4000"}
    options = StackOptions(
        sandbox_speed=5.0,
        services=SERVICES,
        workers=2,
        celery=("tests.chaos.naive", "-A", "workers.app"),
    )
    stack = Stack(tmp_path, {**kept, **times}, sandbox=True, options=options)
    try:
        stack.start()
        report = Trial(stack, Task(BAD_DAY, 200, 7, 30, LEASE, patience=90), lambda line: None).run()
    finally:
        stack.stop()
    assert report.doubles > 0
    assert any("paid or executed twice" in promise for promise in report.broken)
