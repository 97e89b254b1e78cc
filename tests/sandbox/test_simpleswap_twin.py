"""The SimpleSwap twin, held against its fact sheet: over the wire, and with a clock of our own where time matters."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from decimal import ROUND_FLOOR, Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import requests

from converter.domain.addresses import check_address
from converter.domain.coins import asset
from converter.sandbox.chain import EvmChain
from converter.sandbox.credentials import SIMPLESWAP_API_KEY, SIMPLESWAP_WEBHOOK_SECRET
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import TwinMount
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, World
from converter.sandbox.twins.simpleswap import SimpleSwapTwin

BTC_ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"
ETH_BTC = {"tickerFrom": "eth", "networkFrom": "eth", "tickerTo": "btc", "networkTo": "btc"}
BTC_ETH = {"tickerFrom": "btc", "networkFrom": "btc", "tickerTo": "eth", "networkTo": "eth"}
FEE = Decimal("0.00006")


class Client:
    """A stranger's client: a base address, a key, and nothing else."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._session = requests.Session()

    def call(self, method: str, path: str, key: str | None = SIMPLESWAP_API_KEY, **kw: Any) -> Any:
        headers = {} if key is None else {"x-api-key": key}
        url = f"{self.sandbox.url}/simpleswap/v3{path}"
        answer = self._session.request(method, url, headers=headers, timeout=5, **kw)
        return SimpleNamespace(status=answer.status_code, body=answer.json(), text=answer.text)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, params=query)
        assert answer.status == 200, answer.text
        return answer.body["result"]

    def create(self, **changes: Any) -> Any:
        order = ETH_BTC | {"amount": "1.5", "fixed": False, "reverse": False, "addressTo": BTC_ADDRESS, "rateId": None}
        return self.call("POST", "/exchanges", json=order | {"customFee": None} | changes)

    def order(self, **changes: Any) -> dict[str, Any]:
        answer = self.create(**changes)
        assert answer.status == 200, answer.text
        return answer.body["result"]

    def until(self, order_id: str, status: str) -> dict[str, Any]:
        return wait(lambda: row if (row := self.get(f"/exchanges/{order_id}"))["status"] == status else None)

    def configure(self, **settings: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/services/simpleswap", json=settings, timeout=5)
        assert answer.status_code == 200, answer.text

    def fault(self, **fault: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/faults/simpleswap", json=fault, timeout=5)
        assert answer.status_code == 200, answer.text


class Offline:
    """The twin alone, on a clock that only the test moves; callbacks are kept."""

    def __init__(self) -> None:
        self.time = 1_767_225_600.0
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.truth = TruthBook(self.now)
        self.chain = EvmChain(self.truth, self.now)
        market = SeededMarket(7, self.now)
        market.configure({"step_ms": 10**9})
        world = World(market, self.truth, self.chain, self.now, callback=self._post)
        self.twin = SimpleSwapTwin(world)
        self._mount = TwinMount(self.twin)

    def now(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.chain.tick()
        self.twin.tick()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        raw = urlencode(query)
        headers = {"x-api-key": SIMPLESWAP_API_KEY}
        request = Request(method, f"/v3{path}", raw, parse_qs(raw), headers, json.dumps(body or {}).encode())
        answer = self._mount.handle(request)
        return SimpleNamespace(status=answer.status, body=answer.body)

    def _post(self, _service_id: str, url: str, _headers: Any, body: bytes) -> None:
        self.posted.append((url, json.loads(body)))


def wait(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError("nothing happened in time")


@pytest.fixture
def client() -> Iterator[Client]:
    with Sandbox(speed=20, services=["simpleswap"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture(scope="module")
def calm() -> Iterator[Client]:
    """One sandbox for all tests in which nothing is made."""
    with Sandbox(speed=20, services=["simpleswap"]) as sandbox:
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture
def offline() -> Offline:
    return Offline()


def test_a_funded_exchange_is_paid_out_and_delivered_once(client: Client) -> None:
    order = client.order(userRefundAddress=ETH_ADDRESS)
    assert (order["status"], order["type"], order["addressTo"]) == ("waiting", "floating", BTC_ADDRESS)
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))

    row = client.until(order["id"], "finished")

    (payin,) = client.sandbox.chain.received(order["addressFrom"])
    assert (row["amountFrom"], row["txFrom"]) == ("1.5", payin[0])
    (delivery,) = client.sandbox.truth.deliveries
    assert delivery | {"time": ""} == {
        "service_id": "simpleswap",
        "order_id": order["id"],
        "reference": None,
        "from_coin": "ETH",
        "from_amount": delivery["from_amount"],
        "to_coin": "BTC",
        "amount": delivery["amount"],
        "address": BTC_ADDRESS,
        "txid": row["txTo"],
        "time": "",
    }
    assert Decimal(delivery["amount"]) == Decimal(row["amountTo"])
    (executed,) = [row for row in client.sandbox.truth.executions if row["service_id"] == "simpleswap"]
    assert (executed["operation"], executed["order_id"], executed["address"]) == ("order", order["id"], BTC_ADDRESS)


def test_an_exchange_passes_every_stage_of_the_documented_life(offline: Offline) -> None:
    body = ETH_BTC | {"amount": "2", "addressTo": BTC_ADDRESS}
    order = offline.call("POST", "/exchanges", body).body["result"]
    seen = []
    for step in range(60):
        if step == 10:
            offline.chain.pay(order["addressFrom"], Decimal(2))
        offline.pass_time(0.1)
        seen.append(offline.call("GET", f"/exchanges/{order['id']}").body["result"]["status"])
    assert list(dict.fromkeys(seen)) == ["waiting", "confirming", "exchanging", "sending", "finished"]


def test_bitcoin_in_and_ether_out_move_on_the_sandbox_s_chains(client: Client) -> None:
    order = client.order(**BTC_ETH, amount="0.1", addressTo=ETH_ADDRESS)
    client.sandbox.utxo["BTC"].pay(order["addressFrom"], Decimal("0.1"))
    row = client.until(order["id"], "finished")
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert client.sandbox.chain.received(ETH_ADDRESS) == [(row["txTo"], Decimal(row["amountTo"]))]


def test_a_token_payout_arrives_as_a_token(client: Client) -> None:
    order = client.order(tickerTo="usdt", networkTo="eth", addressTo=ETH_ADDRESS)
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    row = client.until(order["id"], "finished")
    wait(lambda: client.sandbox.chain.received_token(ETH_ADDRESS))
    assert client.sandbox.chain.received_token(ETH_ADDRESS) == [(row["txTo"], Decimal(row["amountTo"]))]


def test_a_deposit_without_a_chain_is_told_over_the_control_interface(client: Client) -> None:
    order = client.order(tickerFrom="usdt", networkFrom="trx", amount="500")
    client.configure(deposits={order["id"]: "500"})
    assert client.until(order["id"], "finished")["amountFrom"] == "500"


def test_a_quote_is_market_less_margin_and_network_fee(client: Client) -> None:
    market = client.sandbox.market
    answer = client.get("/estimates", **ETH_BTC, amount="1.5", fixed="false", reverse="false")
    factor = market.rate("ETH", "BTC") * Decimal("0.995") * market.wobble("simpleswap", Decimal("0.004"))
    expected = (Decimal("1.5") * factor - FEE).quantize(Decimal("0.00000001"), ROUND_FLOOR)
    assert Decimal(answer["estimatedAmount"]) == expected
    assert isinstance(answer["estimatedAmount"], str)
    assert (answer["rateId"], answer["validUntil"]) == (None, None)


def test_a_reverse_quote_says_what_must_be_sent(client: Client) -> None:
    needed = client.get("/estimates", **ETH_BTC, amount="0.05", reverse="true")["estimatedAmount"]
    forward = client.get("/estimates", **ETH_BTC, amount=needed)["estimatedAmount"]
    assert 0 <= Decimal(forward) - Decimal("0.05") <= Decimal("0.00000001")
    order = client.order(amount="0.05", reverse=True)
    assert (order["amountFrom"], order["amountTo"]) == (needed, "0.05")


@pytest.mark.parametrize("key", [None, "", "00000000-0000-4000-8000-000000000000"])
def test_without_the_right_key_nothing_is_answered(calm: Client, key: str | None) -> None:
    answer = calm.call("GET", "/currencies", key)
    assert answer.status == 401
    assert (answer.body["code"], answer.body["error"]) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"addressTo": "bc1nothing"}, 400),
        ({"addressTo": ""}, 400),
        ({"userRefundAddress": BTC_ADDRESS}, 400),
        ({"amount": "1e1"}, 400),
        ({"amount": None}, 400),
        ({"fixed": "maybe"}, 400),
        ({"tickerTo": ""}, 400),
        ({"tickerTo": "gold"}, 404),
        ({"networkTo": "bsc"}, 404),
        ({"amount": "0.0001"}, 422),
        ({"tickerTo": "eth", "networkTo": "eth", "addressTo": ETH_ADDRESS}, 422),
        ({"fixed": True}, 400),
        ({"fixed": True, "rateId": "2f4f6c1e-8f0a-4d0b-9d1c-3a0f7f1f2c55"}, 422),
    ],
)
def test_what_is_wrong_with_an_order_is_said_and_nothing_is_made(
    calm: Client, changes: dict[str, Any], status: int
) -> None:
    answer = calm.create(**changes)
    assert (answer.status, answer.body["code"]) == (status, status)
    assert answer.body["message"]
    assert answer.body["traceId"]
    assert calm.get("/exchanges") == []
    assert calm.sandbox.truth.executions == []


