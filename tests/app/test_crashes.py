"""The process dies at every transaction in turn, before its commit and after it; another one goes on.

Whatever was asked for is then executed exactly once, by the services' own record, and the conversion is completed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.conversions import AttemptState, OperationState, State
from converter.domain.errors import ServiceRejected
from converter.domain.orders import OperationKind, OperationRule
from tests.app.house import APPROVAL, DEPOSIT, EXCHANGE, KINDS, House, NewHouse
from tests.builders import seconds
from tests.fakes import (
    RULES,
    Crash,
    FragileLedger,
    ScriptedService,
    die_after,
    die_before,
    lose_answer,
    refuse,
    vanish,
)

STEP = {DEPOSIT: "broadcast", EXCHANGE: "advance", APPROVAL: "advance"}

PLAYS: dict[str, Callable[[House, ScriptedService, Any, str], None]] = {
    "plain": lambda house, alpha, party, step: None,
    "order refused": lambda house, alpha, party, step: alpha.on("place", refuse(ServiceRejected)),
    "order lost": lambda house, alpha, party, step: alpha.on("place", lose_answer),
    "order vanished": lambda house, alpha, party, step: alpha.on("place", vanish),
    "step lost": lambda house, alpha, party, step: party.on(step, lose_answer),
    "step vanished": lambda house, alpha, party, step: party.on(step, vanish),
}

MOST = 60
"""More transactions than any of these plays takes."""

EVERY = 1 if os.environ.get("CONVERTER_TEST_ALL") else 6
"""Each one in turn in `make chaos` and `make sabotage`; else each sixth, others in each play."""


QUICK = {
    **RULES,
    EXCHANGE: {
        OperationKind.ORDER: OperationRule(moves_money=True, quiet=seconds(20), absences=2),
        OperationKind.WITHDRAWAL: OperationRule(moves_money=True, quiet=seconds(30), absences=2),
    },
}
"""As the services declare, but no proof takes longer than a minute."""


def stage(house: House, kind: OperationKind, play: str) -> str:
    alpha = house.add("alpha", kind, "0.1", rules=QUICK[kind])
    house.add("beta", kind, "0.099", rules=QUICK[kind])
    PLAYS[play](house, alpha, house.wallet if kind is DEPOSIT else alpha, STEP[kind])
    return house.receive()


@pytest.mark.parametrize("committed", [False, True], ids=["before-commit", "after-commit"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("play", list(PLAYS))
def test_a_death_at_any_transaction_neither_doubles_nor_loses(
    quick_house: NewHouse, play: str, kind: OperationKind, committed: bool
) -> None:
    troubles = []
    first = (list(PLAYS).index(play) + 2 * list(KINDS).index(kind) + committed) % EVERY
    for number in range(1 + first, MOST, EVERY):
        house = quick_house()
        cid = stage(house, kind, play)
        fragile = FragileLedger(house.ledger, number, committed=committed)
        books: list[bool] = []  # in one transaction with what they tell: both are there, or neither
        done = house.finish_crashing(cid, fragile, at_death=lambda h=house, c=cid, b=books: b.append(h.books_agree(c)))
        open_attempts = [one for one in house.attempts(cid) if one.is_open]
        if (done.state, len(house.payouts()), len(open_attempts)) != (State.COMPLETED, 1, 1):
            troubles.append(f"death at transaction {number}: {done.state}, {len(house.payouts())} payouts")
        if not (all(books) and house.books_agree(cid)):
            troubles.append(f"death at transaction {number}: {house.states(cid)}, but {house.holders(cid)}")
        if fragile.transactions < number:
            break
    else:
        pytest.fail("the play did not end")
    assert not troubles
    assert number > 8, "the play was too short to mean anything"


@pytest.mark.parametrize("die", [die_before, die_after])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", ["quote", "place", "step", "find"])
def test_a_death_during_any_call_neither_doubles_nor_loses(
    house: House, call: str, kind: OperationKind, die: Any
) -> None:
    cid = stage(house, kind, "plain")
    alpha = house.services["alpha"]
    party = house.wallet if kind is DEPOSIT and call == "step" else alpha
    party.on(STEP[kind] if call == "step" else call, die)
    done = house.finish_crashing(cid, house.ledger)
    assert done.state is State.COMPLETED
    assert len(house.payouts()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_attempt_is_in_the_ledger_before_its_order_leaves(house: House, kind: OperationKind) -> None:
    cid = stage(house, kind, "plain")
    house.services["alpha"].on("place", die_before)
    assert house.office("a").quote_and_select(cid)
    with pytest.raises(Crash):
        house.office("a").execution.execute(cid)
    assert len(house.attempts(cid)) == 1
    [attempt] = house.attempts(cid)
    [operation] = house.operations(cid)
    assert (attempt.state, operation.state) == (AttemptState.PREPARED, OperationState.PREPARED)
    assert (operation.sends, operation.fence) == (1, house.get(cid).fence)
    assert operation.send_before > attempt.created_at
    assert len(operation.request_hash) == 64


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_in_the_ledger_before_it_leaves(house: House, kind: OperationKind) -> None:
    cid = stage(house, kind, "plain")
    party: Any = house.wallet if kind is DEPOSIT else house.services["alpha"]
    party.on(STEP[kind], die_before)
    assert house.office("a").quote_and_select(cid)
    with pytest.raises(Crash):
        house.office("a").execution.execute(cid)
    states = [one.state for one in house.operations(cid)]
    assert states == [OperationState.EXECUTED, OperationState.PREPARED]
    step = house.operations(cid)[-1]
    assert (step.sends, step.fence) == (1, house.get(cid).fence)


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_that_left_before_its_worker_died_is_not_followed_by_another(
    house: House, kind: OperationKind
) -> None:
    """By the time that somebody looks, its offer is gone and another service is better."""
    cid = stage(house, kind, "plain")
    alpha = house.services["alpha"]
    alpha.on("place", die_after)
    assert house.office("a").quote_and_select(cid)
    with pytest.raises(Crash):
        house.office("a").execution.execute(cid)
    house.clock.forward(61)
    alpha.net = Decimal("0.05")
    done = house.finish(cid, "b")
    assert (done.state, done.service_id) == (State.COMPLETED, "alpha")
    assert [len(one.orders) for one in house.services.values()] == [1, 0]


def test_deaths_one_after_the_other_do_not_add_up(house: House) -> None:
    """Every worker dies after a handful of transactions; there are always new ones."""
    cid = stage(house, DEPOSIT, "step vanished")
    for number in range(200):
        if house.get(cid).state.is_terminal:
            break
        house.wait_until_due(cid)
        try:
            house.sweep(f"worker-{number}", FragileLedger(house.ledger, 6 + number % 4))
        except Crash:
            continue
    assert house.get(cid).state is State.COMPLETED
    assert len(house.payouts()) == 1
