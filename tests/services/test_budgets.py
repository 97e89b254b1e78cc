"""How often services may be called: by the figures of their fact sheets, less a fifth."""

from __future__ import annotations

import pytest

from converter.domain.limits import CAUTIOUS, SECOND, Limits, admit
from converter.services import REGISTRY, service_class

OPERATIONS = ("quote", "order", "advance", "find", "health")
MOST_A_MINUTE = [
    ("binance", "advance", 200),
    ("binance", "find", 10),
    ("changenow", "quote", 1800),
    ("coingate", "quote", 200),
    ("coinpayments", "quote", 70 * 60),
    ("kraken", "quote", 60),
    ("simpleswap", "order", 60),
    ("thorchain", "quote", 60),
]
"""What is published, or what public clients keep to where nothing is."""


def limits() -> Limits:
    return Limits(services={one: service_class(one).capabilities.budget for one in REGISTRY})


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
def test_every_service_says_how_often_it_may_be_called(service_id: str) -> None:
    budget = service_class(service_id).capabilities.budget
    assert budget is not CAUTIOUS
    assert set(budget.operations) | set(budget.requests) <= set(OPERATIONS)


@pytest.mark.parametrize("service_id", sorted(REGISTRY))
def test_a_quote_and_its_order_may_follow_each_other_at_once(service_id: str) -> None:
    arrivals: dict[str, int] = {}
    for operation in ("health", "quote", "order", "find", "advance"):
        admission, arrivals = admit(arrivals, limits().scopes(service_id, operation), 0, 10**12)
        assert admission.admitted, operation


def in_the_long_run(service_id: str, operation: str) -> float:
    """Calls of one operation that pass in a minute, once the bursts are used up."""
    arrivals: dict[str, int] = {}
    passed = 0
    for tenth in range(3 * 600):
        admission, arrivals = admit(arrivals, limits().scopes(service_id, operation), 0, 10**12 + tenth * SECOND // 10)
        while admission.admitted:
            passed += tenth >= 2 * 600
            admission, arrivals = admit(
                arrivals, limits().scopes(service_id, operation), 0, 10**12 + tenth * SECOND // 10
            )
    return passed


@pytest.mark.parametrize(("service_id", "operation", "most"), MOST_A_MINUTE)
def test_less_is_asked_than_is_allowed_and_enough_to_work(service_id: str, operation: str, most: int) -> None:
    passed = in_the_long_run(service_id, operation)
    assert passed <= most
    assert passed >= most / 20