def test_a_body_that_is_no_json_object_is_refused(calm: Client) -> None:
    for data in (b"amount=1", b"[]", b""):
        assert calm.call("POST", "/exchanges", data=data).status == 400


def test_an_amount_outside_the_range_is_told_with_the_range(client: Client) -> None:
    least = client.get("/ranges", **ETH_BTC)["min"]
    assert client.get("/ranges", **ETH_BTC)["max"] is None
    answer = client.call("GET", "/estimates", params=ETH_BTC | {"amount": "0.001"})
    assert answer.body["description"] == f"Amount does not fall within the range. Min: {least} Max: null"
    assert client.call("GET", "/exchanges/check", params=ETH_BTC | {"amount": "0.001"}).status == 422
    assert client.call("GET", "/exchanges/check", params=ETH_BTC | {"amount": least}).status == 200


def test_the_fixed_flow_has_limits_of_its_own(client: Client) -> None:
    floating, fixed = (client.get("/ranges", **ETH_BTC, fixed=flag) for flag in ("false", "true"))
    assert Decimal(fixed["min"]) > Decimal(floating["min"])
    assert Decimal(fixed["max"]) == 500
    reverse = client.get("/ranges", **ETH_BTC, fixed="true", reverse="true")
    assert Decimal(reverse["max"]) < 50


