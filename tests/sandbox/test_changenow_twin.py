"""The ChangeNOW twin, held against its fact sheet: over the wire, and with a clock of our own where time matters."""

from __future__ import annotations

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
from converter.sandbox.credentials import CHANGENOW_API_KEY, CHANGENOW_PRIVATE_KEY
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import TwinMount
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, World
from converter.sandbox.twins.changenow import ChangeNowTwin

BTC_ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"
ETH_BTC = {"fromCurrency": "eth", "fromNetwork": "eth", "toCurrency": "btc", "toNetwork": "btc"}
FEE = Decimal("0.00008")


class Client:
    """A stranger's client: a base address, a key, and nothing else."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._session = requests.Session()

    def call(self, method: str, path: str, key: str | None = CHANGENOW_API_KEY, **kw: Any) -> requests.Response:
        headers = {} if key is None else {"x-changenow-api-key": key}
        url = f"{self.sandbox.url}/changenow/v2{path}"
        return self._session.request(method, url, headers=headers, timeout=5, **kw)

    def get(self, path: str, key: str | None = CHANGENOW_API_KEY, **query: Any) -> Any:
        answer = self.call("GET", path, key, params=query)
        return SimpleNamespace(status=answer.status_code, body=exact(answer.text), text=answer.text)

    def post(self, path: str, body: Any) -> Any:
        answer = self.call("POST", path, json=body)
        return SimpleNamespace(status=answer.status_code, body=exact(answer.text), text=answer.text)

    def order(self, **changes: Any) -> dict[str, Any]:
        answer = self.post("/exchange", ETH_BTC | {"fromAmount": "1.5", "address": BTC_ADDRESS} | changes)
        assert answer.status == 200, answer.text
        return answer.body

    def status(self, order_id: str) -> dict[str, Any]:
        return self.get("/exchange/by-id", id=order_id).body

    def until(self, order_id: str, *states: str) -> dict[str, Any]:
        return wait(lambda: row if (row := self.status(order_id))["status"] in states else None)

    def configure(self, **settings: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/services/changenow", json=settings, timeout=5)
        assert answer.status_code == 200, answer.text


class Offline:
    """The twin alone, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.time = 1_767_225_600.0
        self.truth = TruthBook(self.now)
        self.chain = EvmChain(self.truth, self.now)
        market = SeededMarket(7, self.now)
        market.configure({"step_ms": 10**9})
        self.twin = ChangeNowTwin(World(market, self.truth, self.chain, self.now))
        self._mount = TwinMount(self.twin)

    def now(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.chain.tick()
        self.twin.tick()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        raw = urlencode(query)
        headers = {"x-changenow-api-key": CHANGENOW_PRIVATE_KEY}
        request = Request(method, f"/v2{path}", raw, parse_qs(raw), headers, json.dumps(body or {}).encode())
        answer = self._mount.handle(request)
        return SimpleNamespace(status=answer.status, body=answer.body, headers=answer.headers)


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def wait(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError("nothing happened in time")


@pytest.fixture
def client() -> Iterator[Client]:
    # The client polls far faster than a real one would, so the world runs fast enough for the rate limit too.
    with Sandbox(speed=20, services=["changenow"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture
def offline() -> Offline:
    return Offline()


def test_a_funded_order_is_paid_out_and_delivered_once(client: Client) -> None:
    order = client.order(payload={"ref": "cv-1"}, userId="pool-7")
    assert client.status(order["id"])["status"] in {"new", "waiting"}
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))

    row = client.until(order["id"], "finished")

    assert row["amountFrom"] == Decimal("1.5")
    assert row["payoutAddress"] == BTC_ADDRESS
    (payin,) = client.sandbox.chain.received(order["payinAddress"])
    assert row["payinHash"] == payin[0]
    (delivery,) = client.sandbox.truth.deliveries
    assert delivery | {"time": ""} == {
        "service_id": "changenow",
        "order_id": order["id"],
        "reference": "cv-1",
        "from_coin": "ETH",
        "from_amount": delivery["from_amount"],
        "to_coin": "BTC",
        "amount": f"{row['amountTo']:f}",
        "address": BTC_ADDRESS,
        "txid": row["payoutHash"],
        "time": "",
    }
    (executed,) = [row for row in client.sandbox.truth.executions if row["service_id"] == "changenow"]
    assert (executed["operation"], executed["order_id"], executed["reference"]) == ("order", order["id"], "cv-1")


def test_an_order_passes_every_stage_of_the_documented_life(offline: Offline) -> None:
    order = offline.call("POST", "/exchange", ETH_BTC | {"fromAmount": 2, "address": BTC_ADDRESS}).body
    seen = []
    for step in range(60):
        if step == 10:
            offline.chain.pay(order["payinAddress"], Decimal(2))
        offline.pass_time(0.1)
        seen.append(offline.call("GET", "/exchange/by-id", id=order["id"]).body["status"])
    assert list(dict.fromkeys(seen)) == ["new", "waiting", "confirming", "exchanging", "sending", "finished"]


def test_an_eth_payout_really_arrives_on_the_chain(client: Client) -> None:
    pair = {"fromCurrency": "btc", "fromNetwork": "btc", "toCurrency": "eth", "toNetwork": "eth"}
    order = client.order(**pair, fromAmount="0.1", address=ETH_ADDRESS)
    client.configure(deposits={order["id"]: "0.1"})
    row = client.until(order["id"], "finished")
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert client.sandbox.chain.received(ETH_ADDRESS) == [(row["payoutHash"], row["amountTo"])]


LTC_ADDRESS = "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez"
LTC_BTC = {"fromCurrency": "ltc", "fromNetwork": "ltc", "toCurrency": "btc", "toNetwork": "btc"}


@pytest.mark.parametrize(
    ("coin", "amount"), [("ltc", "20"), ("bch", "4"), ("doge", "12000"), ("rvn", "70000"), ("etc", "60")]
)
def test_coins_of_other_chains_are_deposited_and_paid_out_there(client: Client, coin: str, amount: str) -> None:
    pair = {"fromCurrency": coin, "fromNetwork": coin}
    order = client.order(**pair, fromAmount=amount)
    chain = client.sandbox.etc if coin == "etc" else client.sandbox.utxo[coin.upper()]
    chain.pay(order["payinAddress"], Decimal(amount))
    row = client.until(order["id"], "finished")
    assert row["amountFrom"] == Decimal(amount)
    wait(lambda: client.sandbox.utxo["BTC"].received(BTC_ADDRESS))
    assert client.sandbox.utxo["BTC"].received(BTC_ADDRESS) == [(row["payoutHash"], row["amountTo"])]


def test_a_refund_goes_back_on_the_chain_of_the_deposit(client: Client) -> None:
    client.configure(ending="refunded")
    order = client.order(**LTC_BTC, fromAmount="20", refundAddress=LTC_ADDRESS)
    client.sandbox.utxo["LTC"].pay(order["payinAddress"], Decimal(20))
    row = client.until(order["id"], "refunded")
    wait(lambda: client.sandbox.utxo["LTC"].received(LTC_ADDRESS))
    assert client.sandbox.utxo["LTC"].received(LTC_ADDRESS) == [(row["refundHash"], row["refundAmount"])]
    (refund,) = [row for row in client.sandbox.truth.executions if row["operation"] == "refund"]
    assert (refund["order_id"], refund["address"]) == (order["id"], LTC_ADDRESS)
    assert Decimal(refund["amount"]) == row["refundAmount"] == Decimal("19.9998")


def test_an_address_that_is_none_of_the_chain_ends_in_failed(client: Client) -> None:
    order = client.order(address=BTC_ADDRESS[:-1] + "p")
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    assert client.until(order["id"], "failed")["payoutHash"] is None
    assert client.sandbox.truth.deliveries == []


def test_a_token_moves_as_a_token(client: Client) -> None:
    order = client.order(toCurrency="usdt", toNetwork="eth", address=ETH_ADDRESS)
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    row = client.until(order["id"], "finished")
    wait(lambda: client.sandbox.chain.received_token(ETH_ADDRESS))
    assert client.sandbox.chain.received_token(ETH_ADDRESS) == [(row["payoutHash"], row["amountTo"])]
    back = client.order(fromCurrency="usdt", fromNetwork="eth", fromAmount="500")
    client.sandbox.chain.pay_token(back["payinAddress"], Decimal(500))
    assert client.until(back["id"], "finished")["amountFrom"] == 500


def test_less_may_be_paid_out_than_was_promised(client: Client) -> None:
    client.configure(final_factor="0.97")
    order = client.order(flow="fixed-rate", rateId=fixed(client)["rateId"])
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    row = client.until(order["id"], "finished")
    assert row["expectedAmountTo"] == order["toAmount"]
    assert row["amountTo"] == (order["toAmount"] * Decimal("0.97")).quantize(Decimal("1e-8"), ROUND_FLOOR)


def test_a_refusal_may_come_under_http_200(client: Client) -> None:
    client.configure(errors_under_200=True)
    answer = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount="0.009")
    assert (answer.status, answer.body["error"]) == (200, "out_of_range")


def test_amounts_are_json_numbers_without_exponent(client: Client) -> None:
    answer = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount="1.5")
    assert re.search(r'"fromAmount":1\.5[,}]', answer.text)
    assert re.search(r'"toAmount":0\.\d{1,8}[,}]', answer.text)
    assert '"withdrawalFee":0.00008' in answer.text


