"""Which events raise which alert, what ends it, and what its text may say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from converter.domain import alerts, events
from converter.domain.alerts import Alert, Raised, Watch, ended_by, held_for_long, raised_by, scrubbed, too_old
from converter.domain.conditions import Condition
from converter.domain.events import Event
from tests.builders import BTC_ADDRESS, ETH_ADDRESS, START, an_id, seconds

CID = an_id(1)
CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    (
        events.CONVERSION_NEEDS_REVIEW,
        {"reason": f"unknown for too long: paid to {BTC_ADDRESS}", "evidence": []},
        f"conversion:needs_review:{CID}",
        "critical",
        f"conversion {CID} needs a person: unknown for too long: paid to …",
    ),
    (
        events.CONVERSION_HELD,
        {"serviceId": "alpha", "reason": "kyc", "deadline": "x"},
        f"conversion:held:{CID}",
        "warning",
        f"conversion {CID} is held by alpha: kyc",
    ),
    (
        events.DEPOSIT_REQUESTED,
        {"serviceId": "alpha", "coin": "XMR", "amount": "1.5", "address": ETH_ADDRESS, "memo": ""},
        f"deposit:requested:{CID}",
        "warning",
        f"conversion {CID} waits for a person to pay 1.5 XMR to alpha",
    ),
    (
        events.FAILOVER_FAILED,
        {"from": "alpha", "reason": "refused", "tried": ["alpha"]},
        f"failover:failed:{CID}",
        "warning",
        f"conversion {CID} found no service that executes it: refused",
    ),
    (
        events.EMERGENCY_ACTIVATED,
        {"serviceId": "delta", "attempt": 2, "net": "0.1"},
        "emergency:activated:delta",
        "critical",
        f"the emergency tier is in use: delta executes {CID}",
    ),
    (
        events.LEDGER_AUDIT_FAILED,
        {"breaches": [{"invariant": "I2"}, {"invariant": "I9"}, {"invariant": "I2"}], "count": 3},
        "ledger:audit_failed",
        "critical",
        "the audit of the ledger found 3 breaches: I2, I9",
    ),
    (
        events.RATE_JUMP,
        {"pair": "ETH-BTC", "rate": "0.09", "reference": "0.06"},
        "rate:held:ETH-BTC",
        "warning",
        "the rate of ETH-BTC jumped to 0.09 from 0.06 and is held",
    ),
    (
        events.SERVICE_QUARANTINED,
        {"serviceId": "alpha", "until": None, "needsOperator": True},
        "service:quarantined:alpha",
        "critical",
        "the rates of alpha are in quarantine; it needs an operator",
    ),
    (
        events.SERVICE_UNAVAILABLE,
        {"serviceId": "alpha", "operation": "quote", "failures": 3, "until": None},
        "service:unavailable:alpha:quote",
        "warning",
        "alpha is unavailable (quote), 3 failures",
    ),
    (
        events.TIER_DEGRADED,
        {"pair": "ETH-BTC", "tier": None, "usual": 1, "unavailable": {"b": "open", "a": "open"}},
        "tier:degraded:ETH-BTC",
        "critical",
        "ETH-BTC is down to no service from tier 1: a, b",
    ),
]


@pytest.mark.parametrize(("name", "payload", "key", "severity", "text"), CASES, ids=[one[0] for one in CASES])
def test_an_event_raises_its_alert(name: str, payload: dict[str, Any], key: str, severity: str, text: str) -> None:
    raised = raised_by(Event(name, payload, CID))
    assert raised is not None
    assert (raised.key, raised.severity, raised.text) == (key, severity, text)


def test_every_event_that_raises_an_alert_is_one_of_these() -> None:
    assert {name for name, *_ in CASES} == alerts.RAISING
    assert raised_by(Event(events.CONVERSION_COMPLETED, {}, CID)) is None


def test_a_payload_of_another_version_is_an_alert_all_the_same() -> None:
    for name in alerts.RAISING:
        raised = raised_by(Event(name, {}, CID))
        assert raised is not None
        assert raised.name in (name, alerts.RATE_HELD)
    raised = raised_by(Event(events.SERVICE_UNAVAILABLE, {"serviceId": "alpha"}))
    assert raised is not None
    assert (raised.key, raised.text) == ("service:unavailable:alpha", "service:unavailable of alpha")


ENDS = [
    (events.SERVICE_RECOVERED, {"serviceId": "alpha", "operation": "quote"}, "service:unavailable:alpha:quote"),
    (events.SERVICE_RECOVERED, {"serviceId": "alpha", "operation": "rates"}, "service:quarantined:alpha"),
    (events.CONVERSION_COMPLETED, {}, f"conversion:needs_review:{CID}"),
    (events.CONVERSION_CANCELLED, {}, f"conversion:needs_review:{CID}"),
    (events.CONVERSION_FAILED, {}, f"failover:failed:{CID}"),
    (events.CONVERSION_RESOLVED, {}, f"conversion:needs_review:{CID}"),
    (events.CONVERSION_RETRIED, {}, f"conversion:needs_review:{CID}"),
    (events.CONVERSION_REFUNDED, {}, f"deposit:requested:{CID}"),
    (events.CONVERSION_NEEDS_REVIEW, {}, f"conversion:held:{CID}"),
    (events.FAILOVER_SUCCESS, {}, f"failover:failed:{CID}"),
]


@pytest.mark.parametrize(("name", "payload", "key"), ENDS)
def test_an_event_ends_what_it_is_the_end_of(name: str, payload: dict[str, Any], key: str) -> None:
    assert key in ended_by(Event(name, payload, CID))


def test_an_alert_of_a_conversion_with_settings_of_its_own_is_another() -> None:
    payload = {"pair": "ETH-BTC", "tier": 2, "usual": 1, "unavailable": {}}
    plain = raised_by(Event(events.TIER_DEGRADED, payload, CID))
    own = raised_by(Event(events.TIER_DEGRADED, payload, CID), '{"autoFailover":false}')
    assert plain is not None
    assert own is not None
    assert plain.watch is not None
    assert own.watch is not None
    assert (plain.key, plain.watch.condition, plain.severity) == (
        "tier:degraded:ETH-BTC",
        "tier:ETH-BTC",
        "warning",
    )
    assert own.watch.condition.startswith("tier:ETH-BTC:")
    assert own.key == own.watch.condition.replace("tier:", "tier:degraded:")


def condition(name: str, state: str, seen: float = 0) -> dict[str, Condition]:
    return {name: Condition(name, state, START, START + seconds(seen))}


@pytest.mark.parametrize(
    ("known", "over"),
    [
        ({}, True),
        (condition("tier:ETH-BTC", "1"), True),
        (condition("tier:ETH-BTC", "2"), True),
        (condition("tier:ETH-BTC", "3", seen=50), False),
        (condition("tier:ETH-BTC", "nobody", seen=50), False),
        (condition("tier:ETH-BTC", "3", seen=0), True),
        (condition("tier:ETH-BTC.LIGHTNING", "3", seen=50), True),
    ],
)
def test_a_condition_is_over_in_a_usual_state_or_when_nobody_meets_it(known: dict[str, Condition], over: bool) -> None:
    watch = Watch("tier:ETH-BTC", ("1", "2"), seconds(30))
    assert watch.is_over(known, START + seconds(60)) is over


def test_conditions_of_a_family_are_over_together() -> None:
    watch = Watch("breach:", ("off",))
    assert not watch.is_over(condition("breach:I2:x", "on") | condition("breach:I3:x", "off"), START)
    assert watch.is_over(condition("breach:I2:x", "off") | condition("breach:I3:x", "off"), START)


def test_an_alert_that_only_lasts_ends_when_it_is_not_met_again() -> None:
    alert = Alert(Raised("k", "n", "critical", "t", lasts=timedelta(minutes=30)), START, START)
    assert not alert.is_over({}, START + timedelta(minutes=30))
    assert alert.is_over({}, START + timedelta(minutes=31))
    assert not Alert(Raised("k", "n", "critical", "t"), START, START).is_over({}, START + timedelta(days=99))


def test_a_pair_that_is_held_for_long_is_an_alert() -> None:
    known = [
        Condition(f"hold:{pair}", state, START, START) for pair, state in (("A-B", "no_agreement"), ("C-D", "off"))
    ]
    assert held_for_long(known, START + seconds(60), seconds(120)) == []
    [raised] = held_for_long(known, START + seconds(120), seconds(120))
    assert (raised.key, raised.text) == ("rate:held:A-B", "the rate of A-B is held: no_agreement")


def test_the_oldest_of_those_that_do_not_end_is_named_with_its_age() -> None:
    raised = too_old(alerts.UNKNOWN_OLD, (CID, timedelta(hours=3)), 2)
    assert raised.severity == "critical"
    assert raised.text == f"2 conversions have an unknown outcome for too long; the oldest is {CID}, 3 h"
    assert too_old(alerts.UNFINISHED_OLD, (CID, timedelta(minutes=61)), 1).text.endswith("61 min")


@pytest.mark.parametrize(
    "secret",
    [
        BTC_ADDRESS,
        ETH_ADDRESS,
        "0x" + "ab" * 32,
        "whsec_" + "Zm9v" * 10,
        "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwv",
    ],
)
def test_no_text_of_a_service_brings_an_address_or_a_key_into_an_alert(secret: str) -> None:
    assert scrubbed(f"could not pay {secret}, refused") == "could not pay …, refused"
    assert len(scrubbed("no " * 400)) == 300
