"""What can go wrong outside, set per service over `/_sandbox/faults/<service_id>`; chance is seeded and repeatable."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from converter.sandbox.market import chance

BEFORE = (
    "refuse", "down", "reset_before_execute", "timeout_before_execute", "5xx_before_execute", "429", "rubbish", "hang",
)  # fmt: skip
AFTER = (
    "drip", "drip_headers", "reset_after_execute", "timeout_after_execute", "5xx_after_execute",
    "rubbish_after_execute", "half_body",
)  # fmt: skip
BESIDE = ("latency", "wrong_rate", "wrong_amount")  # the answer itself arrives in good order
CALLBACKS = ("duplicate_callback", "out_of_order_callback")
KINDS = (*BESIDE, *BEFORE, *AFTER, *CALLBACKS)
FACTORS = {"wrong_rate": "1.05", "wrong_amount": "0.9"}
FIELDS = ("kind", "operations", "rate", "count", "latency_ms", "jitter_ms", "factor", "retry_after_s")
QUOTE = "quote"
CALLBACK = "callback"  # the operation of a service that calls us; only the kinds of CALLBACKS act on it


@dataclass(frozen=True)
class Fault:
    """One way to go wrong; docs/sandbox.md describes the fields."""

    kind: str
    operations: tuple[str, ...] | None = None
    rate: Decimal = Decimal(1)
    count: int | None = None
    latency_ms: int = 0
    jitter_ms: int = 0
    factor: Decimal | None = None
    retry_after_s: int = 1

    def concerns(self, operation: str, *, executes: bool) -> bool:
        """Whether the fault acts on a request for this operation."""
        if operation == CALLBACK or self.kind in CALLBACKS:
            return operation == CALLBACK and self.kind in CALLBACKS
        if self.operations is not None:
            return operation in self.operations
        if self.kind == "wrong_rate":
            return operation == QUOTE
        if self.kind in ("half_body", "wrong_amount") or self.kind.endswith("_execute"):
            return executes
        return True

    def describe(self) -> dict[str, Any]:
        """The fault as it may be set again."""
        return {
            "kind": self.kind,
            "operations": self.operations,
            "rate": self.rate,
            "count": self.count,
            "latency_ms": self.latency_ms,
            "jitter_ms": self.jitter_ms,
            "factor": None if self.factor is None else format(self.factor, "f"),
            "retry_after_s": self.retry_after_s,
        }


@dataclass
class _Armed:
    fault: Fault
    struck: int = 0


@dataclass(frozen=True)
class Verdict:
    """What happens to one request: a delay in seconds, one fault of the connection at most, and two factors."""

    delay: float = 0.0
    fault: Fault | None = None
    rate_factor: Decimal = Decimal(1)
    amount_factor: Decimal = Decimal(1)

    @property
    def kind(self) -> str:
        """Kind of the connection's fault; empty when the answer arrives in good order."""
        return self.fault.kind if self.fault else ""