def test_a_minimum_may_lie_above_the_published_one(client: Client) -> None:
    client.configure(minimum={"ETH": "1"}, minimum_factor="1.005")
    assert client.get("/ranges", **ETH_BTC)["min"] == "1"
    assert client.create(amount="1").status == 422
    assert client.create(amount="1.01").status == 200


def fixed_rate(client: Client, amount: str = "1.5") -> dict[str, Any]:
    quote = client.get("/estimates", **ETH_BTC, amount=amount, fixed="true")
    assert re.fullmatch(r"[0-9a-f-]{36}", quote["rateId"])
    assert quote["validUntil"].endswith("Z")
    return quote


def test_a_fixed_exchange_pays_what_it_promised_though_the_market_moves(client: Client) -> None:
    quote = fixed_rate(client)
    order = client.order(fixed=True, rateId=quote["rateId"])
    assert (order["type"], order["amountTo"]) == ("fixed", quote["estimatedAmount"])
    assert order["validUntil"] == quote["validUntil"]
    client.sandbox.market.configure({"prices": {"ETH": "1000"}})
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    assert client.until(order["id"], "finished")["amountTo"] == quote["estimatedAmount"]


def test_a_floating_exchange_is_paid_at_the_price_of_the_moment(client: Client) -> None:
    order = client.order()
    client.sandbox.market.configure({"prices": {"ETH": "1000"}})
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    paid = client.until(order["id"], "finished")["amountTo"]
    assert Decimal(paid) < Decimal(order["amountTo"]) / 3


