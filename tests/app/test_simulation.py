"""Bad days, drawn by number: services refuse, vanish and lose answers, workers die, hints come twice, late or never.

Each world is fixed by its seed. After the bad day everything works again, and the workers get all the time they want.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from converter.desk import Next
from converter.domain.conversions import State
from converter.domain.errors import QuoteExpired, RateLimited, ServiceRejected, ServiceUnavailable

from tests.app.conftest import Kept, emptied
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, House
from tests.app.test_crashes import QUICK
from tests.fakes import Act, Crash, FragileLedger, Scene, die_after, die_before, lose_answer, refuse, vanish

SEEDS = range(40)
CONVERSIONS = 3
STEPS = 45

CHANGING: list[tuple[Act | None, int]] = [
    (None, 40),
    (refuse(ServiceRejected), 8),
    (refuse(ServiceUnavailable), 6),
    (refuse(RateLimited), 3),
    (refuse(QuoteExpired), 3),
    (vanish, 14),
    (lose_answer, 14),
    (die_before, 4),
    (die_after, 4),
]
READING: list[tuple[Act | None, int]] = [(None, 60), (refuse(ServiceUnavailable), 25), (die_before, 2), (die_after, 2)]


@dataclass
class Told:
    """How a conversion of a world ended."""

    seed: int
    state: State
    payouts: int
    reason: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.state}, {self.payouts} payouts ({self.reason})"


def draw(chance: random.Random, acts: list[tuple[Act | None, int]]) -> Act | None:
    return chance.choices([act for act, _ in acts], [weight for _, weight in acts])[0]


class World:
    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.chance = random.Random(seed)
        self.seed = seed
        kinds = [DEPOSIT, EXCHANGE, APPROVAL, self.chance.choice([DEPOSIT, EXCHANGE, APPROVAL])]
        self.chance.shuffle(kinds)
        for name, kind in zip(("alpha", "beta", "gamma", "delta"), kinds):  # noqa: B905
            house.add(name, kind, self.chance.choice(["0.1", "0.099", "0.0985"]), rules=QUICK[kind])
        self.bad = True
        for service in house.services.values():
            for operation in ("place", "advance"):
                service.always(operation, self.act(CHANGING))
            for operation in ("quote", "find"):
                service.always(operation, self.act(READING))
        house.wallet.always("broadcast", self.act(CHANGING))
        for operation in ("account", "terms", "observe"):
            house.wallet.always(operation, self.act(READING))
        self.cids = [house.receive(number) for number in range(1, CONVERSIONS + 1)]

    def act(self, acts: list[tuple[Act | None, int]]) -> Act:
        """On a bad day, an act drawn anew for each call; slow calls let others in, and time passes in any of them."""

        def play(scene: Scene) -> Any:
            if not self.bad:
                return scene.do()
            self.house.clock.forward(self.chance.choice([0, 0, 0, 1, 8, 31]))
            drawn = draw(self.chance, acts)
            return drawn(scene) if drawn else scene.do()

        return play

    def step(self) -> None:
        """One thing that some worker does, or the passing of time."""
        house, chance = self.house, self.chance
        ledger: Any = house.ledger
        if chance.random() < 0.15:
            ledger = FragileLedger(ledger, chance.randint(1, 9), committed=chance.random() < 0.5)
        office = house.office(chance.choice("abc"), ledger)
        cid = chance.choice(self.cids)
        try:
            match chance.randint(0, 5):
                case 0:
                    office.follow(chance.choice([*Next]), cid)
                case 1:
                    office.selecting.select(cid, house.get(cid).round)
                case 2:
                    house.clock.forward(chance.choice([1, 5, 20, 90]))
                case _:
                    house.wait_until_due(cid) if house.get(cid).due_at else None
                    for errand in office.sweeping.due():
                        office.do(errand)
        except Crash:
            house.guards.pop(office.desk.owner)  # a new process under the old name

    def calm(self) -> None:
        self.bad = False
        for _ in range(60):
            resting = (State.NEEDS_REVIEW, State.COMPLETED, State.FAILED)
            restless = [cid for cid in self.cids if self.house.get(cid).state not in resting]
            if not restless:
                return
            self.house.guards.clear()
            self.house.look(restless[0], "calm")

    def payouts(self) -> Counter[str]:
        """By conversion, as the services tell."""
        keys: Counter[str] = Counter()
        for cid in self.cids:
            body = cid.removeprefix("cv_")
            for service in self.house.services.values():
                keys[cid] += sum(len(one.payouts) for key, one in service.orders.items() if key.startswith(body))
        return keys


@pytest.fixture(scope="module")
def told(ledger_in_memory: Kept) -> list[Told]:
    """Every conversion of every world."""
    stories = []
    for seed in SEEDS:
        world = World(emptied(ledger_in_memory), seed)
        for _ in range(STEPS):
            world.step()
        world.calm()
        paid = world.payouts()
        for cid in world.cids:
            conversion = world.house.get(cid)
            stories.append(Told(seed, conversion.state, paid[cid], conversion.reason))
            assert sum(one.is_open for one in world.house.attempts(cid)) <= 1
    return stories


def test_nothing_is_ever_paid_twice(told: list[Told]) -> None:
    assert [str(one) for one in told if one.payouts > 1] == []


def test_what_is_called_completed_was_paid_and_what_is_called_failed_was_not(told: list[Told]) -> None:
    wrong = [one for one in told if one.state is State.COMPLETED and one.payouts != 1]
    wrong += [one for one in told if one.state is State.FAILED and one.payouts]
    assert [str(one) for one in wrong] == []


def test_everything_comes_to_an_end_or_before_a_person(told: list[Told]) -> None:
    wrong = [one for one in told if not one.state.is_terminal and one.state is not State.NEEDS_REVIEW]
    assert [str(one) for one in wrong] == []


def test_nearly_everything_is_completed_unaided(told: list[Told]) -> None:
    states = Counter(one.state for one in told)
    assert states[State.COMPLETED] >= 0.9 * len(told), states


def test_the_bad_days_were_bad(told: list[Told]) -> None:
    """A world without trouble would prove nothing."""
    assert len(told) == len(SEEDS) * CONVERSIONS
