"""The THORChain twin, held against its fact sheet: deposits really signed and mined on the sandbox's chains."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
from eth_account import Account
from eth_utils.address import to_checksum_address

from converter.sandbox.credentials import (
    BITCOIND_PASSWORD,
    BITCOIND_USER,
    EVM_CHAIN_ID,
    EVM_WALLET_ADDRESS,
    EVM_WALLET_KEY,
    USDT_CONTRACT,
)
from converter.sandbox.server import Sandbox
from converter.sandbox.twins.thorchain_memo import BadMemo, parse_memo
from converter.sandbox.twins.thorchain_pools import UNIT, cross

ETH_ADDRESS = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"
BTC_ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
BCH_ADDRESS = "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"
UNKNOWN = "AB" * 32


class Pool:
    """A mining pool's backend: reads the node, pays from its wallets."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.base = sandbox, f"{sandbox.url}/thorchain/thorchain"
        self._nonce = 0

    def get(self, path: str, **params: Any) -> Any:
        answer = requests.get(f"{self.base}/{path}", params=params, timeout=5)
        return answer.status_code, json.loads(answer.text, parse_float=pytest.fail)

    def ok(self, path: str, **params: Any) -> Any:
        status, body = self.get(path, **params)
        assert status == 200, body
        return body

    def quote(self, source: str, target: str, amount: int, **params: Any) -> Any:
        return self.ok("quote/swap", from_asset=source, to_asset=target, amount=amount, **params)

    def bitcoin(self, method: str, *params: Any, coin: str = "btc") -> Any:
        body = {"id": 1, "method": method, "params": list(params)}
        auth = (BITCOIND_USER, BITCOIND_PASSWORD)
        answer = requests.post(f"{self.sandbox.url}/{coin}", json=body, auth=auth, timeout=5).json()
        assert answer["error"] is None, answer
        return answer["result"]

    def deposit(self, vault: str, amount: str, memo: str, change: int = 1) -> str:
        """Pay bitcoin to a vault, with the change at a place among the outputs; the swap's id."""
        outputs = {vault: amount} | ({"data": memo.encode().hex()} if memo else {})
        raw = self.bitcoin("createrawtransaction", [], outputs)
        funded = self.bitcoin("fundrawtransaction", raw, {"changePosition": change, "lockUnspents": True})["hex"]
        signed = self.bitcoin("signrawtransactionwithwallet", funded)["hex"]
        return str(self.bitcoin("sendrawtransaction", signed)).upper()

    def deposit_ether(self, vault: str, wei: int, memo: str) -> str:
        transaction = {
            "to": to_checksum_address(vault),
            "value": wei,
            "data": "0x" + memo.encode().hex(),
            "gas": 60_000,
        }
        transaction |= {"nonce": self._nonce, "chainId": EVM_CHAIN_ID, "gasPrice": 10**10}
        self._nonce += 1
        raw = "0x" + bytes(Account.from_key(EVM_WALLET_KEY).sign_transaction(transaction).raw_transaction).hex()
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
        return str(requests.post(f"{self.sandbox.url}/evm", json=body, timeout=5).json()["result"])[2:].upper()

    def status(self, txid: str) -> Any:
        return self.ok(f"tx/status/{txid}")

    def out(self, txid: str) -> list[Any]:
        rows = wait(lambda: self.status(txid).get("out_txs"))
        assert isinstance(rows, list)
        return rows

    def configure(self, **settings: Any) -> requests.Response:
        return requests.put(f"{self.sandbox.url}/_sandbox/services/thorchain", json=settings, timeout=5)

    def vault(self, chain: str = "BTC") -> str:
        return next(str(row["address"]) for row in self.ok("inbound_addresses") if row["chain"] == chain)


