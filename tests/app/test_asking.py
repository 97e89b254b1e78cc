"""Asking on threads: who hangs holds nobody up, late answers count, one call serves several who ask the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from converter.asking import Answer, Asking, Terms
from converter.desk import Next
from converter.domain import events
from converter.domain.breakers import BreakerState
from converter.domain.conversions import State
from converter.domain.errors import LimiterRefused, ServiceRejected, ServiceUnavailable
from converter.domain.policy import override_text
from converter.domain.quotes import QuoteRequest
from converter.guard import GuardedService
from converter.ports import Deadline, Ledger, Work
from converter.quoting import Quoting
from tests.app.conftest import Kept, emptied
from tests.app.house import APPROVAL, House
from tests.builders import a_quote_request, a_row, seconds
from tests.fakes import Act, HandClock, Scene, ScriptedService, refuse

LONG = 20.0
"""Seconds after which a test that waits has failed."""
REQUEST = a_quote_request()
FEWEST, CALLS_PER_SERVICE = 20, 8


def happens(is_so: Callable[[], bool], within: float) -> bool:
    """Wait for something that another thread does; whether it did in so many seconds."""
    end = time.monotonic() + within
    while not is_so():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.002)
    return True


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another thread must do."""
    assert happens(is_so, LONG), "it did not happen"


@dataclass
class Gate:
    """An act that waits until it is opened, and then plays another one or the honest work."""

    act: Act | None = None
    opened: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """How many calls came to it."""
        return len(self.calls)

    def __call__(self, scene: Scene) -> Any:
        self.calls.append(scene.operation)
        assert self.opened.wait(LONG)
        return self.act(scene) if self.act else scene.do()


@contextmanager
def hanging(service: ScriptedService, act: Act | None = None) -> Iterator[Gate]:
    """Its quotes hang until the gate is opened, at the latest at the end."""
    gate = Gate(act)
    service.always("quote", gate)
    try:
        yield gate
    finally:
        gate.opened.set()


@pytest.fixture
def threaded(ledger_in_a_file: Kept) -> House:
    """A house whose services are asked on threads, for at most 50 ms."""
    kept = emptied(ledger_in_a_file)
    house = House(kept.ledger, kept.clock, pool=None)
    house.change_policy(request_timeout=seconds(0.05))
    return house


def asked(house: House, number: int = 1, *groups: tuple[str, ...]) -> str:
    """A conversion in its first round, asked of these services only."""
    cid = house.receive(number)
    office = house.office()
    assert office.planning.start(cid) is not None
    for group in groups:
        office.quoting.ask(cid, 1, group)
    return cid


def latencies(house: House, service_id: str = "alpha") -> list[int]:
    with house.ledger.begin() as work:
        return work.quotes.latencies(service_id, 100)


def answered_within(house: House, **milliseconds: Sequence[int]) -> None:
    """So long the answers of these services to an earlier conversion took, one round each."""
    cid = house.receive(900)
    with house.ledger.begin() as work:
        for service_id, known in milliseconds.items():
            for number, elapsed in enumerate(known, start=1):
                work.quotes.add(a_row(cid, service_id, number, elapsed_ms=elapsed))


# --- A service that hangs --------------------------------------------------------------------------------------------


def test_a_service_that_hangs_costs_its_deadline_and_the_others_are_chosen_from(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL, "0.1")
    threaded.add("beta", APPROVAL, "0.09")
    cid = threaded.receive()
    office = threaded.office()
    plan = office.planning.start(cid)
    assert plan is not None
    with hanging(alpha) as gate:
        office.quoting.ask(cid, 1, ("alpha",))
        assert gate.waiting == 1, "it hangs, and we went on"
        threaded.change_policy(request_timeout=seconds(LONG))
        threaded.office().quoting.ask(cid, 1, ("beta",))
        assert office.selecting.select(cid, 1) is Next.EXECUTE
        row = threaded.quotes(cid)["alpha"]
        assert (row.quote, row.late, row.failed) == (None, True, True)
        assert row.error.startswith("alpha quote: no answer within 0.")
        assert threaded.events(events.SERVICE_FAILURE) == [], "it has not failed yet"
        office.follow(Next.EXECUTE, cid)
        assert threaded.get(cid).service_id == "beta"


