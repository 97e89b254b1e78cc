"""kill -9 of a real process at each of twenty points; every conversion ends by itself and is paid once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.domain.conversions import AttemptState, OperationState, State
from converter.domain.events import CONVERSION_COMPLETED

from .crash_points import POINTS, SERVICES, WAVES, Play, Point
from .crash_stage import Seen, Stage
from .world import running_world, until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)

PREPARED, EXECUTED = OperationState.PREPARED, OperationState.EXECUTED
BEFORE_ANY_ATTEMPT = {
    "message in hand": State.RECEIVED,
    "quotes in": State.QUOTING,
    "claimed": State.EXECUTING,
    "admitted": State.EXECUTING,
    "charged": State.EXECUTING,
}
AROUND_AN_OPERATION = {
    "prepared": (PREPARED, 0),
    "half written": (PREPARED, 0),
    "answer on its way": (PREPARED, 1),
    "answer read": (PREPARED, 1),
    "recording": (PREPARED, 1),
    "committed": (EXECUTED, 1),
}
"""Point -> what the ledger holds of the operation, and how often the outside world has executed it."""
WORDS_OF_THE_WORLD = {"order": "order", "approval": "approve", "withdrawal": "withdraw", "deposit": "send"}
NUMBERS = {point.number: point for point in POINTS}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The play is over."""
    home = tmp_path_factory.mktemp("crash-points")
    celery = ("tests.scenarios.crashing", "-A", "workers.app")
    # A lease that ends while a busy machine still waits for an answer sends its conversion past its point.
    environ = {"CONVERTER_ENGINE__LEASE": "5000", "CONVERTER_ENGINE__QUOTING": "2000"}
    with running_world(home, only=SERVICES, celery=celery, environ=environ) as world:
        played = Stage(world)
        try:
            played.play()
            yield played
        finally:
            played.close()


def test_every_crash_point_is_in_the_table_once() -> None:
    assert [point.number for point in POINTS] == list(range(1, 21))
    assert all(point.what and (point.plays or point.elsewhere or point.process != "worker") for point in POINTS)
    assert all((ROOT / test).is_file() for point in POINTS for test in point.elsewhere)


def test_the_worker_died_once_in_each_wave_and_beat_once(stage: Stage) -> None:
    beat, *workers = stage.deaths()
    assert beat["beat"] == "sweep"
    assert [one["pid"] for one in workers] == stage.pids
    assert [len(one["points"]) for one in workers] == [
        sum(wave in play.deaths for point in POINTS for play in point.plays) for wave in WAVES
    ]
    assert stage.world.stack.workers[0].restarts == len(WAVES)


def proves(seen: Seen, point: str) -> None:
    """It died there and nowhere else."""
    if point == "told":
        assert seen.state is State.COMPLETED
    elif point == "looking up":
        assert seen.operation is not None
        assert seen.operation[1] is PREPARED
    elif point in BEFORE_ANY_ATTEMPT:
        assert (seen.state, seen.operation) == (BEFORE_ANY_ATTEMPT[point], None)
        assert not seen.executed
    else:
        where, _, kind = point.rpartition(" ")
        state, executed = AROUND_AN_OPERATION[where]
        assert seen.operation == (kind, state)
        done = seen.executed[WORDS_OF_THE_WORLD[kind]]
        # Payments of an account go out together: one may have gone with a later one, or died with an earlier one.
        assert done == executed or (kind == "deposit" and done <= 1)


@pytest.mark.parametrize("point", [one for one in POINTS if one.plays], ids=lambda one: f"{one.number}")
def test_a_worker_killed_there_neither_doubles_nor_loses(stage: Stage, point: Point) -> None:
    for play in point.plays:
        for wave, where in play.deaths.items():
            proves(stage.seen[play, wave], where)
        completed_once(stage, play)


def completed_once(stage: Stage, play: Play) -> None:
    handle = stage.handles[play]
    conversion = handle.details()
    assert (conversion.state, conversion.service_id) == (State.COMPLETED, play.service_id), play.name
    assert len(stage.world.deliveries_to(conversion.request.address)) == 1, play.name
    assert [one.state for one in stage.world.attempts(handle.id) if one.is_open] == [AttemptState.SETTLED], play.name


@pytest.mark.parametrize(("number", "point", "found"), [(1, "accepted", 0), (2, "inserted", 1)])
def test_a_client_killed_there_asks_again_under_its_key_and_gets_one_conversion(
    stage: Stage, number: int, point: str, found: int
) -> None:
    assert NUMBERS[number].process == "client"
    killed, again = stage.clients[point]
    assert (killed.returncode, killed.stdout.split()) == (-signal.SIGKILL, [point]), killed.stderr
    assert stage.found[point] == found
    assert again.returncode == 0, again.stderr
    address = stage.addresses[point]
    assert [one.id for one in stage.world.converting_to(address)] == again.stdout.split()
    assert len(stage.world.deliveries_to(address)) == 1


def test_messages_in_the_hands_of_the_dead_are_delivered_again_and_change_nothing(stage: Stage) -> None:
    assert stage.redelivered > 0
    stage.world.assert_all_completed_once()


def test_an_event_that_was_committed_at_the_death_is_heard_once(stage: Stage) -> None:
    ids = [handle.id for handle in stage.world.handles]
    until(lambda: len(stage.heard) >= len(ids), 10, "all were heard")
    assert Counter(stage.heard) == Counter(ids)
    told = [one.conversion_id for one in stage.world.told() if one.name == CONVERSION_COMPLETED]
    assert Counter(told) == Counter(ids)


def test_a_follower_killed_before_it_noted_what_it_heard_hears_all_of_it_when_it_follows_again(stage: Stage) -> None:
    killed, again = stage.clients["heard"]
    first, point = killed.stdout.split()
    assert (killed.returncode, point) == (-signal.SIGKILL, "heard"), killed.stderr
    told = [one.conversion_id for one in stage.world.told() if one.name == CONVERSION_COMPLETED]
    assert first == told[0]
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == told


def test_a_conversion_that_only_the_sweep_can_find_survives_the_death_of_beat(stage: Stage) -> None:
    assert stage.unhinted is not None
    assert stage.unhinted.state is State.COMPLETED


def test_with_keys_that_are_refused_conversions_wait_for_those_that_are_not(stage: Stage) -> None:
    assert stage.refused == set(NUMBERS[17].plays)
    assert stage.keyless is not None
    assert stage.keyless.state is State.COMPLETED


def test_nothing_was_paid_twice_or_lost(stage: Stage) -> None:
    stage.world.assert_all_completed_once()
