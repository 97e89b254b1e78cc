"""Finding a conversion by what a service calls its order."""

from __future__ import annotations

import pytest

from converter.domain.conversions import AttemptState, Conversion, State
from tests.builders import START, a_request, an_attempt, an_id, an_operation, seconds
from tests.ledger.conftest import AnyLedger

SHARED = "one-order-id"


def attempted(ledger: AnyLedger, number: int, service_id: str = "alpha", order_id: str | None = None) -> Conversion:
    """A claimed conversion with one attempt at a service."""
    with ledger.begin() as work:
        work.conversions.add(an_id(number), a_request(), START)
        conversion = work.conversions.claim(an_id(number), "a", seconds(30), tuple(State))
        assert conversion is not None
        attempt = an_attempt(conversion, service_id=service_id, service_order_id=order_id)
        work.attempts.prepare(conversion, attempt, an_operation(attempt, fence=conversion.fence))
    return conversion


def found(ledger: AnyLedger, service_id: str = "alpha", order_id: str = "", reference: str = "") -> str | None:
    with ledger.begin() as work:
        return work.conversions.find(service_id, order_id, reference)


def test_an_attempt_is_found_by_our_key_and_by_the_service_s_order_id(ledger: AnyLedger) -> None:
    attempted(ledger, 1, order_id="other")
    conversion = attempted(ledger, 2, order_id="ours")
    with ledger.begin() as work:
        key = work.attempts.of(conversion.id)[0].key
    assert found(ledger, reference=key) == found(ledger, order_id="ours") == conversion.id
    assert found(ledger, order_id="other", reference=key) == conversion.id, "our key goes first"
    assert found(ledger, order_id="ours", reference="nobody's") == conversion.id


@pytest.mark.parametrize(
    "asked",
    [
        {"order_id": "", "reference": ""},
        {"order_id": "strange"},
        {"order_id": "OURS"},
        {"order_id": "ours", "service_id": "beta"},
        {"reference": "ours"},
        {"order_id": "' OR ''='"},
    ],
    ids=str,
)
def test_what_names_no_order_of_the_service_finds_nothing(ledger: AnyLedger, asked: dict[str, str]) -> None:
    attempted(ledger, 1, order_id="ours")
    attempted(ledger, 2)
    assert found(ledger, **asked) is None


def test_two_services_may_use_the_same_order_id(ledger: AnyLedger) -> None:
    first = attempted(ledger, 1, "alpha", SHARED)
    second = attempted(ledger, 2, "beta", SHARED)
    assert found(ledger, "alpha", SHARED) == first.id
    assert found(ledger, "beta", SHARED) == second.id


def test_of_several_orders_of_one_name_the_newest_is_found(ledger: AnyLedger) -> None:
    attempted(ledger, 1, order_id=SHARED)
    newer = attempted(ledger, 2, order_id=SHARED)
    assert found(ledger, order_id=SHARED) == newer.id


def test_a_finished_conversion_is_not_found(ledger: AnyLedger) -> None:
    conversion = attempted(ledger, 1, order_id="ours")
    with ledger.begin() as work:
        work.attempts.move(conversion, work.attempts.of(conversion.id)[0], AttemptState.NOT_EXECUTED)
        work.conversions.move(conversion, State.FAILED)
    assert found(ledger, order_id="ours") is None
