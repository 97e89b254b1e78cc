"""What goes into the ledger comes out of it: exact amounts, aware UTC moments, odd texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.domain.coins import asset
from converter.domain.conversions import AttemptState, OperationState, Sought, State
from converter.domain.errors import ConversionNotFound
from converter.domain.orders import OperationKind
from converter.domain.quotes import Fee
from converter.ledger.repository import SqlLedger
from tests.builders import (
    BTC,
    BTC_ADDRESS,
    ETH,
    LIGHTNING,
    OTHER_BTC_ADDRESS,
    START,
    a_quote,
    a_request,
    a_row,
    an_attempt,
    an_id,
    an_operation,
    seconds,
)
from tests.ledger.conftest import AnyLedger, emptied

AMOUNTS = [
    "123456789.123456789012345678",
    "0.000000000000000001",
    "99999999999999999999.999999999999999999",
    "1",
    "0.1",
    "100000000000000000000"[:20],
    "21000000.00000001",
]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_amount_comes_back_to_the_last_digit(ledger: AnyLedger, amount: str) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(amount), START)
    with ledger.begin() as work:
        kept = work.conversions.get(an_id()).request.amount
    assert isinstance(kept, Decimal)
    assert f"{kept:f}" == amount


@pytest.mark.parametrize(
    ("given_as", "kept_as"), [("1.500", "1.5"), ("1E+2", "100"), ("1E-8", "0.00000001"), ("0E-18", "0")]
)
def test_an_amount_has_one_spelling_on_every_database(ledger: AnyLedger, given_as: str, kept_as: str) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(given_as), START)
        assert f"{work.conversions.get(an_id()).request.amount:f}" == kept_as


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.decimals(min_value=0, max_value=10**20 - 1, places=18))
def test_any_amount_that_fits_comes_back_equal(sql_ledger: SqlLedger, amount: Decimal) -> None:
    with sql_ledger.engine.connect() as connection:
        from converter.ledger.tables import Money

        stored = connection.execute(
            sa.select(sa.type_coerce(sa.bindparam("amount", amount, Money), Money))
        ).scalar_one()
    assert stored == amount


def test_a_moment_comes_back_in_utc_whatever_zone_it_was_given_in(ledger: AnyLedger) -> None:
    local = datetime(2026, 7, 1, 3, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(), local)
    with ledger.begin() as work:
        due = work.conversions.get(an_id()).due_at
    assert due == local
    assert due is not None
    assert due.utcoffset() == timedelta(0)
    assert due.isoformat() == "2026-06-30T21:45:15.123456+00:00"


def test_a_moment_without_a_zone_is_refused(ledger: AnyLedger) -> None:
    with pytest.raises(sa.exc.StatementError, match="without a time zone"), ledger.begin() as work:
        work.conversions.add(an_id(), a_request(), datetime(2026, 7, 1))  # noqa: DTZ001


def test_the_ledgers_own_clock_is_aware_and_near(engine: sa.Engine) -> None:
    ledger = SqlLedger(engine)
    with ledger.begin() as work:
        inside = work.now()
        assert work.now() is inside, "one transaction has one time"
    outside = ledger.now()
    assert inside.utcoffset() == outside.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - outside) < seconds(5)
    assert outside >= inside


def test_a_given_clock_goes_before_the_servers(ledger: AnyLedger) -> None:
    assert ledger.now() - START < seconds(1)


@pytest.mark.parametrize(
    ("to_asset", "from_asset"), [(BTC, ETH), (LIGHTNING, ETH), (ETH, BTC), (ETH, LIGHTNING)], ids=str
)
def test_a_request_comes_back_whole(ledger: AnyLedger, to_asset, from_asset) -> None:  # type: ignore[no-untyped-def]
    request = a_request(
        "0.5", from_asset=from_asset, to_asset=to_asset, idempotency_key="k-1", policy='{"auto_failover":false}'
    )
    with ledger.begin() as work:
        added = work.conversions.add(an_id(), request, START)
    with ledger.begin() as work:
        kept = work.conversions.get(an_id())
    assert kept == added
    assert kept.request == request
    assert (kept.state, kept.round, kept.fence, kept.failovers) == (State.RECEIVED, 0, 0, 0)
    assert (kept.owner, kept.lease_until, kept.service_id, kept.promised, kept.delivered) == (None,) * 5
    assert (kept.txid, kept.reason, kept.completed_at) == ("", "", None)
    assert kept.created_at == kept.updated_at == kept.since


def test_an_unknown_id_is_named(ledger: AnyLedger) -> None:
    with pytest.raises(ConversionNotFound, match="cv_nobody"), ledger.begin() as work:
        work.conversions.get("cv_nobody")


def test_a_quote_comes_back_whole(ledger: AnyLedger) -> None:
    quote = a_quote(
        net="0.123456789012345678",
        fee="0.000000000000000001",
        gross=Decimal("0.200000000000000009"),
        fees=(Fee("service", Decimal("0.07")), Fee("network", Decimal("1E-18"))),
        firm=False,
        reference="r" * 200,
        expires_at=START + seconds(12.345678),
    )
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(), START)
        work.quotes.add(a_row(an_id(), quote=quote, elapsed_ms=17))
    with ledger.begin() as work:
        [row] = work.quotes.of_round(an_id(), 1)
    assert row.quote == quote
    assert (row.elapsed_ms, row.asked_at, row.rank, row.failed) == (17, START, None, False)


def test_an_attempt_and_its_operation_come_back_whole(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(), START)
        conversion = work.conversions.claim(an_id(), "a", seconds(30), (State.RECEIVED,))
        assert conversion is not None
        attempt = an_attempt(
            conversion,
            promised=Decimal("0.09"),
            service_order_id="order-7",
            deposit_address="0x" + "a" * 40,
            deposit_amount=Decimal("1.5"),
            deposit_memo="memo",
        )
        attempt, operation = work.attempts.prepare(conversion, attempt, an_operation(attempt))
    with ledger.begin() as work:
        assert work.attempts.of(an_id()) == [attempt]
        assert work.attempts.operations(attempt.id) == [operation]
    assert attempt.state is AttemptState.PREPARED
    assert (operation.state, operation.kind) == (OperationState.PREPARED, OperationKind.ORDER)
    assert operation.attempt_id == attempt.id > 0


ODD_TEXTS = ["ü€𝄞", "'; DROP TABLE conversions; --", 'line\nline\t"quoted"', "%s %(x)s :x {x}", " " * 3, "x" * 100_000]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=[repr(text[:12]) for text in ODD_TEXTS])
def test_any_text_of_a_service_can_be_noted(ledger: AnyLedger, text: str) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(), a_request(), START)
        work.quotes.add(a_row(an_id(), quote=None, error=text))
    with ledger.begin() as work:
        assert work.quotes.of_round(an_id(), 1)[0].error == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("half \ud800 pair", id="surrogate"),
        pytest.param("zero \x00 byte", id="zero byte"),
    ],
)
@pytest.mark.parametrize("only", ["postgresql"])
def test_texts_that_no_database_takes_are_noted_all_the_same(
    request: pytest.FixtureRequest, text: str, only: str
) -> None:
    ledger = SqlLedger(emptied(request.getfixturevalue(f"{only}_engine")))
    number = 900
    with ledger.begin() as work:
        work.conversions.add(an_id(number), a_request(), START)
        work.quotes.add(a_row(an_id(number), quote=None, error=text))


def test_the_address_and_the_invoice_are_kept_as_they_are(ledger: AnyLedger) -> None:
    invoice = "lnbc1" + "q" * 1995
    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(address=BTC_ADDRESS), START)
        work.conversions.add(an_id(2), a_request(address=invoice), START)
        assert work.conversions.get(an_id(1)).request.address == BTC_ADDRESS
        assert work.conversions.get(an_id(2)).request.address == invoice


def test_pages_go_from_the_newest_to_the_oldest(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        for number in (3, 1, 5, 2, 4):
            work.conversions.add(an_id(number), a_request(), START)
        claimed = work.conversions.claim(an_id(2), "a", seconds(1), (State.RECEIVED,))
        assert claimed is not None
        work.conversions.move(claimed, State.CANCELLED)
    with ledger.begin() as work:
        page = work.conversions.page(limit=2)
        assert [one.id for one in page] == [an_id(5), an_id(4)]
        rest = work.conversions.page(limit=10, before=page[-1].id)
        assert [one.id for one in rest] == [an_id(3), an_id(2), an_id(1)]
        received = work.conversions.page(states=(State.RECEIVED,))
        assert [one.id for one in received] == [an_id(5), an_id(4), an_id(3), an_id(1)]
        assert work.conversions.page(states=(State.FAILED,)) == []


def test_what_is_sought_is_found_and_nothing_else(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        work.conversions.add(an_id(1), a_request(), START)
        work.conversions.add(an_id(2), a_request(from_asset=asset("LTC"), amount="20"), START)
        work.conversions.add(an_id(3), a_request(address=OTHER_BTC_ADDRESS), START)
        claimed = work.conversions.claim(an_id(3), "a", seconds(1), (State.RECEIVED,))
        assert claimed is not None
        work.conversions.move(claimed, State.QUOTING, service_id="alpha")
    one, two, three = an_id(1), an_id(2), an_id(3)
    cases: list[tuple[Sought, list[str]]] = [
        (Sought(), [three, two, one]),
        (Sought(service_id="alpha"), [three]),
        (Sought(service_id="beta"), []),
        (Sought(from_coin="ETH"), [three, one]),
        (Sought(from_coin="LTC", to_coin="BTC"), [two]),
        (Sought(to_coin="LTC"), []),
        (Sought(address=OTHER_BTC_ADDRESS), [three]),
        (Sought(address=OTHER_BTC_ADDRESS.lower()), []),
        (Sought(id_prefix="cv_"), [three, two, one]),
        (Sought(id_prefix=two), [two]),
        (Sought(id_prefix=two[:-1]), [two]),
        (Sought(id_prefix=two[:10]), [three, two, one]),
        (Sought(id_prefix="cv_ZZ"), []),
    ]
    with ledger.begin() as work:
        for sought, expected in cases:
            assert [found.id for found in work.conversions.page(sought=sought)] == expected, sought
        page = work.conversions.page(states=(State.RECEIVED,), limit=1, before=two, sought=Sought(from_coin="ETH"))
        assert [found.id for found in page] == [one]


def test_a_state_is_counted_up_to_a_limit(ledger: AnyLedger) -> None:
    with ledger.begin() as work:
        for number in range(1, 6):
            work.conversions.add(an_id(number), a_request(), START)
        assert work.count(State.RECEIVED, at_most=100) == 5
        assert work.count(State.RECEIVED, at_most=3) == 3
        assert work.count(State.FAILED, at_most=3) == 0