def test_a_fixed_rate_is_bound_to_its_pair_and_amount(client: Client) -> None:
    rate_id = fixed_rate(client)["rateId"]
    other_pair = {"tickerTo": "ltc", "networkTo": "ltc", "addressTo": "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez"}
    for changes in ({"amount": "1.6"}, other_pair):
        assert client.create(fixed=True, rateId=rate_id, **changes).status == 422


def test_a_fixed_exchange_with_another_deposit_is_refunded_on_the_chain(client: Client) -> None:
    order = client.order(fixed=True, rateId=fixed_rate(client)["rateId"], userRefundAddress=ETH_ADDRESS)
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.4"))
    assert client.until(order["id"], "refunded")["txTo"] is None
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert [amount for _, amount in client.sandbox.chain.received(ETH_ADDRESS)] == [Decimal("1.3992")]
    assert client.sandbox.truth.deliveries == []


def test_a_fixed_rate_ends_at_its_valid_until(offline: Offline) -> None:
    rate_id = offline.call("GET", "/estimates", **ETH_BTC, amount="1.5", fixed="true").body["result"]["rateId"]
    body = ETH_BTC | {"amount": "1.5", "fixed": True, "rateId": rate_id, "addressTo": BTC_ADDRESS}
    offline.pass_time(599)
    assert offline.call("POST", "/exchanges", body).status == 200
    offline.pass_time(1)
    assert offline.call("POST", "/exchanges", body).status == 422


def test_an_unfunded_exchange_expires_and_a_late_deposit_comes_back(offline: Offline) -> None:
    body = ETH_BTC | {"amount": "1.5", "addressTo": BTC_ADDRESS, "userRefundAddress": ETH_ADDRESS}
    order = offline.call("POST", "/exchanges", body).body["result"]

    def status() -> str:
        return str(offline.call("GET", f"/exchanges/{order['id']}").body["result"]["status"])

    offline.pass_time(3 * 3600 - 1)
    assert status() == "waiting"
    offline.pass_time(1)
    assert status() == "expired"
    offline.chain.pay(order["addressFrom"], Decimal("1.5"))
    for _ in range(5):
        offline.pass_time(0.5)
    assert status() == "refunded"
    assert offline.truth.deliveries == []


def test_a_second_deposit_is_a_second_exchange(client: Client) -> None:
    order = client.order()
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    client.until(order["id"], "finished")
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    wait(lambda: len(client.sandbox.truth.deliveries) == 2)
    assert len({row["order_id"] for row in client.sandbox.truth.deliveries}) == 2
    assert len(client.get("/exchanges")) == 2


def test_every_post_makes_an_exchange_of_its_own(client: Client) -> None:
    first, second = client.order(), client.order()
    assert re.fullmatch(r"[0-9a-z]{16}", first["id"])
    assert first["id"] != second["id"]
    assert first["addressFrom"] != second["addressFrom"]


def test_the_transaction_of_a_refund_may_be_told(client: Client) -> None:
    client.configure(ending="refunded", tells_refund=True)
    order = client.order(userRefundAddress=ETH_ADDRESS)
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    row = client.until(order["id"], "refunded")
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert [txid for txid, _ in client.sandbox.chain.received(ETH_ADDRESS)] == [row["txTo"]]


@pytest.mark.parametrize("ending", ["refunded", "failed", "verifying"])
def test_an_exchange_ends_as_configured(client: Client, ending: str) -> None:
    client.configure(ending=ending)
    order = client.order(userRefundAddress=ETH_ADDRESS)
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    assert client.until(order["id"], ending)["txTo"] is None
    assert client.sandbox.truth.deliveries == []


def test_an_exchange_can_be_made_to_expire(client: Client) -> None:
    client.configure(ending="expired")
    assert client.until(client.order()["id"], "expired")["txFrom"] is None


def test_a_held_up_exchange_goes_on_when_the_check_is_over(client: Client) -> None:
    client.configure(ending="verifying")
    order = client.order()
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    client.until(order["id"], "verifying")
    client.configure(ending="finished")
    client.until(order["id"], "finished")


