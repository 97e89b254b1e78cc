"""Addresses of every coin: the public vectors, every network's addresses held against every other, and the traps."""

from __future__ import annotations

import pytest

from converter.domain import bech32
from converter.domain.addresses import check_address, check_memo
from converter.domain.coins import Asset, asset, assets
from converter.domain.errors import InvalidRequest
from tests.domain.vectors import BAD, BTC_BAD, GOOD, SEGWIT_BAD, TEST_NETWORKS, base58check_text, cash_text

SAME_FORM = {"ETH", "ETC"}
HASH = bytes(range(1, 21))


def of_network(network: str) -> list[Asset]:
    return [one for one in assets() if one.network == network]


def refused(one: Asset, text: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_address(one, text)
    return caught.value


def each(vectors: dict[str, tuple[str, ...]]) -> list[tuple[Asset, str]]:
    return [(one, text) for network, texts in vectors.items() for text in texts for one in of_network(network)]


@pytest.mark.parametrize(("one", "text"), each(GOOD), ids=str)
def test_a_good_address_is_returned_byte_for_byte(one: Asset, text: str) -> None:
    assert check_address(one, text) == text


@pytest.mark.parametrize(("one", "text"), [*each(BAD), *each({"BTC": (*BTC_BAD, *SEGWIT_BAD)})], ids=str)
def test_a_slip_of_the_hand_is_refused(one: Asset, text: str) -> None:
    assert refused(one, text).field == "address"


@pytest.mark.parametrize(("one", "text"), each(TEST_NETWORKS), ids=str)
def test_an_address_of_a_test_network_is_refused(one: Asset, text: str) -> None:
    assert "belongs to another network" in refused(one, text).problem


@pytest.mark.parametrize("one", assets(), ids=str)
@pytest.mark.parametrize("network", GOOD)
def test_an_address_is_taken_only_for_the_network_that_was_named(one: Asset, network: str) -> None:
    for text in GOOD[network]:
        if one.network == network or {one.network, network} == SAME_FORM:
            assert check_address(one, text) == text
        else:
            assert refused(one, text).accepted


@pytest.mark.parametrize("one", assets(), ids=str)
def test_every_asset_has_rules_and_names_its_form(one: Asset) -> None:
    error = refused(one, "x")
    assert error.accepted
    assert error.problem.startswith("x ")


# --- Traps -----------------------------------------------------------------------------------------------------------


def test_the_network_of_a_stable_coin_decides_and_not_its_address() -> None:
    on_tron, on_ethereum = asset("USDT"), asset("USDT", "ETH")
    assert "T…" in refused(on_tron, GOOD["ETH"][0]).accepted
    assert "EIP-55" in refused(on_ethereum, GOOD["TRX"][0]).accepted


@pytest.mark.parametrize(
    ("network", "contract"),
    [("TRX", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"), ("ETH", "0xdAC17F958D2ee523a2206206994597C13D831ec7")],
)
def test_a_token_is_not_sent_to_its_own_contract(network: str, contract: str) -> None:
    assert "own contract" in refused(asset("USDT", network), contract).problem


def test_the_contract_of_a_token_is_an_address_like_any_other_for_another_coin() -> None:
    contract = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
    assert check_address(asset("ETH"), contract) == contract


@pytest.mark.parametrize("text", ["3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf"])
def test_a_script_address_that_is_also_bitcoins_is_no_litecoin_address(text: str) -> None:
    error = refused(asset("LTC"), text)
    assert "another network or coin" in error.problem
    assert "not its old 3… form" in error.accepted


@pytest.mark.parametrize(
    ("coin", "text"),
    [
        (
            "LTC",
            (
                "ltcmweb1qq20e2arnhvxw97katjkmsd35agw3capxjkrkh7dk8d30rczm8ypxuq329nwh2twmchhqn3jqh7ua4ps539f6aazh79jy"
                "76urqht4qa59ts3at6gf"
            ),
        ),
        ("ZEC", "zs1z7rejlpsa98s2rrrfkwmaxu53e4ue0ulcrw0h4x5g8jl04tak0d3mm47vdtahatqrlkngh9slya"),
        (
            "ZEC",
            (
                "u1l8xunezsvhq8fgzfl7404m450nwnd76zshscn6nfys7vyz2ywyh4cc5daaq0c7q2su5lqfh23sp7fkf3kt27ve5948mzpfdvckz"
                "aect2jtte308mkwlycj2u0eac077wu70vqcetkxf"
            ),
        ),
        ("ZEC", "zcBqWB8VDjVER7uLKb4oHp2v54v2a1jKd9o4FY7mdgQ3gDfG8MiZLvdQga8JK3t58yjXGjQHzMzkGUxSguSs6ZzqpgTNiZG"),
        ("ZEC", "tex1s2rt77ggv6q989lr49rkgzmh5slsksa9khdgte"),
    ],
)
def test_a_private_or_restricted_form_is_refused_by_its_name(coin: str, text: str) -> None:
    assert "services do not pay" in refused(asset(coin), text).problem


@pytest.mark.parametrize("prefix", ["bc", "ltc"])
def test_a_witness_program_is_paid_up_to_version_one(prefix: str) -> None:
    one = asset("BTC" if prefix == "bc" else "LTC")
    for version, program in ((0, HASH), (0, HASH + HASH[:12]), (1, HASH + HASH[:12])):
        text = bech32.segwit_address(prefix, version, program)
        assert check_address(one, text) == text
        assert check_address(one, text.upper()) == text.upper()
        assert "mixes upper and lower case" in refused(one, text[:4] + text[4:].upper()).problem
    for version in range(2, 17):
        assert "witness version" in refused(one, bech32.segwit_address(prefix, version, HASH + HASH[:12])).problem


def test_a_litecoin_witness_program_with_the_older_checksum_is_refused() -> None:
    words = [1, *bech32.regroup(HASH + HASH[:12], 8, 5, pad=True)]
    assert "wrong checksum" in refused(asset("LTC"), bech32.encode("ltc", words, bech32.BECH32)).problem


@pytest.mark.parametrize("text", ["1BpEi6DfDAUFd7GtittLSdBeYJvcoaVggu", "3CWFddi6m4ndiGyKqzYvsFYagqDLPVMTzC"])
def test_the_old_form_of_a_bitcoin_cash_address_is_refused_since_it_is_bitcoins(text: str) -> None:
    assert check_address(asset("BTC"), text) == text
    assert "not an old" in refused(asset("BCH"), text).accepted


@pytest.mark.parametrize(
    "text",
    [
        "BITCOINCASH:QPM2QSZNHKS23Z7629MMS6S4CWEF74VCWVY22GDX6A",
        "QPM2QSZNHKS23Z7629MMS6S4CWEF74VCWVY22GDX6A",
        "bitcoincash:QPM2QSZNHKS23Z7629MMS6S4CWEF74VCWVY22GDX6A",
        "bitcoincash:bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        ":qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a:",
        "bchtest:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "kaspa:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "bitcoincash:qvch8mmxy0rtfrlarg7ucrxxfzds5pamg73h7370aa87d80gyhqxq5nlegake",
        "bitcoincash:zq2azmyyv6dtgczexyalqar70q036yund5j2mspghf",
        cash_text("bitcoincash", b"\x0b" + HASH + HASH[:12]),
        cash_text("bitcoincash", b"\x18" + HASH),
        cash_text("bitcoincash", b"\x80" + HASH),
        cash_text("bitcoincash", b"\x00" + HASH[:-1]),
    ],
)
def test_bitcoin_cash_is_paid_in_one_spelling_to_key_and_script_hashes_of_twenty_bytes(text: str) -> None:
    refused(asset("BCH"), text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD["KAS"][0].removeprefix("kaspa:"),
        GOOD["KAS"][0].upper(),
        "kaspa:" + GOOD["KAS"][0],
        GOOD["KAS"][0].replace("kaspa:", "kaspatest:"),
        GOOD["KAS"][0].replace("kaspa:", "bitcoincash:"),
        cash_text("kaspa", b"\x00" + HASH),
        cash_text("kaspa", b"\x02" + HASH + HASH[:12]),
        cash_text("kaspa", b"\x01" + HASH + HASH[:12]),
        cash_text("kaspa", b"\x01\x04" + HASH + HASH[:12]),
        cash_text("kaspa", b"\x80" + HASH + HASH[:12]),
        "kaspa:",
        ":",
    ],
)
def test_kaspa_is_paid_with_its_prefix_to_the_kinds_it_has(text: str) -> None:
    refused(asset("KAS"), text)


def test_a_kaspa_address_without_its_prefix_is_told_what_it_lacks() -> None:
    assert "lacks its prefix" in refused(asset("KAS"), GOOD["KAS"][0].removeprefix("kaspa:")).problem


@pytest.mark.parametrize("text", ["4MQyML64GnzMxZgm", "BxKBaHkvrTvLZrDcZjcsxsF7aSsrN73ijeFZXtbj4CXZHHcvBtqSxQ"])
def test_an_ergo_address_that_carries_a_script_is_refused(text: str) -> None:
    assert "whole script" in refused(asset("ERG"), text).problem


@pytest.mark.parametrize(
    ("network", "versions"),
    [
        ("BTC", {0, 5}),
        ("LTC", {48, 50}),
        ("DOGE", {30, 22}),
        ("RVN", {60, 122}),
        ("TRX", {0x41}),
    ],
)
def test_only_the_version_bytes_of_the_network_are_taken(network: str, versions: set[int]) -> None:
    (one,) = of_network(network)[:1]
    for version in range(256):
        text = base58check_text(bytes([version]) + HASH)
        if version in versions:
            assert check_address(one, text) == text
        else:
            assert "another network or coin" in refused(one, text).problem


def test_zcash_has_two_version_bytes_and_both_count() -> None:
    zec = asset("ZEC")
    for version in (b"\x1c\xb8", b"\x1c\xbd"):
        assert check_address(zec, base58check_text(version + HASH))
    for version in (b"\x1c\xb9", b"\x1d\xb8", b"\x1d\x25", b"\x1c\xba", b"\x16\x9a", b"\x00\x00"):
        assert "another network or coin" in refused(zec, base58check_text(version + HASH)).problem
    assert "length" in refused(zec, base58check_text(b"\x1c" + HASH)).problem


# --- Nobody's addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coin", "text"),
    [
        ("BTC", "1111111111111111111114oLvT2"),
        ("BTC", bech32.segwit_address("bc", 0, bytes(20))),
        ("BTC", bech32.segwit_address("bc", 1, bytes(32))),
        ("LTC", base58check_text(b"\x30" + bytes(20))),
        ("DOGE", base58check_text(b"\x1e" + bytes(20))),
        ("RVN", base58check_text(b"\x3c" + bytes(20))),
        ("ZEC", base58check_text(b"\x1c\xb8" + bytes(20))),
        ("USDT", "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"),
        ("BCH", cash_text("bitcoincash", b"\x00" + bytes(20))),
        ("KAS", "kaspa:qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqkx9awp4e"),
        ("ETH", "0x" + "0" * 40),
        ("ETC", "0x" + "0" * 40),
        ("ETH", "0x" + "1".rjust(40, "0")),
        ("ETH", "0x000000000000000000000000000000000000dEaD"),
        ("ETC", "0x000000000000000000000000000000000000dEaD"),
        ("ETH", "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"),
        ("ETH", "0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF"),
    ],
)
def test_an_address_that_belongs_to_nobody_is_refused(coin: str, text: str) -> None:
    problem = refused(asset(coin), text).problem
    assert "nobody can spend" in problem or "zero address" in problem


def test_an_address_of_the_other_chain_of_the_same_form_is_taken_where_the_caller_names_the_chain() -> None:
    text = GOOD["ETH"][0]
    for one in (asset("ETH"), asset("ETC"), asset("USDT", "ETH")):
        assert check_address(one, text) == text


@pytest.mark.parametrize("one", [asset("ETH"), asset("ETC"), asset("USDT", "ETH")], ids=str)
@pytest.mark.parametrize("text", [GOOD["ETH"][0], GOOD["ETC"][0]])
def test_an_address_without_case_is_refused_on_every_chain(one: Asset, text: str) -> None:
    assert "no checksum" in refused(one, text.lower()).problem
    assert "no checksum" in refused(one, "0x" + text[2:].upper()).problem


# --- Marks beside an address -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", assets(), ids=str)
def test_no_asset_takes_a_mark_beside_its_address(one: Asset) -> None:
    assert check_memo(one, "") == ""
    with pytest.raises(InvalidRequest) as caught:
        check_memo(one, "60900e5603bf96e3", "deposit memo")
    assert caught.value.field == "deposit memo"
    assert caught.value.accepted.startswith("none")
    assert ("payment id" in caught.value.accepted) == (one.coin == "XMR")
