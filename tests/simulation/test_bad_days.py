"""Bad days: half of all operations fail or are in doubt, half of all look-ups fail, workers die and are paused for
minutes, and Redis is emptied all the time."""

from __future__ import annotations

import pytest

from tests.simulation.profiles import BAD_DAY, MIXES
from tests.simulation.run import Name, played, story

WORLDS = 3
"""Of each mix, with 60 conversions each. `make simulate` plays many more."""

UNAIDED = {"K3": 55.0}
"""Per cent that must be completed without a person, where it is not 95. Where neither a repeat nor a look-up proves
anything a person decides: that is why such services come last."""


@pytest.mark.parametrize("mix", list(MIXES))
def test_nothing_is_doubled_or_lost_even_then(mix: str) -> None:
    told = played(Name(mix, BAD_DAY.name, number) for number in range(WORLDS))
    assert told.figures.conversions == WORLDS * 60
    assert not told.wrong, story(told.wrong[0][0])
    assert told.figures.unaided >= UNAIDED.get(mix, 95.0)