def test_a_quote_is_market_less_spread_and_withdrawal_fee(client: Client) -> None:
    market = client.sandbox.market
    answer = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount="1.5")
    factor = market.rate("ETH", "BTC") * Decimal("0.996") * market.wobble("changenow", Decimal("0.004"))
    expected = (Decimal("1.5") * factor - FEE).quantize(Decimal("0.00000001"), ROUND_FLOOR)
    assert answer.body["toAmount"] == expected
    assert (answer.body["flow"], answer.body["rateId"], answer.body["validUntil"]) == ("standard", None, None)


@pytest.mark.parametrize(
    ("path", "key", "status", "error"),
    [
        ("/exchange/by-id?id=x", None, 401, "unauthorized"),
        ("/exchange/by-id?id=x", "nobody", 401, "invalid_api_key"),
        ("/exchange/by-id?id=x", CHANGENOW_PRIVATE_KEY, 404, "not_found"),
        ("/exchanges", CHANGENOW_API_KEY, 401, "invalid_api_key"),
        ("/exchanges", CHANGENOW_PRIVATE_KEY, 200, None),
        ("/exchange/currencies", None, 200, None),
        ("/validate/address?currency=btc&address=x", None, 200, None),
    ],
)
def test_keys_open_what_the_sheet_says(client: Client, path: str, key: str | None, status: int, error: str) -> None:
    answer = client.get(path, key)
    assert answer.status == status
    if error:
        assert answer.body["error"] == error
    if path == "/exchanges" and error:
        assert answer.body["message"] == "Use private key for this endpoint"


