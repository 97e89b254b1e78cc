"""Chance plays the same long game on the ledger in memory and on SQLite; after every step both must have said the same.

What is drawn is often wrong on purpose: conversions and attempts as they were seen long ago, keys and nonces that are
taken, states that may not follow, and transactions that break after they have written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from converter.domain.conditions import CLOSED, OPEN
from converter.domain.conversions import (
    ATTEMPT_TRANSITIONS,
    TRANSITIONS,
    Attempt,
    AttemptState,
    Conversion,
    Operation,
    OperationState,
    Sought,
    State,
)
from converter.domain.errors import ConverterError
from converter.domain.events import Event
from converter.domain.health import Check
from converter.domain.orders import OperationKind
from converter.domain.transfers import Transfer
from converter.ledger.repository import SqlLedger, create_engine
from converter.ledger.tables import metadata
from tests.builders import ETH_ADDRESS, START, a_quote, a_request, a_row, an_attempt, an_id, an_operation, seconds
from tests.memory_ledger import MemoryLedger

TRANSACTIONS = 90
SERVICES = ("alpha", "beta")


class Aborted(Exception):
    pass


class StillClock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


class Game:
    """Draws a step as (part, method, arguments), from what both ledgers have told so far."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.conversions: list[Conversion] = []
        self.attempts: list[Attempt] = []
        self.operations: list[Operation] = []
        self.transfers: list[Transfer] = []

    def seen(self, answer: Any) -> None:
        for one in answer if isinstance(answer, list | tuple) else (answer,):
            for kind, pool in (
                (Conversion, self.conversions),
                (Attempt, self.attempts),
                (Operation, self.operations),
                (Transfer, self.transfers),
            ):
                if isinstance(one, kind):
                    pool.append(one)  # type: ignore[arg-type]

    def late(self, pool: list[Any]) -> Any:
        """Mostly something seen a moment ago."""
        return pool[-1] if self.chance.random() < 0.7 else self.chance.choice(pool[-12:])

    def attempt_of(self, conversion: Conversion) -> Attempt:
        """Mostly one of its own."""
        own = [one for one in self.attempts if one.conversion_id == conversion.id]
        return self.late(own if own and self.chance.random() < 0.9 else self.attempts)

    def operation_of(self, conversion: Conversion) -> Operation:
        attempt = self.attempt_of(conversion)
        own = [one for one in self.operations if one.attempt_id == attempt.id]
        return self.late(own if own and self.chance.random() < 0.9 else self.operations)

    def next_state(self, table: Any, state: Any) -> Any:
        """Mostly one that may follow."""
        allowed = sorted(table[state])
        return self.chance.choice(allowed if allowed and self.chance.random() < 0.8 else list(type(state)))

    def amount(self) -> Decimal:
        return Decimal(self.chance.choice(["1.50", "0.1", "3E+1", "0.000000000000000001", "7"]))

    def moment(self) -> datetime:
        return START + seconds(self.chance.choice([0, 10, 60, 300]))

    def step(self) -> tuple[str, str, tuple[Any, ...], dict[str, Any]]:
        names = [name for name in dir(self) if name.startswith("do_")]
        if not self.conversions:
            names = ["do_add"]
        elif not self.operations:
            names = ["do_add", "do_claim", "do_claim", "do_prepare", "do_prepare", "do_quote"]
        part, _, method = (drawn := getattr(self, self.chance.choice(names))())[0].rpartition(".")
        return part, method, drawn[1], drawn[2] if len(drawn) > 2 else {}

    def do_add(self) -> Any:
        number = self.chance.randint(1, 4)
        key = self.chance.choice([None, "k1", "k2", f"own-{number}"])
        request = a_request("1.50" if self.chance.random() < 0.8 else "2", idempotency_key=key)
        return "conversions.add", (an_id(number), request, self.moment())

    def do_get(self) -> Any:
        return "conversions.get", (an_id(self.chance.randint(1, 5)),)

    def do_page(self) -> Any:
        states = tuple(self.chance.sample(list(State), self.chance.choice([0, 3])))
        prefix, coin = self.chance.choice(["", "cv_", an_id(2)]), self.chance.choice(["", "ETH", "LTC"])
        sought = Sought(self.chance.choice(["", "alpha"]), coin, "", self.chance.choice(["", ETH_ADDRESS]), prefix)
        return "conversions.page", (), {"states": states, "limit": self.chance.choice([2, 9]), "sought": sought}

    def do_known(self) -> Any:
        return "conversions.known", (a_request(idempotency_key=self.chance.choice([None, "k1", "k2"])),)

    def do_claim(self) -> Any:
        states = tuple(State) if self.chance.random() < 0.8 else tuple(self.chance.sample(list(State), 4))
        lease = seconds(self.chance.choice([5, 30]))
        return "conversions.claim", (self.late(self.conversions).id, self.chance.choice("ab"), lease, states)

    do_claim_again = do_claim

    def do_hold(self) -> Any:
        return "conversions.hold", (self.late(self.conversions), seconds(30))

    def do_move(self) -> Any:
        conversion = self.late(self.conversions)
        changes: dict[str, Any] = {"due_at": self.moment(), "reason": self.chance.choice(["", "why", "\0 ü"])}
        if self.chance.random() < 0.3:
            changes |= {"round": 1, "promised": self.amount(), "failovers": 2, "service_id": "alpha"}
        to_state = self.next_state(TRANSITIONS, conversion.state)
        if to_state.is_terminal and self.chance.random() < 0.8:
            to_state = conversion.state
        return "conversions.move", (conversion, to_state), {"release": self.chance.random() < 0.3, **changes}

    do_move_again = do_move

    def do_find(self) -> Any:
        keys = ["", "nobody", *(one.key for one in self.attempts[-3:])]
        order_id = self.chance.choice(["", "o1", "o2"])
        return "conversions.find", (self.chance.choice(SERVICES), order_id, self.chance.choice(keys))

    def do_due(self) -> Any:
        return "conversions.due", (9,)

    def do_postpone(self) -> Any:
        return "conversions.postpone", (self.late(self.conversions), self.moment())

    def do_prepare(self) -> Any:
        conversion = self.late(self.conversions)
        number = self.chance.randint(1, 4)
        changes: dict[str, Any] = {"service_order_id": self.chance.choice([None, "o1", "o2"])}
        if self.chance.random() < 0.1:
            changes["refund_txid"] = self.chance.choice(["r1", "r2"])
        if self.chance.random() < 0.1:
            changes["state"] = AttemptState.NOT_EXECUTED
        attempt = an_attempt(conversion, number, service_id=self.chance.choice(SERVICES), **changes)
        return "attempts.prepare", (conversion, attempt, an_operation(attempt, fence=conversion.fence))

    do_prepare_again = do_prepare

    def do_prepare_step(self) -> Any:
        conversion, kind = self.late(self.conversions), self.chance.choice(list(OperationKind))
        attempt = self.attempt_of(conversion)
        operation = an_operation(attempt, kind, self.chance.randint(1, 5), fence=self.chance.randint(1, 3))
        return "attempts.prepare_step", (conversion, operation)

    def do_attempts(self) -> Any:
        return "attempts.of", (self.late(self.conversions).id,)

    def do_of_refund(self) -> Any:
        return "attempts.of_refund", (self.chance.choice(["r1", "r2"]),)

    def do_operations(self) -> Any:
        return "attempts.operations", (self.late(self.attempts).id,)

    def do_record(self) -> Any:
        state = self.chance.choice([OperationState.EXECUTED, OperationState.NOT_EXECUTED])
        error = self.chance.choice(["", "it said no"])
        conversion = self.late(self.conversions)
        return "attempts.record", (conversion, self.operation_of(conversion), state, error)

    def do_record_unsent(self) -> Any:
        return "attempts.record_unsent", (self.late(self.operations), "nothing left")

    def do_note(self) -> Any:
        return "attempts.note", (self.late(self.operations), "odd \0"), {"absences": self.chance.randint(0, 2)}

    def do_count_send(self) -> Any:
        conversion = self.late(self.conversions)
        return "attempts.count_send", (conversion, self.operation_of(conversion), self.moment())

    do_count_send_again = do_count_send

    def do_move_attempt(self) -> Any:
        changes: dict[str, Any] = {}
        if self.chance.random() < 0.3:
            changes["refund_txid"] = self.chance.choice(["r1", "r2"])
        if self.chance.random() < 0.3:
            changes |= {"service_order_id": "o1", "deposit_amount": self.amount(), "error": "e"}
        conversion = self.late(self.conversions)
        attempt = self.attempt_of(conversion)
        to_state = self.next_state(ATTEMPT_TRANSITIONS, attempt.state)
        return "attempts.move", (conversion, attempt, to_state), changes

    do_move_attempt_again = do_move_attempt

    def do_transfer(self) -> Any:
        account, twist = self.chance.choice(["A", "B"]), self.chance.choice([0, 0, 0, -1])

        def sign(nonce: int) -> Transfer:
            txid = f"{account}{max(0, nonce + twist)}"
            return Transfer("chain", account, max(0, nonce + twist), "raw", txid, ETH_ADDRESS, Decimal("1.50"))

        return "transfers.add", (self.late(self.operations), ("chain", account, self.chance.randint(0, 3)), sign)

    def do_report(self) -> Any:
        paid = Transfer("chain", "A", -1, "", self.chance.choice(["A0", "A1", "x"]), ETH_ADDRESS, Decimal(1))
        return "transfers.report", (self.late(self.operations), paid)

    def do_transfer_of(self) -> Any:
        return "transfers.of", (self.late(self.operations),)

    def do_quote(self) -> Any:
        conversion, kind = self.late(self.conversions).id, self.chance.randint(0, 3)
        given: dict[str, Any] = {"elapsed_ms": self.chance.randint(1, 99), "late": self.chance.random() < 0.2}
        if kind == 0:
            given |= {"quote": None, "error": "no", "minimum": self.amount(), "failed": self.chance.random() < 0.7}
        else:
            given["quote"] = a_quote(net="0.090", expires_at=self.moment())
        return "quotes.add", (a_row(conversion, self.chance.choice(SERVICES), self.chance.randint(1, 2), **given),)

    do_quote_again = do_quote

    def do_quotes(self) -> Any:
        return "quotes.of_round", (self.late(self.conversions).id, self.chance.randint(1, 2))

    def do_late(self) -> Any:
        row = a_row(self.late(self.conversions).id, self.chance.choice(SERVICES), 1, elapsed_ms=7, failed=True)
        return "quotes.late", (row,)

    def do_ranks(self) -> Any:
        return "quotes.set_ranks", (self.chance.sample(range(1, 12), 3),)

    def do_of_service(self) -> Any:
        method, *more = self.chance.choice([("latencies", 3), ("latest",), ("recent_failures",)])
        return f"quotes.{method}", (self.chance.choice(SERVICES), *more)

    def do_tell(self) -> Any:
        return "outbox.add", (Event("e", {"n": self.chance.random(), "s": State.FAILED}, None),)

    def do_told(self) -> Any:
        return "outbox.after", (self.chance.randint(0, 5), self.chance.choice([2, 99]))

    def do_enter(self) -> Any:
        name = self.chance.choice(["breaker:a", "breaker:b", "x"])
        return "conditions.enter", (name, self.chance.choice([OPEN, CLOSED])), {"normal": CLOSED, "detail": "d"}

    def do_restart(self) -> Any:
        return "conditions.restart", (self.chance.choice(["breaker:a", "y"]),)

    def do_conditions(self) -> Any:
        return "conditions.of", ("breaker:",)

    def do_open_round(self) -> Any:
        return "rounds.open", (self.late(self.conversions).id, self.chance.randint(1, 3), [{"service": "alpha"}])

    def do_judge(self) -> Any:
        return "rounds.judge", (self.late(self.conversions).id, self.chance.randint(1, 3), {"why": "best"})

    def do_rounds(self) -> Any:
        return "rounds.of", (self.late(self.conversions).id,)

    def do_under_way(self) -> Any:
        return "exposure.under_way", (), {"serialised": True}

    def do_candidates(self) -> Any:
        return "exposure.candidates", (self.chance.choice(SERVICES), "ETH", "BTC")

    def do_keep(self) -> Any:
        return "memory.keep_rates", ([(self.chance.choice("ab"), str(self.chance.random()), self.moment())],)

    def do_check(self) -> Any:
        return "memory.checked", ("alpha", Check(START, self.chance.choice(["", "down"]), 4))

    def do_count(self) -> Any:
        return ".statistics", ()

    def do_count_state(self) -> Any:
        return ".count", (self.chance.choice([State.RECEIVED, State.QUOTING]), self.chance.choice([1, 9]))


