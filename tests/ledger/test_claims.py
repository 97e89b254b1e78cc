"""Claims, leases, fences and the table of moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from converter.domain.conversions import TRANSITIONS, Conversion, State
from converter.domain.errors import ClaimLost, IllegalTransition
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import conversions
from converter.ports import Work
from tests.builders import START, a_request, an_id, seconds
from tests.fakes import HandClock
from tests.ledger.conftest import AnyLedger, put_past_all_rules

LEASE = seconds(30)
ANY = tuple(State)


def received(ledger: AnyLedger, number: int = 1) -> str:
    with ledger.begin() as work:
        return work.conversions.add(an_id(number), a_request(), work.now()).id


def claim(ledger: AnyLedger, owner: str = "a", states: tuple[State, ...] = ANY, number: int = 1) -> Conversion | None:
    with ledger.begin() as work:
        return work.conversions.claim(an_id(number), owner, LEASE, states)


def sure(conversion: Conversion | None) -> Conversion:
    assert conversion is not None
    return conversion


def kept(ledger: AnyLedger) -> Conversion:
    with ledger.begin() as work:
        return work.conversions.get(an_id())


def put(ledger: AnyLedger, state: State) -> None:
    """Set a state past all rules."""
    put_past_all_rules(ledger, conversions, state=state, owner=None, lease_until=None)


def test_a_claim_names_its_owner_and_lasts_as_long_as_the_lease(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    claimed = sure(claim(ledger))
    assert (claimed.owner, claimed.fence, claimed.state) == ("a", 1, State.RECEIVED)
    assert claimed.lease_until is not None
    assert abs(claimed.lease_until - clock.time - LEASE) < seconds(0.1)
    assert kept(ledger) == claimed


def test_a_held_conversion_is_not_claimed_again_not_even_by_its_owner(ledger: AnyLedger) -> None:
    received(ledger)
    sure(claim(ledger))
    before = kept(ledger)
    assert claim(ledger, "b") is None
    assert claim(ledger, "a") is None
    assert kept(ledger) == before


def test_only_asked_for_states_are_claimed(ledger: AnyLedger) -> None:
    received(ledger)
    assert claim(ledger, states=(State.WAITING, State.QUOTING)) is None
    assert claim(ledger, states=()) is None
    assert sure(claim(ledger, states=(State.RECEIVED,))).fence == 1


def test_nobody_can_be_claimed(ledger: AnyLedger) -> None:
    assert claim(ledger) is None


@pytest.mark.parametrize("threads", [8])
def test_of_many_who_claim_at_once_one_wins(engine: Engine, threads: int) -> None:
    ledger = SqlLedger(engine)
    received(ledger)
    barrier = threading.Barrier(threads)

    def run(number: int) -> Conversion | None:
        barrier.wait(10)
        return claim(ledger, str(number))

    for fence in (1, 2, 3):
        with ThreadPoolExecutor(threads) as pool:
            won = [one for one in pool.map(run, range(threads)) if one is not None]
        assert len(won) == 1
        assert won[0].fence == fence
        assert kept(ledger).owner == won[0].owner
        put(ledger, State.RECEIVED)


def test_the_fence_grows_with_every_claim_and_never_falls(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    fences = []
    for _ in range(4):
        fences.append(sure(claim(ledger)).fence)
        clock.forward(31)
    assert fences == [1, 2, 3, 4]
    with ledger.begin() as work:
        conversion = sure(work.conversions.claim(an_id(), "z", LEASE, ANY))
        assert work.conversions.move(conversion, State.WAITING).fence == 5


def test_a_lease_that_ran_out_may_be_taken_over(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    sure(claim(ledger))
    clock.forward(29.9)
    assert claim(ledger, "b") is None
    clock.forward(0.2)
    taken = sure(claim(ledger, "b"))
    assert (taken.owner, taken.fence) == ("b", 2)


def test_holding_prolongs_a_lease(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    claimed = sure(claim(ledger))
    clock.forward(29)
    with ledger.begin() as work:
        work.conversions.hold(claimed, LEASE)
    clock.forward(29)
    assert claim(ledger, "b") is None


def test_a_lease_that_ran_out_cannot_be_held_any_more(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    claimed = sure(claim(ledger))
    clock.forward(31)
    before = kept(ledger)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.conversions.hold(claimed, LEASE)
    assert kept(ledger) == before


WRITES: dict[str, Callable[[Work, Conversion], Any]] = {
    "hold": lambda work, conversion: work.conversions.hold(conversion, LEASE),
    "move": lambda work, conversion: work.conversions.move(conversion, State.QUOTING, round=9),
}


@pytest.mark.parametrize("write", WRITES)
def test_an_old_fence_changes_nothing(ledger: AnyLedger, clock: HandClock, write: str) -> None:
    received(ledger)
    old = sure(claim(ledger, "a"))
    clock.forward(31)
    sure(claim(ledger, "b"))
    before = kept(ledger)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        WRITES[write](work, old)
    assert kept(ledger) == before


def test_a_move_after_the_lease_is_kept_if_nobody_took_over(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    claimed = sure(claim(ledger))
    clock.forward(3600)
    with ledger.begin() as work:
        assert work.conversions.move(claimed, State.QUOTING).state is State.QUOTING


def test_a_move_from_a_state_that_has_changed_since_is_lost(ledger: AnyLedger) -> None:
    received(ledger)
    claimed = sure(claim(ledger))
    with ledger.begin() as work:
        work.conversions.move(claimed, State.QUOTING, release=False)
    before = kept(ledger)
    with pytest.raises(ClaimLost), ledger.begin() as work:
        work.conversions.move(claimed, State.WAITING)
    assert kept(ledger) == before


def test_a_move_gives_the_claim_up_unless_told_otherwise(ledger: AnyLedger) -> None:
    received(ledger)
    with ledger.begin() as work:
        claimed = sure(work.conversions.claim(an_id(), "a", LEASE, ANY))
        held = work.conversions.move(claimed, State.QUOTING, release=False)
        assert (held.owner, held.lease_until) == ("a", claimed.lease_until)
        freed = work.conversions.move(held, State.QUOTING)
        assert (freed.owner, freed.lease_until) == (None, None)


def test_the_state_has_a_beginning_that_staying_in_it_does_not_change(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    first = sure(claim(ledger))
    clock.forward(5)
    with ledger.begin() as work:
        waiting = work.conversions.move(first, State.WAITING)
    assert waiting.since > first.since
    clock.forward(5)
    with ledger.begin() as work:
        again = work.conversions.move(sure(work.conversions.claim(an_id(), "b", LEASE, ANY)), State.WAITING)
    assert again.since == waiting.since
    assert again.updated_at > waiting.updated_at


def test_a_move_may_change_what_the_port_names(ledger: AnyLedger) -> None:
    from decimal import Decimal

    received(ledger)
    with ledger.begin() as work:
        moved = work.conversions.move(
            sure(work.conversions.claim(an_id(), "a", LEASE, ANY)),
            State.QUOTING,
            round=2,
            due_at=START,
            service_id="alpha",
            promised=Decimal("0.1"),
            delivered=Decimal("0.2"),
            txid="t",
            reason="r",
            failovers=3,
        )
    assert (moved.round, moved.due_at, moved.service_id, moved.failovers) == (2, START, "alpha", 3)
    assert (moved.promised, moved.delivered) == (Decimal("0.1"), Decimal("0.2"))
    assert (moved.txid, moved.reason) == ("t", "r")


@pytest.mark.parametrize("state", [state for state in State if state.is_terminal])
def test_the_end_frees_the_conversion_and_takes_it_out_of_the_sweep(
    ledger: AnyLedger, clock: HandClock, state: State
) -> None:
    received(ledger)
    put(ledger, State.EXECUTING if state is State.COMPLETED else State.QUOTING)
    with ledger.begin() as work:
        claimed = sure(work.conversions.claim(an_id(), "a", LEASE, ANY))
        ended = work.conversions.move(claimed, state, release=False, due_at=START)
    assert (ended.owner, ended.lease_until, ended.due_at) == (None, None, None)
    assert ended.completed_at is not None
    clock.forward(10**6)
    with ledger.begin() as work:
        assert work.conversions.due(10) == []


MOVES = [(one, other) for one in State for other in State]


def test_every_move_is_as_the_table_says(ledger: AnyLedger) -> None:
    """All 121 pairs; a refused move leaves the row as it was, and terminal never changes."""
    received(ledger)
    for one, other in MOVES:
        put(ledger, one)
        before = kept(ledger)
        with ledger.begin() as work:
            claimed = sure(work.conversions.claim(an_id(), "a", LEASE, ANY))
            assert claimed.fence == before.fence + 1
        if other in TRANSITIONS[one]:
            with ledger.begin() as work:
                assert work.conversions.move(claimed, other).state is other
        else:
            with pytest.raises(IllegalTransition) as caught, ledger.begin() as work:
                work.conversions.move(claimed, other)
            assert (caught.value.from_state, caught.value.to_state) == (one, other)
            assert kept(ledger) == claimed


# --- What is due -----------------------------------------------------------------------------------------------------


def test_what_is_due_comes_oldest_first_and_bounded(ledger: AnyLedger, clock: HandClock) -> None:
    with ledger.begin() as work:
        for number, offset in enumerate([30, 10, 20, 500, 40], start=1):
            work.conversions.add(an_id(number), a_request(), START + seconds(offset))
    clock.forward(100)
    with ledger.begin() as work:
        assert [one.id for one in work.conversions.due(10)] == [an_id(2), an_id(3), an_id(1), an_id(5)]
        assert [one.id for one in work.conversions.due(2)] == [an_id(2), an_id(3)]


def test_what_somebody_holds_is_not_due(ledger: AnyLedger, clock: HandClock) -> None:
    received(ledger)
    sure(claim(ledger))
    clock.forward(1)
    with ledger.begin() as work:
        assert work.conversions.due(10) == []
    clock.forward(30)
    with ledger.begin() as work:
        assert len(work.conversions.due(10)) == 1


def test_postponing_holds_only_for_what_was_seen(ledger: AnyLedger) -> None:
    received(ledger)
    seen = kept(ledger)
    later = START + seconds(60)
    with ledger.begin() as work:
        assert work.conversions.postpone(seen, later)
        assert not work.conversions.postpone(seen, later + seconds(1)), "somebody postponed it already"
    assert kept(ledger).due_at == later


def test_postponing_does_not_undo_what_an_owner_decided(ledger: AnyLedger) -> None:
    received(ledger)
    seen = kept(ledger)
    sure(claim(ledger))
    with ledger.begin() as work:
        assert not work.conversions.postpone(seen, START + seconds(60))
    assert kept(ledger).due_at == seen.due_at


def test_of_many_sweeps_at_once_one_takes_each_conversion(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    for number in range(12):
        received(ledger, number)
    barrier = threading.Barrier(4)

    def sweep(_: int) -> list[str]:
        barrier.wait(10)
        with ledger.begin() as work:
            later = work.now() + seconds(60)
            return [one.id for one in work.conversions.due(50) if work.conversions.postpone(one, later)]

    with ThreadPoolExecutor(4) as pool:
        taken: list[Any] = [one for part in pool.map(sweep, range(4)) for one in part]
    assert sorted(taken) == [an_id(number) for number in range(12)]