def test_the_list_can_be_closed_to_the_private_key_too(client: Client) -> None:
    client.configure(enabled_private_list=False)
    assert client.get("/exchanges", CHANGENOW_PRIVATE_KEY).status == 401


def test_too_small_an_amount_is_refused_with_the_range(client: Client) -> None:
    for answer in (
        client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount="0.009"),
        client.post("/exchange", ETH_BTC | {"fromAmount": "0.009", "address": BTC_ADDRESS}),
    ):
        assert answer.status == 400
        assert answer.body["error"] == "out_of_range"
        assert answer.body["message"].startswith("Amount is less then minimal: 0.01")
        assert answer.body["range"] == {"min": Decimal("0.01"), "max": None}
    assert client.sandbox.truth.executions == []


def test_limits_follow_the_configured_minimum(client: Client) -> None:
    client.configure(minimum={"ETH": "0.0187953"})
    wanted = ETH_BTC | {"flow": "standard", "minAmount": Decimal("0.0187953")}
    assert client.get("/exchange/min-amount", **ETH_BTC).body == wanted
    assert client.get("/exchange/range", **ETH_BTC, flow="standard").body == wanted | {"maxAmount": None}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"address": "nowhere"}, "not_valid_address"),
        ({"address": ETH_ADDRESS}, "not_valid_address"),
        ({"refundAddress": BTC_ADDRESS}, "not_valid_refund_address"),
        ({"fromCurrency": "t", "fromNetwork": ""}, "not_valid_params"),
        ({"fromCurrency": "ETH"}, "not_valid_params"),
        ({"toNetwork": "eth"}, "not_valid_params"),
        ({"fromAmount": "1e-1"}, "not_valid_params"),
        ({"fromAmount": "-1"}, "not_valid_params"),
        ({"fromAmount": True}, "not_valid_params"),
        ({"fromAmount": ""}, "not_valid_params"),
        ({"flow": "quick"}, "not_valid_params"),
        ({"type": "reverse", "toAmount": "0.1"}, "not_valid_params"),
        ({"flow": "fixed-rate"}, "not_valid_params"),
        ({"flow": "fixed-rate", "rateId": "gone"}, "rate_id_not_found_or_expired"),
        ({"payload": {str(n): "x" for n in range(6)}}, "not_valid_params"),
        ({"payload": {"ref": "x" * 65}}, "not_valid_params"),
        ({"toCurrency": "eth", "toNetwork": "eth", "address": ETH_ADDRESS}, "pair_is_inactive"),
    ],
)
def test_what_is_wrong_with_an_order_is_named_and_nothing_is_made(
    client: Client, changes: dict[str, Any], error: str
) -> None:
    answer = client.post("/exchange", ETH_BTC | {"fromAmount": "1.5", "address": BTC_ADDRESS} | changes)
    assert (answer.status, answer.body["error"]) == (400, error)
    assert client.get("/exchanges", CHANGENOW_PRIVATE_KEY).body["count"] == 0


