"""The CoinPayments twin, held against its fact sheet: signed over the wire, and with a clock of our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from converter.domain.addresses import check_address
from converter.domain.coins import asset
from converter.sandbox.chain import EvmChain
from converter.sandbox.credentials import COINPAYMENTS_CLIENT_ID, COINPAYMENTS_CLIENT_SECRET
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import TwinMount
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, World
from converter.sandbox.twins.coinpayments import CoinPaymentsTwin
from converter.sandbox.twins.coinpayments_assets import CURRENCIES

WALLET = "0a54b29f-51cb-44a8-9bed-111c5cb1b335"
ADDRESS = "0x86d526d6624AbC0178cF7296cD538Ecc080A95F1"
LIVE = "https://api.coinpayments.com"
OTHER_LIVE = "https://a-api.coinpayments.net"
SIGNED_AT = "2026-01-15T10:30:00"
SPEND = f"/merchant/wallets/{WALLET}/spend"
LOOK_UP = f"/merchant/wallets/{WALLET}/transaction"
SPEND_ID = "02741e6d-f5c5-43bb-8f08-9a523173cb42"
V1_BODY = (
    '{"toCurrencyId":4,"toAddress":"0x86d526d6624AbC0178cF7296cD538Ecc080A95F1","amountInSmallestUnits":"50000000",'
    '"memo":"cv_01J9Z7Q0","receiverPaysFee":true}'
)
V2_BODY = (
    '{"toAddress":"0x86d526d6624AbC0178cF7296cD538Ecc080A95F1","toCurrency":"4","amount":"0.5","memo":"cv_01J9Z7Q0",'
    '"receiverPaysFee":true}'
)
WEBHOOK_BODY = (
    f'{{"walletId":"{WALLET}","transactionId":"3fa85f64-5717-4562-b3fc-2c963f66afa6","spendRequestId":"{SPEND_ID}",'
    '"transactionType":"ExternalSpend"}'
)
V2 = {"toAddress": ADDRESS, "toCurrency": "4", "amount": "0.5", "memo": "cv-1", "receiverPaysFee": True}
V1 = {"toAddress": ADDRESS, "toCurrencyId": 4, "amountInSmallestUnits": "50000000", "receiverPaysFee": True}
UNIT = Decimal("0.00000001")


def sign(method: str, url: str, timestamp: str, body: bytes) -> str:
    text = f"\ufeff{method}{url}{COINPAYMENTS_CLIENT_ID}{timestamp}".encode()
    return base64.b64encode(
        hmac.new(COINPAYMENTS_CLIENT_SECRET.encode(), text + body, hashlib.sha256).digest()
    ).decode()


def headers_for(method: str, url: str, timestamp: str, body: bytes) -> dict[str, str]:
    return {
        "X-CoinPayments-Client": COINPAYMENTS_CLIENT_ID,
        "X-CoinPayments-Timestamp": timestamp,
        "X-CoinPayments-Signature": sign(method, url, timestamp, body),
        "Content-Type": "application/json",
    }


class Client:
    """A stranger's client that signs what it sends."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._session = requests.Session()

    def call(self, method: str, path: str, body: Any = None, **changes: str) -> Any:
        url = f"{self.sandbox.url}/coinpayments/api{path}"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = headers_for(method, url, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), data) | changes
        answer = self._session.request(method, url, data=data, headers=headers, timeout=5)
        body = json.loads(answer.text, parse_float=Decimal) if answer.text else None
        return SimpleNamespace(status=answer.status_code, body=body, text=answer.text, headers=answer.headers)

    def public(self, path: str) -> Any:
        answer = self._session.get(f"{self.sandbox.url}/coinpayments/api/v1{path}", timeout=5)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)

    def request(self, version: str = "v2", **changes: Any) -> Any:
        return self.call("POST", f"/{version}{SPEND}/request", (V1 if version == "v1" else V2) | changes)

    def preview(self, **changes: Any) -> dict[str, Any]:
        answer = self.request(**changes)
        assert answer.status == 200, answer.text
        return answer.body

    def confirm(self, preview: dict[str, Any]) -> Any:
        return self.call("POST", f"/v2{SPEND}/confirmation", {"spendRequestId": preview["spendRequestId"]})

    def transaction(self, preview: dict[str, Any]) -> Any:
        return self.call("GET", f"/v2{LOOK_UP}?spendRequestId={preview['spendRequestId']}")

    def until(self, preview: dict[str, Any], status: str) -> dict[str, Any]:
        def reached() -> Any:
            row = self.transaction(preview).body
            return row if row["transactionStatus"] == status else None

        return wait(reached)

    def balance(self) -> Decimal:
        wallet = self.call("GET", f"/v2/merchant/wallets/{WALLET}").body
        return Decimal(wallet["confirmedBalance"]["valueAsDecimal"])

    def configure(self, **settings: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/services/coinpayments", json=settings, timeout=5)
        assert answer.status_code == 200, answer.text

    def fault(self, **fault: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/faults/coinpayments", json=fault, timeout=5)
        assert answer.status_code == 200, answer.text


class Offline:
    """The twin alone, at the moment of the sheet's vectors, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.time = datetime.fromisoformat(SIGNED_AT).replace(tzinfo=UTC).timestamp()
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.truth = TruthBook(self.now)
        self.chain = EvmChain(self.truth, self.now)
        market = SeededMarket(7, self.now)
        market.configure({"step_ms": 10**9})
        self.twin = CoinPaymentsTwin(World(market, self.truth, self.chain, self.now, callback=self._post))
        self._mount = TwinMount(self.twin)

    def now(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.chain.tick()
        self.twin.tick()

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        path, _, raw = path.partition("?")
        lower = {name.lower(): value for name, value in headers.items()}
        return self._mount.handle(Request(method, path, raw, parse_qs(raw), lower | {"host": "x"}, body))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        stamp = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        base = self.twin.public_url or "http://x/coinpayments"
        return self.send(method, f"/api{path}", data, headers_for(method, f"{base}/api{path}", stamp, data))

    def _post(self, _service_id: str, url: str, headers: Any, body: bytes) -> None:
        self.posted.append((url, dict(headers), body))


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
    with Sandbox(speed=20, services=["coinpayments"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture(scope="module")
def calm() -> Iterator[Client]:
    """One sandbox for all tests in which nothing is made."""
    with Sandbox(speed=20, services=["coinpayments"]) as sandbox:
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture
def offline() -> Offline:
    return Offline()


VECTORS = [
    ("POST", LIVE, f"/api/v1{SPEND}/request", V1_BODY, "MqXpgiaRA2Bq8+/Y86STAUXhDkznZA4b0VPWO80I7tc=", 202),
    (
        "GET",
        LIVE,
        f"/api/v1{LOOK_UP}?spendRequestId={SPEND_ID}",
        "",
        "TViNOIckGHFDVUIcA4F0OSQ8XBd0onlAS6BboO1eXPQ=",
        404,
    ),
    ("POST", OTHER_LIVE, f"/api/v2{SPEND}/request", V2_BODY, "zC8nKKWdixmsSmupe3M+QYo1xbF6YiytcF6JGWAu7CU=", 200),
    (
        "POST",
        OTHER_LIVE,
        f"/api/v2{SPEND}/confirmation",
        f'{{"spendRequestId":"{SPEND_ID}"}}',
        "N51qI4xUiQS+WqDen7Hen+EC8/oVvkfJB0ln0bKbvUA=",
        404,
    ),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_sheet_s_vectors_are_accepted_and_nothing_near_them(offline: Offline, vector: tuple[Any, ...]) -> None:
    method, base, path, body, signature, status = vector
    offline.twin.configure({"public_url": base})
    headers = headers_for(method, base + path, SIGNED_AT, body.encode())
    assert headers["X-CoinPayments-Signature"] == signature
    assert offline.send(method, path, body.encode(), headers).status == status
    assert offline.send(method, path, body.encode() + b" ", headers).status == 401
    offline.twin.configure({"public_url": "http://api.coinpayments.com"})
    assert offline.send(method, path, body.encode(), headers).status == 401


def test_webhooks_are_signed_as_the_sheet_s_vector() -> None:
    signature = sign("POST", "https://pool.example/hooks/coinpayments", SIGNED_AT, WEBHOOK_BODY.encode())
    assert signature == "GJuE3/aO+P4/tXXPWB/sLY+wkSRdTwU0TinFDM7RnPg="


def test_a_confirmed_preview_is_paid_out_and_delivered_once(client: Client) -> None:
    before = client.balance()
    preview = client.preview()
    assert client.transaction(preview).status == 404
    assert client.balance() == before

    answer = client.confirm(preview)

    assert (answer.status, answer.text) == (200, "")
    row = client.until(preview, "confirmedOnBlockchain")
    assert row["toAmount"] == preview["toAmount"]
    assert (row["transactionType"], row["memo"]) == ("conversion", "cv-1")
    assert (row["fromCurrencyId"], row["toCurrencyId"], row["toAddress"]) == (1, 4, ADDRESS)
    assert before - client.balance() == Decimal("0.5")
    (delivery,) = client.sandbox.truth.deliveries
    assert delivery | {"time": ""} == {
        "service_id": "coinpayments",
        "order_id": preview["spendRequestId"],
        "reference": "cv-1",
        "from_coin": "BTC",
        "from_amount": delivery["from_amount"],
        "to_coin": "ETH",
        "amount": delivery["amount"],
        "address": ADDRESS,
        "txid": row["txHash"],
        "time": "",
    }
    assert Decimal(delivery["from_amount"]) == Decimal("0.5")
    assert Decimal(delivery["amount"]) == Decimal(row["toAmount"])
    assert client.sandbox.chain.received(ADDRESS) == [(row["txHash"], Decimal(row["toAmount"]))]
    rows = [row for row in client.sandbox.truth.executions if row["service_id"] == "coinpayments"]
    assert [(row["operation"], row["reference"], row["address"]) for row in rows] == [
        ("order", "cv-1", ADDRESS),
        ("approve", "cv-1", ADDRESS),
    ]


def test_a_transaction_passes_every_stage_of_the_documented_life(offline: Offline) -> None:
    preview = offline.call("POST", f"/v2{SPEND}/request", V2).body
    offline.call("POST", f"/v2{SPEND}/confirmation", {"spendRequestId": preview["spendRequestId"]})
    seen = []
    for _ in range(20):
        row = offline.call("GET", f"/v1{LOOK_UP}?spendRequestId={preview['spendRequestId']}").body
        seen.append((row["transactionStatus"], "txHash" in row))
        offline.pass_time(0.1)
    assert list(dict.fromkeys(seen)) == [
        ("created", False),
        ("waitingForConversion", False),
        ("processing", False),
        ("completed", True),
        ("confirmedOnBlockchain", True),
    ]


def test_fees_out_of_the_amount_are_split_as_in_the_sheet_s_example(client: Client) -> None:
    preview = client.preview()
    market = client.sandbox.market
    factor = Decimal("0.997") * market.wobble("coinpayments", Decimal("0.004"))
    rate = market.rate("BTC", "ETH") * factor
    assert (preview["coinpaymentsFee"], preview["blockchainFee"]) == ("0.0025", "0.0024")
    expected = (Decimal("0.4975") * rate - Decimal("0.0024")).quantize(UNIT, ROUND_FLOOR)
    assert abs(Decimal(preview["toAmount"]) - expected) <= UNIT


def test_fees_on_top_leave_the_amount_whole(client: Client) -> None:
    before = client.balance()
    on_top = client.preview(receiverPaysFee=False)
    inside = client.preview()
    assert Decimal(on_top["toAmount"]) > Decimal(inside["toAmount"])
    client.confirm(on_top)
    client.until(on_top, "confirmedOnBlockchain")
    debit = before - client.balance()
    assert Decimal("0.5025") < debit < Decimal("0.503")


def test_version_1_answers_with_numbers_and_version_2_with_text(client: Client) -> None:
    first, second = client.request("v1"), client.request("v2")
    assert (first.status, second.status) == (202, 200)
    assert re.search(r'"fromAmount":0\.5[,}]', first.text)
    assert re.search(r'"toAmount":\d+\.\d+[,}]', first.text)
    assert '"fromAmount":"0.5"' in second.text
    assert (second.body["fromCurrencySymbol"], second.body["toCurrencySymbol"]) == ("BTC", "ETH")
    assert second.body["conversionPreview"] == {}
    assert "conversionPreview" not in first.body
    client.configure(exponent_numbers=True)
    odd = client.request("v1", memo="x")
    assert '"fromAmount":5E-1' in odd.text
    assert (odd.body["fromAmount"], odd.body["memo"]) == (Decimal("0.5"), "x")


def test_an_amount_may_be_named_in_the_target_s_currency(client: Client) -> None:
    preview = client.preview(amount="10", amountCurrency="4", receiverPaysFee=False)
    assert abs(Decimal(preview["toAmount"]) - 10) < Decimal("0.000001")


def test_a_spend_of_the_wallet_s_own_coin_is_no_conversion(client: Client) -> None:
    address = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
    preview = client.preview(toCurrency="1", toAddress=address, receiverPaysFee=True)
    assert (preview["coinpaymentsFee"], preview["toAmount"]) == ("0", "0.49992")
    assert "conversionPreview" not in preview
    client.confirm(preview)
    assert client.until(preview, "confirmedOnBlockchain")["transactionType"] == "externalSpend"
    assert client.sandbox.utxo["BTC"].received(address)[0][1] == Decimal("0.49992")


def test_a_token_is_named_by_network_and_contract(client: Client) -> None:
    contract = "0xdac17f958d2ee523a2206206994597c13d831ec7"
    preview = client.preview(toCurrency=f"4:{contract}")
    assert preview["toCurrencyId"] == f"4:{contract}"
    client.confirm(preview)
    row = client.until(preview, "confirmedOnBlockchain")
    assert client.sandbox.chain.received_token(ADDRESS) == [(row["txHash"], Decimal(row["toAmount"]))]
    assert client.request("v1", toCurrencyId=4, toContractAddress=contract).status == 202


def test_a_preview_is_confirmed_once(client: Client) -> None:
    preview = client.preview()
    assert client.confirm(preview).status == 200
    again = client.confirm(preview)
    assert (again.status, again.headers["Content-Type"].partition(";")[0]) == (404, "application/problem+json")
    assert (again.body["status"], again.body["title"]) == (404, "spendRequestNotFound")
    client.until(preview, "confirmedOnBlockchain")
    assert len(client.sandbox.truth.deliveries) == 1


def test_a_preview_ends_after_a_minute(offline: Offline) -> None:
    def confirm() -> Any:
        return offline.call("POST", f"/v2{SPEND}/confirmation", {"spendRequestId": preview["spendRequestId"]})

    preview = offline.call("POST", f"/v2{SPEND}/request", V2).body
    offline.pass_time(61)
    assert confirm().status == 404
    preview = offline.call("POST", f"/v2{SPEND}/request", V2).body
    offline.pass_time(59)
    assert confirm().status == 200


def test_a_preview_belongs_to_its_wallet(client: Client) -> None:
    preview = client.preview()
    other = next(row for row in client.call("GET", "/v2/merchant/wallets").body if row["currencyId"] == "2")
    path = f"/v2/merchant/wallets/{other['walletId']}"
    body = {"spendRequestId": preview["spendRequestId"]}
    assert client.call("POST", f"{path}/spend/confirmation", body).status == 404
    client.confirm(preview)
    assert client.call("GET", f"{path}/transaction?spendRequestId={preview['spendRequestId']}").status == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"X-CoinPayments-Client": "somebody"},
        {"X-CoinPayments-Signature": "bm90aGluZw=="},
        {"X-CoinPayments-Signature": ""},
        {"X-CoinPayments-Timestamp": ""},
        {"X-CoinPayments-Timestamp": "2026-01-15T10:30:00Z"},
        {"X-CoinPayments-Timestamp": "2026-13-15T10:30:00"},
    ],
)
def test_a_call_with_a_wrong_header_is_refused(calm: Client, changes: dict[str, str]) -> None:
    answer = calm.call("GET", "/v1/merchant/wallets", **changes)
    assert (answer.status, answer.body["status"]) == (401, 401)
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize(("age", "status"), [(61, 401), (59, 200), (-61, 401)])
def test_a_signature_serves_for_a_minute(offline: Offline, age: int, status: int) -> None:
    path = "/api/v1/merchant/wallets"
    moment = datetime.fromtimestamp(offline.time, UTC) - timedelta(seconds=age)
    headers = headers_for("GET", f"http://x/coinpayments{path}", moment.strftime("%Y-%m-%dT%H:%M:%S"), b"")
    assert offline.send("GET", path, b"", headers).status == status


def test_a_signature_without_the_byte_order_mark_is_refused(offline: Offline) -> None:
    path = "/api/v1/merchant/wallets"
    text = f"GEThttp://x/coinpayments{path}{COINPAYMENTS_CLIENT_ID}{SIGNED_AT}"
    digest = hmac.new(COINPAYMENTS_CLIENT_SECRET.encode(), text.encode(), hashlib.sha256).digest()
    headers = headers_for("GET", "", SIGNED_AT, b"") | {"X-CoinPayments-Signature": base64.b64encode(digest).decode()}
    assert offline.send("GET", path, b"", headers).status == 401


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"toAddress": "0x12"}, "addressIsNotValid"),
        ({"toAddress": None}, "addressIsNotValid"),
        ({"toCurrency": "77"}, "currencyIsNotActive"),
        ({"toCurrency": "1002", "toAddress": "mvWgTTtQqZohUPnykucneWNXzM5PLj83an"}, "conversionPairDoesNotExist"),
        ({"amount": "0.00001"}, "amountIsBelowOfConversionLimit"),
        ({"amount": "100000"}, "amountIsAboveOfConversionLimit"),
        ({"amount": "2"}, "insufficientFunds"),
        ({"amount": "0"}, "validationError"),
        ({"amount": 0.5}, "validationError"),
        ({"amountCurrency": "2"}, "validationError"),
        ({"receiverPaysFee": "yes"}, "validationError"),
        ({"memo": 7}, "validationError"),
        ({"blockchainFeeOverride": "1"}, "validationError"),
    ],
)
def test_what_is_wrong_with_a_spend_request_is_named(calm: Client, changes: dict[str, Any], title: str) -> None:
    calm.configure(balances={"BTC": "1"})
    answer = calm.request(**changes)
    assert (answer.status, answer.body["title"]) == (400, title)
    assert answer.body["detail"]
    assert calm.sandbox.truth.executions == []


def test_version_1_takes_whole_numbers_of_smallest_units_alone(client: Client) -> None:
    assert client.request("v1", amountInSmallestUnits="0.5").status == 400
    assert client.request("v1", amountInSmallestUnits=50000000).status == 400
    fee = {"blockchainFeeOverrideInSmallestUnits": "2500000000000000"}
    assert client.request("v1", **fee).body["blockchainFee"] == Decimal("0.0025")


def test_funds_that_left_meanwhile_stop_the_confirmation(client: Client) -> None:
    preview = client.preview()
    client.configure(balances={"BTC": "0.4"})
    answer = client.confirm(preview)
    assert (answer.status, answer.body["title"]) == (400, "insufficientFunds")
    assert client.transaction(preview).status == 404


def test_a_locked_wallet_pays_nothing(client: Client) -> None:
    preview = client.preview()
    client.configure(locked=["BTC"])
    assert client.confirm(preview).body["title"] == "userWalletIsLocked"
    assert client.transaction(preview).status == 404
    assert client.request().body["title"] == "userWalletIsLocked"
    assert client.call("GET", f"/v1/merchant/wallets/{WALLET}").body["isLocked"] is True


@pytest.mark.parametrize("ending", ["failedOnBlockchain", "failed", "cancelled", "rejected", "expired"])
def test_a_transaction_that_fails_gives_the_coins_back(client: Client, ending: str) -> None:
    before = client.balance()
    client.configure(ending=ending)
    preview = client.preview()
    client.confirm(preview)
    client.until(preview, ending)
    assert client.balance() == before
    assert client.sandbox.truth.deliveries == []


def test_a_transaction_may_get_stuck(offline: Offline) -> None:
    offline.twin.configure({"ending": "processing"})
    preview = offline.call("POST", f"/v2{SPEND}/request", V2).body
    offline.call("POST", f"/v2{SPEND}/confirmation", {"spendRequestId": preview["spendRequestId"]})
    for _ in range(20):
        offline.pass_time(10)
    row = offline.call("GET", f"/v2{LOOK_UP}?spendRequestId={preview['spendRequestId']}").body
    assert row["transactionStatus"] == "processing"


def test_a_payout_may_be_lower_than_its_preview(client: Client) -> None:
    client.configure(final_factor="0.9")
    preview = client.preview()
    client.confirm(preview)
    paid = client.until(preview, "confirmedOnBlockchain")["toAmount"]
    expected = (Decimal(preview["toAmount"]) * Decimal("0.9")).quantize(UNIT, ROUND_FLOOR)
    assert Decimal(paid) == expected


def test_a_floating_confirmation_takes_the_price_of_its_moment(client: Client) -> None:
    client.configure(floating=True)
    preview = client.preview()
    client.sandbox.market.configure({"prices": {"BTC": "20000"}})
    client.confirm(preview)
    paid = client.until(preview, "confirmedOnBlockchain")["toAmount"]
    assert Decimal(paid) < Decimal(preview["toAmount"]) / 2


def test_a_look_up_that_finds_nothing_may_be_empty_and_amounts_in_smallest_units(client: Client) -> None:
    preview = client.preview()
    client.configure(no_match="empty", amount_unit="smallest")
    answer = client.transaction(preview)
    assert (answer.status, answer.text) == (200, "")
    client.confirm(preview)
    assert client.transaction(preview).body["fromAmount"] == "50000000"
    assert client.call("GET", f"/v2{LOOK_UP}").status == 400


def test_the_list_shows_what_a_client_remembers(client: Client) -> None:
    previews = [client.preview(memo=memo) for memo in ("cv-1", "cv-2", "cv-3")]
    for preview in previews:
        client.confirm(preview)
    rows = client.call("GET", f"/v2{LOOK_UP}s").body
    assert [(row["memo"], row["spendRequestId"]) for row in rows] == [
        (preview["memo"], preview["spendRequestId"]) for preview in previews
    ]
    page = client.call("GET", f"/v2{LOOK_UP}s?skip=1&take=1").body
    assert [row["memo"] for row in page] == ["cv-2"]
    own = client.call("GET", f"/v2{LOOK_UP}?transactionId={rows[2]['id']}").body
    assert own["memo"] == "cv-3"
    assert client.call("GET", f"/v2{LOOK_UP}s?take=x").status == 400


def test_a_wallet_is_made_and_takes_deposits(client: Client) -> None:
    answer = client.call("POST", "/v1/merchant/wallets", {"currencyId": "4", "label": "pool-eth"})
    assert answer.status == 202
    client.sandbox.chain.pay(answer.body["address"], Decimal("1.5"))
    path = f"/v1/merchant/wallets/{answer.body['walletId']}"

    def balance() -> Any:
        return client.call("GET", path).body["confirmedBalance"]

    wait(lambda: balance()["valueAsDecimal"] == "1.5")
    assert balance()["value"] == str(15 * 10**17)
    (row,) = client.call("GET", f"{path}/transactions").body
    assert (row["transactionType"], row["toAmount"]) == ("accountBasedExternalReceive", "1.5")
    assert client.call("POST", "/v2/merchant/wallets", {"currency": "1"}).status == 202
    assert client.call("POST", "/v2/merchant/wallets", {"currency": "77"}).status == 400
    assert client.call("GET", "/v1/merchant/wallets/nothing").status == 404


def test_a_bitcoin_deposit_is_credited(client: Client) -> None:
    before = client.balance()
    wallet = client.call("GET", f"/v1/merchant/wallets/{WALLET}").body
    client.sandbox.utxo["BTC"].pay(wallet["depositAddress"], Decimal("0.25"))
    wait(lambda: client.balance() == before + Decimal("0.25"))


def test_every_wallet_has_a_deposit_address_of_its_network(client: Client, offline: Offline) -> None:
    offered = {currency.currency_id: currency for currency in CURRENCIES if currency.symbol != "LTCT"}
    bare = offline.twin.wallets
    for wallets in (client.call("GET", "/v1/merchant/wallets").body, [wallet.view() for wallet in bare]):
        seen = set()
        for wallet in wallets:
            contract = wallet["contractAddress"]
            name = f"{wallet['currencyId']}:{contract}" if contract else wallet["currencyId"]
            if currency := offered.get(name):
                check_address(asset(currency.symbol, currency.network), wallet["depositAddress"])
                assert currency.accepts(wallet["depositAddress"])
                seen.add(name)
        assert seen == set(offered)


def test_the_anonymous_calls_need_no_headers(calm: Client) -> None:
    rows = calm.public("/currencies")
    known = {row["id"]: row for row in rows}
    assert (known["1"]["symbol"], known["4"]["symbol"], known["1002"]["symbol"]) == ("BTC", "ETH", "LTCT")
    assert {"BTC", "ETH", "LTC", "DOGE", "BCH", "RVN", "USDT"} <= {row["symbol"] for row in rows}
    assert calm.public("/currencies/1") == known["1"]
    assert [row["id"] for row in calm.public("/currencies?q=ether&types=crypto")] == ["4", "8"]
    assert all(row["symbol"] != "LTCT" for row in calm.public("/currencies?capabilities=swap"))
    pairs = calm.public("/currencies/conversions")
    assert {"from": "1", "to": "4"} in pairs
    assert all("1002" not in pair.values() for pair in pairs)
    limits = calm.public("/currencies/limits/1/4")
    assert all(isinstance(value, int) for value in limits.values())
    assert 10_000 < limits["min"] < 100_000
    assert calm.public("/fees/blockchain/4") == 2_400_000_000_000_000
    assert calm.public("/currencies/blockchain-nodes/1/latest-block-number")["latestBlockNumber"] > 0
    assert {"currencyId": "1", "confirmations": 2} in calm.public("/currencies/required-confirmations")


def test_rates_are_text_of_quote_units_for_one_base_unit(calm: Client) -> None:
    items = calm.public("/rates?from=1,4&to=5057,2")["items"]
    assert [(row["baseCurrencyId"], row["quoteCurrencyId"]) for row in items] == [(1, 5057), (1, 2), (4, 5057), (4, 2)]
    assert all(isinstance(row["rate"], str) for row in items)
    assert Decimal(items[0]["rate"]) > 10_000
    (token,) = calm.public("/rates?from=1&to=4:0xdac17f958d2ee523a2206206994597c13d831ec7")["items"]
    assert token["quoteToken"] == "0xdac17f958d2ee523a2206206994597c13d831ec7"
    assert calm.public("/rates?from=1&to=77")["items"] == []


def test_more_than_seventy_requests_a_second_are_refused(offline: Offline) -> None:
    for _ in range(70):
        assert offline.call("GET", "/v1/merchant/wallets").status == 200
    refused = offline.call("GET", "/v1/merchant/wallets")
    assert (refused.status, refused.body["status"]) == (429, 429)
    offline.pass_time(1)
    assert offline.call("GET", "/v1/merchant/wallets").status == 200


def test_webhooks_tell_every_step_and_can_be_verified(offline: Offline) -> None:
    url = "http://127.0.0.1:9/hooks/coinpayments"
    body = {"notificationsUrl": url}
    assert offline.call("POST", f"/v1/merchant/clients/{COINPAYMENTS_CLIENT_ID}/webhooks", body).status == 200
    preview = offline.call("POST", f"/v2{SPEND}/request", V2).body
    offline.call("POST", f"/v2{SPEND}/confirmation", {"spendRequestId": preview["spendRequestId"]})
    for _ in range(6):
        offline.pass_time(0.5)
    assert len(offline.posted) == 5
    for target, headers, raw in offline.posted:
        expected = sign("POST", url, headers["X-CoinPayments-Timestamp"], raw)
        assert (target, headers["X-CoinPayments-Signature"]) == (url, expected)
    last = json.loads(offline.posted[-1][2])
    assert (last["spendRequestId"], last["transactionType"]) == (preview["spendRequestId"], "Conversion")
    assert "status" not in " ".join(last).lower()


def test_a_wrong_amount_fault_executes_with_that_amount(client: Client) -> None:
    client.fault(kind="wrong_amount", factor="0.9", operations=["approve"])
    preview = client.preview()
    client.confirm(preview)
    paid = client.until(preview, "confirmedOnBlockchain")["toAmount"]
    assert Decimal(paid) < Decimal(preview["toAmount"]) * Decimal("0.91")
    client.fault(kind="wrong_amount", factor="0.9", operations=["order"])
    assert client.preview()["fromAmount"] == "0.45"


def test_a_wrong_rate_fault_changes_the_rate(client: Client) -> None:
    honest = Decimal(client.public("/rates?from=1&to=4")["items"][0]["rate"])
    client.fault(kind="wrong_rate", factor="1.05")
    lying = Decimal(client.public("/rates?from=1&to=4")["items"][0]["rate"])
    assert abs(lying / honest - Decimal("1.05")) < Decimal("0.00001")


def test_a_refused_call_is_answered_as_definitely_not_executed(client: Client) -> None:
    preview = client.preview()
    client.fault(kind="refuse")
    assert client.request().status == 400
    assert client.confirm(preview).status == 400
    assert client.transaction(preview).status == 403  # not "there is no such transaction"
    assert [row["operation"] for row in client.sandbox.truth.executions] == ["order"]


def test_a_confirmation_whose_answer_was_lost_is_found_by_its_spend_request(client: Client) -> None:
    client.fault(kind="reset_after_execute", operations=["approve"], count=1)
    preview = client.preview()
    with pytest.raises(requests.ConnectionError):
        client.confirm(preview)
    client.until(preview, "confirmedOnBlockchain")
    assert client.confirm(preview).status == 404
    assert len(client.sandbox.truth.deliveries) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"mood": "bad"},
        {"ending": "lost"},
        {"balances": {"GOLD": "1"}},
        {"balances": {"BTC": 1}},
        {"minimum": "1"},
        {"locked": "BTC"},
        {"preview_seconds": -1},
        {"final_factor": "0"},
        {"public_url": 7},
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(offline: Offline, settings: dict[str, Any]) -> None:
    before = offline.twin.describe()
    with pytest.raises(ValueError, match=next(iter(settings))):
        offline.twin.configure({"floating": True} | settings)
    assert offline.twin.describe() == before
