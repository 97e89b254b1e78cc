"""The breaker's scripts and its pure rules are one machine: the same answers to the same events, whatever they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from converter.domain import breakers
from converter.domain.breaker_rules import BreakerRules, milliseconds
from converter.domain.breakers import Answer, BreakerState, Moment, Record, Verdict
from converter.domain.errors import ConfigurationError
from converter.shared_state.breaker_storage import figures_of, parse_answer
from converter.shared_state.redis_access import script_of
from tests.shared_state.redis_fixture import client, redis_url, server

__all__ = ["client", "redis_url", "server"]

START = 1_700_000_000_000
# Redis' clock is taken out of the script's hands: the last argument tells the time.
CLOCK = """
local real = redis
local redis = {call = function(name, ...)
    if name == 'TIME' then return cjson.decode(ARGV[#ARGV]) end
    return real.call(name, ...)
end}
"""


class Scripts:
    """The machine in Redis, under a clock turned by hand."""

    def __init__(self, client: Redis, rules: BreakerRules) -> None:
        self._figures = figures_of(rules)
        self._programs = {
            step: client.register_script(CLOCK + script_of(f"breaker_{step}")[0])
            for step in ("admit", "report", "move", "look")
        }
        client.flushall()

    def step(self, name: str, at: Moment, *arguments: Any) -> Answer:
        clock = json.dumps([str(at.now // 1000), str(at.now % 1000 * 1000)])
        given = [*self._figures, repr(at.chance), *arguments, clock]
        return parse_answer(self._programs[name](keys=["one"], args=given))


class Pure:
    """The machine in Python."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._record: Record | None = None

    def step(self, name: str, at: Moment, *arguments: Any) -> Answer:
        record = self._record or breakers.fresh(at.now)
        steps: dict[str, Callable[[], tuple[Record, Answer]]] = {
            "admit": lambda: breakers.admit(record, self._rules, at.now, may_probe=arguments[0] == 1),
            "report": lambda: breakers.report(record, self._rules, arguments[:2], Verdict(arguments[2]), at),
            "move": lambda: (
                breakers.release(record, self._rules, at)
                if arguments[0] == "release"
                else breakers.move(record, self._rules, BreakerState(arguments[0]), at)
            ),
            "look": lambda: (record, breakers.look(record, self._rules, at.now)),
        }
        self._record, answer = steps[name]()
        return answer

    def stored(self) -> dict[str, str]:
        """Its memory, as the scripts write it down."""
        record = self._record
        assert record is not None
        return {
            "state": record.state.value,
            "generation": str(record.generation),
            "since": str(record.since),
            "until": str(record.until),
            "failures": str(record.failures),
            "successes": str(record.successes),
            "trips": str(record.trips),
            "outage": str(int(record.outage)),
            "issued": str(record.issued),
            "permits": " ".join(f"{number}:{ends}" for number, ends in record.permits),
            "window": " ".join(f"{kind.value}:{at}" for at, kind in record.window),
        }


def short(low: int, high: int) -> st.SearchStrategy[timedelta]:
    return st.integers(low, high).map(lambda number: timedelta(milliseconds=number))


percent = st.sampled_from([1, 50, 75, 100, 100, 100])
rules_drawn = st.builds(
    BreakerRules,
    max_failures=st.sampled_from([1, 2, 3, 100, 100]),
    open_for=short(1, 300),
    open_cap=short(300, 900),
    jitter_percent=st.integers(0, 100),
    window_size=st.integers(4, 5),
    window_age=short(1, 100) | short(1000, 5000),
    minimum_calls=st.integers(1, 4),
    failure_percent=percent,
    slow_percent=percent,
    permitted=st.integers(1, 3),
    successes=st.integers(1, 3),
    lease=short(1, 500),
)
PASSING = ["none", "none", "none", "some", "due", "due", "nearly due", "window", "cap"]
STEPS = ["call"] * 6 + ["admit"] * 4 + ["report"] * 4 + ["wait and look", "move", "release", "forget"]
events_drawn = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(PASSING), st.floats(0, 1, exclude_max=True), st.integers(0, 11)),
    min_size=10,
    max_size=60,
)
VERDICTS = ["failed", "failed", "good", "good", "slow", "neutral"]


