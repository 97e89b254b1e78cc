"""Alerts over time: raised once, told once, ended, and quiet when they flap."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from converter.alerting import Alarms, Alerting
from converter.domain import conditions
from converter.domain.alerts import Alert
from converter.domain.conversions import State
from converter.domain.events import (
    CONVERSION_COMPLETED,
    CONVERSION_NEEDS_REVIEW,
    EMERGENCY_ACTIVATED,
    RATE_JUMP,
    SERVICE_RECOVERED,
    SERVICE_UNAVAILABLE,
    TIER_DEGRADED,
    Event,
)
from tests.app.house import House, NewHouse
from tests.builders import a_request, an_id, seconds

OPS, MAIL = "alert:ops", "alert:mail"
ALARMS = Alarms((OPS, MAIL), ("webhook:pool",), timedelta(minutes=15))
KEY = "service:unavailable:alpha:quote"


class Watched:
    """An outbox, what reads it for alerts, and what the sinks have been told by now."""

    def __init__(self, house: House, alarms: Alarms = ALARMS) -> None:
        self.ledger, self.clock = house.ledger, house.clock
        self.alerting = Alerting(self.ledger, alarms)
        self.heard: dict[str, list[str]] = {OPS: [], MAIL: []}

    def tell(self, name: str, conversion: int | None = None, **payload: Any) -> None:
        with self.ledger.begin() as work:
            work.outbox.add(Event(name, payload, None if conversion is None else an_id(conversion)))
        self.alerting.follow()

    def down(self) -> None:
        self.tell(SERVICE_UNAVAILABLE, serviceId="alpha", operation="quote", failures=3, until=None)

    def up(self) -> None:
        self.tell(SERVICE_RECOVERED, serviceId="alpha", operation="quote", seconds=9)

    def forward(self, minutes: float) -> None:
        self.clock.forward(minutes * 60)
        self.alerting.look()

    def told(self, sink: str = OPS) -> list[str]:
        """Everything that was to be sent by now, taken by the sink."""
        with self.ledger.begin() as work:
            while due := work.deliveries.due(sink, 50):
                for one in due:
                    content = json.loads(one.message.content)
                    self.heard[sink].append(f"{content['type'].partition(':')[2]} {content['data']['key']}")
                    work.deliveries.delivered(one)
        return self.heard[sink]

    def alert(self, key: str = KEY) -> Alert:
        with self.ledger.begin() as work:
            found = work.alerts.get(key)
        assert found is not None
        return found


@pytest.fixture
def watched(quick_house: NewHouse) -> Watched:
    return Watched(quick_house())


def test_an_outage_is_told_to_every_sink_when_it_begins_and_when_it_ends(watched: Watched) -> None:
    watched.down()
    watched.down()
    assert watched.told() == [f"raised {KEY}"]
    assert watched.told(MAIL) == [f"raised {KEY}"]
    assert (watched.alert().count, watched.alert().firing) == (2, True)
    watched.forward(1)
    watched.up()
    assert watched.told() == [f"raised {KEY}", f"ended {KEY}"]
    assert watched.told(MAIL) == watched.told()
    assert not watched.alert().firing


def test_an_end_without_a_beginning_is_told_to_nobody(watched: Watched) -> None:
    watched.up()
    assert watched.told() == []


def test_what_is_read_is_judged_once(watched: Watched) -> None:
    watched.down()
    assert not watched.alerting.follow()
    assert Alerting(watched.ledger, ALARMS).follow() is False
    assert watched.alert().count == 1


def test_flapping_tells_one_beginning_and_one_end_in_each_cool_down(watched: Watched) -> None:
    for _ in range(7):  # down and up every two minutes, for fourteen
        watched.down()
        watched.told()
        watched.forward(1)
        watched.up()
        watched.told()
        watched.forward(1)
    assert watched.told() == [f"raised {KEY}", f"ended {KEY}"]
    watched.forward(2)
    assert len(watched.told()) == 2  # what was planned for the end of the cool-down was taken back
    watched.down()
    assert watched.told()[2:] == [f"raised {KEY}"]


def test_what_came_again_in_the_cool_down_and_still_fires_is_told_at_its_end(watched: Watched) -> None:
    watched.down()
    watched.forward(1)
    watched.up()
    watched.told()
    watched.forward(1)
    watched.down()
    watched.forward(12)
    assert len(watched.told()) == 2
    watched.forward(2)
    assert watched.told()[2:] == [f"raised {KEY}"]
    watched.forward(1)
    watched.up()
    assert watched.told()[3:] == [f"ended {KEY}"]


def test_after_the_cool_down_a_new_outage_is_told_at_once(watched: Watched) -> None:
    for _ in range(2):
        watched.down()
        watched.forward(1)
        watched.up()
        watched.told()
        watched.forward(20)
    assert watched.told() == [f"raised {KEY}", f"ended {KEY}"] * 2


def test_what_is_met_again_after_the_cool_down_is_told_again(watched: Watched) -> None:
    watched.down()
    watched.told()
    watched.forward(16)
    watched.down()
    assert watched.told() == [f"raised {KEY}"] * 2


def test_one_sink_that_takes_nothing_keeps_no_other_waiting(watched: Watched) -> None:
    watched.down()
    assert watched.told(MAIL) == [f"raised {KEY}"]
    watched.forward(1)
    watched.up()
    assert watched.told(MAIL) == [f"raised {KEY}", f"ended {KEY}"]
    assert watched.told(OPS) == [f"raised {KEY}", f"ended {KEY}"]


def test_a_parked_conversion_fires_until_it_is_completed(watched: Watched) -> None:
    watched.tell(CONVERSION_NEEDS_REVIEW, 1, reason="unknown for too long", evidence=[])
    key = f"conversion:needs_review:{an_id(1)}"
    assert watched.alert(key).firing
    watched.tell(CONVERSION_COMPLETED, 2)
    assert watched.alert(key).firing
    watched.tell(CONVERSION_COMPLETED, 1)
    assert watched.told() == [f"raised {key}", f"ended {key}"]


def test_old_news_is_an_alert_that_nobody_is_told(watched: Watched) -> None:
    with watched.ledger.begin() as work:
        payload = {"serviceId": "alpha", "operation": "quote", "failures": 3}
        work.outbox.add(Event(SERVICE_UNAVAILABLE, payload))
    watched.clock.forward(7200)
    watched.alerting.follow()
    assert watched.alert().firing
    watched.up()
    assert watched.told() == []


def test_a_held_rate_fires_until_the_hold_is_off(watched: Watched) -> None:
    def enter(state: str) -> None:
        with watched.ledger.begin() as work:
            work.conditions.enter(conditions.hold_of("ETH-BTC"), state, normal=conditions.OFF)

    enter("jump")
    watched.tell(RATE_JUMP, 1, pair="ETH-BTC", rate="0.09", reference="0.06")
    watched.forward(5)
    assert watched.told() == ["raised rate:held:ETH-BTC"]
    assert watched.alert("rate:held:ETH-BTC").count == 1
    enter(conditions.OFF)
    watched.forward(0.1)
    assert watched.told()[1:] == ["ended rate:held:ETH-BTC"]
    enter("no_agreement")
    watched.forward(1)
    assert len(watched.told()) == 2
    watched.forward(20)
    assert watched.told()[2:] == ["raised rate:held:ETH-BTC"]


def test_a_degraded_tier_fires_until_the_usual_one_is_in_use(watched: Watched) -> None:
    def enter(state: str) -> None:
        with watched.ledger.begin() as work:
            work.conditions.enter(conditions.tier_of("ETH-BTC"), state, normal="1")

    with watched.ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(), work.now())
    enter("2")
    watched.tell(TIER_DEGRADED, 1, pair="ETH-BTC", tier=2, usual=1, unavailable={"alpha": "open"})
    watched.forward(1)
    assert watched.told() == ["raised tier:degraded:ETH-BTC"]
    enter("1")
    watched.forward(1)
    assert watched.told()[1:] == ["ended tier:degraded:ETH-BTC"]


def test_the_emergency_tier_is_over_when_it_was_not_used_for_a_while(watched: Watched) -> None:
    watched.tell(EMERGENCY_ACTIVATED, 1, serviceId="delta", attempt=1, net="0.1")
    watched.forward(29)
    assert watched.told() == ["raised emergency:activated:delta"]
    watched.forward(2)
    assert watched.told()[1:] == ["ended emergency:activated:delta"]


def test_conversions_that_do_not_end_are_an_alert_until_they_do(watched: Watched) -> None:
    with watched.ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(), work.now())
    watched.forward(59)
    assert watched.told() == []
    watched.forward(2)
    assert watched.told() == ["raised conversions:unfinished_old"]
    assert an_id(1) in watched.alert("conversions:unfinished_old").what.text
    with watched.ledger.begin() as work:
        claimed = work.conversions.claim(an_id(1), "a", seconds(30), [State.RECEIVED])
        assert claimed is not None
        work.conversions.move(claimed, State.CANCELLED)
    watched.forward(1)
    assert watched.told()[1:] == ["ended conversions:unfinished_old"]


def test_a_receiver_that_takes_nothing_or_is_off_is_an_alert_for_the_others(watched: Watched) -> None:
    with watched.ledger.begin() as work:
        work.receivers.note("webhook:pool", failing_since=work.now())
        work.receivers.note(MAIL, disabled="it answered 410 Gone")
        work.receivers.note(OPS, given_up_at=work.now())
    watched.forward(16)
    assert sorted(watched.told()) == ["raised receiver:disabled:alert:mail", "raised receiver:failing:webhook:pool"]
    assert sorted(watched.told(MAIL)) == ["raised receiver:failing:webhook:pool", "raised receiver:gave_up:alert:ops"]
    with watched.ledger.begin() as work:
        now = work.now()
        work.receivers.note("webhook:pool", failing_since=None, delivered_at=now)
        work.receivers.note(OPS, delivered_at=now)
    watched.forward(1)
    assert watched.told(MAIL)[2:] == ["ended receiver:failing:webhook:pool", "ended receiver:gave_up:alert:ops"]
