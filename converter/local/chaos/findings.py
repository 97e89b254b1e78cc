"""Reads the ledger and the outside world's truth at the end of a drill, and makes the report of it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from converter.auditing import Auditing
from converter.domain import events
from converter.domain.conversions import Conversion, State
from converter.ledger.repository import SqlLedger
from converter.local.audit import compare
from converter.local.chaos.evidence import Entry, trace
from converter.local.chaos.outside import Outside
from converter.local.chaos.profiles import Profile
from converter.local.chaos.report import Parked, Report
from converter.ports import Work

_PAGE = 500


@dataclass(frozen=True)
class Course:
    """How the drill went: `under_fire` seconds of all its `seconds`; `quiet_at`: the ledger's clock at the last fault;
    `repeated`: acceptances that had to be repeated."""

    profile: Profile
    seed: int
    under_fire: float
    seconds: float
    quiet_at: datetime
    faults_struck: int
    strikes: dict[str, int]
    hints: int
    repeated: int
    settings: dict[str, str]


def find(ledger: SqlLedger, outside: Outside, stats: Mapping[str, Any], course: Course) -> Report:
    """Compare and count. All conversions of the ledger belong to the drill."""
    truth = outside.truth()
    entries = [entry for page in _pages(ledger) for entry in page]
    conversions = [entry.conversion for entry in entries]
    verdict = compare(conversions, truth["deliveries"])
    traces = trace(entries, truth["executions"])
    count = Counter(one.state for one in conversions)
    times = sorted(_seconds(one) for one in conversions if one.state is State.COMPLETED)
    return Report(
        profile=course.profile.name,
        seed=course.seed,
        conversions=len(conversions),
        completed=count[State.COMPLETED],
        failed=count[State.FAILED] + count[State.CANCELLED] + count[State.EXPIRED],
        unfinished=verdict.unfinished,
        doubles=max(verdict.doubles, len(traces.doubled)),
        lost=verdict.unpaid,
        phantom=verdict.phantom + len(traces.strange),
        goal=course.profile.goal,
        parked=tuple(_parked(ledger, entries)),
        breaches=tuple(_breaches(ledger)),
        traces=(*traces.doubled, *traces.strange, *_open(entries), *outside.problems()),
        failovers=stats["failovers"],
        faults_struck=course.faults_struck,
        strikes=course.strikes,
        hints=course.hints,
        repeated=course.repeated,
        under_fire=round(course.under_fire, 1),
        seconds=round(course.seconds, 1),
        per_second=round(len(conversions) / course.under_fire, 2),
        p50_seconds=_percentile(times, 50),
        p95_seconds=_percentile(times, 95),
        settled_after_last_fault=_last(conversions, course.quiet_at),
        services={name: _service(one) for name, one in stats["services"].items()},
        pairs=dict(Counter(f"{one.request.from_asset}->{one.request.to_asset}" for one in conversions)),
        settings=course.settings,
    )


def _breaches(ledger: SqlLedger) -> Iterator[str]:
    """What the audit finds: the books above all, which no delivery shows."""
    for one in Auditing(ledger).look(None).breaches:
        yield f"{one.invariant} {one.conversion_id or 'ledger'}: {one.detail}"


def _pages(ledger: SqlLedger) -> Iterator[list[Entry]]:
    """All conversions with their attempts, page by page, so that no transaction is long."""
    before: str | None = None
    while True:
        with ledger.begin() as work:
            page = [_entry(work, one) for one in work.conversions.page(limit=_PAGE, before=before)]
        if not page:
            return
        yield page
        before = page[-1].conversion.id


def _entry(work: Work, conversion: Conversion) -> Entry:
    attempts = tuple((one, tuple(work.attempts.operations(one.id))) for one in work.attempts.of(conversion.id))
    operations = [one for _, some in attempts for one in some]
    transfers = {one.id: work.transfers.of(one) for one in operations}
    return Entry(conversion, attempts, {number: one.txid for number, one in transfers.items() if one is not None})


def _parked(ledger: SqlLedger, entries: Sequence[Entry]) -> Iterator[Parked]:
    waiting = {one.conversion.id: one for one in entries if one.conversion.state is State.NEEDS_REVIEW}
    told: dict[str, dict[str, Any]] = {}
    sequence = 0
    while waiting:
        with ledger.begin() as work:
            page = work.outbox.after(sequence, limit=5000)
        if not page:
            break
        sequence = page[-1].sequence
        for event in page:
            if event.name == events.CONVERSION_NEEDS_REVIEW and event.conversion_id in waiting:
                told[str(event.conversion_id)] = event.payload
    for name, one in waiting.items():
        evidence = bool(told.get(name, {}).get("evidence"))
        yield Parked(name, one.conversion.reason, name in told, evidence, tuple(_story(one)))


def _open(entries: Sequence[Entry]) -> Iterator[str]:
    """What did not end, with its story."""
    for entry in entries:
        one = entry.conversion
        if not one.state.is_terminal and one.state is not State.NEEDS_REVIEW:
            yield f"{one.id} {one.service_id} {one.state}: {one.reason}"
            yield from _story(entry)


def _story(entry: Entry) -> Iterator[str]:
    for attempt, operations in entry.attempts:
        head = f"  attempt {attempt.number} {attempt.service_id} {attempt.state} {attempt.created_at:%H:%M:%S}"
        yield f"{head} {attempt.service_order_id or '-'} {attempt.error}".rstrip()
        for one in operations:
            what = f"    {one.kind} {one.state}, sent {one.sends} times, fence {one.fence}"
            yield f"{what}, last {one.updated_at:%H:%M:%S} {entry.txids.get(one.id, '')} {one.error}".rstrip()


def _seconds(conversion: Conversion) -> float:
    end = conversion.completed_at or conversion.updated_at
    return (end - conversion.created_at).total_seconds()


def _percentile(times: Sequence[float], percent: int) -> float:
    if len(times) < 2:
        return round(sum(times), 2)
    return round(statistics.quantiles(times, n=100)[percent - 1], 2)


def _last(conversions: Sequence[Conversion], quiet_at: datetime) -> float:
    """Seconds from the last fault to the last settlement; 0 when everything had ended by then."""
    ends = [one.completed_at for one in conversions if one.completed_at is not None]
    return round(max(((one - quiet_at).total_seconds() for one in ends), default=0.0), 1) if ends else 0.0


def _service(stats: Mapping[str, Any]) -> dict[str, int]:
    return {
        "quotes": stats["quotes"],
        "quote_failures": stats["quoteFailures"],
        "executions": stats["executions"],
        "refusals": stats["refused"],
    }
