"""Tables of what may follow what, keys, hashes, and requests at the door."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.conversions import (
    ATTEMPT_TRANSITIONS,
    OPEN_ATTEMPT,
    TERMINAL,
    TRANSITIONS,
    AttemptState,
    State,
    attempt_key,
    check_idempotency_key,
    check_transition,
    operation_key,
)
from converter.domain.errors import IllegalTransition, InvalidRequest
from converter.domain.intake import check_services, conversion_id, read_request
from converter.domain.orders import NEXT_STEP, OperationKind, OrderStatus, step_done
from tests.builders import (
    BTC,
    BTC_ADDRESS,
    ETH,
    ETH_ADDRESS,
    LIGHTNING,
    OTHER_BTC_ADDRESS,
    a_request,
    an_attempt,
    an_id,
)

# --- States ----------------------------------------------------------------------------------------------------------


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(ATTEMPT_TRANSITIONS) == set(AttemptState)


def test_terminal_never_changes() -> None:
    for state in State:
        assert state.is_terminal is (state in TERMINAL)
        assert (TRANSITIONS[state] == frozenset()) is state.is_terminal


@pytest.mark.parametrize(
    ("table", "start"),
    [(TRANSITIONS, State.RECEIVED), (ATTEMPT_TRANSITIONS, AttemptState.PREPARED)],
    ids=["conversion", "attempt"],
)
def test_every_state_can_be_reached(table, start) -> None:  # type: ignore[no-untyped-def]
    reached, edge = {start}, {start}
    while edge:
        edge = {after for state in edge for after in table[state]} - reached
        reached |= edge
    assert reached == set(table)


@pytest.mark.parametrize("state", [state for state in State if state not in TERMINAL])
def test_every_state_that_is_no_end_has_a_way_to_completion(state: State) -> None:
    reached, edge = {state}, {state}
    while edge:
        edge = {after for one in edge for after in TRANSITIONS[one]} - reached
        reached |= edge
    assert State.COMPLETED in reached


def test_nothing_fails_while_money_may_be_under_way() -> None:
    for state in (State.SETTLING, State.RECONCILING):
        assert not TRANSITIONS[state] & {State.FAILED, State.CANCELLED, State.EXPIRED, State.QUOTING, State.WAITING}
    for state in (State.EXECUTING, State.NEEDS_REVIEW):
        assert not TRANSITIONS[state] & {State.CANCELLED, State.EXPIRED}


def test_nothing_is_completed_before_it_was_executed() -> None:
    for state in (State.RECEIVED, State.QUOTING, State.WAITING):
        assert State.COMPLETED not in TRANSITIONS[state]


def test_open_attempts_are_those_that_may_have_moved_money() -> None:
    assert set(AttemptState) - set(OPEN_ATTEMPT) == {AttemptState.NOT_EXECUTED, AttemptState.REFUNDED}
    for state in AttemptState:
        assert an_attempt(an_id(), state=state).is_open is (state in OPEN_ATTEMPT)
    assert ATTEMPT_TRANSITIONS[AttemptState.SETTLED] == frozenset()


@pytest.mark.parametrize("states", [tuple(State), tuple(AttemptState)], ids=["conversion", "attempt"])
def test_a_move_outside_the_table_names_both_ends(states) -> None:  # type: ignore[no-untyped-def]
    table = TRANSITIONS if isinstance(states[0], State) else ATTEMPT_TRANSITIONS
    for one in states:
        for other in states:
            if other in table[one]:
                check_transition("thing", one, other)
            else:
                with pytest.raises(IllegalTransition, match=f"thing cannot go from {one} to {other}"):
                    check_transition("thing", one, other)


# --- Keys ------------------------------------------------------------------------------------------------------------

ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,32}")


@given(st.integers(min_value=0, max_value=2**48 - 1), st.binary(min_size=10, max_size=10), st.integers(1, 999))
def test_keys_fit_every_service(milliseconds: int, chance: bytes, number: int) -> None:
    key = attempt_key(conversion_id(milliseconds, chance), number)
    assert ALLOWED.fullmatch(key)
    for kind in OperationKind:
        for sequence in range(1, 10):
            assert ALLOWED.fullmatch(operation_key(key, kind, sequence))


def test_keys_differ_whenever_they_should() -> None:
    keys = [
        operation_key(attempt_key(an_id(conversion), number), kind, sequence)
        for conversion in (1, 2)
        for number in (1, 2, 12)
        for kind in OperationKind
        if kind is not OperationKind.ORDER
        for sequence in (2, 3, 12)
    ]
    keys += [attempt_key(an_id(conversion), number) for conversion in (1, 2) for number in (1, 2, 12)]
    assert len(set(keys)) == len(keys)


def test_the_order_carries_the_attempts_own_key() -> None:
    key = attempt_key(an_id(), 3)
    assert operation_key(key, OperationKind.ORDER, 1) == key
    assert attempt_key(an_id(), 3) == key, "derived, so the same every time"


@pytest.mark.parametrize(("number", "sequence"), [(1000, 2), (100, 10), (1, 1000)])
def test_keys_of_a_long_lived_conversion_still_fit(number: int, sequence: int) -> None:
    assert len(operation_key(attempt_key(an_id(), number), OperationKind.WITHDRAWAL, sequence)) <= 32


@given(
    st.tuples(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10)),
    st.tuples(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10)),
)
def test_ids_sort_by_time(one: tuple[int, bytes], other: tuple[int, bytes]) -> None:
    assert (conversion_id(*one) < conversion_id(*other)) == (one < other)
    assert re.fullmatch(r"cv_[0-9A-HJKMNP-TV-Z]{26}", conversion_id(*one))


@pytest.mark.parametrize("key", ["k", "x" * 200, "order 17", "~!@#$%^&*()_+`-=[]{}|;':\",./<>?"])
def test_a_usable_idempotency_key_is_kept(key: str) -> None:
    assert check_idempotency_key(key) == key
    assert check_idempotency_key(None) is None


@pytest.mark.parametrize("key", ["", "x" * 201, "ü", "a\nb", "\x00", 1, b"k", True, ["k"], "\u200b"])
def test_an_unusable_idempotency_key_is_refused(key: object) -> None:
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        check_idempotency_key(key)


# --- Content ---------------------------------------------------------------------------------------------------------


def test_the_hash_tells_other_content_and_nothing_else() -> None:
    same = a_request().content_hash()
    assert a_request("1.500").content_hash() == same
    assert a_request(idempotency_key="k", policy="{}").content_hash() == same
    others = [
        a_request("1.51"),
        a_request(address=OTHER_BTC_ADDRESS),
        a_request(to_asset=LIGHTNING),
        a_request(from_asset=BTC, to_asset=ETH),
    ]
    assert len({same, *(one.content_hash() for one in others)}) == 5
    assert re.fullmatch(r"[0-9a-f]{64}", same)


FIELDS = {"from_coin": "ETH", "to_coin": "BTC", "amount": "1.5", "address": BTC_ADDRESS}


def test_a_request_is_read_field_by_field() -> None:
    request = read_request({**FIELDS, "from_coin": "eth", "idempotency_key": "k"})
    assert (request.from_asset, request.to_asset, request.amount) == (ETH, BTC, Decimal("1.5"))
    assert (request.address, request.idempotency_key) == (BTC_ADDRESS, "k")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from_coin": "XYZ"}, "from_coin"),
        ({"from_coin": None}, "from_coin"),
        ({"to_coin": "ETH"}, "to_coin"),
        ({"to_coin": ""}, "to_coin"),
        ({"from_network": "TRX"}, "from_network"),
        ({"to_network": "TRX"}, "to_network"),
        ({"amount": 1.5}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "0.0000000000000000001"}, "amount"),
        ({"address": ETH_ADDRESS}, "address"),
        ({"address": None}, "address"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"from_coin": "BTC", "to_coin": "BTC", "to_network": "LIGHTNING"}, "to_coin"),
    ],
    ids=str,
)
def test_the_first_wrong_field_is_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request({**FIELDS, **change})
    assert caught.value.field == field


def test_the_address_must_be_of_the_coin_that_is_paid_out() -> None:
    swapped = {"from_coin": "BTC", "to_coin": "ETH", "amount": "0.1", "address": ETH_ADDRESS}
    assert read_request(swapped).address == ETH_ADDRESS
    with pytest.raises(InvalidRequest, match="address"):
        read_request({**swapped, "address": BTC_ADDRESS})


@pytest.mark.parametrize(
    ("minimums", "problem"),
    [
        ({}, "no enabled service"),
        ({"a": Decimal(2), "b": Decimal("1.50000001")}, "below every service's minimum"),
    ],
)
def test_what_nobody_could_take_is_refused_at_the_door(minimums: dict[str, Decimal | None], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        check_services(a_request(), minimums)


@pytest.mark.parametrize(
    "minimums", [{"a": Decimal(2), "b": None}, {"a": Decimal("1.5")}, {"a": Decimal(2), "b": Decimal(1)}]
)
def test_what_somebody_might_take_is_let_in(minimums: dict[str, Decimal | None]) -> None:
    check_services(a_request(), minimums)


# --- Orders ----------------------------------------------------------------------------------------------------------


def test_each_status_that_waits_for_us_names_our_step() -> None:
    waiting = {OrderStatus.AWAITING_APPROVAL, OrderStatus.AWAITING_DEPOSIT, OrderStatus.HALFWAY, OrderStatus.FILLED}
    assert set(NEXT_STEP) == waiting


@pytest.mark.parametrize("status", list(OrderStatus))
def test_what_proves_that_a_step_was_taken(status: OrderStatus) -> None:
    assert step_done(OperationKind.ORDER, status), "an order that is shown was placed"
    assert step_done(OperationKind.APPROVAL, status) is (
        status not in (OrderStatus.AWAITING_APPROVAL, OrderStatus.REJECTED)
    )
    assert step_done(OperationKind.TRADE, status) is (status is not OrderStatus.HALFWAY)
    assert step_done(OperationKind.WITHDRAWAL, status) is (status not in (OrderStatus.FILLED, OrderStatus.HALFWAY))
    assert not step_done(OperationKind.DEPOSIT, status), "the chain tells, not the order"
