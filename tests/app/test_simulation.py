"""Bad days, drawn by number: services refuse, vanish and lose answers, workers die, hints come twice, late or never.

Each world is fixed by its seed. After the bad day everything works again, and the workers get all the time they want.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from converter.desk import Next
from converter.domain.conversions import State
from converter.domain.errors import QuoteExpired, RateLimited, ServiceRejected, ServiceUnavailable
from converter.domain.orders import Order
from tests.app.conftest import Kept, emptied
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, House
from tests.app.test_crashes import QUICK
from tests.builders import seconds
from tests.fakes import (
    FIRST_STATUS,
    Act,
    Crash,
    FragileLedger,
    Scene,
    die_after,
    die_before,
    lose_answer,
    refuse,
    vanish,
)

SEEDS = 40
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

    @property
    def rests(self) -> bool:
        """Ended, or before a person."""
        return self.state.is_terminal or self.state is State.NEEDS_REVIEW

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
        self.bad, self.inside = True, False
        for service in house.services.values():
            for operation in ("place", "advance"):
                service.always(operation, self.act(CHANGING))
            for operation in ("quote", "find"):
                service.always(operation, self.act(READING))
        house.wallet.always("broadcast", self.act(CHANGING))
        for operation in ("account", "prepare", "observe"):
            house.wallet.always(operation, self.act(READING))
        self.cids = [house.receive(number) for number in range(1, CONVERSIONS + 1)]

    def act(self, acts: list[tuple[Act | None, int]]) -> Act:
        """On a bad day, an act drawn anew for each call. Calls take their time, and others work meanwhile.

        What a service declares still holds: a request that it takes once only is never taken late, and what it took
        may stay out of its look-ups for some seconds, but no longer.
        """

        def play(scene: Scene) -> Any:
            if not self.bad:
                return scene.do()
            sent_at = self.house.clock.time
            self.house.clock.forward(self.chance.choice([0, 0, 0, 1, 8, 31]))
            if not self.inside and self.chance.random() < 0.2:
                self.inside = True
                self.step()
                self.inside = False
            drawn = draw(self.chance, acts)
            if self.house.clock.time - sent_at > seconds(5) and self.taken_once(scene):
                return vanish(scene)
            answer = drawn(scene) if drawn else scene.do()
            return self.lagging(answer) if scene.operation == "find" else answer

        return play

    def taken_once(self, scene: Scene) -> bool:
        """Whether the service does not recognise a repeat of this call."""
        if scene.operation == "place":
            return True
        kind = self.house.services[scene.party].capabilities.commits_on if scene.operation == "advance" else None
        return kind is EXCHANGE

    def lagging(self, order: Order | None) -> Order | None:
        """A look-up that may not show yet what was taken in the last seconds."""
        if order is None or self.chance.random() < 0.5:
            return order
        service_id, _, number = str(order.ref.service_order_id).rpartition("-")
        booked = [*self.house.services[service_id].orders.values()][int(number) - 1]
        if self.house.clock.time - booked.placed_at < seconds(3):
            return None
        if booked.paid_at is not None and self.house.clock.time - booked.paid_at < seconds(15):
            return replace(order, status=FIRST_STATUS[self.house.services[service_id].capabilities.commits_on])
        return order

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
            house.guards.pop(office.desk.owner, None)  # a new process under the old name

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


@pytest.mark.parametrize("first", range(0, SEEDS, 5))
def test_a_bad_day_doubles_nothing_loses_nothing_and_ends(ledger_in_memory: Kept, first: int) -> None:
    told = [story for seed in range(first, first + 5) for story in played(World(emptied(ledger_in_memory), seed))]
    assert len(told) == 5 * CONVERSIONS
    wrong = [one for one in told if one.payouts > 1]
    wrong += [one for one in told if one.state is State.COMPLETED and one.payouts != 1]
    wrong += [one for one in told if one.state is State.FAILED and one.payouts]
    wrong += [one for one in told if not one.rests]
    assert [str(one) for one in wrong] == []
    assert sum(one.state is State.COMPLETED for one in told) >= 0.8 * len(told)


def played(world: World) -> list[Told]:
    """How every conversion of a world ended, after its bad day and all the time that it wanted."""
    for _ in range(STEPS):
        world.step()
    world.calm()
    paid = world.payouts()
    stories = []
    for cid in world.cids:
        conversion = world.house.get(cid)
        stories.append(Told(world.seed, conversion.state, paid[cid], conversion.reason))
        assert sum(one.is_open for one in world.house.attempts(cid)) <= 1
    return stories
