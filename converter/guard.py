"""Wraps any service with breakers, limits, timing and the integrity check: written once, not once per service.

Two breakers per service, for quotes and for executions. Neither says whether money moved: a refusal comes before the
call, as BreakerRefused or LimiterRefused, and the call's own result or error passes unchanged. Quotes never probe: the
half-open permit of the quote breaker is the health check's. Leave for an operation that may move money is asked for
before the operation exists (`enter`), and handed back with its end.

What was sent must be settled even at a service that takes nothing new: look-ups and later steps are not refused by the
breaker; how a later step ends is told to it. Look-ups keep to the limits; a later step asks `pause_before` first. The
service's own list of what it paid is a look-up too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

from converter.bulletin import Bulletin
from converter.domain.breakers import BreakerState, Verdict, verdict_of
from converter.domain.coins import Asset
from converter.domain.errors import BreakerRefused, IntegrityMismatch, LimiterRefused, RateLimited
from converter.domain.orders import Capabilities, Order, OrderRef, OrderRequest
from converter.domain.payouts import Payout
from converter.domain.permits import Permit, Transition
from converter.domain.quotes import Quote, QuoteRequest, net_of
from converter.ports import Breaker, ConversionService, Deadline, Meter, NoMeter, PayoutList, RateLimiter

T = TypeVar("T")

HOLD_SECONDS = 60.0
"""After a 429 that does not say for how long."""


@dataclass(frozen=True)
class Leave:
    """Leave for one operation that may move money. One that is never used runs out by itself."""

    permit: Permit


class _Ending:
    """Around a call: tells how it ended. The result or error passes unchanged."""

    def __init__(self, tell: Callable[[BaseException | None, timedelta], None]) -> None:
        self._tell = tell
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._tell(error, timedelta(seconds=time.monotonic() - self._began))


class GuardedService:
    """A service with its breakers and limits. Same methods, same errors, plus our own refusals before a call.

    `breakers` has one for `quote` and one for `execute`; their transitions go to the bulletin. The meter hears of the
    calls that move nothing, those that we refused among them; operations are counted where they leave (`sending`).
    """

    def __init__(
        self,
        service: ConversionService,
        breakers: Mapping[str, Breaker],
        limiter: RateLimiter,
        bulletin: Bulletin,
        meter: Meter = NoMeter(),  # noqa: B008  it has no state
    ) -> None:
        self.breakers = breakers
        self.service = service
        self._limiter = limiter
        self._bulletin = bulletin
        self._meter = meter

    @property
    def capabilities(self) -> Capabilities:
        """What the service can do."""
        return self.service.capabilities

    @property
    def service_id(self) -> str:
        """The service's one word."""
        return self.service.capabilities.service_id

    @property
    def payouts(self) -> Callable[[datetime, Deadline], list[Payout]] | None:
        """Lists what the service says that it paid since a moment; None where it keeps no list for our keys.

        The call raises what `PayoutList.payouts` raises, and LimiterRefused when it was asked too often.
        """
        service = self.service
        if not isinstance(service, PayoutList) or not service.lists:
            return None

        def listed(since: datetime, deadline: Deadline) -> list[Payout]:
            with self._metered("list"):
                self._count("list")
                return self._heard(lambda: service.payouts(since, deadline))

        return listed

    def supports(self, from_asset: Asset, to_asset: Asset) -> bool:
        """Whether it converts this pair at all."""
        return self.service.supports(from_asset, to_asset)

    def pause_before(self, operation: str) -> timedelta:
        """How long our own limit wants `operation` to wait; counts nothing."""
        seconds = self._limiter.look(self.service_id, operation).retry_after
        return timedelta(seconds=seconds)

    def enter(self) -> Leave:
        """Ask to place an order. Raises BreakerRefused, LimiterRefused; nothing is prepared before this."""
        admission = self.breakers["execute"].admit()
        self.note("execute", admission.transition)
        if admission.permit is None:
            raise BreakerRefused(self.service_id, "execute")
        try:
            self._count("order")
        except LimiterRefused:
            self._report("execute", admission.permit, Verdict.NEUTRAL, timedelta(0))
            raise
        return Leave(admission.permit)

    def leave(self, unused: Leave) -> None:
        """Hand back a leave that was not used."""
        self._report("execute", unused.permit, Verdict.NEUTRAL, timedelta(0))

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Price a conversion; an offer that answers another question is refused."""

        def priced() -> Quote:
            return checked(self.service.quote(request, deadline), request, self.service_id)

        with self._metered("quote"):
            permit = self._permit("quote")
            if permit is None:
                raise BreakerRefused(self.service_id, "quote")
            self._count("quote")
            return self._reported("quote", permit, priced)

    def place_order(self, order: OrderRequest, deadline: Deadline, leave: Leave | None = None) -> Order:
        """Place the order. May move money. Without leave it is a repeat of what was sent before."""
        permit = leave.permit if leave is not None else self._permit("execute")
        return self._reported("execute", permit, lambda: self.service.place_order(order, deadline))

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Take the next step. Moves money. Never refused: the conversion is bound to this service."""
        permit = self._permit("execute")
        self._limiter.admit(self.service_id, "advance")
        return self._reported("execute", permit, lambda: self.service.advance_order(order, deadline))

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """Look an order up. Raises LimiterRefused when it was asked too often."""
        with self._metered("find"):
            self._count("find")
            return self._heard(lambda: self.service.find_order(ref, deadline))

    def check_health(self, deadline: Deadline) -> None:
        """Ask whether it is fit for use. Raises LimiterRefused when it was asked too often."""
        with self._metered("health"):
            self._count("health")
            self._heard(lambda: self.service.check_health(deadline))

    def _permit(self, operation: str) -> Permit | None:
        """A permit of a closed breaker, None of any other."""
        admission = self.breakers[operation].admit(may_probe=False)
        self.note(operation, admission.transition)
        return admission.permit

    def _count(self, operation: str) -> None:
        admission = self._limiter.admit(self.service_id, operation)
        if not admission.admitted:
            raise LimiterRefused(self.service_id, operation, detail=f"our limit, {admission.retry_after:.1f} s")

    def _reported(self, operation: str, permit: Permit | None, call: Callable[[], T]) -> T:
        """The call, its end told to the breaker whatever it is."""

        def tell(error: BaseException | None, elapsed: timedelta) -> None:
            if permit is not None:
                self._report(operation, permit, Verdict.GOOD if error is None else verdict_of(error), elapsed)

        with _Ending(tell):
            return self._heard(call)

    def _metered(self, call: str) -> _Ending:
        """Around a call that moves nothing, with what may refuse it."""
        return _Ending(lambda error, elapsed: self._meter.called(self.service_id, call, error, elapsed))

    def _heard(self, call: Callable[[], T]) -> T:
        """The call; a service that says "too often" is left alone for as long as it says."""
        try:
            return call()
        except RateLimited as error:
            after = error.retry_after
            self._limiter.hold(self.service_id, HOLD_SECONDS if after is None else float(after))
            raise

    def _report(self, operation: str, permit: Permit, verdict: Verdict, elapsed: timedelta) -> None:
        self.note(operation, self.breakers[operation].report(permit, verdict, elapsed))

    def note(self, operation: str, transition: Transition | None) -> None:
        """Put a breaker's change of state on the bulletin."""
        if transition is not None:
            self._bulletin.note(self.service_id, operation, transition)


def checked(quote: Quote, request: QuoteRequest, service_id: str) -> Quote:
    """The offer, if it answers what was asked. Raises IntegrityMismatch."""
    honest = quote.request == request and quote.service_id == service_id
    if not honest or quote.net > quote.gross or quote.net > net_of(quote.gross, quote.fees, request.to_asset):
        raise IntegrityMismatch(service_id, "quote", detail="the offer does not fit the request")
    return quote


def may_be_asked(guard: GuardedService) -> str:
    """Why the service may not be asked for a quote that leads to an execution now; empty when it may."""
    if guard.breakers["quote"].snapshot().state is not BreakerState.CLOSED:
        return "its breaker is open"
    if not guard.breakers["execute"].snapshot().admits:
        return "its breaker for executions is open"
    return ""
