"""The checksum and the repacking of words, against another library."""

from __future__ import annotations

import pytest
from base58_bech32 import bech32 as other
from hypothesis import given
from hypothesis import strategies as st

from converter.domain import bech32

words = st.lists(st.integers(min_value=0, max_value=31), max_size=80)
prefixes = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=10)


@given(prefixes, words, st.sampled_from([bech32.BECH32, bech32.BECH32M]))
def test_words_go_round_in_a_circle(prefix: str, content: list[int], kind: int) -> None:
    text = bech32.encode(prefix, content, kind)
    assert bech32.decode(text) == (prefix, content, kind)
    assert bech32.decode(text.upper()) == (prefix, content, kind)


@given(prefixes, words)
def test_the_text_is_the_one_of_another_library(prefix: str, content: list[int]) -> None:
    theirs = other.bech32_encode(prefix, content, m=other.BECH32_1_CONST)
    assert bech32.encode(prefix, content, bech32.BECH32) == (theirs.decode() if isinstance(theirs, bytes) else theirs)


def test_the_constants_are_the_public_ones() -> None:
    assert (bech32.BECH32, bech32.BECH32M) == (other.BECH32_1_CONST, other.BECH32_M_CONST)


@pytest.mark.parametrize("text", ["A12UEL5L", "a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"])
def test_public_bech32_texts_are_read(text: str) -> None:
    assert bech32.decode(text)[2] == bech32.BECH32


@pytest.mark.parametrize("text", ["A1LQFN3A", "a1lqfn3a", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"])
def test_public_bech32m_texts_are_read(text: str) -> None:
    assert bech32.decode(text)[2] == bech32.BECH32M


@pytest.mark.parametrize(
    "text",
    ["", "1", "pzry9x0s0muk", "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "A1G7SGD8", "10a06t8", "1qzzfhee", "a12UEL5L"],
)
def test_public_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        bech32.decode(text)


@given(st.binary(max_size=60))
def test_bytes_go_round_in_a_circle(raw: bytes) -> None:
    packed = bech32.regroup(raw, 8, 5, pad=True)
    assert all(0 <= word < 32 for word in packed)
    assert bytes(bech32.regroup(packed, 5, 8, pad=False)) == raw


@pytest.mark.parametrize("content", [[1], [0], [31, 31], [0, 1], [0, 0, 0]])
def test_padding_that_is_not_zero_or_a_whole_word_is_refused(content: list[int]) -> None:
    with pytest.raises(ValueError, match="padding"):
        bech32.regroup(content, 5, 8, pad=False)
