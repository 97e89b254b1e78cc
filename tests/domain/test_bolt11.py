"""Lightning invoices: public examples, and self-made ones whose signature is nothing but zeros."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain import bech32
from converter.domain.addresses import check_address
from converter.domain.bolt11 import decode_invoice
from converter.domain.errors import InvalidRequest
from tests.builders import LIGHTNING

HASH = "0001020304050607080900010203040506070809000102030405060708090102"
CREATED = 1496314658

DONATION = (
    "lnbc1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8"
    "g6rfwvs8qun0dfjkxaq8rkx3yf5tcsyz3d73gafnh3cax9rn449d9p5uxz9ezhhypd0elx87sjle52x86fux2ypatgddc6k63n7erqz25le42c4u4"
    "ecky03ylcqca784w"
)
COFFEE = (
    "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpuaztrnwngzn3kd"
    "zw5hydlzf03qdgm2hdq27cqv3agm2awhz5se903vruatfhq77w3ls4evs3ch9zw97j25emudupq63nyw24cg27h2rspfj9srp"
)


def number(value: int, words: int) -> list[int]:
    return [value >> 5 * (words - 1 - index) & 31 for index in range(words)]


def field(tag: int, content: list[int]) -> list[int]:
    return [tag, len(content) >> 5, len(content) & 31, *content]


PAYMENT_HASH = field(1, bech32.regroup(bytes.fromhex(HASH), 8, 5, pad=True))


def invoice(prefix: str = "lnbc", fields: list[int] | None = None, kind: int = bech32.BECH32) -> str:
    """A well-formed invoice with the given fields and an empty signature."""
    content = PAYMENT_HASH if fields is None else fields
    return bech32.encode(prefix, number(CREATED, 7) + content + [0] * 104, kind)


def test_the_public_donation_is_read() -> None:
    read = decode_invoice(DONATION)
    assert (read.amount, read.payment_hash, read.created, read.expires) == (None, HASH, CREATED, CREATED + 3600)


def test_the_public_cup_of_coffee_is_read() -> None:
    read = decode_invoice(COFFEE)
    assert (read.amount, read.payment_hash, read.expires) == (Decimal("0.0025"), HASH, CREATED + 60)
    assert decode_invoice(COFFEE.upper()) == read


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("", None),
        ("1", "1"),
        ("25", "25"),
        ("20m", "0.02"),
        ("2500u", "0.0025"),
        ("1n", "0.000000001"),
        ("10p", "0.00000000001"),
        ("9678785340p", "0.00967878534"),
        ("21000000", "21000000"),
    ],
)
def test_amounts_are_exact_in_every_unit(text: str, amount: str | None) -> None:
    assert decode_invoice(invoice(f"lnbc{text}")).amount == (None if amount is None else Decimal(amount))


@pytest.mark.parametrize("text", ["0", "0u", "01u", "x", "u", "1x", "2500mu", "1.5u", "-1u", "1e3", "25u0"])
def test_an_amount_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_invoice(invoice(f"lnbc{text}"))


@pytest.mark.xfail(
    strict=True,
    reason="BOLT 11 lets an amount in pico-bitcoin end in 0 only (a tenth of a millisatoshi is unpayable); 1p is read",
)
def test_a_part_of_a_millisatoshi_is_no_amount() -> None:
    with pytest.raises(ValueError, match="amount"):
        decode_invoice(invoice("lnbc1p"))


@given(st.integers(min_value=1, max_value=10**12), st.sampled_from("munp"))
def test_any_amount_is_its_number_times_its_unit(count: int, unit: str) -> None:
    count = count * 10 if unit == "p" else count
    read = decode_invoice(invoice(f"lnbc{count}{unit}")).amount
    assert read == Decimal(count).scaleb({"m": -3, "u": -6, "n": -9, "p": -12}[unit])


@pytest.mark.parametrize("prefix", ["lntb", "lntb2500u", "lnbcrt", "lnbcrt1m", "lntbs", "lnsb", "bc", "ln", "xlnbc"])
def test_an_invoice_of_another_network_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="mainnet"):
        decode_invoice(invoice(prefix))


def test_an_invoice_with_the_checksum_of_segwit_v1_is_refused() -> None:
    with pytest.raises(ValueError, match="mainnet"):
        decode_invoice(invoice(kind=bech32.BECH32M))


@pytest.mark.parametrize(("words", "expires"), [([1, 28], 60), ([0], 0), ([3, 16, 16], 3600), ([1] + [0] * 6, 32**6)])
def test_the_expiry_is_read(words: list[int], expires: int) -> None:
    assert decode_invoice(invoice(fields=field(6, words) + PAYMENT_HASH)).expires == CREATED + expires


def test_unknown_fields_are_passed_over() -> None:
    odd = field(29, [5] * 1000) + field(13, []) + PAYMENT_HASH + field(2, [31])
    assert decode_invoice(invoice(fields=odd)).payment_hash == HASH


def test_a_payment_hash_of_another_length_is_no_payment_hash_and_the_first_good_one_counts() -> None:
    other = field(1, bech32.regroup(b"\xff" * 32, 8, 5, pad=True))
    assert decode_invoice(invoice(fields=field(1, [1] * 51) + PAYMENT_HASH + other)).payment_hash == HASH


@pytest.mark.parametrize("fields", [[], field(1, [1] * 51), field(6, [1, 28])])
def test_an_invoice_without_a_payment_hash_is_refused(fields: list[int]) -> None:
    with pytest.raises(ValueError, match="payment hash"):
        decode_invoice(invoice(fields=fields))


def test_a_field_longer_than_the_invoice_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_invoice(invoice(fields=[*PAYMENT_HASH, 6, 31, 31, 1, 28]))


@pytest.mark.parametrize("words", [0, 6, 110])
def test_a_text_too_short_for_an_invoice_is_refused(words: int) -> None:
    with pytest.raises(ValueError, match="short"):
        decode_invoice(bech32.encode("lnbc", [0] * words, bech32.BECH32))


@given(st.integers(min_value=0, max_value=len(DONATION) - 1), st.sampled_from(bech32.ALPHABET))
def test_one_wrong_character_is_always_noticed(place: int, char: str) -> None:
    if DONATION[place] != char:
        with pytest.raises(ValueError, match=r".+"):
            decode_invoice(DONATION[:place] + char + DONATION[place + 1 :])


@pytest.mark.parametrize("text", [DONATION, DONATION.upper(), invoice()], ids=["public", "capitals", "made"])
def test_an_invoice_without_an_amount_can_be_paid_to(text: str) -> None:
    assert check_address(LIGHTNING, text) == text


@pytest.mark.parametrize(
    "text",
    [COFFEE, invoice("lnbc1m"), invoice("lntb"), "lightning:" + DONATION, DONATION[:-1], DONATION + "q", "lnbc1"],
    ids=["amount", "made with amount", "testnet", "as a link", "cut", "longer", "stump"],
)
def test_any_other_text_cannot_be_paid_to(text: str) -> None:
    with pytest.raises(InvalidRequest, match="without amount"):
        check_address(LIGHTNING, text)