def test_a_body_that_is_no_json_object_is_refused(client: Client) -> None:
    for data in (b"fromCurrency=eth", b"[]", b""):
        answer = client.call("POST", "/exchange", data=data)
        assert (answer.status_code, answer.json()["error"]) == (400, "not_valid_params")


def test_unknown_currency_has_the_documented_message(client: Client) -> None:
    answer = client.get("/exchange/range", **ETH_BTC | {"fromCurrency": "t", "fromNetwork": ""})
    assert answer.body == {"error": "not_valid_params", "message": "Currency t is not supported"}


def fixed(client: Client, amount: str = "1.5") -> dict[str, Any]:
    answer = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount=amount, flow="fixed-rate", useRateId="true")
    assert answer.body["rateId"]
    assert answer.body["validUntil"].endswith("Z")
    return answer.body


def test_a_held_rate_pays_what_it_promised_though_the_market_moves(client: Client) -> None:
    quote = fixed(client)
    order = client.order(flow="fixed-rate", rateId=quote["rateId"])
    assert (order["toAmount"], order["rateId"]) == (quote["toAmount"], quote["rateId"])
    assert order["validUntil"]
    client.sandbox.market.configure({"prices": {"ETH": "1000"}})
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    assert client.until(order["id"], "finished")["amountTo"] == quote["toAmount"]


def test_a_floating_order_is_paid_at_the_price_of_the_moment(client: Client) -> None:
    order = client.order()
    client.sandbox.market.configure({"prices": {"ETH": "1000"}})
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    assert client.until(order["id"], "finished")["amountTo"] < order["toAmount"] / 3


def test_a_held_rate_is_bound_to_its_pair_and_amount(client: Client) -> None:
    quote = fixed(client)
    body = ETH_BTC | {"fromAmount": "1.5", "address": BTC_ADDRESS, "flow": "fixed-rate", "rateId": quote["rateId"]}
    other_pair = {"toCurrency": "ltc", "toNetwork": "ltc", "address": "LUWPbpM43E2p7ZSh8cyTBEkvpHmr3cB8Ez"}
    for changes in ({"fromAmount": "1.6"}, other_pair):
        answer = client.post("/exchange", body | changes)
        assert (answer.status, answer.body["error"]) == (400, "rate_id_not_found_or_expired")


def test_a_reverse_quote_fixes_what_arrives(client: Client) -> None:
    query = ETH_BTC | {"toAmount": "0.05", "flow": "fixed-rate", "type": "reverse", "useRateId": "true"}
    quote = client.get("/exchange/estimated-amount", **query).body
    assert quote["toAmount"] == Decimal("0.05")
    forward = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount=f"{quote['fromAmount']:f}").body
    assert 0 <= forward["toAmount"] - Decimal("0.05") <= Decimal("0.00000001")
    order = client.order(flow="fixed-rate", type="reverse", toAmount="0.05", fromAmount="", rateId=quote["rateId"])
    assert order["fromAmount"] == quote["fromAmount"]


