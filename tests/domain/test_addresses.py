"""Addresses: the public vectors, good and bad, against another library, and every small slip of the hand."""

from __future__ import annotations

import contextlib

import pytest
from base58_bech32 import base58 as other_base58
from base58_bech32 import bech32 as other_bech32
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from converter.domain import bech32
from converter.domain.addresses import base58check, check_address, eip55
from converter.domain.coins import assets
from converter.domain.errors import InvalidRequest
from tests.builders import BTC, ETH
from tests.domain.vectors import BTC_BAD, BTC_GOOD, ETH_GOOD, OTHER_COINS, SEGWIT_BAD

SEGWIT_GOOD = [address for address in BTC_GOOD if address.startswith("bc1")]
BASE58_GOOD = [address for address in BTC_GOOD if not address.startswith("bc1")]


def refused(asset, text: object) -> InvalidRequest:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidRequest) as caught:
        check_address(asset, text)
    return caught.value


# --- Bitcoin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", BTC_GOOD)
def test_good_bitcoin_addresses_are_returned_as_they_came(address: str) -> None:
    assert check_address(BTC, address) == address


def test_a_segwit_address_may_be_written_in_capitals() -> None:
    address = SEGWIT_GOOD[0].upper()
    assert check_address(BTC, address) == address


@pytest.mark.parametrize("address", [*BTC_BAD, *SEGWIT_BAD, *OTHER_COINS, *ETH_GOOD])
def test_what_is_no_bitcoin_address_is_refused(address: str) -> None:
    error = refused(BTC, address)
    assert error.field == "address"
    assert "mainnet" in error.accepted


@pytest.mark.parametrize("address", BASE58_GOOD)
def test_base58_reads_what_another_library_reads(address: str) -> None:
    assert base58check(address) == other_base58.b58decode_check(address)


@given(st.binary(min_size=20, max_size=20).filter(any), st.sampled_from([0, 5]))
def test_every_base58_address_of_another_library_is_good(program: bytes, version: int) -> None:
    address = other_base58.b58encode_check(bytes([version]) + program).decode()
    assert check_address(BTC, address) == address
    assert base58check(address) == bytes([version]) + program


@given(st.binary(min_size=20, max_size=20), st.integers(min_value=0, max_value=255).filter(lambda v: v not in (0, 5)))
def test_every_other_version_belongs_to_another_coin(program: bytes, version: int) -> None:
    assert (
        "another network or coin"
        in refused(BTC, other_base58.b58encode_check(bytes([version]) + program).decode()).problem
    )


@given(st.binary(max_size=40).filter(lambda raw: len(raw) != 21))
def test_base58_of_another_length_is_refused(raw: bytes) -> None:
    refused(BTC, other_base58.b58encode_check(raw).decode())


@given(st.integers(min_value=0, max_value=1), st.binary(min_size=20, max_size=32).filter(lambda raw: any(raw[:20])))
def test_every_segwit_address_is_read_as_another_library_reads_it(version: int, raw: bytes) -> None:
    program = (raw * 2)[:32] if version or len(raw) % 2 else raw[:20]
    words = [version, *other_bech32.convertbits(program, 8, 5, True)]
    kind = other_bech32.BECH32_M_CONST if version else other_bech32.BECH32_1_CONST
    address = other_bech32.bech32_encode("bc", words, m=kind)
    address = address.decode() if isinstance(address, bytes) else address
    assert check_address(BTC, address) == address
    assert bech32.segwit_program(address, "bc") == (version, program)
    assert bech32.segwit_address("bc", version, program) == address


@given(st.sampled_from(SEGWIT_GOOD), st.data())
def test_one_wrong_character_in_a_segwit_address_is_always_noticed(address: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(min_value=0, max_value=len(address) - 1))
    other = data.draw(st.sampled_from(bech32.ALPHABET + "1bio").filter(lambda char: char != address[place]))
    refused(BTC, address[:place] + other + address[place + 1 :])


def test_every_single_wrong_character_in_one_address_is_noticed() -> None:
    address = SEGWIT_GOOD[0]
    for place in range(4, len(address)):
        for other in bech32.ALPHABET:
            if other != address[place]:
                refused(BTC, address[:place] + other + address[place + 1 :])


@given(st.sampled_from(BTC_GOOD), st.data())
def test_swapped_dropped_and_doubled_characters_are_noticed(address: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(min_value=0, max_value=len(address) - 2))
    one, other = address[place], address[place + 1]
    slips = [address[:place] + address[place + 1 :], address[:-1]]
    if one != other:
        slips.append(address[:place] + other + one + address[place + 2 :])
    if one != "1":  # a second leading 1 makes another length, never a good address
        slips.append(address[:place] + one + address[place:])
    for slip in slips:
        if slip != address:
            refused(BTC, slip)


# --- Ethereum --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ETH_GOOD)
def test_good_ethereum_addresses_are_returned_as_they_came(address: str) -> None:
    assert check_address(ETH, address) == address
    assert eip55(address.lower()) == address


@given(st.binary(min_size=20, max_size=20).filter(any))
def test_the_checksum_is_the_one_of_another_library(raw: bytes) -> None:
    ours = eip55("0x" + raw.hex())
    assert ours == to_checksum_address(raw)
    if ours[2:].lower() != ours[2:] != ours[2:].upper():
        assert check_address(ETH, ours) == ours


@pytest.mark.parametrize("address", ETH_GOOD)
def test_every_flipped_letter_is_noticed(address: str) -> None:
    for place in range(2, len(address)):
        if address[place].isalpha():
            refused(ETH, address[:place] + address[place].swapcase() + address[place + 1 :])


@pytest.mark.parametrize("address", ETH_GOOD)
def test_an_address_without_case_carries_no_checksum_and_is_refused(address: str) -> None:
    for text in (address.lower(), "0x" + address[2:].upper()):
        assert "no checksum" in refused(ETH, text).problem


def test_an_address_of_digits_only_has_no_case_to_be_wrong() -> None:
    digits = "0x" + "1234567890" * 4
    assert check_address(ETH, digits) == digits


@pytest.mark.parametrize(
    "text",
    [
        "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x" + "0" * 40,
        "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAedd",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
        "0x",
        BTC_GOOD[0],
        BTC_GOOD[6],
    ],
)
def test_what_is_no_ethereum_address_is_refused(text: str) -> None:
    assert "EIP-55" in refused(ETH, text).accepted


# --- Anything --------------------------------------------------------------------------------------------------------

NO_TEXT = [None, "", 1, 1.5, True, b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ["x"], {}]
ODD = [
    " ",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa\n",
    "\uff11A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
    "a" * 2001,
    "\x00",
    "bc1q\u200b",
]


@pytest.mark.parametrize("asset", assets(), ids=str)
@pytest.mark.parametrize("text", [*NO_TEXT, *ODD], ids=lambda value: repr(value)[:24])
def test_what_is_no_text_of_an_address_is_refused(asset, text: object) -> None:  # type: ignore[no-untyped-def]
    error = refused(asset, text)
    assert len(str(error)) < 300


@given(st.text(max_size=100) | st.text("1:0xabcdekspqzTtu389", max_size=110), st.sampled_from(assets()))
def test_any_text_is_accepted_or_refused_and_nothing_else(text: str, asset) -> None:  # type: ignore[no-untyped-def]
    with contextlib.suppress(InvalidRequest):
        assert check_address(asset, text) == text


def test_a_field_of_another_name_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_address(ETH, "0x", "deposit address")
    assert caught.value.field == "deposit address"


def test_a_long_address_is_not_told_whole() -> None:
    assert "a" * 30 not in str(refused(BTC, "a" * 1500))
