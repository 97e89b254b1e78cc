"""What the checksum families read, against other libraries, public payloads and a second spelling of the rules."""

from __future__ import annotations

import pytest
from base58_bech32 import base58 as other_base58
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from converter.domain import base58, cashaddr
from converter.domain.addresses import check_address
from converter.domain.coins import Asset, asset
from converter.domain.errors import InvalidRequest
from converter.domain.monero import INTEGRATED, STANDARD, SUBADDRESS, read_monero_address
from tests.domain.vectors import GOOD, base58check_text, cash_text, ergo_text, monero_text, text_of

BCH, KAS, ERG, XMR, ZEC, ETC = (asset(coin) for coin in ("BCH", "KAS", "ERG", "XMR", "ZEC", "ETC"))
TRX = asset("USDT", "TRX")
hashes = st.binary(min_size=20, max_size=20).filter(any)
KEYS = bytes(range(1, 65))


def refused(one: Asset, text: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        check_address(one, text)
    return caught.value.problem


# --- Base58 ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=80))
def test_base58_is_read_as_another_library_reads_it(raw: bytes) -> None:
    assert base58.decode(text_of(other_base58.b58encode(raw))) == raw


@pytest.mark.parametrize("char", ["0", "O", "I", "l", " ", "é", ":"])
def test_what_is_no_digit_of_base58_is_named(char: str) -> None:
    with pytest.raises(ValueError, match="alphabet"):
        base58.decode("1A" + char)


@given(hashes)
def test_every_address_of_another_library_is_good(program: bytes) -> None:
    for one, versions in ((TRX, (b"\x41",)), (ZEC, (b"\x1c\xb8", b"\x1c\xbd"))):
        for version in versions:
            text = base58check_text(version + program)
            assert check_address(one, text) == text


@pytest.mark.parametrize("size", [0, 1, 20, 21, 22, 32])
def test_a_payload_has_the_size_that_was_asked_for(size: int) -> None:
    assert base58.base58check(base58check_text(bytes(size)), size) == bytes(size)
    with pytest.raises(ValueError, match="length"):
        base58.base58check(base58check_text(bytes(size)), size + 1)


@given(hashes)
def test_ethereum_classic_is_written_as_another_library_writes_ethereum(raw: bytes) -> None:
    text = to_checksum_address(raw)
    if int(text, 16) >= 1 << 16 and text[2:].lower() != text[2:] != text[2:].upper():
        assert check_address(ETC, text) == text


# --- Cashaddr --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a", "1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu"),
        ("qr95sy3j9xwd2ap32xkykttr4cvcu7as4y0qverfuy", "1KXrWXciRDZUpQwQmuM1DbwsKDLYAYsVLR"),
        ("ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq", "3CWFddi6m4ndiGyKqzYvsFYagqDLPVMTzC"),
    ],
)
def test_a_cash_address_holds_the_hash_of_its_old_form(text: str, old: str) -> None:
    assert cashaddr.decode(text, "bitcoincash")[1:] == base58.base58check(old)[1:]


@given(hashes, st.sampled_from([0x00, 0x08]))
def test_every_cash_address_is_good_with_its_prefix_and_only_so(program: bytes, version: int) -> None:
    text = cash_text("bitcoincash", bytes([version]) + program)
    bare = text.removeprefix("bitcoincash:")
    assert check_address(BCH, text) == text
    assert "does not say its network" in refused(BCH, bare)
    assert cashaddr.prefixed(bare) == cashaddr.prefixed(text) == text
    assert cashaddr.decode(bare, "bitcoincash") == bytes([version]) + program


@given(hashes, st.sampled_from(["bchtest", "bchreg", "simpleledger", "ecash", "kaspa"]))
def test_a_checksum_over_another_prefix_is_noticed_when_ours_is_put_before_it(program: bytes, prefix: str) -> None:
    text = cash_text(prefix, b"\x00" + program)
    assert "another network or coin" in refused(BCH, text)
    assert "wrong checksum" in refused(BCH, cashaddr.prefixed(text.partition(":")[2]))


@pytest.mark.parametrize("words", ["", "q", "qqqqqqqq", "qqqqqqqqq"])
def test_words_that_are_too_few_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="checksum"):
        cashaddr.decode(words, "bitcoincash")


# --- Kaspa -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        (GOOD["KAS"][0], "00dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659"),
        (GOOD["KAS"][2], "01036441a8148e58123d99bf62777c35a4c7eab682fda9764e7b8047a94c0de014d5"),
    ],
)
def test_a_kaspa_address_holds_the_public_key(text: str, payload: str) -> None:
    assert cashaddr.decode(text.removeprefix("kaspa:"), "kaspa").hex() == payload
    assert cash_text("kaspa", bytes.fromhex(payload)) == text


