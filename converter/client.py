"""What a pool backend imports: ask for conversions, wait for them, hear of events, read the statistics.

The converter writes to the ledger and sends a hint; the work is done by the workers (`converter up`). A conversion is
accepted once `convert` returned, whether or not a broker or a worker is there at that moment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from converter.accepting import Accepting
from converter.bootstrap import routing_policy
from converter.depositing import report_deposit
from converter.domain.conversions import Conversion, State
from converter.domain.errors import ConverterError, InvalidRequest
from converter.domain.events import ALL_EVENTS
from converter.domain.policy import override_text
from converter.enqueue import TaskSender
from converter.equipping import minimums
from converter.ledger.repository import open_ledger
from converter.listening import Listener
from converter.local.home import running_settings
from converter.monitoring import status
from converter.own_settings import own_settings

log = logging.getLogger(__name__)

_POLL = 0.1


class ConversionUnfinished(ConverterError):
    """Raised when `result` gave up waiting. The conversion goes on; ask again later."""


class ConversionNotCompleted(ConverterError):
    """Raised by `result` when the conversion ended without a payout, or needs a person; says why."""

    def __init__(self, conversion: Conversion) -> None:
        self.conversion = conversion
        super().__init__(f"{conversion.id} is {conversion.state}: {conversion.reason or 'no reason given'}")


@dataclass(frozen=True)
class ConversionResult:
    """A completed conversion. Amounts are exact; `delivered` is None where the service does not say it."""

    id: str
    service: str
    amount: Decimal
    promised: Decimal
    delivered: Decimal | None
    address: str
    txid: str
    failovers: int


class ConversionHandle:
    """One conversion; read from the ledger whenever it is asked."""

    def __init__(self, identity: str, read: Callable[[str], Conversion]) -> None:
        self.id = identity
        self._read = read

    @property
    def state(self) -> State:
        """Its state now."""
        return self.details().state

    def details(self) -> Conversion:
        """All that the ledger knows of it."""
        return self._read(self.id)

    def result(self, timeout: float | None = None) -> ConversionResult:
        """Wait until it is completed.

        Raises ConversionNotCompleted when it failed, was cancelled, or waits for a person, ConversionUnfinished after
        `timeout` seconds. Neither changes anything.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            conversion = self.details()
            if conversion.state is State.COMPLETED:
                return _result(conversion)
            if conversion.state.is_terminal or conversion.state is State.NEEDS_REVIEW:
                raise ConversionNotCompleted(conversion)
            if end is not None and time.monotonic() >= end:
                raise ConversionUnfinished(f"{self.id} is still {conversion.state} after {timeout} s")
            threading.Event().wait(_POLL)


class MultiServiceConverter:
    """Converts coins over many services with failover.

    `services` (`id`, `priority`, `weight`) and the settings of the specification (`parallel_queries` or
    `parallelQueries`, `always_use_best_rate`…) apply to the conversions of this object; without them the configured
    ones do. `home`, `ledger_url` and `redis_url` say where the system is; by default the running `converter up` of
    `CONVERTER_HOME` is found. `follower` names who listens, one process for each name: its handlers also hear what was
    written while it was away (see `on`).
    """

    def __init__(
        self,
        services: Iterable[Mapping[str, Any]] | None = None,
        *,
        home: str | Path | None = None,
        ledger_url: str | None = None,
        redis_url: str | None = None,
        follower: str | None = None,
        **settings: Any,
    ) -> None:
        places = {"home": home, "ledger_url": ledger_url, "redis_url": redis_url}
        self._settings = running_settings({name: place for name, place in places.items() if place is not None})
        self._own = override_text(own_settings(self._settings, services, settings))
        self._policy = routing_policy(self._settings).overridden(self._own)
        self._ledger = open_ledger(self._settings.ledger, migrate=True)
        self._sender = TaskSender(self._settings.redis_url)
        self._listener = Listener(self._ledger, follower)
        self._accepting = Accepting(self._ledger, minimums(self._settings, self._policy), self._sender.send)

    def convert(
        self,
        *,
        from_coin: str,
        to_coin: str,
        amount: str | Decimal | int,
        address: str,
        idempotency_key: str | None = None,
        **networks: str | None,
    ) -> ConversionHandle:
        """Accept a conversion and return its handle at once. `from_network`, `to_network`: other than the default.

        With the same idempotency key and content again, the same conversion is returned. Raises InvalidRequest (and
        IdempotencyConflict, one of its kind); then nothing was written.
        """
        unknown = set(networks) - {"from_network", "to_network"}
        if unknown:
            raise InvalidRequest(min(unknown), "is not a field of a conversion", "from_network, to_network")
        fields = {"from_coin": from_coin, "to_coin": to_coin, "amount": amount, "address": address, **networks}
        accepted = self._accepting.accept({**fields, "idempotency_key": idempotency_key}, self._own)
        return self.get(accepted.conversion.id)

    def get(self, identity: str) -> ConversionHandle:
        """The handle of a conversion. Raises ConversionNotFound."""
        self._read(identity)
        return ConversionHandle(identity, self._read)

    def report_deposit(self, identity: str, txid: str) -> None:
        """Note the transaction with which a person paid a deposit (a wallet of kind `manual`).

        Raises InvalidRequest when no deposit of this conversion waits for a person, or one was reported already.
        """
        report_deposit(self._ledger, identity, txid)
        self._sender.send("conversions.settle", identity)

    def on(self, event: str, handler: Callable[[dict[str, Any]], None]) -> None:
        """Call `handler` with the payload of every event of this name from now on, from whichever process it comes.

        With a `follower` name the place is kept in the ledger: from where this name heard such events last, at least
        once each, and from now on when it never did. Handlers run one after the other on a thread of this object; an
        error in one is logged and harms nothing.
        """
        if event not in ALL_EVENTS:
            raise InvalidRequest("event", f"unknown event {event!r}", ", ".join(sorted(ALL_EVENTS)))
        self._listener.on(event, handler)

    def get_stats(self) -> dict[str, Any]:
        """`totalConversions`, `serviceUsage`, `failovers`, `averageResponseTime`, `healthyServices`, `services`…"""
        return status(self._ledger, self._policy)

    def close(self) -> None:
        """Stop listening and give connections back. Conversions go on."""
        self._listener.close()
        self._sender.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, identity: str) -> Conversion:
        with self._ledger.begin() as work:
            return work.conversions.get(identity)


def _result(conversion: Conversion) -> ConversionResult:
    return ConversionResult(
        id=conversion.id,
        service=conversion.service_id or "",
        amount=conversion.request.amount,
        promised=conversion.promised or Decimal(0),
        delivered=conversion.delivered,
        address=conversion.request.address,
        txid=conversion.txid,
        failovers=conversion.failovers,
    )