def test_a_fixed_order_with_another_deposit_is_refunded_on_the_chain(client: Client) -> None:
    order = client.order(flow="fixed-rate", rateId=fixed(client)["rateId"], refundAddress=ETH_ADDRESS)
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.4"))
    row = client.until(order["id"], "refunded")
    assert row["refundAmount"] == Decimal("1.39958")
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert client.sandbox.chain.received(ETH_ADDRESS) == [(row["refundHash"], row["refundAmount"])]
    assert client.sandbox.truth.deliveries == []


def test_a_held_rate_ends_at_its_valid_until(offline: Offline) -> None:
    query = ETH_BTC | {"fromAmount": "1.5", "flow": "fixed-rate", "useRateId": "true"}
    rate_id = offline.call("GET", "/exchange/estimated-amount", **query).body["rateId"]
    body = ETH_BTC | {"fromAmount": "1.5", "flow": "fixed-rate", "rateId": rate_id, "address": BTC_ADDRESS}
    offline.pass_time(1199)
    assert offline.call("POST", "/exchange", body).status == 200
    offline.pass_time(1)
    answer = offline.call("POST", "/exchange", body)
    assert (answer.status, answer.body["error"]) == (400, "rate_id_not_found_or_expired")


def test_an_unfunded_fixed_order_expires_and_a_late_deposit_comes_back(offline: Offline) -> None:
    query = ETH_BTC | {"fromAmount": "1.5", "flow": "fixed-rate", "useRateId": "true"}
    rate_id = offline.call("GET", "/exchange/estimated-amount", **query).body["rateId"]
    body = ETH_BTC | {"fromAmount": "1.5", "flow": "fixed-rate", "rateId": rate_id, "address": BTC_ADDRESS}
    order = offline.call("POST", "/exchange", body | {"refundAddress": ETH_ADDRESS}).body

    def status() -> str:
        return offline.call("GET", "/exchange/by-id", id=order["id"]).body["status"]

    offline.pass_time(1)
    offline.pass_time(1198)
    assert status() == "waiting"
    offline.pass_time(2)
    assert status() == "expired"
    offline.chain.pay(order["payinAddress"], Decimal("1.5"))
    for _ in range(5):
        offline.pass_time(0.5)
    assert status() == "refunded"
    assert offline.truth.deliveries == []


def test_a_second_deposit_is_a_second_exchange(client: Client) -> None:
    order = client.order(payload={"ref": "cv-1"})
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    client.until(order["id"], "finished")
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    wait(lambda: len(client.sandbox.truth.deliveries) == 2)
    (again,) = client.status(order["id"])["repeatedExchangesInfo"]
    assert client.status(again["id"])["originalExchangeInfo"] == {"id": order["id"]}
    assert [row["reference"] for row in client.sandbox.truth.deliveries] == ["cv-1", "cv-1"]
    assert [row["order_id"] for row in client.sandbox.truth.deliveries] == [order["id"], again["id"]]


def test_every_post_makes_an_order_of_its_own(client: Client) -> None:
    first, second = client.order(), client.order()
    assert re.fullmatch(r"[0-9a-f]{14}", first["id"])
    assert first["id"] != second["id"]
    assert first["payinAddress"] != second["payinAddress"]


@pytest.mark.parametrize("ending", ["refunded", "failed", "verifying"])
def test_an_order_ends_as_configured(client: Client, ending: str) -> None:
    client.configure(ending=ending)
    order = client.order(refundAddress=ETH_ADDRESS)
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    row = client.until(order["id"], ending)
    assert row["actionsAvailable"] is (ending == "failed")
    assert (row["refundHash"] is not None) is (ending == "refunded")
    assert client.sandbox.truth.deliveries == []


def test_an_order_can_be_made_to_expire(client: Client) -> None:
    client.configure(ending="expired")
    assert client.until(client.order()["id"], "expired")["payinHash"] is None


def test_a_held_up_order_goes_on_when_the_check_is_over(client: Client) -> None:
    client.configure(ending="verifying")
    order = client.order()
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    client.until(order["id"], "verifying")
    client.configure(ending="finished")
    client.until(order["id"], "finished")


def failed_order(client: Client, **changes: Any) -> str:
    client.configure(ending="failed")
    order = client.order(**changes)
    client.sandbox.chain.pay(order["payinAddress"], Decimal("1.5"))
    return str(client.until(order["id"], "failed")["id"])