@given(st.binary(min_size=32, max_size=32).filter(any), st.sampled_from([b"\x00", b"\x01\x02", b"\x01\x03", b"\x08"]))
def test_every_key_and_script_hash_is_a_good_kaspa_address(body: bytes, kind: bytes) -> None:
    text = cash_text("kaspa", kind + body)
    assert check_address(KAS, text) == text
    assert "another network or coin" in refused(KAS, cash_text("kaspatest", kind + body))


# --- Ergo ------------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.sampled_from([2, 3]))
def test_every_public_key_is_a_good_ergo_address(body: bytes, parity: int) -> None:
    payload = bytes([parity]) + body
    if any(body[-24:]):
        text = ergo_text(b"\x01" + payload)
        assert check_address(ERG, text) == text
    assert "another network or coin" in refused(ERG, ergo_text(b"\x11" + payload))


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"\x01\x02" + KEYS[:31], "length"),
        (b"\x01\x04" + KEYS[:32], "no public key"),
        (b"\x02" + KEYS[:32], "length"),
        (b"\x02" + bytes(24), "nobody can spend"),
        (b"\x03\x10\x01", "whole script"),
        (b"\x04" + KEYS[:33], "another network"),
        (b"\x00" + KEYS[:33], "another network"),
        (b"\x21\x02" + KEYS[:32], "another network"),
        (b"", "length"),
    ],
)
def test_another_content_of_an_ergo_address_is_refused_with_the_reason(payload: bytes, problem: str) -> None:
    assert problem in refused(ERG, ergo_text(payload))


def test_the_checksum_of_bitcoin_is_not_the_one_of_ergo() -> None:
    assert "wrong checksum" in refused(ERG, base58check_text(b"\x01\x02" + KEYS[:32]))


# --- Monero ----------------------------------------------------------------------------------------------------------


def test_the_kind_and_the_payment_id_of_a_monero_address_are_read() -> None:
    standard, subaddress, integrated = (read_monero_address(text) for text in GOOD["XMR"])
    assert standard == (STANDARD, "")
    assert subaddress == (SUBADDRESS, "")
    assert integrated[0] == INTEGRATED
    assert len(integrated[1]) == 16


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=8, max_size=8))
def test_every_pair_of_keys_is_a_good_monero_address(keys: bytes, payment_id: bytes) -> None:
    if not any(keys[:32]) or not any(keys[32:]):
        return
    for payload, found in (
        (bytes([STANDARD]) + keys, (STANDARD, "")),
        (bytes([SUBADDRESS]) + keys, (SUBADDRESS, "")),
        (bytes([INTEGRATED]) + keys + payment_id, (INTEGRATED, payment_id.hex())),
    ):
        text = monero_text(payload)
        assert check_address(XMR, text) == text
        assert read_monero_address(text) == found


@pytest.mark.parametrize("kind", [24, 25, 36, 53, 54, 63, 0, 17, 20, 41, 43])
def test_a_monero_address_of_another_network_is_refused(kind: int) -> None:
    assert "another network" in refused(XMR, monero_text(bytes([kind]) + KEYS))


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (bytes([STANDARD]) + KEYS + b"12345678", "length"),
        (bytes([INTEGRATED]) + KEYS, "length"),
        (bytes([SUBADDRESS]) + KEYS[:63], "length"),
        (bytes([SUBADDRESS]), "length"),
        (b"", "length"),
        (bytes([STANDARD]) + bytes(32) + KEYS[:32], "nobody can spend"),
        (bytes([STANDARD]) + KEYS[:32] + bytes(32), "nobody can spend"),
    ],
)
def test_another_content_of_a_monero_address_is_refused_with_the_reason(payload: bytes, problem: str) -> None:
    assert problem in refused(XMR, monero_text(payload))


def test_a_block_that_is_written_too_large_is_refused() -> None:
    text = GOOD["XMR"][0]
    value = base58.number(text[:11]) + (1 << 64)  # the same eight bytes, were the overflow dropped
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    block = "".join(digits[value // 58 ** (10 - place) % 58] for place in range(11))
    assert value < 58**11
    assert base58.number(block) == value
    assert "checksum" in refused(XMR, block + text[11:])


@pytest.mark.parametrize("length", [1, 4, 8, 12, 94, 96, 105, 107, 500])
def test_a_length_that_no_blocks_make_is_refused(length: int) -> None:
    refused(XMR, ("1" * length))
    refused(XMR, (GOOD["XMR"][2] * 5)[:length])