def answer(work: Any, step: tuple[str, str, tuple[Any, ...], dict[str, Any]]) -> Any:
    """What a step was told, or the kind of error that it met."""
    part, method, given, named = step
    try:
        told = getattr(getattr(work, part) if part else work, method)(*given, **named)
    except (ConverterError, sa.exc.IntegrityError) as error:
        return type(error)
    if method == "due":
        return sorted(told, key=lambda one: (one.due_at, one.id))
    return sorted(map(repr, told)) if part in ("exposure", "memory") and isinstance(told, list) else told


def transaction(ledgers: tuple[Any, Any], game: Game) -> None:
    """Some steps on both. An error, or chance, takes all of them back."""
    with ledgers[0].begin() as on_sql, ledgers[1].begin() as in_memory:
        for _ in range(game.chance.choice([1, 2, 3, 6])):
            step = game.step()
            told = answer(on_sql, step)
            assert answer(in_memory, step) == told, step
            if isinstance(told, type):
                raise Aborted
            game.seen(told)
        if game.chance.random() < 0.15:
            raise Aborted


def everything(ledger: Any) -> list[Any]:
    with ledger.begin() as work:
        conversions = sorted(work.conversions.page(limit=99), key=lambda one: one.id)
        attempts = [one for conversion in conversions for one in work.attempts.of(conversion.id)]
        operations = [one for attempt in attempts for one in work.attempts.operations(attempt.id)]
        transfers = [work.transfers.of(one) for one in operations]
        quotes = [work.quotes.of_round(one.id, number) for one in conversions for number in (1, 2)]
        rounds = [work.rounds.of(one.id) for one in conversions]
        lasting = [work.conditions.of(""), sorted(work.memory.rates()), work.memory.checks(), work.statistics()]
        due = sorted((one.due_at, one.id) for one in work.conversions.due(99))
        exposed = sorted(map(repr, work.exposure.under_way(serialised=False)))
        return [conversions, attempts, operations, transfers, quotes, rounds, lasting, due, exposed, work.outbox.last()]


@pytest.fixture(scope="module")
def sqlite_in_memory() -> Iterator[sa.Engine]:
    engine = create_engine("sqlite:///:memory:")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("seed", range(24))
def test_the_ledger_in_memory_answers_every_step_as_the_one_on_sqlite(sqlite_in_memory: sa.Engine, seed: int) -> None:
    with sqlite_in_memory.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    clock, game = StillClock(), Game(seed)
    ledgers = (SqlLedger(sqlite_in_memory, clock=clock), MemoryLedger(clock))
    for number in range(TRANSACTIONS):
        if game.chance.random() < 0.3:
            clock.time += seconds(game.chance.choice([1, 6, 31]))
        with suppress(Aborted):
            transaction(ledgers, game)
        if number % 10 == 9:
            assert everything(ledgers[1]) == everything(ledgers[0])