def wait(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.01)
    return found


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Sandbox(speed=20, services=["thorchain"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Pool(sandbox)
        assert not sandbox.problems


# Formula and memos


def test_the_formula_gives_the_numbers_of_the_sheet() -> None:
    rune, _ = cross(50_000_000, 80_000_000_000, 6_666_666_666_666_667)
    assert rune == 4_161_463_212_079
    assert cross(rune, 3_000_000_000_000_000, 900_000_000_000)[0] == 1_244_982_601


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"=:e:{ETH_ADDRESS}:1212499999", ("ETH.ETH", ETH_ADDRESS, None, 1212499999, 1)),
        (f"SWAP:BTC.BTC:{BTC_ADDRESS}/{ETH_ADDRESS}:1212e6", ("BTC.BTC", BTC_ADDRESS, ETH_ADDRESS, 1212 * 10**6, 1)),
        (f"s:b:{BTC_ADDRESS}:0/1/4:aff:50", ("BTC.BTC", BTC_ADDRESS, None, 0, 4)),
        (f"=:BCH.BCH:{BCH_ADDRESS}:5", ("BCH.BCH", BCH_ADDRESS, None, 5, 1)),
        (f"=:ETH.USDT-31EC7:{ETH_ADDRESS}", (f"ETH.USDT-{USDT_CONTRACT.upper()}", ETH_ADDRESS, None, 0, 1)),
        (f"=:ETH.USDT:{ETH_ADDRESS}", (f"ETH.USDT-{USDT_CONTRACT.upper()}", ETH_ADDRESS, None, 0, 1)),
    ],
)
def test_memos_are_read_part_by_part(text: str, expected: tuple[Any, ...]) -> None:
    memo = parse_memo(text)
    assert (memo.target.name, memo.destination, memo.refund, memo.limit, memo.parts) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "=:e",
        "=:XMR.XMR:abc",
        f"=::{ETH_ADDRESS}",
        f"=:ETH.USDT-31EC8:{ETH_ADDRESS}",
        f"=:b:{ETH_ADDRESS}",
        f"=:e:{ETH_ADDRESS}:x",
        f"=:e:{ETH_ADDRESS}:1/x",
        f"=:e:{ETH_ADDRESS}:1:::conversion-7",
        f"=:e:{ETH_ADDRESS}:{'0' * 250}",
    ],
)
def test_bad_memos_are_refused(text: str) -> None:
    with pytest.raises(BadMemo):
        parse_memo(text)


# Reading


def test_the_node_lists_chains_pools_and_switches(pool: Pool) -> None:
    rows = {row["chain"]: row for row in pool.ok("inbound_addresses")}
    assert set(rows) == {"BTC", "LTC", "BCH", "DOGE", "ETH"}
    assert (rows["BTC"]["dust_threshold"], rows["BTC"]["halted"]) == ("10000", False)
    pools = pool.ok("pools")
    assert all(row["status"] == "Available" and row["balance_rune"].isdigit() for row in pools)
    assert pool.ok("pool/BTC.BTC")["short_code"] == "b"
    assert pool.get("pool/XMR.XMR")[0] == 400
    assert pool.ok("mimir")["HALTTRADING"] == 0
    height = pool.ok("lastblock")[0]["thorchain"]
    wait(lambda: pool.ok("lastblock")[0]["thorchain"] > height)
    pool.configure(frozen=True)
    frozen = pool.ok("lastblock")
    time.sleep(0.5)  # a block comes each 0.3 s
    assert pool.ok("lastblock") == frozen
    assert pool.ok("ping") == {"ping": "pong"}


