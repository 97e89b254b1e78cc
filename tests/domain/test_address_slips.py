"""Slips of the hand: in every coin's addresses one wrong, swapped, lost or added character is noticed."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.domain.addresses import check_address
from converter.domain.coins import assets
from converter.domain.errors import InvalidRequest
from tests.domain.vectors import GOOD

ASSETS = {one.network: one for one in assets()}
EVM = ("ETH", "ETC")
WRITTEN = [(network, text) for network, texts in GOOD.items() if network not in EVM for text in texts]
CHARACTERS = string.ascii_letters + string.digits + ":"


def refused(network: str, text: str) -> None:
    with pytest.raises(InvalidRequest):
        check_address(ASSETS[network], text)


@given(st.sampled_from(WRITTEN), st.data())
def test_one_wrong_character_is_noticed(written: tuple[str, str], data: st.DataObject) -> None:
    network, text = written
    place = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    other = data.draw(st.sampled_from(CHARACTERS).filter(lambda char: char != text[place]))
    refused(network, text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize(("network", "text"), WRITTEN)
def test_a_wrong_case_is_noticed(network: str, text: str) -> None:
    for place, char in enumerate(text):
        if char.isalpha():
            refused(network, text[:place] + char.swapcase() + text[place + 1 :])


@pytest.mark.parametrize(("network", "text"), WRITTEN)
def test_every_pair_of_swapped_neighbours_is_noticed(network: str, text: str) -> None:
    for place in range(len(text) - 1):
        one, other = text[place : place + 2]
        if one != other:
            refused(network, text[:place] + other + one + text[place + 2 :])


@pytest.mark.parametrize(("network", "text"), WRITTEN)
def test_every_lost_or_doubled_character_is_noticed(network: str, text: str) -> None:
    for place, char in enumerate(text):
        refused(network, text[:place] + text[place + 1 :])
        refused(network, text[:place] + char + text[place:])
    for more in ("1", "q", "0", ":", "z"):
        refused(network, text + more)
        refused(network, more + text)


@given(st.sampled_from(WRITTEN), st.data())
def test_a_part_of_an_address_is_none(written: tuple[str, str], data: st.DataObject) -> None:
    network, text = written
    start = data.draw(st.integers(min_value=0, max_value=len(text)))
    part = text[start : data.draw(st.integers(min_value=start, max_value=len(text)))]
    if part not in GOOD[network]:  # cashaddr is good without its prefix too
        refused(network, part)


@pytest.mark.parametrize("network", EVM)
def test_a_wrong_digit_of_a_hex_address_slips_through_once_in_thousands_of_times(network: str) -> None:
    """Its checksum is only as long as the address has letters: one chance in 2 to that power."""
    accepted, tried = [], 0
    for text in GOOD[network]:
        for place in range(2, len(text)):
            for other in set(string.hexdigits) - {text[place]}:
                tried += 1
                try:
                    accepted.append(check_address(ASSETS[network], text[:place] + other + text[place + 1 :]))
                except InvalidRequest:
                    continue
    assert tried == 2520
    assert len(accepted) <= 1
    assert all(text[2:].lower() not in {good[2:].lower() for good in GOOD[network]} for text in accepted)


@pytest.mark.parametrize("network", EVM)
def test_every_pair_of_swapped_digits_of_a_hex_address_is_noticed(network: str) -> None:
    for text in GOOD[network]:
        for place in range(len(text) - 1):
            one, other = text[place : place + 2]
            if one != other:
                refused(network, text[:place] + other + one + text[place + 2 :])
        refused(network, text[:-1])