def test_a_payout_may_be_lower_than_its_estimate(client: Client) -> None:
    client.configure(final_factor="0.9")
    order = client.order()
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    paid = client.until(order["id"], "finished")["amountTo"]
    expected = (Decimal(order["amountTo"]) * Decimal("0.9")).quantize(Decimal("0.00000001"), ROUND_FLOOR)
    assert Decimal(paid) == expected
    client.configure(final_factor="0.5")
    order = client.order(fixed=True, rateId=fixed_rate(client)["rateId"])
    client.sandbox.chain.pay(order["addressFrom"], Decimal("1.5"))
    assert Decimal(client.until(order["id"], "finished")["amountTo"]) < Decimal(order["amountTo"]) * Decimal("0.51")


def test_the_fixed_flow_alone_can_be_unavailable(client: Client) -> None:
    client.configure(fixed_available=False)
    assert client.call("GET", "/estimates", params=ETH_BTC | {"amount": "1.5", "fixed": "true"}).status == 404
    assert client.get("/estimates", **ETH_BTC, amount="1.5", fixed="false")["estimatedAmount"]
    assert client.get("/pairs", fixed="true") == {}


def test_a_fixed_exchange_with_a_payout_memo_meets_the_known_500(client: Client) -> None:
    quote = fixed_rate(client)
    answer = client.create(fixed=True, rateId=quote["rateId"], extraIdTo="7")
    assert (answer.status, answer.body["message"]) == (500, "check extra_id")
    assert client.get("/exchanges") == []
    assert client.create(extraIdTo="7").body["result"]["extraIdTo"] == "7"


def test_the_id_may_go_by_its_other_name_and_the_answer_without_its_envelope(client: Client) -> None:
    client.configure(id_field="publicId", wrapped=False)
    order = client.order()
    assert "id" not in order
    answer = client.call("GET", f"/exchanges/{order['publicId']}")
    assert answer.body["publicId"] == order["publicId"]


def test_the_list_is_newest_first_and_paged(client: Client) -> None:
    ids = [client.order()["id"] for _ in range(3)]
    assert [row["id"] for row in client.get("/exchanges")] == ids[::-1]
    assert [row["id"] for row in client.get("/exchanges", limit=1, offset=1)] == [ids[1]]
    assert client.call("GET", "/exchanges", params={"limit": "-1"}).status == 400


def test_an_unknown_exchange_is_not_found(calm: Client) -> None:
    answer = calm.call("GET", "/exchanges/m1ps8q2vx7d4k0ze")
    assert (answer.status, answer.body["error"]) == (404, "Not Found")


def test_assets_are_listed_by_ticker_and_network(calm: Client) -> None:
    rows = calm.get("/currencies")
    known = {(row["ticker"], row["network"]): row for row in rows}
    assert known["eth", "eth"]["contractAddress"] is None
    assert known["usdt", "trx"]["contractAddress"].startswith("T")
    assert re.fullmatch(known["btc", "btc"]["validationAddress"], BTC_ADDRESS)
    assert calm.get("/currencies/eth/eth") == known["eth", "eth"]
    assert calm.call("GET", "/currencies/eth/bsc").status == 404
    pairs = calm.get("/pairs", fixed="false")
    assert "usdt:trx" in pairs["btc:btc"]
    assert calm.get("/pairs/eth/eth") == {"eth:eth": pairs["eth:eth"]}


def test_every_listed_coin_gets_a_deposit_address_that_its_own_check_accepts(client: Client) -> None:
    for row in client.get("/currencies"):
        to_btc = row["ticker"] != "btc"
        receiver = {} if to_btc else {"tickerTo": "eth", "networkTo": "eth", "addressTo": ETH_ADDRESS}
        order = client.order(tickerFrom=row["ticker"], networkFrom=row["network"], amount="5000", **receiver)
        assert re.fullmatch(row["validationAddress"], order["addressFrom"]), order
        check_address(asset(row["ticker"], row["network"]), order["addressFrom"])


