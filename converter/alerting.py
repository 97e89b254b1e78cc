"""Alerts: raised and ended as the outbox and the ledger's conditions say, and told to every sink once.

An alert that comes again within the cool-down is told at its end, if it fires by then; one that ended before is not
told at all. So flapping tells one beginning and one end in each cool-down.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from converter.domain import alerts, conditions, events
from converter.domain.alerts import Alert, Raised, ended_by, raised_by
from converter.domain.anomalies import HOLD_ALERTS
from converter.domain.breaches import PREFIX
from converter.domain.conversions import TERMINAL, State
from converter.domain.deliveries import Message, Receiver
from converter.domain.errors import ConversionNotFound
from converter.domain.events import Event
from converter.facts import alert_facts
from converter.following import BATCH
from converter.ports import Ledger, Work

FOLLOWER = ":alerts"
RAISED, ENDED = "alert:raised", "alert:ended"

_OLD_NEWS = timedelta(hours=1)
"""What happened longer ago is an alert, too, but nobody is told: a ledger that is read for the first time."""
_FAILING = timedelta(minutes=15)
_WATCHED = (conditions.hold_of(""), conditions.tier_of(""), PREFIX)
_OF_STATE = {
    alerts.UNFINISHED_OLD,
    alerts.UNKNOWN_OLD,
    alerts.RECEIVER_FAILING,
    alerts.RECEIVER_DISABLED,
    alerts.RECEIVER_GAVE_UP,
}
"""Alerts that fire as long as they are found."""


@dataclass(frozen=True)
class Alarms:
    """Who is told (names of receivers), whose own state is looked at beside them, and when something is too old."""

    sinks: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    cooldown: timedelta = timedelta(minutes=15)
    unfinished_after: timedelta = timedelta(hours=1)
    unknown_after: timedelta = timedelta(minutes=10)


class Alerting:
    """The use-case behind `events.deliver` and `alerts.look`."""

    def __init__(self, ledger: Ledger, alarms: Alarms) -> None:
        self._ledger = ledger
        self._alarms = alarms

    def follow(self) -> bool:
        """Read on in the outbox; whether there is more. What is read is judged in the same transaction, so once."""
        with self._ledger.begin() as work:
            start = work.followers.take(FOLLOWER, 0)
            if start is None:
                return False
            told = work.outbox.after(start, BATCH)
            if not told:
                return False
            firing = {one.key: one for one in work.alerts.firing()}
            for event in told:
                self._judge(work, event, firing)
            work.followers.move(FOLLOWER, told[-1].sequence)
        return len(told) == BATCH

    def look(self) -> None:
        """End what is over, and raise what no event tells: rates held for long, receivers that take nothing,
        conversions that do not end."""
        with self._ledger.begin() as work:
            if work.followers.take(FOLLOWER, 0) is None:
                return  # somebody changes alerts at this moment; the next look is soon
            now = work.now()
            known = {name: one for prefix in _WATCHED for name, one in work.conditions.of(prefix).items()}
            firing = {one.key: one for one in work.alerts.firing()}
            for alert in list(firing.values()):
                if alert.is_over(known, now):
                    self._end(work, firing.pop(alert.key), now)
            found = alerts.held_for_long(known.values(), now, HOLD_ALERTS)
            found += [*self._of_receivers(work, now), *self._too_old(work, now)]
            for raised in found:
                if raised.key not in firing:
                    self._raise(work, raised, now)
            keys = {one.key for one in found}
            for alert in firing.values():
                if alert.what.name in _OF_STATE and alert.key not in keys:
                    self._end(work, alert, now)

    def _judge(self, work: Work, event: Event, firing: dict[str, Alert]) -> None:
        at = event.at or work.now()
        for key in ended_by(event):
            if key in firing:
                self._end(work, firing.pop(key), at)
        raised = raised_by(event, _policy(work, event))
        if raised is not None:
            firing[raised.key] = self._raise(work, raised, at)

    def _raise(self, work: Work, what: Raised, at: datetime) -> Alert:
        known, now = work.alerts.get(what.key), work.now()
        again = known is not None and known.firing
        if known is not None and again:
            alert = replace(known, what=what, last_at=at, count=known.count + 1)
        else:
            alert = Alert(what, at, at, told_at=known.told_at if known is not None else None)
        free_at = now if alert.told_at is None else max(now, alert.told_at + self._alarms.cooldown)
        if now - at <= _OLD_NEWS and (free_at <= now or not alert.announced):
            self._tell(work, alert, RAISED, free_at)
            alert = replace(alert, told_at=free_at, announced=True)
        work.alerts.put(alert)
        return alert

    def _end(self, work: Work, alert: Alert, at: datetime) -> None:
        now = work.now()
        ended = replace(alert, resolved_at=at, announced=False)
        if alert.announced:
            sinks = self._sinks_for(alert)
            silent = {one for one in sinks if work.deliveries.withdraw(one, alert.key)}
            self._tell(work, ended, ENDED, now, besides=silent)
            if alert.told_at is not None and alert.told_at > now:  # it never was told
                ended = replace(ended, told_at=alert.told_at - self._alarms.cooldown)
        work.alerts.put(ended)

    def _tell(self, work: Work, alert: Alert, kind: str, due_at: datetime, besides: Collection[str] = ()) -> None:
        content = json.dumps({"type": kind, "timestamp": work.now().isoformat(), "data": alert_facts(alert)})
        for sink in self._sinks_for(alert):
            if sink not in besides:
                work.deliveries.add(sink, [Message(alert.key, due_at, content=content)])

    def _sinks_for(self, alert: Alert) -> list[str]:
        """Nobody is told that he himself takes nothing."""
        return [one for one in self._alarms.sinks if not alert.key.endswith(f":{one}")]

    def _of_receivers(self, work: Work, now: datetime) -> list[Raised]:
        standing = [work.receivers.get(one) for one in (*self._alarms.receivers, *self._alarms.sinks)]
        return [raised for one in standing for raised in _of_receiver(one, now)]

    def _too_old(self, work: Work, now: datetime) -> list[Raised]:
        alarms, found = self._alarms, []
        under_way: list[State] = [one for one in State if one not in TERMINAL and one is not State.NEEDS_REVIEW]
        looked_for: Mapping[str, tuple[list[State], timedelta]] = {
            alerts.UNFINISHED_OLD: (under_way, alarms.unfinished_after),
            alerts.UNKNOWN_OLD: ([State.RECONCILING], alarms.unknown_after),
        }
        for name, (states, patience) in looked_for.items():
            count, oldest = work.inspection.overdue(states, now - patience)
            if oldest is not None:
                began = oldest.since if len(states) == 1 else oldest.created_at
                found.append(alerts.too_old(name, (oldest.id, now - began), count))
        return found


def _policy(work: Work, event: Event) -> str:
    """The settings of its own that the event's conversion has, where they matter."""
    if event.name != events.TIER_DEGRADED or event.conversion_id is None:
        return ""
    try:
        return work.conversions.get(event.conversion_id).request.policy
    except ConversionNotFound:
        return ""


def _of_receiver(receiver: Receiver, now: datetime) -> list[Raised]:
    found = []
    if receiver.disabled:
        found.append(alerts.of_receiver(alerts.RECEIVER_DISABLED, receiver.name, f"is off: {receiver.disabled}"))
    elif receiver.failing_since is not None and now - receiver.failing_since >= _FAILING:
        since = receiver.failing_since.isoformat(timespec="seconds")
        found.append(alerts.of_receiver(alerts.RECEIVER_FAILING, receiver.name, f"has taken nothing since {since}"))
    missed, taken = receiver.given_up_at, receiver.delivered_at
    if missed is not None and (taken is None or taken < missed):
        text = "missed messages that were given up; `converter webhooks redeliver` sends them again"
        found.append(alerts.of_receiver(alerts.RECEIVER_GAVE_UP, receiver.name, text))
    return found