class FaultBook:
    """The faults that are set, and the draws that decide when they strike."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._armed: dict[str, list[_Armed]] = {}
        self._draws: dict[str, int] = {}

    def set(self, service_id: str, faults: Sequence[Fault]) -> None:
        """Replace the faults of a service and start its chances anew."""
        with self._lock:
            self._armed[service_id] = [_Armed(fault) for fault in faults]
            self._draws[service_id] = 0

    def clear(self, service_id: str | None = None) -> None:
        """Forget the faults of one service, or of all."""
        for name in list(self._armed) if service_id is None else [service_id]:
            self.set(name, [])

    def describe(self, service_id: str) -> dict[str, Any]:
        """The faults of a service, each with how often it struck."""
        with self._lock:
            armed = self._armed.get(service_id, [])
            return {"faults": [item.fault.describe() | {"struck": item.struck} for item in armed]}

    def strike(self, service_id: str, operation: str, *, executes: bool) -> Verdict:
        """Decide about one request. Delays add up, factors multiply, the first fault of the connection wins."""
        if not self._armed.get(service_id):
            return Verdict()
        delay_ms, rate, amount = Decimal(0), Decimal(1), Decimal(1)
        deciding: Fault | None = None
        with self._lock:
            for item in self._armed[service_id]:
                fault = item.fault
                of_connection = fault.kind not in BESIDE
                if (of_connection and deciding) or not fault.concerns(operation, executes=executes):
                    continue
                if not self._happens(service_id, item):
                    continue
                item.struck += 1
                delay_ms += fault.latency_ms + fault.jitter_ms * self._draw(service_id)
                rate *= (fault.factor or 1) if fault.kind == "wrong_rate" else 1
                amount *= (fault.factor or 1) if fault.kind == "wrong_amount" else 1
                deciding = fault if of_connection else deciding
        return Verdict(float(delay_ms) / 1000, deciding, rate, amount)

    def spare(self, service_id: str, verdict: Verdict) -> None:
        """Take a strike back: what it was to come after did not happen."""
        with self._lock:
            for item in self._armed.get(service_id, []):
                if item.fault is verdict.fault:
                    item.struck -= 1

    def _happens(self, service_id: str, item: _Armed) -> bool:
        if item.fault.count is not None and item.struck >= item.fault.count:
            return False
        return item.fault.rate == 1 or self._draw(service_id) < item.fault.rate

    def _draw(self, service_id: str) -> Decimal:
        self._draws[service_id] += 1
        return chance(self._seed, "fault", service_id, self._draws[service_id])


def parse_faults(body: Any, operations: Collection[str]) -> list[Fault]:
    """One fault object, or `{"faults": [...]}`; ValueError says which field is wrong and what is accepted."""
    if isinstance(body, Mapping) and "faults" in body:
        if strange := body.keys() - {"faults"}:
            raise ValueError(f"{min(strange)}: unknown field beside faults; accepted: faults")
        body = body["faults"]
    items = body if isinstance(body, list) else [body]
    return [_parse_fault(item, operations) for item in items]


def _parse_fault(item: Any, operations: Collection[str]) -> Fault:
    if not isinstance(item, Mapping):
        raise _wrong("faults", "not an object", 'a fault object or {"faults": [...]}')
    for name in item:
        if name not in FIELDS and name != "struck":  # what GET answers may be put back
            raise _wrong(name, "unknown field", ", ".join(FIELDS))
    kind = item.get("kind")
    if kind not in KINDS:
        raise _wrong("kind", f"unknown {kind!r}", ", ".join(KINDS))
    count = item.get("count")
    retry_after = item.get("retry_after_s")
    return Fault(
        kind,
        _parse_operations(item.get("operations"), operations),
        _parse_rate(item.get("rate", 1)),
        None if count is None else _whole("count", count),
        _whole("latency_ms", item.get("latency_ms") or 0),
        _whole("jitter_ms", item.get("jitter_ms") or 0),
        _parse_factor(kind, item.get("factor")),
        1 if retry_after is None else _whole("retry_after_s", retry_after),
    )


def _parse_operations(names: Any, operations: Collection[str]) -> tuple[str, ...] | None:
    if names is None:
        return None
    accepted = f"a list of {', '.join(sorted(operations))}"
    if not isinstance(names, list):
        raise _wrong("operations", "not a list", accepted)
    for name in names:
        if name not in operations:
            raise _wrong("operations", f"unknown {name!r}", accepted)
    return tuple(names)


def _parse_rate(rate: Any) -> Decimal:
    number = Decimal(rate) if isinstance(rate, int | Decimal) and not isinstance(rate, bool) else Decimal(-1)
    if not 0 <= number <= 1:
        raise _wrong("rate", f"{rate!r} is no chance", "a number from 0 to 1")
    return number


def _parse_factor(kind: str, text: Any) -> Decimal | None:
    default = FACTORS.get(kind)
    if text is None:
        return None if default is None else Decimal(default)
    accepted = "a decimal string above 0, for wrong_rate and wrong_amount"
    if default is None:
        raise _wrong("factor", f"means nothing for {kind}", accepted)
    try:
        factor = Decimal(text) if isinstance(text, str) else Decimal(0)
    except InvalidOperation:
        factor = Decimal(0)
    if not factor.is_finite() or not 0 < factor < 1_000_000:
        raise _wrong("factor", f"{text!r} is no factor", accepted)
    return factor


def _whole(field: str, number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise _wrong(field, f"{number!r} is no whole number", "a whole number from 0")
    return number


def _wrong(field: str, problem: str, accepted: str) -> ValueError:
    return ValueError(f"{field}: {problem}; accepted: {accepted}")