def test_a_deposit_address_that_no_chain_carries_has_its_checksum_too(offline: Offline) -> None:
    for row in offline.call("GET", "/currencies").body["result"]:
        to_btc = row["ticker"] != "btc"
        receiver = {} if to_btc else {"tickerTo": "eth", "networkTo": "eth"}
        sender = {"tickerFrom": row["ticker"], "networkFrom": row["network"], "amount": "5000"}
        body = ETH_BTC | sender | receiver | {"addressTo": BTC_ADDRESS if to_btc else ETH_ADDRESS}
        one, other = (offline.call("POST", "/exchanges", body).body["result"]["addressFrom"] for _ in range(2))
        assert one != other
        assert re.fullmatch(row["validationAddress"], one)
        check_address(asset(row["ticker"], row["network"]), one)


def test_webhooks_are_signed_and_tell_every_status(offline: Offline) -> None:
    offline.twin.configure({"callback_url": "http://127.0.0.1:9/hooks/simpleswap"})
    body = ETH_BTC | {"amount": "1.5", "addressTo": BTC_ADDRESS}
    order = offline.call("POST", "/exchanges", body).body["result"]
    offline.chain.pay(order["addressFrom"], Decimal("1.5"))
    for _ in range(10):
        offline.pass_time(0.5)
    urls, messages = zip(*offline.posted, strict=True)
    assert set(urls) == {"http://127.0.0.1:9/hooks/simpleswap"}
    told = [message["status"] for message in messages]
    assert told == ["waiting", "confirming", "exchanging", "sending", "finished"]
    assert len({message["messageId"] for message in messages}) == 5
    for message in messages:
        text = f"{message['messageId']}_{order['id']}_{message['status']}_{SIMPLESWAP_WEBHOOK_SECRET}"
        assert message["publicId"] == order["id"]
        assert message["signature"] == hashlib.sha1(text.encode()).hexdigest()


def test_the_signature_of_a_webhook_may_go_by_another_name(offline: Offline) -> None:
    offline.twin.configure({"callback_url": "http://127.0.0.1:9/x", "signature_field": "hash"})
    offline.call("POST", "/exchanges", ETH_BTC | {"amount": "1.5", "addressTo": BTC_ADDRESS})
    ((_, message),) = offline.posted
    assert set(message) == {"messageId", "publicId", "status", "hash"}


def test_a_wrong_amount_fault_changes_the_amount_that_the_order_confirms(client: Client) -> None:
    client.fault(kind="wrong_amount", factor="0.9")
    order = client.order()
    assert order["amountFrom"] == "1.35"
    assert client.get(f"/exchanges/{order['id']}")["amountFrom"] == "1.5"


def test_a_wrong_rate_fault_changes_the_quote(client: Client) -> None:
    honest = Decimal(client.get("/estimates", **ETH_BTC, amount="1.5")["estimatedAmount"])
    client.fault(kind="wrong_rate", factor="1.05")
    lying = Decimal(client.get("/estimates", **ETH_BTC, amount="1.5")["estimatedAmount"])
    assert abs((lying + FEE) / (honest + FEE) - Decimal("1.05")) < Decimal("0.00001")


def test_a_refused_call_is_answered_as_definitely_not_executed(client: Client) -> None:
    client.fault(kind="refuse")
    assert client.create().status == 422
    assert client.call("GET", "/exchanges/x").status == 403  # not "there is no such exchange"
    assert client.sandbox.truth.executions == []


def test_an_exchange_whose_answer_was_lost_is_found_in_the_list(client: Client) -> None:
    client.fault(kind="reset_after_execute", count=1)
    with pytest.raises(requests.ConnectionError):
        client.create(amount="1.75")
    (row,) = client.get("/exchanges")
    assert (row["amountFrom"], row["addressTo"]) == ("1.75", BTC_ADDRESS)


@pytest.mark.parametrize(
    "settings",
    [
        {"mood": "bad"},
        {"ending": "lost"},
        {"minimum": {"ETH": "1e-2"}},
        {"minimum": "0.01"},
        {"final_factor": "0"},
        {"wrapped": "no"},
        {"callback_url": 7},
        {"signature_field": ""},
        {"tells_refund": 1.5},
        {"deposits": {"nobody": "1"}},
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(offline: Offline, settings: dict[str, Any]) -> None:
    before = offline.twin.describe()
    with pytest.raises(ValueError, match=next(iter(settings))):
        offline.twin.configure({"id_field": "publicId"} | settings)
    assert offline.twin.describe() == before
