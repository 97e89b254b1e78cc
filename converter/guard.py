"""Wraps any service with breakers, timing and the integrity check: written once, not once per service.

Two breakers per service, for quotes and for executions, each per process. A breaker never says whether money moved:
its refusal is raised before the call and is the only error of its own; the call's result or error passes unchanged.
Look-ups are never refused: what was sent must be settled even at a service that takes nothing new.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pybreaker

from converter.domain.coins import Asset
from converter.domain.errors import BreakerRefused, IntegrityMismatch, policy_of
from converter.domain.orders import Capabilities, Order, OrderRef, OrderRequest
from converter.domain.quotes import Quote, QuoteRequest, net_of
from converter.ports import ConversionService, Deadline

T = TypeVar("T")


def _is_neutral(error: BaseException) -> bool:
    return not policy_of(error).counts_against_breaker


class GuardedService:
    """A service with its breakers. Same methods, same errors, plus BreakerRefused before a call."""

    def __init__(self, service: ConversionService, max_failures: int, recovery_time: timedelta) -> None:
        self._service = service
        self._breakers = {
            operation: pybreaker.CircuitBreaker(
                fail_max=max_failures,
                reset_timeout=recovery_time.total_seconds(),
                exclude=[_is_neutral],
                name=f"{service.capabilities.service_id}:{operation}",
                throw_new_error_on_trip=False,
            )
            for operation in ("quote", "execute")
        }

    @property
    def capabilities(self) -> Capabilities:
        """What the service can do."""
        return self._service.capabilities

    @property
    def service_id(self) -> str:
        """The service's one word."""
        return self._service.capabilities.service_id

    def supports(self, from_asset: Asset, to_asset: Asset) -> bool:
        """Whether it converts this pair at all."""
        return self._service.supports(from_asset, to_asset)

    def admits(self, operation: str) -> bool:
        """Whether the breaker of `quote` or `execute` lets a call through now."""
        breaker = self._breakers[operation]
        if breaker.current_state != pybreaker.STATE_OPEN:
            return True
        opened_at = breaker._state_storage.opened_at  # noqa: SLF001  pybreaker has no public reader of it
        return opened_at is None or datetime.now(UTC) >= opened_at + timedelta(seconds=breaker.reset_timeout)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Price a conversion; an offer that answers another question is refused."""
        quote = self._through("quote", lambda: self._service.quote(request, deadline))
        honest = quote.request == request and quote.service_id == self.service_id
        if not honest or quote.net > quote.gross or quote.net > net_of(quote.gross, quote.fees, request.to_asset):
            raise IntegrityMismatch(self.service_id, "quote", detail="the offer does not fit the request")
        return quote

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Place the order. May move money."""
        return self._through("execute", lambda: self._service.place_order(order, deadline))

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Take the next step. Moves money. Not refused by the breaker: the conversion is bound to this service."""
        return self._service.advance_order(order, deadline)

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """Look an order up; never refused."""
        return self._service.find_order(ref, deadline)

    def check_health(self, deadline: Deadline) -> None:
        """Ask whether it is fit for use; never refused."""
        self._service.check_health(deadline)

    def _through(self, operation: str, call: Callable[[], T]) -> T:
        # `calling()` does not hold the breaker's lock during the call. Errors of the call pass unchanged
        # (throw_new_error_on_trip is off), so a CircuitBreakerError can only come from before it.
        try:
            with self._breakers[operation].calling():
                return call()
        except pybreaker.CircuitBreakerError as error:
            raise BreakerRefused(self.service_id, operation) from error
