"""Messages to receivers: at least once, in order, again by a ladder, and never in the way of each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from converter.delivering import Delivering, Posts, letter_of
from converter.domain.deliveries import TAKEN, Delivery, Ladder, Letter, Message, Receipt, subject_of
from converter.domain.events import CONVERSION_ACCEPTED, CONVERSION_COMPLETED, SERVICE_FAILURE, Event, Only
from converter.ledger.repository import SqlLedger
from tests.app.house import House, NewHouse
from tests.builders import START, an_id, seconds
from tests.fakes import HandClock

POOL, OTHER = "webhook:pool", "webhook:other"
REFUSED = Receipt(taken=False, error="it answered 500")
THIS_ONE = Receipt(taken=False, error="it answered 400", alone=True)


class Carrier:
    """Takes everything, unless `answer` says otherwise of a letter."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.answer: Callable[[Letter], Receipt] = lambda _: TAKEN

    def carry(self, letter: Letter) -> Receipt:
        self.letters.append(letter)
        return self.answer(letter)

    def events(self) -> list[int]:
        return [one.content["data"]["id"] for one in self.letters]


class Post:
    """A sender with two webhooks, and the tick that beat sends."""

    def __init__(self, house: House, **wanted: Only) -> None:
        self.ledger: SqlLedger = house.ledger  # type: ignore[assignment]
        self.clock: HandClock = house.clock
        self.carriers = {POOL: Carrier(), OTHER: Carrier()}
        given = {POOL: wanted.get("pool", Only()), OTHER: wanted.get("other", Only())}
        self.delivering = Delivering(self.ledger, Posts(self.carriers, given))
        self.tick()

    @property
    def pool(self) -> Carrier:
        return self.carriers[POOL]

    def tick(self) -> None:
        while self.delivering.plan():
            pass
        for name in self.delivering.waiting():
            self.delivering.send(name)

    def tell(self, name: str = SERVICE_FAILURE, conversion: int | None = None, **payload: Any) -> None:
        with self.ledger.begin() as work:
            work.outbox.add(Event(name, payload, None if conversion is None else an_id(conversion)))

    def pass_time(self, duration: int, step: int = 1) -> None:
        for _ in range(0, duration, step):
            self.clock.forward(step)
            self.tick()


@pytest.fixture
def post(quick_house: NewHouse) -> Post:
    return Post(quick_house())


def test_every_webhook_hears_what_it_asked_for_once(quick_house: NewHouse) -> None:
    post = Post(quick_house(), other=Only(frozenset({CONVERSION_COMPLETED})))
    post.tell(CONVERSION_ACCEPTED, 1)
    post.tell(CONVERSION_COMPLETED, 1, txid="abc")
    post.pass_time(3)
    assert post.pool.events() == [1, 2]
    [letter] = post.carriers[OTHER].letters
    assert letter.id == "evt_other_2"
    assert letter.content["type"] == CONVERSION_COMPLETED
    assert letter.content["data"]["payload"] == {"txid": "abc"}
    assert letter.content["data"]["conversionId"] == an_id(1)
    assert letter.content["timestamp"] == letter.content["data"]["at"]


def test_what_was_told_before_a_webhook_was_there_is_not_sent(quick_house: NewHouse) -> None:
    house = quick_house()
    with house.ledger.begin() as work:
        work.outbox.add(Event(SERVICE_FAILURE))
    post = Post(house)
    post.tell()
    post.pass_time(1)
    assert post.pool.events() == [2]


def test_a_later_event_of_a_conversion_waits_and_other_conversions_go_on(post: Post) -> None:
    post.pool.answer = lambda letter: THIS_ONE if letter.content["data"]["conversionId"] == an_id(1) else TAKEN
    for conversion in (1, 1, 2, 2):
        post.tell(CONVERSION_ACCEPTED, conversion)
    post.pass_time(4)
    assert sorted(post.pool.events()) == [1, 3, 4]
    post.pool.answer = lambda _: TAKEN
    post.pass_time(8)
    assert post.pool.events()[-2:] == [1, 2]
    assert len({one.id for one in post.pool.letters if one.content["data"]["id"] == 1}) == 1


def test_a_receiver_that_takes_nothing_rests_and_gets_everything_when_it_is_back(post: Post) -> None:
    post.pool.answer = lambda _: REFUSED
    for number in range(40):
        post.tell(CONVERSION_ACCEPTED, number)
    post.pass_time(60, step=2)
    assert len(post.pool.letters) < 90  # and not 40 in each second
    post.pool.letters.clear()
    post.pool.answer = lambda _: TAKEN
    post.pass_time(150, step=15)
    assert sorted(set(post.pool.events())) == list(range(1, 41))
    assert post.carriers[OTHER].events() == list(range(1, 41))


def test_pauses_grow_along_the_ladder_and_an_old_message_is_given_up(post: Post) -> None:
    ladder = Ladder()
    waits = []
    for attempts in range(10):
        delivery = Delivery(1, POOL, Message("x", START), "pending", attempts, START)
        due_at = ladder.next_at(delivery, START + seconds(1), 0.5)
        assert due_at is not None
        waits.append((due_at - START - seconds(1)).total_seconds())
    assert waits == [5, 30, 120, 600, 3600, 10800, 21600, 43200, 43200, 43200]
    early, late = (ladder.next_at(delivery, START, chance) for chance in (0.0, 1.0))
    assert early is not None
    assert late is not None
    assert (early - START, late - START) == (timedelta(hours=10.8), timedelta(hours=13.2))
    assert ladder.next_at(delivery, START + timedelta(days=3), 0.5) is None
    assert [ladder.rest_after(failures).total_seconds() for failures in (1, 2, 3, 6, 99)] == [1, 2, 4, 30, 30]


