"""Usual days: one operation in twenty is refused, one in twenty in doubt; one step in a hundred kills its worker."""

from __future__ import annotations

import pytest

from tests.simulation.profiles import MIXES, USUAL
from tests.simulation.run import Name, played, story

WORLDS = 6
"""Of each mix, with 60 conversions each. `make simulate` plays many more."""

UNAIDED = {"K3": 90.0}
"""Per cent that must be completed without a person, where it is not 99."""


@pytest.mark.parametrize("mix", list(MIXES))
def test_nothing_is_doubled_or_lost_and_hardly_anybody_is_called(mix: str) -> None:
    told = played(Name(mix, USUAL.name, number) for number in range(WORLDS))
    assert told.figures.conversions == WORLDS * 60
    assert not told.wrong, story(told.wrong[0][0])
    assert told.figures.unaided >= UNAIDED.get(mix, 99.0)
