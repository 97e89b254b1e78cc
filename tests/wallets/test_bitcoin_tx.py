"""Reading raw transactions, and what counts as the payment that was asked for."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from converter.domain.coins import asset
from converter.domain.transfers import Payment
from converter.sandbox.utxo_tx import Input, data_script
from converter.sandbox.utxo_tx import Output as TheirOutput
from converter.sandbox.utxo_tx import RawTransaction as Theirs
from converter.wallets.bitcoin_tx import Output, RawTransaction, amount_of, flaw, memo_script, read_transaction

FIRST = (
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d"
    "65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220"
    "62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f"
    "4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
"""The transaction in Bitcoin's first block, as everybody has it."""

PAYEE, CHANGE, STRANGER = "0014" + "11" * 20, "0014" + "22" * 20, "0014" + "33" * 20
PAYMENT = Payment(asset("BTC"), "bc1q", Decimal("1.5"))
MEMO = replace(PAYMENT, memo="=:e:0x86d5:1")


def transaction(*outputs: tuple[str, str]) -> RawTransaction:
    return RawTransaction(
        "ab" * 32, (("cd" * 32, 0),), tuple(Output(Decimal(amount), script) for amount, script in outputs)
    )


def test_the_first_transaction_of_all_is_read() -> None:
    read = read_transaction(FIRST)
    assert read.txid == "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
    assert read.inputs == (("00" * 32, 2**32 - 1),)
    assert [(output.amount, output.script[:4], len(output.script)) for output in read.outputs] == [
        (Decimal(50), "4104", 134)
    ]


@pytest.mark.parametrize("witness", [(), (b"\x01" * 71, b"\x02" * 33)])
def test_a_transaction_reads_the_same_with_and_without_a_witness(witness: tuple[bytes, ...]) -> None:
    inputs = tuple(Input(f"{place:064x}", place, witness=witness) for place in range(300))
    outputs = (TheirOutput(150_000_001, bytes.fromhex(PAYEE)), TheirOutput(0, data_script(b"memo")))
    theirs = Theirs(inputs, outputs, locktime=5)
    read = read_transaction(theirs.serialize().hex())
    assert read.txid == theirs.txid
    assert read.inputs == tuple(item.outpoint for item in inputs)
    assert read.outputs == (Output(Decimal("1.50000001"), PAYEE), Output(Decimal(0), memo_script("memo")))
    assert read.paid_to(PAYEE) == Decimal("1.50000001")


@pytest.mark.parametrize("raw", ["", "zz", "00", FIRST[:-2], FIRST[:40], FIRST[:200], "01000000" + "00" * 6])
def test_what_is_cut_off_is_no_transaction(raw: str) -> None:
    with pytest.raises(ValueError, match=r"cut off|non-hexadecimal"):
        read_transaction(raw)


@pytest.mark.parametrize("size", [1, 75, 76, 80])
def test_a_memo_is_pushed_with_its_length(size: int) -> None:
    assert memo_script("m" * size) == data_script(b"m" * size).hex()


@pytest.mark.parametrize(
    "told",
    [
        transaction(("1.5", PAYEE)),
        transaction(("1.5", PAYEE), ("0.5", CHANGE)),
        transaction(("1.5", PAYEE), ("1.5", CHANGE)),
    ],
)
def test_a_payment_and_its_change_are_right(told: RawTransaction) -> None:
    assert flaw(told, PAYMENT, PAYEE, "") == ""


def test_a_payment_with_its_memo_and_change_to_the_first_input_is_right() -> None:
    script = memo_script(MEMO.memo)
    assert flaw(transaction(("1.5", PAYEE), ("0.5", CHANGE), ("0", script)), MEMO, PAYEE, CHANGE) == ""
    assert flaw(transaction(("1.5", PAYEE), ("0", script)), MEMO, PAYEE, CHANGE) == ""


@pytest.mark.parametrize(
    "told",
    [
        transaction(),
        transaction(("0.5", CHANGE)),
        transaction(("1.49999999", PAYEE), ("0.5", CHANGE)),
        transaction(("1.50000001", PAYEE), ("0.5", CHANGE)),
        transaction(("0.5", CHANGE), ("1.5", PAYEE)),
        transaction(("1.5", PAYEE), ("1.5", PAYEE)),
        transaction(("1.5", PAYEE), ("0.5", PAYEE)),
        transaction(("1.5", PAYEE), ("0.5", CHANGE), ("0.1", STRANGER)),
        transaction(("1.5", PAYEE), ("0", memo_script("unasked"))),
    ],
)
def test_anything_else_is_no_such_payment(told: RawTransaction) -> None:
    assert flaw(told, PAYMENT, PAYEE, "")


@pytest.mark.parametrize(
    "rest",
    [
        (("0.5", CHANGE),),
        (("0", memo_script("=:e:0x86d5:2")),),
        (("0.1", memo_script(MEMO.memo)),),
        (("0", memo_script(MEMO.memo)), ("0", memo_script(MEMO.memo))),
        (("0.5", STRANGER), ("0", memo_script(MEMO.memo))),
        (("0.5", CHANGE), ("0.5", CHANGE), ("0", memo_script(MEMO.memo))),
    ],
    ids=["no memo", "another memo", "coins in the memo", "two memos", "change elsewhere", "two changes"],
)
def test_a_memo_payment_is_held_to_its_memo_and_its_change(rest: tuple[tuple[str, str], ...]) -> None:
    assert flaw(transaction(("1.5", PAYEE), *rest), MEMO, PAYEE, CHANGE)


@pytest.mark.parametrize("told", [None, True, "0.1", 0.1, [], {}])
def test_only_exact_numbers_are_amounts(told: object) -> None:
    assert amount_of(Decimal("0.00000001")) == Decimal("0.00000001")
    assert amount_of(2) == Decimal(2)
    with pytest.raises(ValueError, match="no amount"):
        amount_of(told)