def test_a_failed_order_can_be_refunded_to_an_address_given_then(client: Client) -> None:
    order_id = failed_order(client)
    offer = client.get("/exchange/actions", id=order_id).body["refund"]
    assert (offer["available"], offer["amount"]) == (True, "1.49958")
    answer = client.post("/exchange/refund", {"id": order_id, "address": ETH_ADDRESS, "extraId": ""})
    assert answer.body == {"result": True}
    assert client.until(order_id, "refunded")["refundAddress"] == ETH_ADDRESS
    again = client.post("/exchange/refund", {"id": order_id, "address": ETH_ADDRESS})
    assert (again.status, again.body["error"]) == (400, "not_available")


def test_a_failed_order_can_be_continued(client: Client) -> None:
    order_id = failed_order(client, refundAddress=ETH_ADDRESS)
    estimate = client.get("/exchange/actions", id=order_id).body["continue"]["currentEstimate"]
    answer = client.post("/exchange/continue", {"id": order_id})
    assert answer.body["result"]["data"]["estimate"] == {"currency": "btc", "network": "btc", "amount": estimate}
    assert client.until(order_id, "finished")["amountTo"] == Decimal(estimate)
    assert len(client.sandbox.truth.deliveries) == 1


def test_the_list_finds_an_order_by_what_the_client_remembers(client: Client) -> None:
    mine = client.order(userId="u-1", payload={"ref": "cv-1"})
    client.order(userId="u-2", address="1BoatSLRHtKNngkdXEeobR76b53LETtpyT")

    def found(**query: Any) -> list[str]:
        body = client.get("/exchanges", CHANGENOW_PRIVATE_KEY, **query).body
        return [row["requestId"] for row in body["exchanges"]]

    (row,) = client.get("/exchanges", CHANGENOW_PRIVATE_KEY, userId="u-1").body["exchanges"]
    assert row["partnerInfo"]["payload"] == {"ref": "cv-1"}
    assert row["partnerInfo"]["userId"] == "u-1"
    assert row["payin"]["expectedAmount"] == Decimal("1.5")
    assert not row["createdAt"].endswith("Z")
    made = row["createdAt"] + "Z"
    assert found(requestId=mine["id"]) == [mine["id"]]
    assert found(payoutAddress=BTC_ADDRESS) == [mine["id"]]
    assert found(sortDirection="ASC", limit=1) == [mine["id"]]
    assert found(offset=1) == [mine["id"]]
    assert found(userId="u-1", dateFrom=made, dateTo=made, dateField="createdAt") == [mine["id"]]
    assert found(userId="u-1", dateFrom="2999-01-01T00:00:00.000Z") == []
    assert found(userId="u-1", statuses="finished,refunded") == []
    assert found(userId="u-1", statuses="new,waiting") == [mine["id"]]
    assert client.get("/exchanges", CHANGENOW_PRIVATE_KEY, limit=1).body["count"] == 2


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 500}, {"sortField": "id"}, {"dateFrom": "yesterday"}])
def test_bad_list_parameters_are_refused(client: Client, query: dict[str, Any]) -> None:
    assert client.get("/exchanges", CHANGENOW_PRIVATE_KEY, **query).status == 400


def test_more_than_thirty_requests_a_second_are_refused(offline: Offline) -> None:
    for _ in range(30):
        assert offline.call("GET", "/exchange/min-amount", **ETH_BTC).status == 200
    refused = offline.call("GET", "/exchange/min-amount", **ETH_BTC)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    offline.pass_time(1)
    assert offline.call("GET", "/exchange/min-amount", **ETH_BTC).status == 200


def test_assets_are_listed_by_ticker_and_network(client: Client) -> None:
    rows = client.get("/exchange/currencies", active="true", flow="standard").body
    known = {(row["ticker"], row["network"]): row for row in rows}
    assert known[("eth", "eth")]["tokenContract"] is None
    assert known[("usdt", "trx")]["legacyTicker"] == "usdttrc20"
    assert known[("usdt", "eth")]["tokenContract"].startswith("0x")
    pairs = client.get("/exchange/available-pairs", **ETH_BTC).body
    assert pairs == [ETH_BTC | {"flow": {"standard": True, "fixed-rate": True}}]
    fees = client.get("/exchange/network-fee", **ETH_BTC, fromAmount="1").body["estimatedFee"]
    assert fees["withdrawal"] == {"currency": "btc", "network": "btc", "amount": FEE}


