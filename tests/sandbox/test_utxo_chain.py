"""The UTXO nodes and the EVM token, asked over the wire as a wallet would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import requests
from eth_account import Account

from converter.sandbox.credentials import (
    BITCOIND_PASSWORD,
    BITCOIND_USER,
    EVM_CHAIN_ID,
    EVM_WALLET_ADDRESS,
    EVM_WALLET_KEY,
    USDT_CONTRACT,
)
from converter.sandbox.rawtx import transfer_call
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.utxo_chain import UtxoChain
from converter.sandbox.utxo_chains import UtxoChains
from converter.sandbox.utxo_coins import COINS, address_of, script_of
from converter.sandbox.utxo_tx import Input, Output, RawTransaction, data_script, decode

ADDRESSES = {
    "BTC": [
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    ],
    "LTC": [
        "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez",
        "M7wtsL7wSHDBJVMWWhtQfTMSYYkyooAAXM",
        "ltc1qjmxnz78nmc8nq77wuxh25n2es7rzm5c2rkk4wh",
    ],
    "DOGE": ["DBus3bamQjgJULBJtYXpEzDWQRwF5iwxgC", "9xzLEaWbi3eVzRzv6YdGcXbXQMHydntSq7"],
    "BCH": [
        "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
        "bitcoincash:ppm2qsznhks23z7629mms6s4cwef74vcwvn0h829pq",
    ],
    "RVN": ["RKxTdfmtxtfLDKZBgx6SvNkBtNu9jRYnLh", "rEhmaoXxKDsTS9JiHqgBenLUvkv7oERtfi"],
}
CORRUPT = [
    ("BTC", "1A1zP1eP5QGefi2DMPTfUL5SLmv7DivfNa"),
    ("BTC", "bc1qw508d6qejxtdg4y5r3zayvary0c5xw7kv8f3t4"),
    ("BTC", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd"),
    ("BTC", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),
    ("BTC", "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez"),
    ("LTC", "LUWPbpM43E2p7ZSh8cyTCEkvpHmr3cB8Ez"),
    ("DOGE", "DBus3bamQjgJULBJtYXpFzDWQRwF5iwxgC"),
    ("BCH", "bitcoincash:qpm2qsznhks23z7629ums6s4cwef74vcwvy22gdx6a"),
    ("RVN", "RKxTdfmtxtfLDKZBgx6SwNkBtNu9jRYnLh"),
]


class Refusal(Exception):
    def __init__(self, code: int, message: str, status: int) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message, self.status = code, message, status


class Node:
    """A stranger's wallet client."""

    def __init__(self, sandbox: Sandbox, ticker: str) -> None:
        self.sandbox, self.ticker = sandbox, ticker
        self.url = f"{sandbox.url}/{ticker.lower()}"
        self.old = ticker in ("DOGE", "RVN")

    def post(self, body: Any, auth: tuple[str, str] | None = (BITCOIND_USER, BITCOIND_PASSWORD)) -> requests.Response:
        return requests.post(self.url, json=body, auth=auth, timeout=5)

    def call(self, method: str, *params: Any) -> Any:
        answer = self.post({"jsonrpc": "1.0", "id": 7, "method": method, "params": list(params)})
        body = json.loads(answer.text, parse_float=Decimal)
        assert body["id"] == 7
        if body["error"]:
            raise Refusal(body["error"]["code"], body["error"]["message"], answer.status_code)
        assert answer.status_code == 200
        return body["result"]

    def refused(self, method: str, *params: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.call(method, *params)
        return caught.value

    def prepare(self, outputs: dict[str, Any], **options: Any) -> tuple[str, str]:
        """Signed raw transaction and its id."""
        raw = self.call("createrawtransaction", [], outputs)
        funded = self.call("fundrawtransaction", raw, {"lockUnspents": True, "changePosition": 1} | options)
        method = "signrawtransaction" if self.old else "signrawtransactionwithwallet"
        signed = self.call(method, funded["hex"])
        assert signed["complete"] is True
        return signed["hex"], self.call("decoderawtransaction", signed["hex"])["txid"]

    def configure(self, **settings: Any) -> None:
        url = f"{self.sandbox.url}/_sandbox/services/{self.ticker.lower()}"
        answer = requests.put(url, json=settings, timeout=5)
        assert answer.status_code == 200, answer.text

    def mined(self, txid: str) -> dict[str, Any]:
        row = eventually(lambda: found if (found := self.call("gettransaction", txid))["confirmations"] > 0 else None)
        assert isinstance(row, dict)
        return row


def eventually(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(services=[], speed=20) as sandbox:
        yield sandbox
        assert not sandbox.problems


@pytest.fixture
def own() -> Iterator[Sandbox]:
    with Sandbox(services=[], speed=20) as sandbox:
        yield sandbox
        assert not sandbox.problems


@pytest.fixture(params=list(COINS))
def node(shared: Sandbox, request: pytest.FixtureRequest) -> Node:
    return Node(shared, request.param)


@pytest.fixture(params=list(COINS))
def each(own: Sandbox, request: pytest.FixtureRequest) -> Node:
    """A node of every coin that nobody else uses."""
    return Node(own, request.param)


@pytest.fixture
def btc(own: Sandbox) -> Node:
    return Node(own, "BTC")


# Encodings


@pytest.mark.parametrize(("ticker", "address"), [(coin, text) for coin, row in ADDRESSES.items() for text in row])
def test_addresses_survive_the_way_through_their_scripts(ticker: str, address: str) -> None:
    assert address_of(COINS[ticker], script_of(COINS[ticker], address)) == address


@pytest.mark.parametrize(("ticker", "address"), CORRUPT)
def test_corrupt_addresses_are_refused(ticker: str, address: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with them
        script_of(COINS[ticker], address)


def test_transactions_survive_the_way_through_their_bytes() -> None:
    empty = RawTransaction((), (Output(5, data_script(b"memo")),))
    plain = RawTransaction(
        (Input("ab" * 32, 1, b"script"),), (Output(7, b"\x51" * 300), Output(0, data_script(b"x" * 90)))
    )
    witness = RawTransaction((Input("cd" * 32, 0, witness=(b"sig", b"key")),), plain.outputs)
    for transaction in (empty, plain, witness):
        assert decode(transaction.serialize()) == transaction
    assert witness.txid != witness.wtxid
    assert plain.outputs[1].data == b"x" * 90


def test_the_first_transaction_of_bitcoin_gets_its_famous_id() -> None:
    script = bytes.fromhex(
        "04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365"
        "636f6e64206261696c6f757420666f722062616e6b73"
    )
    key = (
        "4104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba"
        "0b8d578a4c702b6bf11d5fac"
    )
    first = Input("00" * 32, 0xFFFFFFFF, script, sequence=0xFFFFFFFF)
    transaction = RawTransaction((first,), (Output(50 * 10**8, bytes.fromhex(key)),), version=1)
    assert transaction.txid == "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"


# The way of a payment


def test_a_prepared_payment_is_broadcast_mined_and_received(node: Node) -> None:
    chain = node.sandbox.utxo[node.ticker]
    address = chain.new_address("somebody")
    raw, txid = node.prepare({address: "1.25", "data": b"=:e:0xabc:1".hex()})
    assert node.call("sendrawtransaction", raw) == txid
    row = node.mined(txid)
    assert (row["amount"], row["txid"]) == (Decimal("-1.25"), txid)
    assert row["fee"] < 0
    assert chain.received(address) == [(txid, Decimal("1.25"))]
    assert chain.received_with_data(address) == [(txid, Decimal("1.25"), b"=:e:0xabc:1")]
    shown = node.call("getrawtransaction", txid, True)
    assert shown["vout"][0]["value"] == Decimal("1.25")
    assert shown["blockhash"] == row["blockhash"]
    assert [fact["txid"] for fact in node.sandbox.truth.executions].count(txid) == 1


def test_the_node_tells_about_itself(node: Node) -> None:
    info = node.call("getblockchaininfo")
    assert info["chain"] == "main"
    assert node.call("getblockcount") >= info["blocks"] > 0
    assert len(node.call("getbestblockhash")) == 64
    assert node.call("getnetworkinfo")["relayfee"] > 0
    assert node.call("getbalance") > 1000
    fee = node.call("estimatefee") if node.ticker == "BCH" else node.call("estimatesmartfee", 3)["feerate"]
    assert fee > 0
    if node.old:
        assert node.call("estimatefee", 3) == fee
    words = node.call("help")
    assert ("signrawtransactionwithwallet" in words) is not node.old
    assert ("testmempoolaccept" in words) is not node.old
    assert node.call("validateaddress", node.call("getnewaddress"))["isvalid"] is True
    assert node.call("validateaddress", "nonsense")["isvalid"] is False
    rows = node.call("listunspent")
    assert len(rows) > 100
    assert sum(row["amount"] for row in rows) > 1000


def test_a_payment_from_outside_reaches_the_wallet(node: Node) -> None:
    address = node.call("getnewaddress")
    txid = node.sandbox.utxo[node.ticker].pay(address, Decimal("0.5"))
    row = node.mined(txid)
    assert row["amount"] == Decimal("0.5")
    assert row["details"][0]["category"] == "receive"
    assert any(found["txid"] == txid for found in node.call("listtransactions", "*", 1000))


def test_what_is_mined_already_is_refused_as_known(node: Node) -> None:
    raw, txid = node.prepare({node.sandbox.utxo[node.ticker].new_address("x"): 2})
    node.call("sendrawtransaction", raw)
    node.mined(txid)
    refusal = node.refused("sendrawtransaction", raw)
    assert (refusal.code, refusal.status) == (-27, 500)


def test_an_unsigned_or_altered_transaction_is_refused(node: Node) -> None:
    address = node.sandbox.utxo[node.ticker].new_address("x")
    bare = node.call("createrawtransaction", [], {address: 1})
    unsigned = node.call("fundrawtransaction", bare)["hex"]
    assert node.refused("sendrawtransaction", unsigned).code == -26
    raw, _ = node.prepare({address: 1})
    transaction = decode(bytes.fromhex(raw))
    richer = Output(transaction.outputs[0].value + 1, transaction.outputs[0].script)
    altered = RawTransaction(transaction.inputs, (richer, *transaction.outputs[1:]))
    assert node.refused("sendrawtransaction", altered.serialize().hex()).code == -26
    assert node.refused("sendrawtransaction", "00").code == -22


# One node in detail


def test_without_the_right_login_there_is_no_answer(btc: Node) -> None:
    call = {"id": 1, "method": "getblockcount", "params": []}
    assert btc.post(call, None).status_code == 401
    assert btc.post(call, (BITCOIND_USER, "wrong")).status_code == 401
    assert requests.get(btc.url, timeout=5).status_code == 405


def test_calls_that_are_none_are_refused(btc: Node) -> None:
    assert btc.refused("sendtoaddress", "x", 1).status == 404
    assert btc.refused("getblockcount", 1).code == -1
    assert btc.post([{"id": 1, "method": "getblockcount"}, {"id": 2, "method": "nothing"}]).status_code == 200
    assert btc.post("nothing").status_code == 400
    assert btc.refused("createrawtransaction", [], {"nobody": 1}).code == -5
    assert btc.refused("createrawtransaction", [], {ADDRESSES["BTC"][0]: "0.000000001"}).code == -3
    assert btc.refused("gettransaction", "00" * 32).code == -5
    assert btc.refused("getrawtransaction", "11" * 32).code == -5
    raw = btc.call("createrawtransaction", [], {ADDRESSES["BTC"][0]: 20_000})
    assert (refusal := btc.refused("fundrawtransaction", raw)).code == -4
    assert refusal.message == "Insufficient funds"


def test_locked_outputs_are_not_chosen_again(btc: Node) -> None:
    txids = [btc.prepare({ADDRESSES["BTC"][0]: 1})[0] for _ in range(3)]
    spent = [decode(bytes.fromhex(raw)).inputs[0].outpoint for raw in txids]
    assert len(set(spent)) == 3
    assert len(btc.call("listlockunspent")) == 3
    assert btc.refused("lockunspent", False, [{"txid": spent[0][0], "vout": spent[0][1]}]).code == -8
    assert btc.call("lockunspent", True, [{"txid": spent[0][0], "vout": spent[0][1]}]) is True
    assert len(btc.call("listlockunspent")) == 2
    assert btc.call("lockunspent", True) is True


def test_two_payments_of_the_same_coins_cannot_both_happen(btc: Node) -> None:
    btc.configure(mining=False)
    first, txid = btc.prepare({ADDRESSES["BTC"][0]: 1})
    spent = decode(bytes.fromhex(first)).inputs[0]
    raw = btc.call("createrawtransaction", [{"txid": spent.txid, "vout": spent.vout}], {ADDRESSES["BTC"][1]: "49.999"})
    second = btc.call("signrawtransactionwithwallet", raw)["hex"]
    assert btc.call("testmempoolaccept", [second])[0]["allowed"] is True
    btc.call("sendrawtransaction", first)
    assert btc.refused("sendrawtransaction", second, 0).message == "txn-mempool-conflict"
    assert btc.call("testmempoolaccept", [first])[0]["reject-reason"] == "txn-already-in-mempool"
    btc.configure(mining=True)
    btc.mined(txid)
    assert btc.refused("sendrawtransaction", second, 0).code == -25
    assert btc.call("testmempoolaccept", [second])[0]["reject-reason"] == "missing-inputs"
    assert btc.call("gettxout", spent.txid, spent.vout) is None


def test_a_confirmed_transaction_whose_outputs_are_spent_looks_like_missing_inputs(btc: Node) -> None:
    own = btc.call("getnewaddress")
    first, txid = btc.prepare({own: "49.9"}, changePosition=0)
    btc.call("sendrawtransaction", first)
    btc.mined(txid)
    outputs = [{"txid": txid, "vout": place} for place in range(2)]
    raw = btc.call("createrawtransaction", outputs, {ADDRESSES["BTC"][0]: "49.99"})
    second = btc.call("signrawtransactionwithwallet", raw)["hex"]
    btc.mined(btc.call("sendrawtransaction", second, 0))
    assert btc.refused("sendrawtransaction", first).code == -25


def test_fees_are_watched_on_both_sides(btc: Node) -> None:
    (coin, *_) = btc.call("listunspent")
    inputs = [{"txid": coin["txid"], "vout": coin["vout"]}]
    cheap = btc.call("createrawtransaction", inputs, {ADDRESSES["BTC"][0]: coin["amount"].to_eng_string()})
    cheap = btc.call("signrawtransactionwithwallet", cheap)["hex"]
    assert "min relay fee not met" in btc.refused("sendrawtransaction", cheap).message
    dear = btc.call("createrawtransaction", inputs, {ADDRESSES["BTC"][0]: 1})
    dear = btc.call("signrawtransactionwithwallet", dear)["hex"]
    assert btc.refused("sendrawtransaction", dear).code == -25
    assert btc.call("sendrawtransaction", dear, 0)


def test_dust_and_long_memos_are_against_the_rules(btc: Node) -> None:
    assert btc.refused("sendrawtransaction", btc.prepare({ADDRESSES["BTC"][0]: "0.00000100"})[0]).message == "dust"
    long = {ADDRESSES["BTC"][0]: 1, "data": "00" * 90}
    assert btc.refused("sendrawtransaction", btc.prepare(long)[0]).message == "scriptpubkey"


def test_the_switches_of_a_node(btc: Node) -> None:
    btc.configure(mining=False, reject="policy")
    raw, txid = btc.prepare({ADDRESSES["BTC"][0]: 1})
    assert btc.refused("sendrawtransaction", raw).code == -26
    btc.configure(reject=None)
    assert [btc.call("sendrawtransaction", raw) for _ in range(2)] == [txid, txid]
    btc.configure(already_known=True)
    assert btc.refused("sendrawtransaction", raw).code == -27
    btc.configure(queue_full=1)
    assert btc.post({"id": 1, "method": "getblockcount"}).status_code == 503
    assert btc.call("gettransaction", txid)["confirmations"] == 0
    btc.configure(txindex=False, mining=True)
    block = btc.mined(txid)["blockhash"]
    assert btc.refused("getrawtransaction", txid).code == -5
    assert btc.call("getrawtransaction", txid, True, block)["blockhash"] == block
    assert btc.refused("getrawtransaction", txid, True, btc.call("getblockhash", 800_001)).code == -5
    answer = requests.put(f"{btc.sandbox.url}/_sandbox/services/btc", json={"reject": "no"}, timeout=5)
    assert answer.status_code == 400


def test_a_reorganisation_puts_transactions_back_into_the_mempool(btc: Node) -> None:
    raw, txid = btc.prepare({ADDRESSES["BTC"][0]: 1})
    btc.call("sendrawtransaction", raw)
    block = btc.mined(txid)["blockhash"]
    btc.configure(mining=False)
    btc.configure(reorganise=1000)
    assert btc.call("gettransaction", txid)["confirmations"] == 0
    assert btc.sandbox.utxo["BTC"].received(ADDRESSES["BTC"][0]) == []
    btc.configure(mining=True)
    assert btc.mined(txid)["blockhash"] != block
    assert btc.sandbox.utxo["BTC"].received(ADDRESSES["BTC"][0]) == [(txid, Decimal(1))]


def test_an_accepted_transaction_survives_a_lost_answer(btc: Node) -> None:
    raw, txid = btc.prepare({ADDRESSES["BTC"][0]: 1})
    fault = {"kind": "5xx_after_execute", "count": 1}
    requests.put(f"{btc.sandbox.url}/_sandbox/faults/btc", json=fault, timeout=5)
    assert btc.post({"id": 1, "method": "sendrawtransaction", "params": [raw]}).status_code == 502
    btc.mined(txid)


def test_many_payments_spend_their_own_change(btc: Node) -> None:
    btc.configure(mining=False)
    for _ in range(3):
        raw, _ = btc.prepare({ADDRESSES["BTC"][0]: 3300}, feeRate="0.00002", lockUnspents=False)
        btc.call("sendrawtransaction", raw, 0)
    assert btc.call("getbalances")["mine"]["trusted"] < 200


# What each node can be told to do


@pytest.mark.parametrize(
    ("way", "code", "newer", "older"),
    [
        ("policy", -26, "mempool min fee not met", "66: mempool min fee not met"),
        ("pool_full", -26, "mempool full", "66: mempool full"),
        (
            "chain_too_long",
            -26,
            "too-long-mempool-chain, too many unconfirmed ancestors [limit: 25]",
            "64: too-long-mempool-chain",
        ),
        ("missing", -25, "bad-txns-inputs-missingorspent", "Missing inputs"),
    ],
)
def test_a_node_that_rejects_everything_says_why(each: Node, way: str, code: int, newer: str, older: str) -> None:
    raw, txid = each.prepare({each.sandbox.utxo[each.ticker].new_address("x"): 1})
    each.configure(reject=way)
    answer = each.post({"jsonrpc": "1.0", "id": 7, "method": "sendrawtransaction", "params": [raw]})
    error = {"code": code, "message": older if each.old else newer}
    assert (answer.status_code, answer.json()) == (500, {"result": None, "error": error, "id": 7})
    assert each.refused("gettransaction", txid).code == -5
    assert each.sandbox.truth.executions == []
    each.configure(reject=None)
    assert each.call("sendrawtransaction", raw) == txid


@pytest.mark.parametrize("kind", ["5xx_after_execute", "reset_after_execute", "half_body"])
def test_an_answer_that_is_lost_leaves_a_transaction_that_is_known(each: Node, kind: str) -> None:
    each.configure(mining=False)
    raw, txid = each.prepare({each.sandbox.utxo[each.ticker].new_address("x"): 1})
    fault = {"kind": kind, "operations": ["send"], "count": 1}
    url = f"{each.sandbox.url}/_sandbox/faults/{each.ticker.lower()}"
    assert requests.put(url, json=fault, timeout=5).status_code == 200
    try:
        assert each.post({"id": 1, "method": "sendrawtransaction", "params": [raw]}).status_code == 502
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert kind != "5xx_after_execute"
    assert each.call("sendrawtransaction", raw) == txid
    each.configure(already_known=True)
    refusal = each.refused("sendrawtransaction", raw)
    assert (refusal.code, refusal.message) == (-27, "txn-already-known")
    assert [fact["txid"] for fact in each.sandbox.truth.executions] == [txid]
    each.configure(mining=True)
    each.mined(txid)
    assert each.refused("sendrawtransaction", raw).code == -27


def test_a_full_queue_is_503_and_nothing_is_executed(each: Node) -> None:
    raw, txid = each.prepare({each.sandbox.utxo[each.ticker].new_address("x"): 1})
    each.configure(queue_full=1)
    answer = each.post({"id": 1, "method": "sendrawtransaction", "params": [raw]})
    assert (answer.status_code, answer.text) == (503, "Work queue depth exceeded")
    assert each.refused("getrawtransaction", txid).code == -5


def test_a_refusal_by_fault_has_the_nodes_own_words(each: Node) -> None:
    raw, txid = each.prepare({each.sandbox.utxo[each.ticker].new_address("x"): 1})
    url = f"{each.sandbox.url}/_sandbox/faults/{each.ticker.lower()}"
    requests.put(url, json={"kind": "refuse", "operations": ["send", "info"]}, timeout=5)
    sent, asked = each.refused("sendrawtransaction", raw), each.refused("getnetworkinfo")
    assert (sent.code, sent.message.startswith("66: "), sent.status) == (-26, each.old, 500)
    assert (asked.code, asked.status) == (-28, 500)
    assert each.refused("getrawtransaction", txid).code == -5


def test_every_chain_can_be_reorganised(each: Node) -> None:
    address = each.sandbox.utxo[each.ticker].new_address("x")
    raw, txid = each.prepare({address: 1})
    each.call("sendrawtransaction", raw)
    block = each.mined(txid)["blockhash"]
    each.configure(mining=False)
    each.configure(reorganise=1000)
    assert each.call("gettransaction", txid)["confirmations"] == 0
    assert each.call("getmempoolentry", txid)["depends"] == []
    assert each.sandbox.utxo[each.ticker].received(address) == []
    each.configure(mining=True)
    assert each.mined(txid)["blockhash"] != block
    assert each.sandbox.utxo[each.ticker].received(address) == [(txid, Decimal(1))]


def test_a_node_that_was_restarted_has_forgotten_its_locks(each: Node) -> None:
    each.configure(mining=False)
    address = each.sandbox.utxo[each.ticker].new_address("x")
    waiting, txid = each.prepare({address: 1})
    each.call("sendrawtransaction", waiting)
    each.prepare({address: 1})
    assert len(each.call("listlockunspent")) == 1
    each.configure(restart=True)
    assert each.call("listlockunspent") == []
    assert each.call("gettransaction", txid)["confirmations"] == 0


def test_nobody_can_spend_more_than_there_is(each: Node) -> None:
    raw = each.call("createrawtransaction", [], {each.sandbox.utxo[each.ticker].new_address("x"): "21000000000.1"})
    answer = each.post({"id": 7, "method": "fundrawtransaction", "params": [raw]})
    error = {"code": -4, "message": "Insufficient funds"}
    assert (answer.status_code, answer.json()) == (500, {"result": None, "error": error, "id": 7})


# What a wallet asks a node


def test_a_lock_ends_when_its_output_is_spent(each: Node) -> None:
    raw, _ = each.prepare({each.sandbox.utxo[each.ticker].new_address("x"): 1})
    (spent,) = each.call("listlockunspent")
    assert {"txid": spent["txid"], "vout": spent["vout"]} == spent
    assert spent["txid"] in {row["txid"] for row in each.call("listunspent")}
    before = each.call("getbalance")
    each.call("sendrawtransaction", raw)
    assert each.call("listlockunspent") == []
    refusal = each.refused("lockunspent", True, [spent])
    assert (refusal.code, refusal.message) == (-8, "Invalid parameter, expected unspent output")
    assert 1 < before - each.call("getbalance") < 2


def test_change_goes_where_it_is_asked_to_go(node: Node) -> None:
    change, target = node.call("getnewaddress"), node.sandbox.utxo[node.ticker].new_address("x")
    raw = node.call("createrawtransaction", [], {target: 3})
    rate = node.call("getnetworkinfo")["relayfee"] * 2
    options = {"changeAddress": change, "changePosition": 0, "feeRate": str(rate)}
    funded = node.call("fundrawtransaction", raw, options)
    shown = node.call("decoderawtransaction", funded["hex"])
    assert funded["changepos"] == 0
    script = shown["vout"][0]["scriptPubKey"]
    assert change in (script.get("address"), *script.get("addresses", []))
    assert shown["vout"][1]["value"] == 3
    signed = node.call("signrawtransaction" if node.old else "signrawtransactionwithwallet", funded["hex"])
    vsize = len(decode(bytes.fromhex(signed["hex"])).serialize())
    assert rate * vsize / 2000 < funded["fee"] <= rate * vsize / 900
    assert node.refused("fundrawtransaction", raw, {"changePosition": 2}).code == -8
    assert node.refused("fundrawtransaction", raw, {"changeAddress": "nobody"}).code == -5
    assert node.refused("fundrawtransaction", raw, {"feeRate": "0"}).code == -4
    assert node.refused("fundrawtransaction", raw, "nonsense").code == -3


def test_older_nodes_speak_an_older_dialect(node: Node) -> None:
    target = node.sandbox.utxo[node.ticker].new_address("x")
    raw = node.call("createrawtransaction", [], {target: 3})
    if node.old:
        assert node.refused("createrawtransaction", [], [{target: 3}]).code == -3
        assert node.refused("signrawtransactionwithwallet", raw).status == 404
        assert node.refused("testmempoolaccept", [raw]).status == 404
    else:
        assert node.call("createrawtransaction", [], [{target: 3}]) == raw
        assert node.refused("signrawtransaction", raw).status == 404
    if node.ticker in ("BTC", "LTC"):
        both = {"fee_rate": "12.5", "feeRate": "0.0001"}
        assert node.call("fundrawtransaction", raw, {"fee_rate": "12.5"})["fee"] > 0
        assert node.refused("fundrawtransaction", raw, both).code == -8
        assert node.refused("fundrawtransaction", raw, {"fee_rate": "many"}).code == -3
    else:
        assert "fee_rate" in node.refused("fundrawtransaction", raw, {"fee_rate": "12.5"}).message


def test_a_node_knows_its_own_addresses(node: Node) -> None:
    own, other = node.call("getnewaddress"), node.sandbox.utxo[node.ticker].new_address("x")
    method = "validateaddress" if node.old else "getaddressinfo"
    assert [node.call(method, address)["ismine"] for address in (own, other)] == [True, False]
    if not node.old:
        assert node.refused("getaddressinfo", "nonsense").code == -5


def test_what_waits_is_shown_with_its_fee(each: Node) -> None:
    each.configure(mining=False)
    raw, txid = each.prepare({each.sandbox.utxo[each.ticker].new_address("x"): 1})
    assert each.refused("getmempoolentry", txid).code == -5
    each.call("sendrawtransaction", raw)
    entry = each.call("getmempoolentry", txid)
    fee = entry["fee"] if each.old else entry["fees"]["base"]
    assert fee == -each.call("gettransaction", txid)["fee"] > 0
    assert each.refused("getmempoolentry", "12").code == -8
    assert each.refused("getrawtransaction", ["x"], True).code == -8
    assert each.refused("gettransaction", 5).code == -8


def test_a_refund_from_outside_can_be_confirmed(each: Node) -> None:
    each.configure(mining=False)
    address = each.call("getnewaddress")
    txid = each.sandbox.utxo[each.ticker].pay(address, Decimal("0.75"))
    assert each.call("gettransaction", txid)["confirmations"] == 0
    assert "confirmations" not in each.call("getrawtransaction", txid, True)
    each.configure(mining=True)
    row = each.mined(txid)
    assert (row["amount"], row["details"][0]["address"]) == (Decimal("0.75"), address)
    shown = each.call("getrawtransaction", txid, True)
    script = shown["vout"][0]["scriptPubKey"]
    assert (shown["txid"], shown["vout"][0]["value"]) == (txid, Decimal("0.75"))
    assert address in (script.get("address"), *script.get("addresses", []))
    assert shown["confirmations"] >= 1
    assert (shown["blockhash"], shown["blocktime"]) == (row["blockhash"], row["blocktime"])
    assert each.call("gettransaction", txid)["blocktime"] == row["blocktime"]
    stranger = each.sandbox.utxo[each.ticker].pay(each.sandbox.utxo[each.ticker].new_address("x"), Decimal(1))
    assert each.refused("gettransaction", stranger).code == -5
    assert each.call("getrawtransaction", stranger, True)["vout"][0]["value"] == 1


# Chains as such


def test_a_chain_is_built_when_it_is_first_used() -> None:
    built: list[str] = []

    def build(coin: Any) -> UtxoChain:
        built.append(coin.ticker)
        return UtxoChain(coin, TruthBook(time.time), time.time)

    chains = UtxoChains(build)
    assert (list(chains), len(chains), "BTC" in chains, "XMR" in chains) == (list(COINS), 5, True, False)
    chains.tick("BTC")
    assert chains.get("XMR") is None
    assert built == []
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: chains["LTC"], range(50)))
    assert built == ["LTC"]
    assert all(chain is found[0] for chain in found)


def test_a_payment_to_nowhere_is_refused(own: Sandbox) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        own.utxo["BTC"].pay("nowhere", Decimal(1))


# The token of the EVM chain


def evm(sandbox: Sandbox, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = requests.post(f"{sandbox.url}/evm", json=body, timeout=5).json()
    return answer.get("result", answer.get("error"))


def token_balance(sandbox: Sandbox, address: str) -> int:
    data = "0x70a08231" + "0" * 24 + address[2:].lower()
    return int(evm(sandbox, "eth_call", {"to": USDT_CONTRACT, "data": data}, "latest"), 16)


def send_evm(sandbox: Sandbox, **fields: Any) -> str:
    transaction = {"to": USDT_CONTRACT, "value": 0, "gas": 100_000, "nonce": 0, "chainId": EVM_CHAIN_ID}
    signed = Account.from_key(EVM_WALLET_KEY).sign_transaction(transaction | {"gasPrice": 10**10} | fields)
    return str(evm(sandbox, "eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))


def receipt(sandbox: Sandbox, txid: str) -> Any:
    return eventually(lambda: evm(sandbox, "eth_getTransactionReceipt", txid))


def test_a_token_transfer_moves_tokens_and_leaves_a_log(own: Sandbox) -> None:
    address = own.chain.new_address("somebody")
    data = "0x" + transfer_call(address, 12_500_000).hex()
    assert evm(own, "eth_call", {"to": USDT_CONTRACT, "data": "0x313ce567"}, "latest") == f"0x{6:064x}"
    call = {"from": EVM_WALLET_ADDRESS, "to": USDT_CONTRACT, "data": data}
    gas = int(evm(own, "eth_estimateGas", call), 16)
    before = token_balance(own, EVM_WALLET_ADDRESS)
    txid = send_evm(own, data=data, gas=gas)
    row = receipt(own, txid)
    assert row["status"] == "0x1"
    assert int(row["gasUsed"], 16) == gas
    assert row["logs"][0]["topics"][0] == "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert own.chain.received_token(address) == [(txid, Decimal("12.5"))]
    assert own.chain.received(address) == []
    assert token_balance(own, EVM_WALLET_ADDRESS) == before - 12_500_000
    paid = own.chain.pay_token(address, Decimal(3))
    eventually(lambda: own.chain.received_token(address)[1:] == [(paid, Decimal(3))])


def test_a_token_transfer_without_funds_or_gas_fails_on_the_chain(own: Sandbox) -> None:
    address = own.chain.new_address("somebody")
    much = "0x" + transfer_call(address, 10**30).hex()
    assert evm(own, "eth_estimateGas", {"from": EVM_WALLET_ADDRESS, "to": USDT_CONTRACT, "data": much})["code"] == 3
    poor = send_evm(own, data=much)
    hungry = send_evm(own, data="0x" + transfer_call(address, 1).hex(), gas=23_000, nonce=1)
    assert [receipt(own, txid)["status"] for txid in (poor, hungry)] == ["0x0", "0x0"]
    assert own.chain.received_token(address) == []


def test_calldata_travels_with_the_value(own: Sandbox) -> None:
    address = own.chain.new_address("vault")
    txid = send_evm(own, to=address, value=10**17, data="0x" + b"=:b:bc1q".hex())
    receipt(own, txid)
    assert own.chain.received_with_data(address) == [(txid, Decimal("0.1"), b"=:b:bc1q")]


def test_the_account_chain_can_be_reorganised_too(own: Sandbox) -> None:
    address = own.chain.new_address("somebody")
    txid = send_evm(own, to=address, value=10**18)
    receipt(own, txid)
    with own._lock:  # no block between dropping and looking
        own.chain.reorganise(10_000)
        assert own.chain.received(address) == []
        assert own.chain.find(txid)[1] is None  # type: ignore[index]
    receipt(own, txid)
    assert own.chain.received(address) == [(txid, Decimal(1))]
    assert evm(own, "eth_getTransactionCount", EVM_WALLET_ADDRESS, "latest") == "0x1"


def test_the_switches_of_the_account_chain(own: Sandbox) -> None:
    url = f"{own.url}/_sandbox/services/evm"
    address = own.chain.new_address("somebody")
    assert requests.put(url, json={"reject": "policy"}, timeout=5).status_code == 200
    assert "underpriced" in send_evm(own, to=address, value=1)
    requests.put(url, json={"reject": None, "already_known": False, "queue_full": 1}, timeout=5)
    assert requests.post(f"{own.url}/evm", json={}, timeout=5).status_code == 503
    txid = send_evm(own, to=address, value=1)
    assert send_evm(own, to=address, value=1) == txid