def test_a_quote_carries_memo_limit_and_fees(pool: Pool) -> None:
    quote = pool.quote("BTC.BTC", "ETH.ETH", UNIT // 2, destination=ETH_ADDRESS, tolerance_bps=300)
    expected, fees = int(quote["expected_amount_out"]), quote["fees"]
    memo = parse_memo(quote["memo"])
    assert quote["memo"] == f"=:e:{ETH_ADDRESS}:{memo.limit}"
    assert 0 < memo.limit < expected
    fair = int(pool.sandbox.market.rate("BTC", "ETH") * UNIT / 2)
    assert abs(expected / fair - 1) < 0.02
    assert int(fees["total"]) == int(fees["liquidity"]) + int(fees["outbound"]) + int(fees["affiliate"])
    assert quote["inbound_address"] == pool.vault()
    assert 880 < quote["expiry"] - time.time() <= 900
    assert quote["recommended_min_amount_in"].isdigit()
    assert "memo" not in pool.quote("BTC.BTC", "ETH.ETH", UNIT // 2)
    none = {"destination": ETH_ADDRESS, "liquidity_tolerance_bps": 0}
    assert pool.quote("BTC.BTC", "ETH.ETH", UNIT, **none)["memo"] == f"=:e:{ETH_ADDRESS}"
    assert pool.quote("BTC.BTC", "ETH.ETH", UNIT, destination=ETH_ADDRESS)["memo"] == f"=:e:{ETH_ADDRESS}"


def test_streaming_gives_more_for_large_amounts(pool: Pool) -> None:
    at_once = pool.quote("BTC.BTC", "ETH.ETH", 20 * UNIT)
    wish = {
        "destination": ETH_ADDRESS,
        "liquidity_tolerance_bps": 100,
        "streaming_interval": 1,
        "streaming_quantity": 10,
    }
    slow = pool.quote("BTC.BTC", "ETH.ETH", 20 * UNIT, **wish)
    assert int(slow["expected_amount_out"]) > int(at_once["expected_amount_out"])
    assert slow["memo"].endswith("/1/10")
    assert slow["streaming_swap_blocks"] == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"from_asset": ""}, "missing from_asset parameter"),
        ({"amount": ""}, "missing Amount parameter"),
        ({"amount": "1.5"}, "bad amount"),
        ({"amount": "10000"}, "amount less than dust threshold"),
        ({"to_asset": "XMR.XMR"}, "pool does not exist"),
        ({"to_asset": "ether"}, "bad to asset"),
        ({"to_asset": "ETH.USDT-31EC7"}, "pool does not exist"),
        ({"destination": BTC_ADDRESS}, "bad destination address"),
        ({"refund_address": ETH_ADDRESS}, "bad refund address"),
        ({"tolerance_bps": "10000"}, "tolerance basis points must be less than 10000"),
        ({"tolerance_bps": "1", "liquidity_tolerance_bps": "1"}, "must only include one of"),
        ({"affiliate_bps": "1001"}, "total affiliate fee must not be more than 1000 bps"),
        ({"refund_address": BTC_ADDRESS, "tolerance_bps": "100"}, "generated memo too long for source chain"),
        ({"from_asset": "DOGE.DOGE", "amount": "150000000"}, "invariant broken"),
        ({"amount": str(300 * UNIT), "tolerance_bps": "100"}, "less than price limit"),
    ],
)
def test_bad_quotes_are_refused_in_the_documented_words(pool: Pool, change: dict[str, str], message: str) -> None:
    wish = {"from_asset": "BTC.BTC", "to_asset": "ETH.ETH", "amount": str(UNIT), "destination": ETH_ADDRESS}
    status, body = pool.get("quote/swap", **wish | change)
    assert status in (400, 500)
    assert message in body["message"]
    pool.configure(error_shape="old")
    assert message in pool.get("quote/swap", **wish | change)[1]["error"]


# The way of a swap


