"""Messages out: events are planned for each webhook as they are committed, and carried until they are taken.

One worker at a time sends to a receiver, under a lease; no message leaves inside a transaction. A message of a subject
is not sent while an earlier one of the same subject is not taken; other subjects go on. A worker that dies between
sending and recording lets the same message be sent again, under the same id.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from converter.domain.deliveries import Delivery, Ladder, Letter, Message, Receipt, Receiver, subject_of
from converter.domain.events import Only
from converter.facts import event_facts
from converter.following import BATCH
from converter.ports import Carrier, Deadline, Ledger, Work

log = logging.getLogger(__name__)

WEBHOOK, ALERT = "webhook:", "alert:"
"""Beginnings of the names of receivers: `webhook:<id>` hears events, `alert:<id>` is told of alerts."""

_LEASE = timedelta(seconds=60)
"""Longer than a batch with the longest time-out."""
_AT_ONCE = 8
_RUN = 8.0
"""Seconds after which a run begins no further batch."""
_LONGEST_ASKED = timedelta(hours=1)
"""A receiver that asks for more rest gets so much."""


@dataclass(frozen=True)
class Posts:
    """The receivers and who carries to them; `wanted`: which events a webhook hears."""

    carriers: Mapping[str, Carrier] = field(default_factory=dict)
    wanted: Mapping[str, Only] = field(default_factory=dict)
    ladder: Ladder = field(default_factory=Ladder)


class Delivering:
    """The use-case behind `events.deliver` and `events.send`."""

    def __init__(self, ledger: Ledger, posts: Posts) -> None:
        self._ledger = ledger
        self._posts = posts

    def plan(self) -> bool:
        """Plan the events that came since the last time; whether there are more. A webhook hears what is committed
        after it was seen here first; while it is off, its place in the outbox is kept."""
        full = False
        for name, only in self._posts.wanted.items():
            with self._ledger.begin() as work:
                full |= _plan(work, name, only)
        return full

    def waiting(self) -> list[str]:
        """The receivers to which something can be sent now."""
        if not self._posts.carriers:
            return []
        with self._ledger.begin() as work:
            return work.receivers.waiting(sorted(self._posts.carriers))

    def send(self, name: str) -> int:
        """Send what is due to one receiver, for some seconds at most; returns how many messages it took."""
        carrier = self._posts.carriers.get(name)
        if carrier is None:
            return 0
        run, taken, end = secrets.token_hex(8), 0, Deadline.after(_RUN)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="messages") as pool:
            while not end.expired:
                batch = self._claim(name, run)
                if not batch:
                    break
                receipts = list(pool.map(lambda one: _carry(carrier, one), batch))
                taken += sum(one.taken for one in receipts)
                if not self._record(name, batch, receipts):
                    break
        with self._ledger.begin() as work:
            work.receivers.release(name, run)
        return taken

    def _claim(self, name: str, run: str) -> list[Delivery]:
        """What is due to a receiver that is ours; nothing when another worker has it."""
        with self._ledger.begin() as work:
            if not work.receivers.claim(name, run, _LEASE):
                return []
            standing = work.receivers.get(name)
            if standing.disabled or (standing.due_at is not None and standing.due_at > work.now()):
                return []
            return work.deliveries.due(name, _AT_ONCE)

    def _record(self, name: str, batch: Sequence[Delivery], receipts: Sequence[Receipt]) -> bool:
        """Note what became of each; whether to go on at once."""
        with self._ledger.begin() as work:
            now, standing = work.now(), work.receivers.get(name)
            given_up = False
            for delivery, receipt in zip(batch, receipts, strict=True):
                if receipt.taken:
                    work.deliveries.delivered(delivery)
                else:
                    due_at = self._again(delivery, receipt, now)
                    given_up |= due_at is None
                    work.deliveries.failed(delivery, receipt.error, due_at)
            changes = _standing(standing, receipts, self._posts.ladder, now)
            if given_up:
                changes["given_up_at"] = now
            work.receivers.note(name, **changes)
        for receipt in receipts:
            if not receipt.taken:
                log.warning("%s did not take a message: %s", name, receipt.error)
        return not changes.get("disabled") and changes["due_at"] is None

    def _again(self, delivery: Delivery, receipt: Receipt, now: datetime) -> datetime | None:
        if delivery.message.sequence is not None and delivery.event is None:
            return None
        due_at = self._posts.ladder.next_at(delivery, now, random.random())
        if receipt.gone:  # not its fault: it is sent when the receiver is switched on again
            return due_at or now
        asked = receipt.retry_after
        return due_at if asked is None or due_at is None else max(due_at, now + min(asked, _LONGEST_ASKED))


def _plan(work: Work, name: str, only: Only) -> bool:
    if work.receivers.get(name).disabled:
        return False
    start = work.followers.take(f":{name}", work.outbox.last())
    if start is None:
        return False
    events = work.outbox.after(start, BATCH)
    if events:
        now = work.now()
        messages = [Message(subject_of(one), now, one.sequence) for one in events if only.takes(one)]
        work.deliveries.add(name, messages)
        work.followers.move(f":{name}", events[-1].sequence)
    return len(events) == BATCH


def _standing(before: Receiver, receipts: Sequence[Receipt], ladder: Ladder, now: datetime) -> dict[str, Any]:
    """How a receiver stands after a batch. It rests when none of it was taken, and not because of the messages."""
    taken = any(one.taken for one in receipts)
    if any(one.gone for one in receipts):
        moment = now.isoformat(timespec="seconds")
        return {"disabled": f"it answered 410 Gone at {moment}", "failures": 0, "due_at": None, "failing_since": None}
    if taken:
        return {"failures": 0, "due_at": None, "failing_since": None, "delivered_at": now}
    failing_since = before.failing_since or now
    if all(one.alone for one in receipts):
        return {"failures": 0, "due_at": None, "failing_since": failing_since}
    failures = before.failures + 1
    asked = [one.retry_after for one in receipts if one.retry_after is not None]
    rest = max([ladder.rest_after(failures), *(min(one, _LONGEST_ASKED) for one in asked)])
    return {"failures": failures, "due_at": now + rest, "failing_since": failing_since}


def _carry(carrier: Carrier, delivery: Delivery) -> Receipt:
    letter = letter_of(delivery)
    return Receipt(taken=False, error="its event is not kept any more") if letter is None else carrier.carry(letter)


def letter_of(delivery: Delivery) -> Letter | None:
    """The letter of a delivery, the same for every attempt; None when its event is gone."""
    kind, _, receiver = delivery.receiver.partition(":")
    if delivery.message.sequence is None:
        return Letter(f"{kind}_{receiver}_{delivery.id}", json.loads(delivery.message.content))
    event = delivery.event
    if event is None or event.at is None:
        return None
    content = {"type": event.name, "timestamp": event.at.isoformat(), "data": event_facts(event)}
    return Letter(f"evt_{receiver}_{event.sequence}", content)
