"""The error tree, the policy table, and the one function that says what an error proves.

::

    ConverterError
    ├── InvalidRequest                our caller is wrong; names field, problem and accepted form
    │   └── IdempotencyConflict       same key, other content
    ├── ConversionNotFound
    ├── IllegalTransition
    ├── ClaimLost                     another owner has the conversion now
    ├── NoServiceAvailable
    └── ServiceError                  service_id, operation, code, detail
        ├── ServiceUnavailable        certainly not executed: nothing left us, or a read failed
        │   ├── BreakerRefused
        │   └── RateLimited           retry_after
        ├── ServiceRejected           a definite no, on the service's whitelist
        │   ├── AmountOutOfRange      minimum, maximum
        │   ├── PairNotSupported
        │   └── QuoteExpired          the price is gone or worse than the bound
        ├── AuthenticationFailed
        ├── MalformedResponse         a read was answered, but not as documented
        ├── IntegrityMismatch         the answer speaks of another amount, coin or address
        └── OutcomeUnknown            may or may not have been executed

    ConfigurationError                apart on purpose: nothing that handles ConverterError may hide it
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class ConfigurationError(Exception):
    """Raised when a setting, key or local part is missing or wrong; names the key and the accepted form."""


class ConverterError(Exception):
    """Root of everything that can go wrong with a request or at a service."""


class InvalidRequest(ConverterError):
    """Raised when a request cannot be accepted; nothing was written."""

    def __init__(self, field: str, problem: str, accepted: str) -> None:
        self.field = field
        self.problem = problem
        self.accepted = accepted
        super().__init__(f"{field}: {problem}; accepted: {accepted}")


class IdempotencyConflict(InvalidRequest):
    """Raised when an idempotency key is used again with other content."""

    def __init__(self, conversion_id: str) -> None:
        self.conversion_id = conversion_id
        super().__init__(
            "idempotency_key",
            f"already used with other content for conversion {conversion_id}",
            "the same key only with the same coins, amount and address",
        )


class ConversionNotFound(ConverterError):
    """Raised when no conversion has the given id."""

    def __init__(self, conversion_id: str) -> None:
        self.conversion_id = conversion_id
        super().__init__(f"no conversion {conversion_id}")


class IllegalTransition(ConverterError):
    """Raised when a state change is not in the transition table."""

    def __init__(self, thing: str, from_state: str, to_state: str) -> None:
        self.from_state = from_state
        self.to_state = to_state
        super().__init__(f"{thing} cannot go from {from_state} to {to_state}")


class ClaimLost(ConverterError):
    """Raised when a write carries an old fence: another owner has the conversion, nothing was changed."""


class NoServiceAvailable(ConverterError):
    """Raised when no service is eligible or none gave a valid quote; `reasons` says why, by service."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(f"{service}: {reason}" for service, reason in reasons.items()) or "no service")


class ServiceError(ConverterError):
    """What a service, or our way to it, did not do. `detail` never holds keys, signatures or whole URLs."""

    def __init__(self, service_id: str, operation: str, *, code: str = "", detail: str = "") -> None:
        self.service_id = service_id
        self.operation = operation
        self.code = code
        self.detail = detail
        words = " ".join(part for part in (code, detail) if part)
        super().__init__(f"{service_id} {operation}: {type(self).__name__}" + (f" ({words})" if words else ""))


class ServiceUnavailable(ServiceError):
    """Raised when nothing of a request left us, or a call that only reads got no usable answer."""


class BreakerRefused(ServiceUnavailable):
    """Raised when our own breaker refuses a call, before anything is sent."""


class LimiterRefused(ServiceUnavailable):
    """Raised when our own limit refuses a call, before anything is sent."""


class RateLimited(ServiceUnavailable):
    """Raised when the service documents the call as not processed because of its limit."""

    def __init__(self, service_id: str, operation: str, *, retry_after: int | None = None, code: str = "") -> None:
        self.retry_after = retry_after
        detail = "" if retry_after is None else f"retry after {retry_after} s"
        super().__init__(service_id, operation, code=code, detail=detail)


class ServiceRejected(ServiceError):
    """Raised when the service definitely refused: its answer is on the whitelist of that operation."""


class AmountOutOfRange(ServiceRejected):
    """Raised when the amount is outside the service's limits for the pair."""

    def __init__(
        self, service_id: str, operation: str, *, minimum: Decimal | None = None, maximum: Decimal | None = None
    ) -> None:
        self.minimum = minimum
        self.maximum = maximum
        limits = [f"minimum {minimum:f}" if minimum is not None else "", f"maximum {maximum:f}" if maximum else ""]
        super().__init__(service_id, operation, detail=", ".join(part for part in limits if part))


class PairNotSupported(ServiceRejected):
    """Raised when the service does not convert this pair to this kind of address."""


class QuoteExpired(ServiceRejected):
    """Raised when the quoted price is gone, or the price to execute at is worse than the accepted bound."""


class AuthenticationFailed(ServiceError):
    """Raised when the service refuses our key, signature or clock."""


class MalformedResponse(ServiceError):
    """Raised when a call that only reads was answered, but not as documented."""


class IntegrityMismatch(ServiceError):
    """Raised when an answer's amount, coin or address is not ours, byte for byte."""


class OutcomeUnknown(ServiceError):
    """Raised when an operation may or may not have been executed. Never a reason to fail over."""


class Outcome(StrEnum):
    """What is known of an operation."""

    EXECUTED = "executed"
    NOT_EXECUTED = "not_executed"
    PENDING = "pending"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Policy:
    """What an error means for the operation, the breaker and the operator."""

    outcome: Outcome
    counts_against_breaker: bool
    alert: bool


POLICY: dict[type[BaseException], Policy] = {
    ServiceUnavailable: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=True, alert=False),
    BreakerRefused: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    LimiterRefused: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    RateLimited: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    ServiceRejected: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    AmountOutOfRange: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    PairNotSupported: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    QuoteExpired: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=False, alert=False),
    AuthenticationFailed: Policy(Outcome.NOT_EXECUTED, counts_against_breaker=True, alert=True),
    MalformedResponse: Policy(Outcome.UNKNOWN, counts_against_breaker=True, alert=True),
    IntegrityMismatch: Policy(Outcome.UNKNOWN, counts_against_breaker=True, alert=True),
    OutcomeUnknown: Policy(Outcome.UNKNOWN, counts_against_breaker=True, alert=False),
}
"""One row per concrete service error. What is not listed is unknown."""

UNLISTED = Policy(Outcome.UNKNOWN, counts_against_breaker=True, alert=True)


def policy_of(error: BaseException) -> Policy:
    """The policy row of exactly this error type; anything unlisted proves nothing."""
    return POLICY.get(type(error), UNLISTED)
