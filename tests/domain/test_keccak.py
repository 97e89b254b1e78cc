"""Keccak-256: public digests, and every length around the block against another library."""

from __future__ import annotations

import hashlib

import pytest
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from converter.domain.keccak import keccak_256


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"testing", "5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02"),
    ],
)
def test_public_digests(text: bytes, digest: str) -> None:
    assert keccak_256(text).hex() == digest


@pytest.mark.parametrize("length", [1, 31, 32, 40, 134, 135, 136, 137, 271, 272, 273, 500])
def test_lengths_around_the_block(length: int) -> None:
    data = bytes(index % 251 for index in range(length))
    assert keccak_256(data) == keccak(data)


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert keccak_256(data) == keccak(data)


def test_it_is_not_the_later_standard() -> None:
    assert keccak_256(b"") != hashlib.sha3_256(b"").digest()