class Both:
    """The same events for both machines, on one clock; their answers and their memories must be equal."""

    def __init__(self, client: Redis, rules: BreakerRules) -> None:
        self._client = client
        self._rules = rules
        self._scripts, self._pure = Scripts(client, rules), Pure(rules)
        self._now, self._wait = START, 0
        self._permits: list[tuple[int, int]] = []

    def wait(self, how: str, pick: int) -> None:
        """Let time pass, often to the very edge of a rule."""
        due = max(self._wait, 0)
        window, cap = milliseconds(self._rules.window_age), milliseconds(self._rules.cap)
        lengths = {"none": 0, "some": pick * 7, "due": due, "nearly due": max(due - 1, 0), "window": window, "cap": cap}
        self._now += lengths[how]

    def happen(self, step: str, chance: float, pick: int) -> None:
        at = Moment(self._now, chance)
        if step == "forget" and pick == 0:
            self._client.delete("one")
            self._pure = Pure(self._rules)
        if step in ("call", "admit"):
            self._ask(at, "admit", int(pick > 0))
        if step in ("call", "report") and self._permits:
            permit = self._permits[-1] if step == "call" or pick % 2 else self._permits[-1 - pick % len(self._permits)]
            self._ask(at, "report", *permit, VERDICTS[pick % len(VERDICTS)])
        if step == "move":
            self._ask(at, "move", list(BreakerState)[pick % 4].value)
        if step == "release":
            self._ask(at, "move", "release")
        self._ask(at, "look")
        assert self._client.hgetall("one") == self._pure.stored()

    def _ask(self, at: Moment, name: str, *arguments: Any) -> None:
        told = self._scripts.step(name, at, *arguments)
        assert told == self._pure.step(name, at, *arguments)
        self._wait = told.wait
        if told.permit >= 0:
            self._permits.append((told.generation, told.permit))


@pytest.mark.parametrize("examples", [200, pytest.param(3000, marks=pytest.mark.chaos)])
def test_scripts_and_pure_rules_answer_alike_to_any_row_of_events(client: Redis, examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(rules_drawn, events_drawn)
    def agree(rules: BreakerRules, events: list[tuple[str, str, float, int]]) -> None:
        both = Both(client, rules)
        for step, passing, chance, pick in events:
            both.wait(passing, pick)
            both.happen(step, chance, pick)

    agree()


class TestRules:
    def machine(self, **rules: Any) -> Pure:
        return Pure(BreakerRules(**rules))

    def trip(self, machine: Pure, now: int, chance: float = 0.0) -> Answer:
        """One failure of a machine that opens at the first."""
        permit = machine.step("admit", Moment(now), 1)
        assert permit.permit >= 0
        return machine.step("report", Moment(now, chance), permit.generation, permit.permit, "failed")

    def test_open_time_doubles_with_each_repeat_up_to_the_cap(self) -> None:
        machine = self.machine(max_failures=1, open_for=timedelta(seconds=2), open_cap=timedelta(seconds=15))
        now, lengths = START, []
        for _ in range(5):
            answer = self.trip(machine, now)
            lengths.append(answer.until - now)
            now = answer.until
        assert lengths == [2000, 4000, 8000, 15_000, 15_000]

    def test_chance_spreads_the_open_time_upwards_by_the_jitter(self) -> None:
        length = timedelta(seconds=10)
        ends = [self.trip(self.machine(max_failures=1, open_for=length), START, chance).until for chance in (0, 0.5)]
        assert ends == [START + 10_000, START + 10_500]

    def test_a_healthy_time_takes_back_one_doubling(self) -> None:
        machine = self.machine(max_failures=1, open_for=timedelta(seconds=2), open_cap=timedelta(seconds=16))
        now = START
        for _ in range(3):
            now = self.trip(machine, now).until
        probe = machine.step("admit", Moment(now), 1)
        machine.step("report", Moment(now), probe.generation, probe.permit, "good")
        later = now + 16_000
        assert self.trip(machine, later).until - later == 8000  # 16 s without it

    @pytest.mark.parametrize(
        ("row", "opens"),
        [
            ("g f g f g f g f g f", True),  # every second failed, never two in a row
            ("g f g f g f g f g", False),  # too few to judge
            ("g g f g f g f g f g g f", False),  # less than half
            ("s s s s s s s s g s", True),
            ("s s s s s s s g g g s s s s", False),
            ("f n n f n f", True),  # what is neutral does not end the row of failures
            ("f f g f f g f f", False),
            ("n n n n n n n n n n n n", False),
        ],
    )
    def test_it_trips_on_a_row_of_failures_or_on_its_window(self, row: str, opens: bool) -> None:
        machine = self.machine()
        verdicts = {verdict.value[0]: verdict.value for verdict in Verdict}
        answer = machine.step("admit", Moment(START), 1)
        for letter in row.split():
            assert answer.state is BreakerState.CLOSED
            answer = machine.step("report", Moment(START), answer.generation, 0, verdicts[letter])
        assert (answer.state is BreakerState.OPEN) is opens

    def test_old_outcomes_leave_the_window(self) -> None:
        machine = self.machine(max_failures=100)
        answer = machine.step("admit", Moment(START), 1)
        for number in range(50):
            at = Moment(START + number * milliseconds(timedelta(minutes=2)))
            answer = machine.step("report", at, answer.generation, 0, "failed")
        assert answer.state is BreakerState.CLOSED

    def test_the_seeds_recovery_times_and_longest_open_times(self) -> None:
        assert BreakerRules().cap == timedelta(hours=1)
        assert BreakerRules(open_for=timedelta(minutes=20)).cap == timedelta(minutes=80)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_failures": 0},
            {"open_for": timedelta(0)},
            {"permitted": 0},
            {"minimum_calls": 21},
            {"window_size": 101},
        ],
    )
    def test_figures_that_cannot_work_are_refused_by_name(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            BreakerRules(**wrong)