def test_a_known_service_that_hangs_costs_no_more_than_what_it_usually_takes(threaded: House) -> None:
    threaded.change_policy(request_timeout=seconds(LONG))
    alpha = threaded.add("alpha", APPROVAL)
    answered_within(threaded, alpha=[20] * FEWEST)
    with hanging(alpha):
        began = time.monotonic()
        asked(threaded, 1, ("alpha",))
        took = time.monotonic() - began
    assert 0.5 <= took < LONG / 2


def test_a_late_good_answer_counts_as_what_it_took_and_as_no_failure(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    threaded.place("alpha", max_failures=1)
    with hanging(alpha) as gate:
        cid = asked(threaded, 1, ("alpha",))
        assert latencies(threaded) == [], "what never came is not in the sample"
        until(lambda: gate.waiting == 1)
        under_way_for = time.monotonic() + 0.08
        until(lambda: time.monotonic() >= under_way_for)
        gate.opened.set()
        until(lambda: latencies(threaded) != [])
    row = threaded.quotes(cid)["alpha"]
    assert (row.quote, row.late, row.failed) == (None, True, False)
    assert latencies(threaded) == [row.elapsed_ms]
    assert row.elapsed_ms >= 80
    assert threaded.office().desk.services["alpha"].breakers["quote"].snapshot().failures == 0
    assert threaded.events(events.SERVICE_FAILURE) == []


def test_a_late_failure_is_told_and_counts_against_the_breaker(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    threaded.place("alpha", max_failures=1)
    with hanging(alpha, refuse(ServiceUnavailable)) as gate:
        cid = asked(threaded, 1, ("alpha",))
        gate.opened.set()
        until(lambda: threaded.events(events.SERVICE_UNAVAILABLE) != [])
    assert threaded.quotes(cid)["alpha"].failed
    assert latencies(threaded) == []
    [failure] = threaded.events(events.SERVICE_FAILURE)
    assert failure.payload == {"serviceId": "alpha", "failures": 1, "operation": "quote"}
    assert threaded.office().desk.services["alpha"].breakers["quote"].snapshot().state is BreakerState.OPEN


def test_a_late_refusal_of_business_is_no_failure(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    threaded.place("alpha", max_failures=1)
    with hanging(alpha, refuse(ServiceRejected)) as gate:
        cid = asked(threaded, 1, ("alpha",))
        gate.opened.set()
        until(lambda: not threaded.quotes(cid)["alpha"].failed)
    assert threaded.events(events.SERVICE_FAILURE) == []


def test_a_late_answer_is_never_chosen(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    with hanging(alpha) as gate:
        cid = asked(threaded, 1, ("alpha",))
        gate.opened.set()
        until(lambda: latencies(threaded) != [])
    assert threaded.office().selecting.select(cid, 1) is None
    assert threaded.get(cid).state is State.WAITING


class Overtaken:
    """A ledger whose next transaction of this thread begins only after something happened on another one."""

    def __init__(self, ledger: Ledger, happens: Callable[[], None]) -> None:
        self._ledger = ledger
        self._thread = threading.get_ident()
        self._happens: Callable[[], None] | None = happens
        self.finished: list[str] = []

    @contextmanager
    def begin(self) -> Iterator[Work]:
        name = threading.current_thread().name
        ours = threading.get_ident() == self._thread
        if ours and self._happens is not None and self.finished:
            happens, self._happens = self._happens, None
            happens()
        with self._ledger.begin() as work:
            yield work
        self.finished.append("ours" if ours else name)

    def now(self) -> Any:
        return self._ledger.now()


def test_an_answer_that_comes_while_its_absence_is_written_down_counts(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    cid = asked(threaded)
    with hanging(alpha) as gate:

        def answer() -> None:
            gate.opened.set()
            happens(lambda: any(name != "ours" for name in ledger.finished), 0.3)

        ledger = Overtaken(threaded.ledger, answer)
        threaded.office(ledger=ledger).quoting.ask(cid, 1, ("alpha",))  # type: ignore[arg-type]
    happens(lambda: latencies(threaded) != [], 0.3)
    row = threaded.quotes(cid)["alpha"]
    assert (row.late, row.failed) == (True, False)
    assert len(latencies(threaded)) == 1


def test_a_redelivered_question_that_ends_late_spoils_no_offer(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    threaded.change_policy(request_timeout=seconds(LONG))
    cid = asked(threaded, 1, ("alpha",))
    before = threaded.quotes(cid)["alpha"]
    assert before.quote is not None
    threaded.change_policy(request_timeout=seconds(0.05))
    with hanging(alpha, refuse(ServiceUnavailable)) as gate:
        threaded.office("b").quoting.ask(cid, 1, ("alpha",))
        gate.opened.set()
        breaker = threaded.office("b").desk.services["alpha"].breakers["quote"]
        until(lambda: breaker.snapshot().failures == 1)
        happens(lambda: threaded.quotes(cid)["alpha"] != before, 0.3)
    assert threaded.quotes(cid)["alpha"] == before


# --- How long is waited ----------------------------------------------------------------------------------------------


@dataclass
class Notes(Asking):
    """Notes on what terms a service is asked, and asks nobody."""

    patience: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    share: list[bool] = field(default_factory=list)

    def ask(self, guard: GuardedService, request: QuoteRequest, terms: Terms) -> Answer | Future[Answer]:
        self.patience.append(terms.patience.remaining())
        self.last.append(terms.last.remaining())
        self.share.append(terms.share)
        return Answer(None, LimiterRefused(guard.service_id, "quote"), 0)


def terms_of(house: House, cid: str, *service_ids: str) -> Notes:
    notes = Notes()
    house.office().planning.start(cid)
    Quoting(house.office().desk, notes).ask(cid, house.get(cid).round, service_ids)
    return notes


LIMIT = 5.0


@pytest.mark.parametrize(
    ("known", "waited"),
    [
        ([], LIMIT),
        ([1000] * (FEWEST - 1), LIMIT),
        ([1000] * FEWEST, 1.5),
        ([1000] * 98 + [2000, 9000], 3.0),
        ([1000] * 99 + [2000], 1.5),
        ([10] * FEWEST, 0.5),
        ([3333] * FEWEST, 5.0),
        ([60_000] * FEWEST, LIMIT),
        ([9000] * 50 + [1000] * 100, 1.5),
    ],
    ids=["nothing", "too few", "enough", "p99", "one in a hundred", "floor", "near the limit", "limit", "newest"],
)
def test_a_service_is_waited_for_by_what_its_recent_answers_took(house: House, known: list[int], waited: float) -> None:
    house.add("alpha", APPROVAL)
    answered_within(house, alpha=known)
    notes = terms_of(house, house.receive(), "alpha")
    assert notes.patience == [pytest.approx(waited, abs=0.3)]
    assert notes.last == [pytest.approx(LIMIT, abs=0.3)], "the call itself may go on"


def test_another_services_answers_say_nothing_about_this_one(house: House) -> None:
    house.add("alpha", APPROVAL)
    answered_within(house, beta=[10] * FEWEST)
    assert terms_of(house, house.receive(), "alpha").patience == [pytest.approx(LIMIT, abs=0.3)]


def test_each_that_is_asked_one_by_one_has_the_whole_time_for_its_call(house: House) -> None:
    for name in ("alpha", "beta"):
        house.add(name, APPROVAL)
    answered_within(house, alpha=[1000] * FEWEST, beta=[1000] * FEWEST)
    notes = terms_of(house, house.receive(), "alpha", "beta")
    assert notes.patience == [pytest.approx(1.5, abs=0.3)] * 2
    assert notes.last == [pytest.approx(LIMIT, abs=0.3)] * 2


def test_only_a_first_round_takes_an_answer_that_another_was_given(house: House) -> None:
    house.add("alpha", APPROVAL)
    cid = house.receive()
    assert terms_of(house, cid, "alpha").share == [True]
    house.wait_until_due(cid)
    assert terms_of(house, cid, "alpha").share == [False]


# --- Sharing one call ------------------------------------------------------------------------------------------------


def a_guard(*, firm: bool = False, name: str = "alpha") -> tuple[GuardedService, ScriptedService]:
    """A service alone in its process, whose offers bind nobody unless they are firm."""
    house = House(None, HandClock())  # type: ignore[arg-type]  nothing here is kept
    service = house.add(name, APPROVAL, firm_quotes=firm)
    return house.office().desk.services[name], service


def terms(*, share: bool = True, patience: float = LONG) -> Terms:
    return Terms(Deadline.after(patience), Deadline.after(LONG), share)


def in_time(asking: Asking, guard: GuardedService, request: QuoteRequest, terms: Terms) -> Answer:
    answer = asking.ask(guard, request, terms)
    assert isinstance(answer, Answer), "late"
    return answer


def at_once(asking: Asking, guard: GuardedService, service: ScriptedService, *kinds: Terms) -> list[Answer | None]:
    """Several who ask the same while the first call is under way."""
    with hanging(service) as gate, ThreadPoolExecutor(len(kinds)) as pool:
        first = pool.submit(in_time, asking, guard, REQUEST, kinds[0])
        until(lambda: gate.waiting == 1)
        others = [pool.submit(in_time, asking, guard, REQUEST, kind) for kind in kinds[1:]]
        calls = 1 + sum(
            not (kind.share and kinds[0].share and not guard.capabilities.firm_quotes) for kind in kinds[1:]
        )
        until(lambda: gate.waiting == calls)
        gate.opened.set()
        return [one.result(LONG) for one in (first, *others)]


def test_those_who_ask_the_same_at_the_same_moment_share_one_call() -> None:
    guard, service = a_guard()
    answers = at_once(Asking(seconds(60)), guard, service, terms(), terms(), terms())
    assert service.count("quote") == 1
    assert answers[0] is not None
    assert answers[0].quote is not None
    assert answers == [answers[0]] * 3


def test_a_firm_offer_is_never_shared() -> None:
    guard, service = a_guard(firm=True)
    answers = at_once(Asking(seconds(60)), guard, service, terms(), terms())
    assert service.count("quote") == 2
    assert all(one is not None and one.quote is not None for one in answers)


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
def test_who_wants_an_answer_of_its_own_gets_one(*, first: bool, second: bool) -> None:
    guard, service = a_guard()
    at_once(Asking(seconds(60)), guard, service, terms(share=first), terms(share=second))
    assert service.count("quote") == 2


@pytest.mark.parametrize(("fresh_for", "calls"), [(60, 1), (0.000001, 3), (0, 3)])
def test_a_good_answer_is_shared_while_it_is_fresh_and_not_longer(fresh_for: float, calls: int) -> None:
    guard, service = a_guard()
    asking = Asking(seconds(fresh_for))
    for _ in range(3):
        in_time(asking, guard, REQUEST, terms())
    assert service.count("quote") == calls


@pytest.mark.parametrize("error", [ServiceUnavailable, ServiceRejected])
def test_a_failed_answer_is_not_shared_once_it_ended(error: type[Exception]) -> None:
    guard, service = a_guard()
    service.on("quote", refuse(error))
    asking = Asking(seconds(60))
    failed = in_time(asking, guard, REQUEST, terms())
    assert failed is not None
    assert isinstance(failed.error, error)
    good = in_time(asking, guard, REQUEST, terms())
    assert good is not None
    assert good.quote is not None
    assert service.count("quote") == 2


def test_another_amount_pair_or_service_is_another_question() -> None:
    guard, service = a_guard()
    other_guard, other = a_guard(name="beta")
    asking = Asking(seconds(60))
    reverse = a_quote_request(from_asset=REQUEST.to_asset, to_asset=REQUEST.from_asset)
    for request in (REQUEST, a_quote_request("1.4"), reverse):
        in_time(asking, guard, request, terms())
    in_time(asking, other_guard, REQUEST, terms())
    assert (service.count("quote"), other.count("quote")) == (3, 1)


def test_conversions_that_share_an_answer_each_keep_it(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL, firm_quotes=False)
    threaded.asking = Asking(seconds(60))
    threaded.change_policy(request_timeout=seconds(LONG))
    cids = [asked(threaded, number, ("alpha",)) for number in (1, 2, 3)]
    assert alpha.count("quote") == 1
    kept = [threaded.quotes(cid)["alpha"].quote for cid in cids]
    assert kept[0] is not None
    assert kept == [kept[0]] * 3


def test_what_the_client_did_not_foresee_is_raised_where_it_was_asked_for() -> None:
    guard, service = a_guard()

    def broken(scene: Scene) -> Any:
        raise KeyError("unforeseen")

    service.on("quote", broken)
    asking = Asking(seconds(60))
    with pytest.raises(KeyError):
        in_time(asking, guard, REQUEST, terms())
    answer = in_time(asking, guard, REQUEST, terms())
    assert answer is not None
    assert answer.quote is not None


# --- Impatience is not the service's failure -------------------------------------------------------------------------


def keeps_to_its_deadline(service: ScriptedService, needs: float) -> None:
    """It needs so many seconds, and the call fails where the deadline leaves fewer."""
    honest = service.quote

    def quote(request: QuoteRequest, deadline: Deadline) -> Any:
        if deadline.remaining() < needs:
            raise ServiceUnavailable(service.service_id, "quote", detail="no answer in time")
        return honest(request, deadline)

    service.quote = quote  # type: ignore[method-assign]


def test_a_conversions_own_impatience_is_not_held_against_the_service(house: House) -> None:
    alpha = house.add("alpha", APPROVAL)
    house.place("alpha", max_failures=1)
    keeps_to_its_deadline(alpha, 0.1)
    hasty = house.receive(1, policy=override_text({"request_timeout_ms": 1}))
    house.begin(hasty)
    assert house.office().desk.services["alpha"].breakers["quote"].snapshot().state is BreakerState.CLOSED
    assert house.begin(house.receive(2)).state is State.SETTLING


# --- Calls under way -------------------------------------------------------------------------------------------------


def in_vain(asking: Asking, guard: GuardedService) -> Answer | None:
    """Ask without any patience."""
    answer = asking.ask(guard, REQUEST, terms(share=False, patience=0))
    return answer if isinstance(answer, Answer) else None


def test_a_service_that_hangs_has_at_most_eight_calls_under_way() -> None:
    guard, service = a_guard()
    asking = Asking()
    with hanging(service) as gate:
        assert [in_vain(asking, guard) for _ in range(CALLS_PER_SERVICE)] == [None] * CALLS_PER_SERVICE
        until(lambda: gate.waiting == CALLS_PER_SERVICE)
        refused = in_vain(asking, guard)
        assert refused is not None
        assert isinstance(refused.error, LimiterRefused)
        assert "8 calls are under way" in str(refused.error)
        other, _ = a_guard(name="beta")
        answer = in_time(asking, other, REQUEST, terms())
        assert answer is not None
        assert answer.quote is not None, "the others are asked as ever"
    assert service.count("quote") == CALLS_PER_SERVICE
    service.always("quote", None)

    def is_asked() -> bool:
        answer = in_time(asking, guard, REQUEST, terms(share=False))
        return answer is not None and answer.quote is not None

    until(is_asked)


def test_a_refusal_for_calls_under_way_is_nobodys_failure(threaded: House) -> None:
    alpha = threaded.add("alpha", APPROVAL)
    threaded.place("alpha", max_failures=1)
    with hanging(alpha):
        guard = threaded.office().desk.services["alpha"]
        for _ in range(CALLS_PER_SERVICE):
            in_vain(threaded.asking, guard)
        row = threaded.quotes(asked(threaded, 1, ("alpha",)))["alpha"]
    assert (row.quote, row.failed, row.late) == (None, False, False)
    assert threaded.events(events.SERVICE_FAILURE) == []


class NoThreads(Executor):
    """Has no thread left for so many calls."""

    def __init__(self, failing: int) -> None:
        self.failing = failing

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.failing:
            self.failing -= 1
            raise RuntimeError("can't start new thread")
        fn(*args, **kwargs)
        return Future()


def test_calls_that_could_not_begin_are_not_under_way() -> None:
    guard, _ = a_guard()
    asking = Asking(seconds(60), NoThreads(CALLS_PER_SERVICE))
    for _ in range(CALLS_PER_SERVICE):
        refused = in_vain(asking, guard)
        assert refused is not None
        assert isinstance(refused.error, LimiterRefused)
    answer = in_time(asking, guard, REQUEST, terms())
    assert answer is not None
    assert answer.quote is not None
