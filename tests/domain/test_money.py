"""Amounts: what is read, what is refused, and that nothing is ever rounded up."""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.errors import InvalidRequest
from converter.domain.money import MAX_DIGITS, floor_to, floor_unit, from_units, parse_amount, plain, to_units

amounts = st.decimals(min_value=0, max_value=Decimal(10**20 - 1), places=18)
steps = st.decimals(min_value=Decimal("1E-18"), max_value=Decimal(1000), places=18).filter(lambda step: step > 0)


@pytest.mark.parametrize(
    ("given_as", "read"),
    [
        ("1.5", "1.5"),
        (" 1.5\n", "1.5"),
        ("0.00000001", "0.00000001"),
        ("007", "7"),
        ("0001.2300", "1.23"),
        ("1.00000000000000000000000000", "1"),
        ("21000000", "21000000"),
        (3, "3"),
        (10**19, "1" + "0" * 19),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+2"), "100"),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("12E-9") * 100, "0.0000012"),
        ("9" * MAX_DIGITS, "9" * MAX_DIGITS),
        ("0" * 500 + "1", "1"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_exact_amounts_are_read_digit_by_digit(given_as: object, read: str) -> None:
    amount = parse_amount(given_as, 8)
    assert plain(amount) == read
    assert amount == Decimal(read)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        1.5,
        0.1 + 0.2,
        float("nan"),
        True,
        False,
        b"1.5",
        [1],
        {"amount": 1},
        1 + 0j,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        "NaN",
        "nan",
        "Infinity",
        "inf",
        "1e400",
        "1e5",
        "1E-8",
        Decimal("1e400"),
        Decimal("1e-400"),
        Decimal("1e999999"),
        "-1",
        "+1",
        -1,
        Decimal("-0.5"),
        Decimal("-0"),
        0,
        "0",
        "0.000",
        Decimal("0E+5"),
        "",
        "   ",
        ".5",
        "5.",
        "1,5",
        "1 000",
        "1_000",
        "1.2.3",
        "0x10",
        "١٢",
        "\uff11\uff0e\uff15",
        "²",
        "1\x00",
        "½",
        "1.5 ETH",
        "--1",
        "9" * (MAX_DIGITS + 1),
        10**MAX_DIGITS,
        Decimal(10) ** MAX_DIGITS,
        "0.000000001",
        "1.123456789",
        Decimal("1E-9"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_everything_else_is_refused_and_the_field_is_named(bad: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_amount(bad, 8, "amount")
    assert caught.value.field == "amount"
    assert caught.value.problem
    assert caught.value.accepted
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("sign", [1, -1])
def test_an_int_of_thousands_of_digits_is_refused_like_any_other(sign: int) -> None:
    with pytest.raises(InvalidRequest):
        parse_amount(sign * 10**5000, 8)


@pytest.mark.parametrize("decimals", [0, 8, 18])
def test_as_many_decimals_as_the_coin_has_and_no_more(decimals: int) -> None:
    finest = "1." + "0" * (decimals - 1) + "1" if decimals else "1"
    assert plain(parse_amount(finest, decimals)) == finest
    with pytest.raises(InvalidRequest, match=f"more than {decimals} decimals"):
        parse_amount(finest + "1" if decimals else "1.1", decimals)


@given(st.text(max_size=40) | st.integers() | st.floats() | st.booleans() | st.decimals(allow_nan=True))
def test_whatever_comes_is_read_as_a_positive_amount_or_refused(value: object) -> None:
    try:
        amount = parse_amount(value, 18)
    except InvalidRequest:
        return
    assert amount > 0
    assert amount.is_finite()
    assert not isinstance(value, float | bool)
    assert amount == Decimal(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]


@given(amounts.filter(lambda amount: amount > 0))
def test_text_and_amount_go_round_in_a_circle(amount: Decimal) -> None:
    text = plain(amount)
    assert parse_amount(text, 18) == amount
    assert plain(parse_amount(text, 18)) == text
    assert "E" not in text
    assert json.loads(json.dumps({"amount": text}))["amount"] == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1E+3", "1000"),
        ("1.500", "1.5"),
        ("1000", "1000"),
        ("0E-18", "0"),
        ("0", "0"),
        ("1E-18", "0.000000000000000001"),
        ("-1.50", "-1.5"),
        ("100.00", "100"),
    ],
)
def test_plain_text_has_no_exponent_and_no_idle_zeros(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text


# --- Rounding down ---------------------------------------------------------------------------------------------------


@given(amounts, steps)
def test_the_floor_is_the_largest_multiple_that_is_not_above(amount: Decimal, step: Decimal) -> None:
    with localcontext() as context:
        context.prec = 90
        floor = floor_to(amount, step)
        assert floor <= amount < floor + step
        assert floor % step == 0
        assert floor_to(floor, step) == floor


@given(amounts, st.integers(min_value=0, max_value=18))
def test_what_is_promised_is_never_more_than_what_arrives(amount: Decimal, decimals: int) -> None:
    with localcontext() as context:
        context.prec = 90
        floor = floor_unit(amount, decimals)
        unit = Decimal(1).scaleb(-decimals)
        assert 0 <= amount - floor < unit
        assert floor == floor.quantize(unit)


def test_a_step_of_nothing_leaves_the_amount() -> None:
    assert floor_to(Decimal("1.23456"), Decimal(0)) == Decimal("1.23456")


@pytest.mark.parametrize("amount", ["-0.5", "-1.5", "-0.000000001"])
def test_the_floor_of_a_debt_is_not_above_it(amount: str) -> None:
    assert floor_to(Decimal(amount), Decimal(1)) <= Decimal(amount)


def test_a_rounding_mode_of_somebody_else_does_not_matter() -> None:
    with localcontext() as context:
        context.rounding = ROUND_CEILING
        context.prec = 5
        assert floor_unit(Decimal("123456.999999999"), 8) == Decimal("123456.99999999")
        assert plain(parse_amount("123456.99999999", 8)) == "123456.99999999"


# --- Units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "decimals", "units"),
    [
        ("1", 8, 10**8),
        ("0.00000001", 8, 1),
        ("1.5", 18, 15 * 10**17),
        ("0", 18, 0),
        ("123456789.123456789", 18, 123456789123456789 * 10**9),
    ],
)
def test_units_are_whole(amount: str, decimals: int, units: int) -> None:
    assert to_units(Decimal(amount), decimals) == units
    assert from_units(units, decimals) == Decimal(amount)


@pytest.mark.parametrize(("amount", "decimals"), [("0.000000001", 8), ("1.5", 0), ("1E-19", 18)])
def test_an_amount_finer_than_a_unit_has_no_units(amount: str, decimals: int) -> None:
    with pytest.raises(ValueError, match="finer than"):
        to_units(Decimal(amount), decimals)


@given(st.integers(min_value=0, max_value=10**27), st.sampled_from([8, 18]))
def test_units_go_round_in_a_circle(units: int, decimals: int) -> None:
    assert to_units(from_units(units, decimals), decimals) == units


def test_units_of_the_largest_amounts_are_exact() -> None:
    assert to_units(Decimal("12345678901.123456789012345678"), 18) == 12345678901123456789012345678


def test_units_do_not_depend_on_somebody_elses_context() -> None:
    with localcontext() as context:
        context.prec = 6
        assert to_units(Decimal("1.23456789"), 8) == 123456789