def test_addresses_are_checked_by_network(client: Client) -> None:
    good = client.get("/validate/address", currency="btc", address=BTC_ADDRESS).body
    assert good == {"result": True, "message": None, "isActivated": None}
    assert client.get("/validate/address", currency="eth", address=BTC_ADDRESS).body["result"] is False
    assert client.get("/validate/address", currency="nothing", address="x").status == 400


def test_every_listed_coin_gets_a_deposit_address_that_its_own_check_accepts(client: Client) -> None:
    for row in client.get("/exchange/currencies").body:
        pair = {"fromCurrency": row["ticker"], "fromNetwork": row["network"], "fromAmount": "5000"}
        if row["ticker"] == "btc":
            pair |= {"toCurrency": "eth", "toNetwork": "eth", "address": ETH_ADDRESS}
        order = client.order(**pair)
        query = {"currency": row["network"], "address": order["payinAddress"]}
        assert client.get("/validate/address", **query).body["result"], order
        check_address(asset(row["ticker"], row["network"]), order["payinAddress"])


def test_a_deposit_address_that_no_chain_carries_has_its_checksum_too(offline: Offline) -> None:
    for row in offline.call("GET", "/exchange/currencies").body:
        pair = ETH_BTC | {"fromCurrency": row["ticker"], "fromNetwork": row["network"], "address": BTC_ADDRESS}
        if row["ticker"] == "btc":
            pair |= {"toCurrency": "eth", "toNetwork": "eth", "address": ETH_ADDRESS}
        orders = [offline.call("POST", "/exchange", pair | {"fromAmount": "5000"}).body for _ in range(2)]
        one, other = (order["payinAddress"] for order in orders)
        assert one != other
        check_address(asset(row["ticker"], row["network"]), one)


def test_a_wrong_amount_fault_changes_the_amount_that_the_order_confirms(client: Client) -> None:
    put = f"{client.sandbox.url}/_sandbox/faults/changenow"
    assert requests.put(put, json={"kind": "wrong_amount", "factor": "0.9"}, timeout=5).status_code == 200
    order = client.order()
    assert order["fromAmount"] == Decimal("1.35")
    assert client.status(order["id"])["expectedAmountFrom"] == Decimal("1.5")


def test_a_wrong_rate_fault_changes_the_quote(client: Client) -> None:
    honest = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount="1.5").body["toAmount"]
    put = f"{client.sandbox.url}/_sandbox/faults/changenow"
    requests.put(put, json={"kind": "wrong_rate", "factor": "1.05"}, timeout=5)
    lying = client.get("/exchange/estimated-amount", **ETH_BTC, fromAmount="1.5").body["toAmount"]
    assert abs((lying + FEE) / (honest + FEE) - Decimal("1.05")) < Decimal("0.00001")


def test_a_refused_call_is_answered_as_definitely_not_executed(client: Client) -> None:
    put = f"{client.sandbox.url}/_sandbox/faults/changenow"
    requests.put(put, json={"kind": "refuse"}, timeout=5)
    answer = client.post("/exchange", ETH_BTC | {"fromAmount": "1.5", "address": BTC_ADDRESS})
    assert (answer.status, answer.body["error"]) == (400, "pair_is_inactive")
    assert client.get("/exchange/by-id", id="x").body["error"] == "forbidden"  # not "there is no such order"
    assert client.sandbox.truth.executions == []


@pytest.mark.parametrize(
    "settings",
    [
        {"mood": "bad"},
        {"ending": "lost"},
        {"minimum": {"ETH": "1e-2"}},
        {"minimum": "0.01"},
        {"enabled_private_list": "yes"},
        {"errors_under_200": 1},
        {"final_factor": "-1"},
        {"deposits": {"nobody": "1"}},
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(offline: Offline, settings: dict[str, Any]) -> None:
    before = offline.twin.describe()
    with pytest.raises(ValueError, match=next(iter(settings))):
        offline.twin.configure({"ending": "failed"} | settings)
    assert offline.twin.describe() == before
