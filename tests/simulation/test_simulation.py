"""The simulation itself: it can be repeated, and it sees what each guard is there for."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from tests.simulation.run import STEPS_SHOWN, Name, quickly, story
from tests.simulation.sabotage import SABOTAGES, SHARP, Sabotaged
from tests.simulation.world import Setup, World

ENOUGH = 60
"""Worlds after which a missing guard must have shown itself; most do in the first."""


def trace_hash(name: Name) -> str:
    world = name.world(traced=True)
    world.play()
    return hashlib.sha256(repr(world.trace).encode()).hexdigest()


def test_one_seed_is_one_run() -> None:
    name = Name("all", "bad day", 1)
    assert trace_hash(name) == trace_hash(name)
    assert trace_hash(name) != trace_hash(Name("all", "bad day", 2))


def test_a_run_that_is_traced_goes_the_same_way() -> None:
    name = Name("swaps", "bad day", 3)
    seen, unseen = name.world(traced=True), name.world()
    assert (seen.play(), seen.fingerprint()) == (unseen.play(), unseen.fingerprint())


@pytest.mark.parametrize("without", list(SHARP))
def test_without_a_guard_it_finds_doubles(without: str) -> None:
    kinds, profile = SHARP[without]
    setup = Setup(tuple((kind, 1) for kind in kinds), profile, conversions=40)
    kind = Sabotaged.by(SABOTAGES[without])
    for number in range(ENOUGH):
        verdict = quickly(kind(setup, Random(f"{without} {number}")))
        if verdict.figures.doubles:
            return
    pytest.fail(f"{ENOUGH * setup.conversions} conversions without a double")


@pytest.mark.parametrize("kinds", sorted({kinds for kinds, _ in SHARP.values()}))
def test_on_the_same_days_no_guard_is_missed_when_all_stand(kinds: tuple[str, ...]) -> None:
    for profile in [profile for those, profile in SHARP.values() if those == kinds]:
        setup = Setup(tuple((kind, 1) for kind in kinds), profile, conversions=40)
        for number in range(2):
            assert quickly(World(setup, Random(f"{kinds} {number}"))).figures.wrong == {}


def test_a_double_is_told_with_the_last_steps_of_its_conversion_and_the_way_to_see_it_again() -> None:
    numbers = (Name("K1", "bad day", number, "failover on any error") for number in range(ENOUGH))
    name = next(name for name in numbers if quickly(name.world()).figures.doubles)
    told = story(name)
    assert name.command in told
    assert "doubles" in told.splitlines()[0]
    steps = told.split("\ncv_")[1].splitlines()[1:]
    assert 10 < len(steps) <= STEPS_SHOWN
    assert all(float(step.split()[0]) > 0 for step in steps)
    assert "PAYS" in told
