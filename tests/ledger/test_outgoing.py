"""What goes out, as the ledger keeps it: positions, messages in their order, alerts, and what is deleted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.engine import Engine

from converter.alerting import FOLLOWER, Alarms, Alerting
from converter.domain.alerts import Alert, Raised, Watch
from converter.domain.conversions import State
from converter.domain.deliveries import DELIVERED, GIVEN_UP, PENDING, WITHDRAWN, Message
from converter.domain.events import (
    CONVERSION_ACCEPTED,
    CONVERSION_CANCELLED,
    CONVERSION_COMPLETED,
    SERVICE_FAILURE,
    Event,
    Only,
)
from converter.following import PRUNED, read_back, read_on
from converter.ledger.repository import SqlLedger
from converter.pruning import Pruning
from tests.builders import START, a_request, an_id, seconds
from tests.fakes import HandClock
from tests.ledger.conftest import emptied

RECEIVER = "webhook:pool"
DAYS = timedelta(days=30)


def tell(ledger: SqlLedger, *names: str, conversion_id: str | None = None) -> None:
    with ledger.begin() as work:
        for name in names:
            work.outbox.add(Event(name, {"n": name}, conversion_id))


def subjects(ledger: SqlLedger) -> list[str]:
    with ledger.begin() as work:
        return [one.message.subject for one in work.deliveries.due(RECEIVER, 10)]


# --- Events that somebody asks for -----------------------------------------------------------------------------------


def test_events_are_found_by_name_and_conversion_from_both_ends(sql_ledger: SqlLedger) -> None:
    tell(sql_ledger, "a", "b", "a", conversion_id=an_id(1))
    tell(sql_ledger, "a", "b", conversion_id=an_id(2))
    only = Only(frozenset({"a"}))
    assert [one.sequence for one in read_on(sql_ledger, 0, only).events] == [1, 3, 4]
    assert read_on(sql_ledger, 0, only).last == 5
    assert (read_on(sql_ledger, 1, only, 1).events[0].sequence, read_on(sql_ledger, 1, only, 1).last) == (3, 3)
    assert [one.sequence for one in read_back(sql_ledger, None, only, 2).events] == [3, 4]
    assert [one.sequence for one in read_back(sql_ledger, 4, only, 2).events] == [1, 3]
    assert [one.sequence for one in read_on(sql_ledger, 0, Only(conversion_id=an_id(2))).events] == [4, 5]
    assert read_on(sql_ledger, 99).last == 99


def test_rare_events_are_found_over_many_windows(sql_ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.following._WINDOW", 3)
    tell(sql_ledger, "rare", *["often"] * 10, "rare", *["often"] * 5)
    only = Only(frozenset({"rare"}))
    assert [one.sequence for one in read_on(sql_ledger, 0, only).events] == [1, 12]
    assert read_on(sql_ledger, 0, only).last == 17
    assert [one.sequence for one in read_back(sql_ledger, None, only).events] == [1, 12]
    assert [one.sequence for one in read_back(sql_ledger, None, only, 1).events] == [12]


# --- Positions -------------------------------------------------------------------------------------------------------


def test_a_position_is_kept_for_each_name_of_event_and_never_moves_back(sql_ledger: SqlLedger) -> None:
    with sql_ledger.begin() as work:
        assert work.followers.get("backend", "a") is None
        work.followers.move("backend", 5, ("a", "b"))
        work.followers.move("backend", 9, ("b",))
        work.followers.move("backend", 3, ("a", "b"))
        assert [work.followers.get("backend", one) for one in ("a", "b", "c")] == [5, 9, None]
        assert work.followers.slowest(START) == 5


def test_a_follower_that_was_away_for_too_long_is_waited_for_no_more(sql_ledger: SqlLedger, clock: HandClock) -> None:
    with sql_ledger.begin() as work:
        work.followers.move("gone", 1)
    clock.forward(100)
    with sql_ledger.begin() as work:
        work.followers.move("here", 7)
        assert work.followers.slowest(clock.time - seconds(50)) == 7
        assert work.followers.slowest(clock.time - seconds(500)) == 1
        assert work.followers.slowest(clock.time - seconds(500), ("gone",)) == 7


def test_one_transaction_at_a_time_takes_a_position(postgresql_engine: Engine) -> None:
    ledger, taken, go_on = SqlLedger(postgresql_engine), threading.Event(), threading.Event()

    def hold() -> int | None:
        with ledger.begin() as work:
            found = work.followers.take(":x", 0)
            taken.set()
            assert go_on.wait(5)
            return found

    with ledger.begin() as work:
        assert work.followers.take(":x", 0) == 0
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hold)
        assert taken.wait(5)
        with ledger.begin() as work:
            assert work.followers.take(":x", 0) is None
        go_on.set()
        assert first.result(5) == 0


# --- Messages --------------------------------------------------------------------------------------------------------


def test_a_later_message_of_a_subject_waits_for_the_earlier_one(sql_ledger: SqlLedger, clock: HandClock) -> None:
    now = clock.time
    with sql_ledger.begin() as work:
        work.deliveries.add(RECEIVER, [Message("x", now, 1), Message("y", now, 2), Message("x", now, 3)])
        work.deliveries.add("alert:ops", [Message("x", now, content="{}")])
    assert subjects(sql_ledger) == ["x", "y"]
    with sql_ledger.begin() as work:
        first, second = work.deliveries.due(RECEIVER, 10)
        work.deliveries.failed(first, "it answered 500", clock.time + seconds(60))
        work.deliveries.delivered(second)
    assert subjects(sql_ledger) == []
    clock.forward(61)
    assert subjects(sql_ledger) == ["x"]
    with sql_ledger.begin() as work:
        [again] = work.deliveries.due(RECEIVER, 10)
        assert (again.attempts, again.error, again.message.sequence) == (1, "it answered 500", 1)
        work.deliveries.failed(again, "it answered 500", None)
    with sql_ledger.begin() as work:
        [later] = work.deliveries.due(RECEIVER, 10)
        assert later.message.sequence == 3
        assert work.deliveries.counts(RECEIVER) == {PENDING: 1, DELIVERED: 1, GIVEN_UP: 1}


def test_a_delivery_comes_with_its_event_and_an_event_is_planned_once(sql_ledger: SqlLedger, clock: HandClock) -> None:
    tell(sql_ledger, "a", conversion_id=an_id(1))
    for _ in range(2):
        with sql_ledger.begin() as work:
            work.deliveries.add(RECEIVER, [Message("x", clock.time, 1), Message("y", clock.time, 99)])
    with sql_ledger.begin() as work:
        found = {one.message.sequence: one.event for one in work.deliveries.due(RECEIVER, 10)}
        assert work.deliveries.first_needed([RECEIVER]) == 1
    assert found[1] is not None
    assert (found[1].name, found[1].payload, found[1].conversion_id) == ("a", {"n": "a"}, an_id(1))
    assert found[99] is None
    assert len(found) == 2


def test_what_somebody_else_ended_stays_ended(sql_ledger: SqlLedger, clock: HandClock) -> None:
    with sql_ledger.begin() as work:
        work.deliveries.add(RECEIVER, [Message("x", clock.time, 1)])
        [seen] = work.deliveries.due(RECEIVER, 1)
        work.deliveries.delivered(seen)
        work.deliveries.failed(seen, "late", clock.time)
        assert work.deliveries.counts(RECEIVER) == {DELIVERED: 1}


def test_only_what_is_planned_for_later_can_be_withdrawn(sql_ledger: SqlLedger, clock: HandClock) -> None:
    with sql_ledger.begin() as work:
        work.deliveries.add(RECEIVER, [Message("x", clock.time, content="1")])
        work.deliveries.add(RECEIVER, [Message("x", clock.time + seconds(60), content="2")])
        assert work.deliveries.withdraw(RECEIVER, "x") == 1
        assert work.deliveries.counts(RECEIVER) == {PENDING: 1, WITHDRAWN: 1}


def test_what_was_given_up_can_be_sent_again(sql_ledger: SqlLedger, clock: HandClock) -> None:
    with sql_ledger.begin() as work:
        work.deliveries.add(RECEIVER, [Message("x", clock.time, 1), Message("y", clock.time, 2)])
        one, other = work.deliveries.due(RECEIVER, 2)
        work.deliveries.failed(one, "no", None)
        work.deliveries.failed(other, "no", clock.time + seconds(3600))
    with sql_ledger.begin() as work:
        assert work.deliveries.again(RECEIVER, work.now()) == 2
    with sql_ledger.begin() as work:
        assert {one.attempts for one in work.deliveries.due(RECEIVER, 5)} == {0}
        oldest = work.deliveries.oldest(RECEIVER)
        assert oldest is not None
        assert oldest.message.sequence == 1


def test_one_worker_at_a_time_has_a_receiver_until_its_lease_ends(sql_ledger: SqlLedger, clock: HandClock) -> None:
    def claim(owner: str) -> bool:
        with sql_ledger.begin() as work:
            return work.receivers.claim(RECEIVER, owner, seconds(60))

    assert [claim("a"), claim("b"), claim("a")] == [True, False, True]
    clock.forward(61)
    assert [claim("b"), claim("a")] == [True, False]
    with sql_ledger.begin() as work:
        work.receivers.release(RECEIVER, "a")
        work.receivers.release(RECEIVER, "b")
    assert claim("a")


def test_a_receiver_waits_only_for_what_can_be_sent(sql_ledger: SqlLedger, clock: HandClock) -> None:
    def waiting() -> list[str]:
        with sql_ledger.begin() as work:
            return work.receivers.waiting([RECEIVER, "webhook:other"])

    def note(**changes: object) -> None:
        with sql_ledger.begin() as work:
            work.receivers.note(RECEIVER, **changes)

    assert waiting() == []
    with sql_ledger.begin() as work:
        work.deliveries.add(RECEIVER, [Message("x", clock.time, 1), Message("x", clock.time, 2)])
        work.deliveries.add("webhook:unknown", [Message("x", clock.time, 1)])
    assert waiting() == [RECEIVER]
    note(due_at=clock.time + seconds(30))
    assert waiting() == []
    note(due_at=None, disabled="gone")
    assert waiting() == []
    note(disabled="")
    with sql_ledger.begin() as work:
        assert work.receivers.claim(RECEIVER, "a", seconds(60))
    assert waiting() == []
    with sql_ledger.begin() as work:
        work.receivers.release(RECEIVER, "a")
        work.deliveries.failed(work.deliveries.due(RECEIVER, 1)[0], "no", clock.time + seconds(60))
    assert waiting() == []  # the second message is due, and waits for the first


# --- Alerts ----------------------------------------------------------------------------------------------------------


def an_alert(key: str, **changes: object) -> Alert:
    watch = Watch("hold:ETH-BTC", ("off",), seconds(60))
    what = Raised(key, "rate:held", "warning", 'held \u0000"now"', "alpha", an_id(1), seconds(90), watch)
    return replace(Alert(what, START, START), **changes)  # type: ignore[arg-type]


def test_an_alert_comes_back_whole_and_is_replaced_under_its_key(sql_ledger: SqlLedger) -> None:
    alert = an_alert("a", count=3, told_at=START, announced=True)
    with sql_ledger.begin() as work:
        work.alerts.put(an_alert("a"))
        work.alerts.put(alert)
        found = work.alerts.get("a")
        assert work.alerts.get("b") is None
    assert found == replace(alert, what=replace(alert.what, text='held \ufffd"now"'))


def test_firing_alerts_come_first_then_the_newest(sql_ledger: SqlLedger) -> None:
    with sql_ledger.begin() as work:
        for key, ended in (("old", START), ("new", START + seconds(9)), ("on", None)):
            work.alerts.put(an_alert(key, resolved_at=ended))
        assert [one.key for one in work.alerts.page(active=False)] == ["on", "new", "old"]
        assert [one.key for one in work.alerts.page(active=True)] == ["on"]
        assert [one.key for one in work.alerts.page(active=False, limit=2)] == ["on", "new"]
        assert work.alerts.prune(START + seconds(5), 10) == 1
        assert [one.key for one in work.alerts.page(active=False)] == ["on", "new"]


def test_alerts_are_changed_by_one_transaction_at_a_time(postgresql_engine: Engine) -> None:
    ledger = SqlLedger(emptied(postgresql_engine))
    alerting = Alerting(ledger, Alarms())
    with ledger.begin() as work:
        work.alerts.put(an_alert("a"))  # its condition is over
        work.followers.take(FOLLOWER, 0)
    with ThreadPoolExecutor(1) as pool:
        with ledger.begin() as work:
            work.followers.take(FOLLOWER, 0)
            pool.submit(alerting.look).result(5)
            assert [one.key for one in work.alerts.firing()] == ["a"]
        pool.submit(alerting.look).result(5)
    with ledger.begin() as work:
        assert work.alerts.firing() == []


# --- What is deleted -------------------------------------------------------------------------------------------------


def kept(ledger: SqlLedger) -> list[str]:
    with ledger.begin() as work:
        return [f"{one.name}{one.conversion_id or ''}" for one in work.outbox.after(0, 100)]


def prune(ledger: SqlLedger, *receivers: str) -> int:
    return Pruning(ledger, DAYS, receivers).run()


def test_old_events_go_and_what_an_audit_counts_stays(sql_ledger: SqlLedger, clock: HandClock) -> None:
    ended, open_one = an_id(1), an_id(2)
    with sql_ledger.begin() as work:
        for one in (ended, open_one):
            work.conversions.add(one, a_request(), clock.time)
        claimed = work.conversions.claim(ended, "a", seconds(9), [State.RECEIVED])
        assert claimed is not None
        work.conversions.move(claimed, State.CANCELLED)
    tell(sql_ledger, CONVERSION_ACCEPTED, CONVERSION_CANCELLED, conversion_id=ended)
    tell(sql_ledger, CONVERSION_ACCEPTED, conversion_id=open_one)
    tell(sql_ledger, SERVICE_FAILURE)
    clock.forward(DAYS.total_seconds() + 60)
    tell(sql_ledger, SERVICE_FAILURE)
    assert prune(sql_ledger) == 4
    assert kept(sql_ledger) == [CONVERSION_CANCELLED + ended, CONVERSION_ACCEPTED + open_one, SERVICE_FAILURE]
    with sql_ledger.begin() as work:
        assert work.followers.get(PRUNED) == 4
        assert work.inspection.breaches("I12", START) == []


def test_what_a_follower_has_not_heard_is_kept_twice_as_long(sql_ledger: SqlLedger, clock: HandClock) -> None:
    tell(sql_ledger, "a", "b", "c")
    with sql_ledger.begin() as work:
        work.followers.move("backend", 1, ("b",))
    clock.forward(DAYS.total_seconds() + 60)
    prune(sql_ledger)
    assert kept(sql_ledger) == ["b", "c"]
    clock.forward(DAYS.total_seconds())
    prune(sql_ledger)
    assert kept(sql_ledger) == []


def test_what_a_webhook_still_has_to_get_is_kept(sql_ledger: SqlLedger, clock: HandClock) -> None:
    tell(sql_ledger, CONVERSION_COMPLETED, "b", "c")
    with sql_ledger.begin() as work:
        work.deliveries.add(RECEIVER, [Message("x", clock.time, 2)])
    clock.forward(DAYS.total_seconds() + 60)
    prune(sql_ledger, RECEIVER)
    assert kept(sql_ledger) == [CONVERSION_COMPLETED, "b", "c"]
    with sql_ledger.begin() as work:
        work.deliveries.delivered(work.deliveries.due(RECEIVER, 1)[0])
    prune(sql_ledger, RECEIVER)
    assert kept(sql_ledger) == [CONVERSION_COMPLETED]
    clock.forward(DAYS.total_seconds() + 60)
    prune(sql_ledger, RECEIVER)
    with sql_ledger.begin() as work:
        assert work.deliveries.counts(RECEIVER) == {}


def test_what_waits_for_a_receiver_that_is_no_more_goes_as_well(sql_ledger: SqlLedger, clock: HandClock) -> None:
    with sql_ledger.begin() as work:
        for receiver in (RECEIVER, "webhook:removed"):
            work.deliveries.add(receiver, [Message("x", clock.time, content="{}")])
    clock.forward(DAYS.total_seconds() + 60)
    prune(sql_ledger, RECEIVER)
    with sql_ledger.begin() as work:
        assert [work.deliveries.counts(one) for one in (RECEIVER, "webhook:removed")] == [{PENDING: 1}, {}]


def test_pruning_goes_in_steps_until_all_is_done(
    sql_ledger: SqlLedger, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converter.pruning._STEP", 2)
    tell(sql_ledger, *"abcdefg")
    clock.forward(DAYS.total_seconds() + 60)
    assert prune(sql_ledger) == 7
    assert kept(sql_ledger) == []
    assert prune(sql_ledger) == 7