def test_a_deposit_is_swapped_and_paid_out(pool: Pool) -> None:
    pool.configure(slow_outbound=True)
    quote = pool.quote("BTC.BTC", "ETH.ETH", UNIT // 2, destination=ETH_ADDRESS, tolerance_bps=300)
    txid = pool.deposit(quote["inbound_address"], "0.5", quote["memo"])
    planned = wait(lambda: pool.status(txid).get("planned_out_txs"))
    assert planned[0]["refund"] is False
    status = pool.status(txid)
    assert status["tx"]["memo"] == quote["memo"]
    assert status["tx"]["coins"] == [{"asset": "BTC.BTC", "amount": "50000000"}]
    assert status["stages"]["outbound_signed"]["completed"] is False
    pool.configure(slow_outbound=False)
    (out,) = pool.out(txid)
    assert out["memo"] == f"OUT:{txid}"
    assert out["coins"] == [{"asset": "ETH.ETH", "amount": quote["expected_amount_out"]}]
    wait(lambda: pool.status(txid)["stages"]["outbound_signed"]["completed"])
    amount = Decimal(quote["expected_amount_out"]) / UNIT
    wait(lambda: pool.sandbox.chain.received(ETH_ADDRESS) == [("0x" + out["id"].lower(), amount)])
    (delivery,) = pool.sandbox.truth.deliveries
    assert (delivery["order_id"], delivery["reference"]) == (txid, None)
    assert (delivery["from_coin"], delivery["from_amount"]) == ("BTC", "0.5")
    assert Decimal(delivery["amount"]) == amount
    assert pool.ok(f"tx/{txid}")["observed_tx"]["status"] == "done"


def test_ether_brings_its_memo_in_the_calldata(pool: Pool) -> None:
    quote = pool.quote("ETH.ETH", "BTC.BTC", UNIT, destination=BTC_ADDRESS, liquidity_tolerance_bps=100)
    txid = pool.deposit_ether(quote["inbound_address"], 10**18, quote["memo"])
    (out,) = pool.out(txid)
    assert out["coins"] == [{"asset": "BTC.BTC", "amount": quote["expected_amount_out"]}]
    amount = Decimal(quote["expected_amount_out"]) / UNIT
    wait(lambda: pool.sandbox.utxo["BTC"].received(BTC_ADDRESS) == [(out["id"].lower(), amount)])


def test_tokens_can_be_the_target(pool: Pool) -> None:
    asset = f"ETH.USDT-{USDT_CONTRACT.upper()}"
    quote = pool.quote("BTC.BTC", asset, UNIT // 100, destination=ETH_ADDRESS)
    txid = pool.deposit(pool.vault(), "0.01", f"=:ETH.USDT-31EC7:{ETH_ADDRESS}")
    pool.out(txid)
    amount = Decimal(int(quote["expected_amount_out"]) // 100) / 10**6
    wait(lambda: [paid for _, paid in pool.sandbox.chain.received_token(ETH_ADDRESS)] == [amount])


def test_an_unknown_hash_is_no_error(pool: Pool) -> None:
    status = pool.status(UNKNOWN)
    assert set(status) == {"stages"}
    assert status["stages"]["inbound_observed"]["completed"] is False
    code, body = pool.get(f"tx/{UNKNOWN}")
    assert code == 404
    assert "doesn't exist" in body["message"]


@pytest.mark.parametrize(
    "memo", ["", "nonsense", f"=:e:{ETH_ADDRESS}:{10**15}"], ids=["no memo", "bad memo", "below the limit"]
)
def test_what_cannot_be_swapped_goes_back(pool: Pool, memo: str) -> None:
    txid = pool.deposit(pool.vault(), "0.5", memo)
    (out,) = pool.out(txid)
    assert out["memo"] == f"REFUND:{txid}"
    assert out["coins"] == [{"asset": "BTC.BTC", "amount": str(UNIT // 2 - 6000)}]
    raw = pool.bitcoin("getrawtransaction", txid.lower(), True)
    spent = pool.bitcoin("getrawtransaction", raw["vin"][0]["txid"], True)["vout"][raw["vin"][0]["vout"]]
    assert out["to_address"] == spent["scriptPubKey"]["address"]
    assert pool.sandbox.truth.deliveries == []
    assert pool.sandbox.truth.executions[-1]["operation"] == "refund"


def test_the_limit_holds_for_what_reaches_the_address(pool: Pool) -> None:
    expected = int(pool.quote("ETH.ETH", "BTC.BTC", UNIT)["expected_amount_out"])
    taken = pool.deposit_ether(pool.vault("ETH"), 10**18, f"=:b:{BTC_ADDRESS}:{expected}")
    assert pool.out(taken)[0]["coins"] == [{"asset": "BTC.BTC", "amount": str(expected)}]
    refused = pool.deposit_ether(pool.vault("ETH"), 10**18, f"=:b:{BTC_ADDRESS}:{expected + 1}")
    assert pool.out(refused)[0]["memo"] == f"REFUND:{refused}"


def test_a_deposit_after_its_quote_goes_back(pool: Pool) -> None:
    pool.configure(quote_seconds=0)
    quote = pool.quote("BTC.BTC", "ETH.ETH", UNIT // 2, destination=ETH_ADDRESS, tolerance_bps=300)
    wait(lambda: time.time() > quote["expiry"] + 1)
    txid = pool.deposit(quote["inbound_address"], "0.5", quote["memo"])
    assert pool.out(txid)[0]["memo"] == f"REFUND:{txid}"


def test_a_deposit_that_does_not_pay_the_vault_first_is_swallowed(pool: Pool) -> None:
    lost = pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}", change=0)
    pool.out(pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}"))
    assert set(pool.status(lost)) == {"stages"}


def test_what_is_paid_to_the_router_is_nobody_s(pool: Pool) -> None:
    (row,) = [row for row in pool.ok("inbound_addresses") if row["chain"] == "ETH"]
    assert row["router"] != row["address"] == row["address"].lower()
    lost = pool.deposit_ether(row["router"], 10**18, f"=:b:{BTC_ADDRESS}")
    pool.out(pool.deposit_ether(row["address"], 10**18, f"=:b:{BTC_ADDRESS}"))
    assert set(pool.status(lost)) == {"stages"}


def test_only_the_upper_case_hash_is_known(pool: Pool) -> None:
    txid = pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}")
    pool.out(txid)
    for other in (txid.lower(), f"0x{txid}"):
        assert set(pool.status(other)) == {"stages"}


def test_a_refund_address_in_the_memo_is_used(pool: Pool) -> None:
    txid = pool.deposit_ether(pool.vault("ETH"), 10**18, f"=:b:{BTC_ADDRESS}/{ETH_ADDRESS}:{10**15}")
    (out,) = pool.out(txid)
    assert (out["to_address"], out["memo"]) == (ETH_ADDRESS, f"REFUND:{txid}")


def test_dust_is_swallowed(pool: Pool) -> None:
    dust = pool.deposit(pool.vault(), "0.0001", f"=:e:{ETH_ADDRESS}")
    pool.out(pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}"))
    assert set(pool.status(dust)) == {"stages"}


# Switches


def test_a_halted_chain_is_shown_and_its_deposits_wait(pool: Pool) -> None:
    assert pool.configure(halted=["BTC"]).status_code == 200
    assert {row["chain"]: row["halted"] for row in pool.ok("inbound_addresses")}["BTC"] is True
    assert pool.ok("mimir")["HALTBTCCHAIN"] == 1
    code, body = pool.get("quote/swap", from_asset="BTC.BTC", to_asset="ETH.ETH", amount=UNIT)
    assert (code, body["code"]) == (500, 2)
    txid = pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}")
    wait(lambda: pool.bitcoin("gettransaction", txid.lower())["confirmations"] > 1)
    assert set(pool.status(txid)) == {"stages"}
    pool.configure(halted=[])
    assert pool.out(txid)[0]["memo"] == f"OUT:{txid}"


@pytest.mark.parametrize("settings", [{"global_paused": True}, {"paused": ["ETH"]}, {"ending": "refund"}])
def test_without_trading_deposits_go_back(pool: Pool, settings: dict[str, Any]) -> None:
    pool.configure(**settings)
    txid = pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}")
    assert pool.out(txid)[0]["memo"] == f"REFUND:{txid}"


def test_after_a_churn_the_old_vault_is_watched_for_a_while_only(pool: Pool) -> None:
    old = pool.vault()
    pool.configure(churn=True)
    assert pool.vault() != old
    assert pool.out(pool.deposit(old, "0.5", f"=:e:{ETH_ADDRESS}"))
    pool.configure(old_vault_ms=0)
    lost = pool.deposit(old, "0.5", f"=:e:{ETH_ADDRESS}")
    assert pool.out(pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}"))
    assert set(pool.status(lost)) == {"stages"}


def test_a_swap_can_be_partly_refunded_or_lost(pool: Pool) -> None:
    pool.configure(ending="partial")
    outs = pool.out(pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}"))
    assert [row["memo"][:3] for row in outs] == ["OUT", "REF"]
    pool.configure(ending="lost")
    txid = pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}")
    wait(lambda: pool.status(txid)["stages"].get("swap_finalised", {}).get("completed"))
    assert "planned_out_txs" not in pool.status(txid)


def test_settings_are_checked_and_shown(pool: Pool) -> None:
    for wrong in ({"halted": ["XMR"]}, {"ending": "never"}, {"churn": 1}, {"outbound_delay_ms": -1}, {"nothing": 1}):
        answer = pool.configure(**wrong)
        assert answer.status_code == 400
        assert "accepted" in answer.json()["error"]
    shown = requests.get(f"{pool.sandbox.url}/_sandbox/services/thorchain", timeout=5).json()
    assert shown["vaults"]["BTC"] == pool.vault()
    assert EVM_WALLET_ADDRESS not in shown["vaults"].values()


def test_wrong_rates_are_quoted_but_not_swapped(pool: Pool) -> None:
    honest = int(pool.quote("BTC.BTC", "ETH.ETH", UNIT // 2)["expected_amount_out"])
    fault = {"kind": "wrong_rate", "factor": "1.1"}
    requests.put(f"{pool.sandbox.url}/_sandbox/faults/thorchain", json=fault, timeout=5)
    assert int(pool.quote("BTC.BTC", "ETH.ETH", UNIT // 2)["expected_amount_out"]) > honest * 1.09
    txid = pool.deposit(pool.vault(), "0.5", f"=:e:{ETH_ADDRESS}")
    assert pool.out(txid)[0]["coins"][0]["amount"] == str(honest)
