"""Settings of one conversion over the configured ones, pauses, and the names of events."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain import events
from converter.domain.events import ALL_EVENTS, Event
from converter.domain.policy import RoutingPolicy, backoff, override_text
from tests.builders import a_place, a_policy, seconds

POLICY = a_policy(a_place("alpha", 1, "0.6"), a_place("beta", 1, "0.4"), a_place("gamma", 2, "1"))


def test_without_settings_of_its_own_the_policy_stays() -> None:
    assert POLICY.overridden("") is POLICY
    assert override_text({}) == ""
    assert POLICY.overridden("{}") == POLICY


@pytest.mark.parametrize(
    ("own", "name", "value"),
    [
        ({"auto_failover": False}, "auto_failover", False),
        ({"parallel_queries": False}, "parallel_queries", False),
        ({"max_parallel_requests": 1}, "max_parallel_requests", 1),
        ({"load_balancing": "round-robin"}, "load_balancing", "round-robin"),
        ({"always_use_best_rate": False}, "always_use_best_rate", False),
        ({"max_rate_difference": "0.005"}, "max_rate_difference", Decimal("0.005")),
        ({"request_timeout_ms": 1500}, "request_timeout", timedelta(seconds=1.5)),
    ],
)
def test_one_setting_changes_one_thing(own: dict[str, object], name: str, value: object) -> None:
    changed = POLICY.overridden(override_text(own))
    assert getattr(changed, name) == value
    others = set(RoutingPolicy.__dataclass_fields__) - {name}
    assert all(getattr(changed, other) == getattr(POLICY, other) for other in others)


def test_a_conversion_may_choose_its_services_and_their_places() -> None:
    changed = POLICY.overridden(override_text({"services": [["gamma", 1, "0.7"], ["alpha", 2, "1"]]}))
    assert [(one.service_id, one.tier, one.weight) for one in changed.services] == [
        ("gamma", 1, Decimal("0.7")),
        ("alpha", 2, Decimal(1)),
    ]
    assert changed.services[0].max_failures == 3
    assert changed.place_of("beta") is None


def test_a_service_that_is_not_configured_any_more_is_left_out() -> None:
    changed = POLICY.overridden(override_text({"services": [["gone", 1, "0.5"], ["beta", 1, "0.5"]]}))
    assert [one.service_id for one in changed.services] == ["beta"]


def test_the_text_is_the_same_for_the_same_settings() -> None:
    assert override_text({"b": 1, "a": "x"}) == override_text({"a": "x", "b": 1}) == '{"a":"x","b":1}'


def test_unknown_settings_change_nothing() -> None:
    assert POLICY.overridden('{"later":"invention"}') == POLICY


def test_a_place_is_found_by_its_service() -> None:
    place = POLICY.place_of("beta")
    assert place is not None
    assert place.weight == Decimal("0.4")
    assert POLICY.place_of("nobody") is None


# --- Pauses ----------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_a_minute() -> None:
    assert [backoff(step).total_seconds() for step in range(7)] == [5, 10, 20, 40, 60, 60, 60]


def test_pauses_may_start_and_end_elsewhere() -> None:
    assert backoff(0, first=0.0) == seconds(0)
    assert [backoff(step, first=1, limit=3).total_seconds() for step in range(4)] == [1, 2, 3, 3]


@given(st.integers(min_value=0, max_value=10**9))
def test_pauses_never_shrink_and_never_pass_the_limit(step: int) -> None:
    assert seconds(5) <= backoff(step) <= backoff(step + 1) <= seconds(60)


# --- Events ----------------------------------------------------------------------------------------------------------


def test_every_named_event_is_listed_once() -> None:
    named = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}
    assert named == ALL_EVENTS
    constants = [name for name, value in vars(events).items() if name.isupper() and isinstance(value, str)]
    assert len(constants) == len(ALL_EVENTS)


def test_names_have_a_topic_and_a_fact() -> None:
    for name in ALL_EVENTS:
        topic, colon, fact = name.partition(":")
        assert topic in {"conversion", "deposit", "emergency", "failover", "ledger", "rate", "service", "tier"}
        assert colon
        assert fact.replace("_", "").isalpha()
        assert len(name) <= 60


def test_the_names_that_onlookers_were_promised() -> None:
    assert {"service:failure", "failover:success", "service:recovered"} <= ALL_EVENTS


def test_an_event_is_a_plain_value() -> None:
    one = Event("x", {"a": 1})
    assert one == Event("x", {"a": 1})
    assert json.dumps(one.payload) == '{"a": 1}'
    assert (one.sequence, one.at, one.conversion_id) == (0, None, None)