def test_a_message_that_is_given_up_makes_room_and_can_be_sent_again(post: Post) -> None:
    post.pool.answer = lambda _: REFUSED
    post.tell(CONVERSION_ACCEPTED, 1)
    post.tell(CONVERSION_COMPLETED, 1)
    post.pass_time(1)
    post.clock.forward(timedelta(days=3).total_seconds())
    post.pass_time(40)
    with post.ledger.begin() as work:
        assert work.deliveries.counts(POOL) == {"given up": 2}  # the second was tried once, at least
        assert work.receivers.get(POOL).given_up_at is not None
    assert post.pool.events()[-1] == 2
    post.pool.answer, post.pool.letters = lambda _: TAKEN, []
    with post.ledger.begin() as work:
        assert work.deliveries.again(POOL, work.now()) == 2
        work.receivers.note(POOL, due_at=None)
    post.pass_time(1)
    assert post.pool.events() == [1, 2]


def test_the_rest_that_a_receiver_asks_for_is_given_within_bounds(post: Post) -> None:
    post.pool.answer = lambda _: Receipt(taken=False, error="it answered 429", retry_after=seconds(120))
    post.tell()
    post.pass_time(100, step=10)
    assert len(post.pool.letters) == 1
    post.pool.answer = lambda _: Receipt(taken=False, error="it answered 503", retry_after=timedelta(days=9))
    post.pass_time(40, step=10)
    assert len(post.pool.letters) == 2
    post.pool.answer = lambda _: TAKEN
    post.clock.forward(3601)
    post.pass_time(1)
    assert len(post.pool.letters) == 3


def test_a_receiver_that_is_gone_is_left_alone_until_it_is_switched_on_again(post: Post) -> None:
    post.pool.answer = lambda _: Receipt(taken=False, error="it answered 410", gone=True, alone=True)
    post.tell()
    post.pass_time(2)
    post.tell()
    post.clock.forward(86_400 * 5)
    post.pass_time(5)
    assert len(post.pool.letters) == 1
    with post.ledger.begin() as work:
        assert "410" in work.receivers.get(POOL).disabled
        work.receivers.note(POOL, disabled="")
        work.deliveries.again(POOL, work.now())
    post.pool.answer, post.pool.letters = lambda _: TAKEN, []
    post.pass_time(2)
    assert post.pool.events() == [1, 2]


def test_what_a_receiver_that_is_gone_did_not_take_is_not_given_up_however_old(post: Post) -> None:
    post.tell()
    post.delivering.plan()
    post.clock.forward(86_400 * 4)
    post.pool.answer = lambda _: Receipt(taken=False, error="it answered 410", gone=True, alone=True)
    post.pass_time(1)
    with post.ledger.begin() as work:
        assert work.deliveries.counts(POOL) == {"pending": 1}


def test_two_workers_never_send_to_a_receiver_at_once(post: Post) -> None:
    post.tell(CONVERSION_ACCEPTED, 1)
    post.delivering.plan()
    with post.ledger.begin() as work:
        assert work.receivers.claim(POOL, "another worker", seconds(60))
    assert post.delivering.send(POOL) == 0
    assert post.pool.letters == []
    post.clock.forward(61)
    assert post.delivering.send(POOL) == 1


def test_an_answer_that_was_not_recorded_lets_the_same_message_come_again(post: Post) -> None:
    def die(_: Letter) -> Receipt:
        raise KeyboardInterrupt

    post.tell(CONVERSION_ACCEPTED, 1)
    post.pool.answer = die
    with pytest.raises(KeyboardInterrupt):
        post.tick()
    post.pool.answer = lambda _: TAKEN
    post.pass_time(5)
    assert len(post.pool.letters) == 1  # the lease of the one that died holds
    post.clock.forward(61)
    post.pass_time(1)
    assert [one.id for one in post.pool.letters] == ["evt_pool_1"] * 2
    assert post.pool.letters[0].content == post.pool.letters[1].content


def test_a_message_whose_event_is_not_kept_is_given_up(post: Post) -> None:
    with post.ledger.begin() as work:
        work.deliveries.add(POOL, [Message("x", work.now(), 77)])
        [delivery] = work.deliveries.due(POOL, 1)
    assert letter_of(delivery) is None
    post.pass_time(1)
    with post.ledger.begin() as work:
        assert work.deliveries.counts(POOL) == {"given up": 1}
    assert post.pool.letters == []


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (Event(CONVERSION_ACCEPTED, {"serviceId": "a"}, an_id(1)), an_id(1)),
        (Event(SERVICE_FAILURE, {"serviceId": "a"}), "service:a"),
        (Event("ledger:audit_failed", {}), "ledger:audit_failed"),
    ],
)
def test_an_event_is_sent_in_the_order_of_what_it_is_about(event: Event, subject: str) -> None:
    assert subject_of(event) == subject
