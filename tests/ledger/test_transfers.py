"""Payments of deposits: a nonce each, in a row, and one for every operation."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from converter.domain.conversions import Operation, OperationState, State
from converter.domain.orders import OperationKind
from converter.domain.transfers import Transfer
from converter.ledger.repository import SqlLedger
from converter.ledger.tables import transfers
from tests.builders import ETH_ADDRESS, START, a_request, an_attempt, an_id, an_operation, seconds
from tests.ledger.conftest import AnyLedger

PLACE = ("evm:1", "0xPool", 0)


def operation(ledger: AnyLedger, number: int = 1) -> Operation:
    """A prepared deposit of the n-th conversion."""
    with ledger.begin() as work:
        work.conversions.add(an_id(number), a_request(), START)
        conversion = work.conversions.claim(an_id(number), "a", seconds(60), tuple(State))
        assert conversion is not None
        attempt = an_attempt(conversion)
        attempt, _ = work.attempts.prepare(conversion, attempt, an_operation(attempt))
        return work.attempts.prepare_step(conversion, an_operation(attempt, OperationKind.DEPOSIT, 2))


def signed(place: tuple[str, str, int] = PLACE, mark: str = ""):  # type: ignore[no-untyped-def]
    chain, account, _ = place

    def sign(nonce: int) -> Transfer:
        name = f"{chain}/{account}/{nonce}{mark}"
        return Transfer(
            chain, account, nonce, f"raw {name}", f"id {name}", ETH_ADDRESS, Decimal("1.123456789012345678")
        )

    return sign


def add(ledger: AnyLedger, one: Operation, place: tuple[str, str, int] = PLACE) -> Transfer:
    with ledger.begin() as work:
        return work.transfers.add(one, place, signed(place))


def test_a_payment_comes_back_byte_for_byte(ledger: AnyLedger) -> None:
    one = operation(ledger)
    stored = add(ledger, one)
    with ledger.begin() as work:
        assert work.transfers.of(one) == stored
    assert (stored.nonce, stored.raw) == (0, "raw evm:1/0xPool/0")


def test_an_operation_without_a_payment_has_none(ledger: AnyLedger) -> None:
    one = operation(ledger)
    with ledger.begin() as work:
        assert work.transfers.of(one) is None


def test_nonces_follow_each_other_and_never_fall_below_the_chains(ledger: AnyLedger) -> None:
    nonces = []
    for number, floor in enumerate([4, 4, 0, 9, 9, 3], start=1):
        nonces.append(add(ledger, operation(ledger, number), ("evm:1", "0xPool", floor)).nonce)
    assert nonces == [4, 5, 6, 9, 10, 11]


def test_each_chain_and_each_account_counts_for_itself(ledger: AnyLedger) -> None:
    places = [("evm:1", "0xA", 0), ("evm:1", "0xB", 0), ("evm:5", "0xA", 7), ("evm:1", "0xA", 0)]
    nonces = [add(ledger, operation(ledger, number), place).nonce for number, place in enumerate(places, start=1)]
    assert nonces == [0, 0, 7, 1]


def test_eight_threads_take_nonces_without_a_gap_or_a_repeat(engine: Engine) -> None:
    ledger = SqlLedger(engine)
    given = [operation(ledger, number) for number in range(24)]
    barrier = threading.Barrier(8)

    def run(thread: int) -> list[int]:
        barrier.wait(10)
        return [add(ledger, one, ("evm:1", "0xPool", 3)).nonce for one in given[thread::8]]

    with ThreadPoolExecutor(8) as pool:
        nonces = sorted(nonce for part in pool.map(run, range(8)) for nonce in part)
    assert nonces == list(range(3, 27))


def test_a_nonce_that_was_not_committed_is_given_again(ledger: AnyLedger) -> None:
    one = operation(ledger)

    def interrupted() -> None:
        with ledger.begin() as work:
            work.transfers.add(one, PLACE, signed())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with ledger.begin() as work:
        assert work.transfers.of(one) is None
    assert add(ledger, one).nonce == 0


def test_an_operation_has_one_payment(ledger: AnyLedger) -> None:
    one = operation(ledger)
    first = add(ledger, one)
    with pytest.raises(sa.exc.IntegrityError):
        add(ledger, one)
    with ledger.begin() as work:
        assert work.transfers.of(one) == first


def test_a_transaction_pays_one_operation(ledger: AnyLedger) -> None:
    paid = Transfer("ETH", "manual", -1, "", "0xabc", ETH_ADDRESS, Decimal(1))
    one, other = operation(ledger, 1), operation(ledger, 2)
    with ledger.begin() as work:
        work.transfers.report(one, paid)
    with pytest.raises(sa.exc.IntegrityError), ledger.begin() as work:
        work.transfers.report(other, paid)
    with ledger.begin() as work:
        assert work.transfers.of(one) == paid
        assert work.transfers.of(other) is None


def test_reported_payments_take_no_nonce(ledger: AnyLedger) -> None:
    for number, txid in enumerate(("0xa", "0xb"), start=1):
        with ledger.begin() as work:
            work.transfers.report(
                operation_of(work, ledger, number), Transfer("evm:1", "0xPool", -1, "", txid, ETH_ADDRESS, Decimal(1))
            )
    assert add(ledger, operation(ledger, 3)).nonce == 0


def operation_of(work, ledger: AnyLedger, number: int) -> Operation:  # type: ignore[no-untyped-def]
    """As `operation`, in a transaction that is open already."""
    work.conversions.add(an_id(number), a_request(), START)
    conversion = work.conversions.claim(an_id(number), "a", seconds(60), tuple(State))
    attempt = an_attempt(conversion)
    return work.attempts.prepare(conversion, attempt, an_operation(attempt))[1]


def test_the_database_itself_bars_a_nonce_from_being_used_twice(sql_ledger: SqlLedger) -> None:
    stored = add(sql_ledger, operation(sql_ledger, 1))
    other = operation(sql_ledger, 2)
    row = {
        "operation_id": other.id,
        "chain": stored.chain,
        "account": stored.account,
        "nonce": stored.nonce,
        "raw": "x",
        "txid": "another",
        "address": ETH_ADDRESS,
        "amount": Decimal(1),
        "created_at": START,
    }
    with pytest.raises(sa.exc.IntegrityError), sql_ledger.engine.begin() as connection:
        connection.execute(transfers.insert(), [row])


def test_what_is_in_doubt_before_a_payment_is_told_lowest_first(ledger: AnyLedger) -> None:
    operations = [operation(ledger, number) for number in range(1, 6)]
    made = [add(ledger, one) for one in operations]
    other = add(ledger, operation(ledger, 6), ("evm:1", "0xOther", 0))
    with ledger.begin() as work:
        conversion = work.conversions.get(an_id(2))
        work.attempts.record(conversion, operations[1], OperationState.EXECUTED)
        assert work.transfers.in_doubt_before(made[4], 10) == [made[0], made[2], made[3]]
        assert work.transfers.in_doubt_before(made[4], 1) == [made[0]]
        assert work.transfers.in_doubt_before(made[0], 10) == []
        assert work.transfers.in_doubt_before(other, 10) == []
