"""The tree of errors, and what each of them proves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converter.domain import errors
from converter.domain.errors import (
    POLICY,
    UNLISTED,
    AmountOutOfRange,
    AuthenticationFailed,
    BreakerRefused,
    ConfigurationError,
    ConversionNotFound,
    ConverterError,
    IdempotencyConflict,
    IllegalTransition,
    IntegrityMismatch,
    InvalidRequest,
    LimiterRefused,
    NoServiceAvailable,
    Outcome,
    OutcomeUnknown,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
    policy_of,
)


def below(kind: type[Exception]) -> set[type[Exception]]:
    """All kinds under a kind that are defined here."""
    return {
        sub for child in kind.__subclasses__() for sub in (child, *below(child)) if sub.__module__ == errors.__name__
    }


def test_every_concrete_service_error_has_a_row_and_nothing_else_has() -> None:
    assert set(POLICY) == below(ServiceError)


def test_what_is_not_listed_proves_nothing() -> None:
    class Newer(ServiceRejected):
        pass

    for error in (
        ServiceError("a", "b"),
        Newer("a", "b"),
        KeyError("x"),
        TimeoutError(),
        ConverterError(),
        Exception(),
    ):
        assert policy_of(error) is UNLISTED
    assert UNLISTED.outcome is Outcome.UNKNOWN
    assert UNLISTED.counts_against_breaker
    assert UNLISTED.alert


PROVEN = {kind for kind, row in POLICY.items() if row.outcome is Outcome.NOT_EXECUTED}


def test_only_what_never_left_us_or_was_definitely_refused_is_proof() -> None:
    assert (
        below(ServiceUnavailable)
        | below(ServiceRejected)
        | {
            ServiceUnavailable,
            ServiceRejected,
            AuthenticationFailed,
        }
        == PROVEN
    )
    assert {row.outcome for row in POLICY.values()} == {Outcome.NOT_EXECUTED, Outcome.UNKNOWN}


def test_refusals_of_business_and_limits_do_not_count_against_a_breaker() -> None:
    neutral = {kind for kind, row in POLICY.items() if not row.counts_against_breaker}
    assert neutral == below(ServiceRejected) | {ServiceRejected, BreakerRefused, LimiterRefused, RateLimited}


def test_lies_and_odd_answers_alert() -> None:
    loud = {kind.__name__ for kind, row in POLICY.items() if row.alert}
    assert loud == {"AuthenticationFailed", "MalformedResponse", "IntegrityMismatch"}


def test_a_setting_that_is_wrong_is_apart_from_all_others() -> None:
    assert not issubclass(ConfigurationError, ConverterError)
    assert not issubclass(ConverterError, ConfigurationError)


@pytest.mark.parametrize(
    "kind", sorted(below(ServiceError) - {AmountOutOfRange, RateLimited}, key=lambda one: one.__name__)
)
def test_a_service_error_tells_who_what_and_why(kind: type[ServiceError]) -> None:
    error = kind("alpha", "order", code="E1", detail="because")
    assert (error.service_id, error.operation, error.code, error.detail) == ("alpha", "order", "E1", "because")
    assert str(error) == f"alpha order: {kind.__name__} (E1 because)"
    assert str(kind("alpha", "order")) == f"alpha order: {kind.__name__}"


@pytest.mark.parametrize(
    ("minimum", "maximum", "text"),
    [
        (Decimal("1E-8"), None, "minimum 0.00000001"),
        (None, Decimal("1E+3"), "maximum 1000"),
        (Decimal(1), Decimal(2), "minimum 1, maximum 2"),
        (None, None, ""),
        (Decimal(0), None, "minimum 0"),
    ],
)
def test_limits_are_told_in_plain_figures(minimum: Decimal | None, maximum: Decimal | None, text: str) -> None:
    error = AmountOutOfRange("alpha", "quote", minimum=minimum, maximum=maximum)
    assert (error.minimum, error.maximum, error.detail) == (minimum, maximum, text)


def test_a_limit_tells_when_to_come_back() -> None:
    assert RateLimited("alpha", "quote", retry_after=7).retry_after == 7
    assert "retry after 7 s" in str(RateLimited("alpha", "quote", retry_after=7, code="429"))
    assert RateLimited("alpha", "quote").retry_after is None


def test_errors_of_requests_name_field_problem_and_accepted_form() -> None:
    error = InvalidRequest("amount", "is zero", "a positive amount")
    assert (error.field, error.problem, error.accepted) == ("amount", "is zero", "a positive amount")
    assert str(error) == "amount: is zero; accepted: a positive amount"
    conflict = IdempotencyConflict("cv_1")
    assert isinstance(conflict, InvalidRequest)
    assert (conflict.conversion_id, conflict.field) == ("cv_1", "idempotency_key")
    assert ConversionNotFound("cv_1").conversion_id == "cv_1"
    moved = IllegalTransition("cv_1", "A", "B")
    assert (moved.from_state, moved.to_state) == ("A", "B")


def test_nobody_available_says_why_by_service() -> None:
    error = NoServiceAvailable({"alpha": "down", "beta": "too small"})
    assert str(error) == "alpha: down; beta: too small"
    assert error.reasons["beta"] == "too small"
    assert str(NoServiceAvailable({})) == "no service"


def test_the_doubtful_ones_are_never_proof() -> None:
    for kind in (OutcomeUnknown, IntegrityMismatch, errors.MalformedResponse):
        assert POLICY[kind].outcome is Outcome.UNKNOWN
