"""Asks services outside of any conversion: what is configured, whether it works, what it would offer now.

Creates and stores nothing, and needs neither ledger nor broker. Breakers take no part: here a person asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Protocol, runtime_checkable

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    BreakerRefused,
    IntegrityMismatch,
    InvalidRequest,
    LimiterRefused,
    PairNotSupported,
    QuoteExpired,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.money import plain
from converter.domain.policy import ServicePolicy
from converter.domain.quotes import Quote, QuoteRequest
from converter.guard import checked
from converter.ports import Clock, ConversionService, Deadline

_RATE = Context(prec=16, rounding=ROUND_FLOOR)


@runtime_checkable
class ChecksCredentials(Protocol):
    """A service that can prove its keys."""

    def check_credentials(self, deadline: Deadline) -> None:
        """Make a harmless signed read; raises AuthenticationFailed when the keys are refused, else ServiceError."""


@dataclass(frozen=True)
class Entry:
    """A configured service. `missing` names the variables and settings without which it is not asked."""

    place: ServicePolicy
    title: str
    base_url: str
    enabled: bool
    known: bool
    """Whether this version has a module for it."""
    needs_keys: bool = False
    missing: tuple[str, ...] = ()
    pairs: tuple[tuple[Asset, Asset], ...] = ()
    """What it converts, of the assets that the system knows."""

    @property
    def service_id(self) -> str:
        """The service's one word."""
        return self.place.service_id

    @property
    def takes(self) -> tuple[Asset, ...]:
        """Assets that it converts into something."""
        return tuple(dict.fromkeys(gives for gives, _ in self.pairs))

    @property
    def pays(self) -> tuple[Asset, ...]:
        """Assets that it delivers for something."""
        return tuple(dict.fromkeys(gets for _, gets in self.pairs))

    @property
    def lacks(self) -> str:
        """Why it cannot be asked at all, empty when it can."""
        if not self.known:
            return "this version has no such service"
        return f"{', '.join(self.missing)} missing" if self.missing else ""

    def objection(self, request: QuoteRequest) -> str:
        """Why it is not asked for this, empty when it is."""
        minimum = self.place.minimum.get(request.from_asset.coin)
        if self.lacks:
            return f"not asked: {self.lacks}"
        if (request.from_asset, request.to_asset) not in self.pairs:
            return "does not convert this pair"
        if minimum is not None and request.amount < minimum:
            return f"takes no less than {plain(minimum)} {request.from_asset.coin}"
        return ""


@dataclass(frozen=True)
class Step:
    """One thing that was checked. `ok` is None when it could not be checked, `ms` when nothing was asked."""

    name: str
    ok: bool | None
    detail: str = ""
    ms: int | None = None


@dataclass(frozen=True)
class Offered:
    """A service's offer; `expires_in` are the seconds that it had left when it came."""

    entry: Entry
    quote: Quote
    ms: int
    expires_in: int

    @property
    def rate(self) -> Decimal:
        """Net for one unit of the from_coin, to 16 figures, rounded down."""
        return _RATE.divide(self.quote.net, self.quote.request.amount)


@dataclass(frozen=True)
class Declined:
    """A service without an offer, and why; `ms` is None when it was not asked."""

    entry: Entry
    reason: str
    ms: int | None = None


class Surveying:
    """The use-case behind `converter services`. `make` makes a configured service that lacks nothing."""

    def __init__(self, entries: Sequence[Entry], make: Callable[[str], ConversionService], clock: Clock) -> None:
        self.entries = tuple(sorted(entries, key=lambda one: (one.place.tier, -one.place.weight, one.service_id)))
        self._make = make
        self._clock = clock

    def entry(self, service_id: str) -> Entry:
        """Raises InvalidRequest that names the configured services."""
        for one in self.entries:
            if one.service_id == service_id:
                return one
        accepted = ", ".join(one.service_id for one in self.entries)
        raise InvalidRequest("service", f"{service_id[:40]!r} is not configured", f"one of {accepted}")

    def check(self, service_id: str, seconds: float) -> list[Step]:
        """Its settings, its health and its keys; each call within so many seconds."""
        entry = self.entry(service_id)
        if entry.lacks:
            return [Step("settings", ok=False, detail=entry.lacks)]
        service = self._make(service_id)
        steps = [Step("settings", ok=True), _step("health", service.check_health, seconds)]
        if isinstance(service, ChecksCredentials):
            steps.append(_step("credentials", service.check_credentials, seconds))
        elif entry.needs_keys:
            steps.append(Step("credentials", ok=None, detail="not checked: no harmless signed read"))
        else:
            steps.append(Step("credentials", ok=True, detail="needs no keys"))
        return steps

    def quotes(
        self, request: QuoteRequest, service_ids: Collection[str], seconds: float
    ) -> tuple[list[Offered], list[Declined]]:
        """Ask these services at once, all within so many seconds. Offers come best net first."""
        entries = [self.entry(service_id) for service_id in service_ids]
        declined = [Declined(one, reason) for one in entries if (reason := one.objection(request))]
        willing = [(one, self._make(one.service_id)) for one in entries if not one.objection(request)]
        offered: list[Offered] = []
        deadline = Deadline.after(seconds)
        with ThreadPoolExecutor(max(1, len(willing))) as pool:
            asked = [pool.submit(self._ask, entry, service, request, deadline) for entry, service in willing]
            for answer in (one.result() for one in asked):
                if isinstance(answer, Offered):
                    offered.append(answer)
                else:
                    declined.append(answer)
        return sorted(offered, key=_best_first), declined

    def _ask(
        self, entry: Entry, service: ConversionService, request: QuoteRequest, deadline: Deadline
    ) -> Offered | Declined:
        started = time.monotonic()
        try:
            quote = checked(service.quote(request, deadline), request, entry.service_id)
        except ServiceError as error:
            return Declined(entry, explain(error), _since(started))
        left, took = (quote.expires_at - self._clock.now()).total_seconds(), _since(started)
        if quote.net <= 0:
            return Declined(entry, "its fees are more than the amount", took)
        if left <= 0:
            return Declined(entry, "its offer was over when it came", took)
        return Offered(entry, quote, took, int(left))


_WORDS: tuple[tuple[type[ServiceError], str], ...] = (
    (AuthenticationFailed, "unauthorised: it refuses our key, signature or clock"),
    (RateLimited, "too many requests"),
    (BreakerRefused, "not asked: its breaker is open"),
    (LimiterRefused, "not asked: the limit of calls to it is used up"),
    (ServiceUnavailable, "unavailable"),
    (AmountOutOfRange, "amount out of its range"),
    (PairNotSupported, "does not convert this pair"),
    (QuoteExpired, "its price is gone"),
    (ServiceRejected, "refused"),
    (IntegrityMismatch, "its answer does not fit the question"),
)


def explain(error: ServiceError) -> str:
    """A service's error in words for people."""
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), "answers not as documented")
    detail = " ".join(part for part in (error.code, error.detail) if part)
    return f"{words} ({detail})" if detail else words


def _step(name: str, call: Callable[[Deadline], None], seconds: float) -> Step:
    started = time.monotonic()
    try:
        call(Deadline.after(seconds))
    except ServiceError as error:
        return Step(name, ok=False, detail=explain(error), ms=_since(started))
    return Step(name, ok=True, ms=_since(started))


def _since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _best_first(offered: Offered) -> tuple[Decimal, int, str]:
    return -offered.quote.net, offered.entry.place.tier, offered.entry.service_id
