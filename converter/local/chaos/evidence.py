"""Holds the ledger against what the outside world executed, call by call: what no delivery shows.

A trade that was made twice and paid out once, or a deposit that left twice and came back once, is a double too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converter.domain.conversions import Attempt, AttemptState, Conversion, Operation, OperationState
from converter.domain.orders import OperationKind
from converter.services import REGISTRY, service_class

_KINDS = {
    "order": (OperationKind.ORDER, OperationKind.TRADE),
    "approve": (OperationKind.APPROVAL,),
    "withdraw": (OperationKind.WITHDRAWAL,),
}
"""What the outside world calls an operation at a service -> what the ledger calls it."""

_FILLS = ("executed_qty", "executed_volume")


@dataclass(frozen=True)
class Entry:
    """A conversion with all that the ledger holds of it; `txids`: of its deposits, by operation id."""

    conversion: Conversion
    attempts: tuple[tuple[Attempt, tuple[Operation, ...]], ...]
    txids: Mapping[int, str]


@dataclass(frozen=True)
class Traces:
    """What was executed outside against the ledger's word, in lines for a person to follow up.

    `doubled`: one operation executed twice, or two attempts of one conversion of which none was undone.
    `strange`: executed for us, but by the ledger proven not executed, or not there at all.
    """

    doubled: tuple[str, ...]
    strange: tuple[str, ...]


def trace(entries: Sequence[Entry], executions: Iterable[Mapping[str, Any]]) -> Traces:
    """Follow every execution that moves money to the operation of ours that asked for it."""
    names = _names(entries)
    moved: Counter[int] = Counter()
    unnamed: Counter[tuple[str, str]] = Counter()
    strange: list[str] = []
    for one in executions:
        if not _moves(one):
            continue
        name = one.get("txid") if one["operation"] == "send" else one.get("reference")
        operation_id = names.get((one["operation"], name))
        if operation_id is not None:
            moved[operation_id] += 1
        elif one["operation"] == "send":
            strange.append(f"{one['service_id']} send {name}: no deposit of ours")
        else:
            unnamed[one["service_id"], one["operation"]] += 1
    strange += [*_denied(entries, moved), *_surplus(entries, unnamed)]
    return Traces(tuple(_doubled(entries, moved)), tuple(strange))


def _names(entries: Sequence[Entry]) -> dict[tuple[str, Any], int]:
    """(operation outside, name there) -> operation id. An approval goes by the key of its attempt."""
    names: dict[tuple[str, Any], int] = {}
    for entry in entries:
        for attempt, operations in entry.attempts:
            for one in operations:
                if one.id in entry.txids:
                    names["send", entry.txids[one.id]] = one.id
                for word, kinds in _KINDS.items():
                    if one.kind in kinds:
                        names[word, attempt.key if word == "approve" else one.key] = one.id
    return names


def _moves(execution: Mapping[str, Any]) -> bool:
    """Whether an execution moved money for us. An order that filled nothing did not."""
    service_id, operation = execution["service_id"], execution["operation"]
    if operation == "send":
        return True
    if service_id not in REGISTRY or operation not in _KINDS:
        return False
    if any(name in execution and Decimal(execution[name]) == 0 for name in _FILLS):
        return False
    rules = service_class(service_id).capabilities.rules
    return any(kind in rules and rules[kind].moves_money for kind in _KINDS[operation])


def _doubled(entries: Sequence[Entry], moved: Counter[int]) -> list[str]:
    lines = []
    for entry in entries:
        lasting = []
        for attempt, operations in entry.attempts:
            times = [moved[one.id] for one in operations]
            if max(times, default=0) > 1:
                lines.append(f"{entry.conversion.id} attempt {attempt.number}: executed {max(times)} times")
            if any(times) and attempt.state is not AttemptState.REFUNDED:
                lasting.append(attempt)
        if len(lasting) > 1:
            where = ", ".join(f"{one.service_id} ({one.state})" for one in lasting)
            lines.append(f"{entry.conversion.id}: executed at {where}")
    return lines


def _denied(entries: Sequence[Entry], moved: Counter[int]) -> list[str]:
    return [
        f"{entry.conversion.id} {attempt.service_id} {one.kind} {one.key}: executed, but {one.state} by the ledger"
        for entry in entries
        for attempt, operations in entry.attempts
        for one in operations
        if moved[one.id] and one.state is OperationState.NOT_EXECUTED
    ]


def _surplus(entries: Sequence[Entry], unnamed: Counter[tuple[str, str]]) -> list[str]:
    """Where our names do not travel, counts are compared: not more was executed than we asked for and did not rule
    out."""
    asked: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for attempt, operations in entry.attempts:
            for one in operations:
                for word, kinds in _KINDS.items():
                    if one.kind in kinds and one.state is not OperationState.NOT_EXECUTED:
                        asked[attempt.service_id, word] += 1
    return [
        f"{service_id} {word}: executed {count} times, {asked[service_id, word]} by the ledger"
        for (service_id, word), count in unnamed.items()
        if count > asked[service_id, word]
    ]
