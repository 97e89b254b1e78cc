"""Two regions under silent partitions, for one small seed; `make partitions` plays as many and as large as wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.partitions.run import passed, run


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_two_regions_that_are_cut_off_now_and_then_execute_every_conversion_once(tmp_path: Path) -> None:
    facts = run(tmp_path, seed=5, conversions=80, seconds=25)
    print(facts)
    assert passed(facts), facts
