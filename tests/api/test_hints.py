"""Hints go out behind the answers, in order, and are left to the sweep while the broker is away."""

from __future__ import annotations

import threading

from converter.api.hints import Hints
from tests.scenarios.world import until


class Broker:
    """Takes hints once it may; `away` refuses them."""

    def __init__(self, *, away: bool = False) -> None:
        self.may, self.away = threading.Event(), away
        self.heard: list[tuple[str, str]] = []

    def send(self, task: str, conversion_id: str) -> bool:
        assert self.may.wait(20)
        self.heard.append((task, conversion_id))
        return not self.away


def test_a_hint_waits_for_no_broker_and_arrives_in_order() -> None:
    broker = Broker()
    hints = Hints(broker.send)
    sent = [("task", str(number)) for number in range(100)]
    assert all(hints.send(*hint) for hint in sent)
    assert broker.heard == []
    broker.may.set()
    until(lambda: broker.heard == sent, 10, "all arrive")
    hints.close()


def test_what_waits_at_the_end_is_still_sent() -> None:
    broker = Broker()
    broker.may.set()
    hints = Hints(broker.send)
    for number in range(50):
        hints.send("task", str(number))
    hints.close()
    assert len(broker.heard) == 50


def test_behind_a_hint_that_was_not_taken_nothing_is_told_late() -> None:
    broker = Broker(away=True)
    hints = Hints(broker.send)
    for number in range(20):
        hints.send("task", str(number))
    broker.may.set()
    hints.close()
    assert len(broker.heard) < 20


def test_more_than_can_wait_is_left_to_the_sweep() -> None:
    broker = Broker()
    hints = Hints(broker.send)
    taken = sum(hints.send("task", str(number)) for number in range(3000))
    assert 1000 <= taken <= 1001
    broker.may.set()
    hints.close()
    assert len(broker.heard) == taken


def test_without_a_hint_there_is_nothing_to_close() -> None:
    Hints(Broker().send).close()
