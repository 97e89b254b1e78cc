"""The CoinGate twin, held against its fact sheet: over the wire, and with a clock of our own where time matters."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
import requests

from converter.sandbox.chain import EvmChain
from converter.sandbox.credentials import COINGATE_TOKEN
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import TwinMount
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, World
from converter.sandbox.twins.coingate import CoinGateTwin

BTC_ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS = "0x86d526d6624AbC0178cF7296cD538Ecc080A95F1"
BTC, ETH = 8, 50
BITCOIN, ETHEREUM = 5, 1
PERSON = {
    "beneficiary_type": "person",
    "person": {"first_name": "Ada", "surname": "Miner"},
    "email": "ada@pool.example",
    "country": "LTU",
    "currency_id": ETH,
    "platform_id": ETHEREUM,
    "crypto_address": ETH_ADDRESS,
}
UNIT = Decimal("0.00000001")


class Client:
    """A stranger's client: a base address and a token."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._session = requests.Session()

    def call(self, method: str, path: str, auth: str | None = f"Token {COINGATE_TOKEN}", **kw: Any) -> Any:
        headers = {} if auth is None else {"Authorization": auth}
        url = f"{self.sandbox.url}/coingate/v2{path}"
        answer = self._session.request(method, url, headers=headers, timeout=5, **kw)
        kind = answer.headers["Content-Type"]
        return SimpleNamespace(
            status=answer.status_code, body=answer.json() if "json" in kind else None, text=answer.text
        )

    def get(self, path: str, **query: Any) -> Any:
        answer = self.call("GET", path, params=query)
        assert answer.status == 200, answer.text
        return answer.body

    def account(self, symbol: str = "BTC") -> dict[str, Any]:
        rows = self.get("/ledger/accounts")["accounts"]
        return next(row for row in rows if row["currency"]["symbol"] == symbol)

    def payee(self, **changes: Any) -> int:
        answer = self.call("POST", "/beneficiaries", json=PERSON | changes)
        assert answer.status == 200, answer.text
        (setting,) = answer.body["beneficiary_payout_settings"]
        return int(setting["id"])

    def send(self, payee: int | None = None, **changes: Any) -> Any:
        body = {
            "ledger_account_id": self.account()["id"],
            "beneficiary_payout_setting_id": payee or self.payee(),
            "amount": "0.5",
            "amount_currency_id": BTC,
            "purpose": "pool payout",
        }
        return self.call("POST", "/send_requests", json=body | changes)

    def draft(self, payee: int | None = None, **changes: Any) -> dict[str, Any]:
        answer = self.send(payee, **changes)
        assert answer.status == 200, answer.text
        return answer.body

    def act(self, row: dict[str, Any], action: str) -> Any:
        return self.call("PATCH", f"/send_requests/{row['id']}/{action}")

    def until(self, row: dict[str, Any], status: str) -> dict[str, Any]:
        def reached() -> Any:
            now = self.get(f"/send_requests/{row['id']}")
            return now if now["status"] == status else None

        return wait(reached)

    def balance(self, symbol: str = "BTC") -> Decimal:
        return Decimal(self.account(symbol)["balance"])

    def configure(self, **settings: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/services/coingate", json=settings, timeout=5)
        assert answer.status_code == 200, answer.text

    def fault(self, **fault: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/faults/coingate", json=fault, timeout=5)
        assert answer.status_code == 200, answer.text


class Offline:
    """The twin alone, on a clock that only the test moves; callbacks are kept."""

    def __init__(self) -> None:
        self.time = 1_767_225_600.0
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.truth = TruthBook(self.now)
        self.chain = EvmChain(self.truth, self.now)
        market = SeededMarket(7, self.now)
        market.configure({"step_ms": 10**9})
        self.twin = CoinGateTwin(World(market, self.truth, self.chain, self.now, callback=self._post))
        self._mount = TwinMount(self.twin)

    def now(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.chain.tick()
        self.twin.tick()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        raw = urlencode(query)
        headers = {"authorization": f"Token {COINGATE_TOKEN}", "content-type": "application/json"}
        request = Request(method, f"/v2{path}", raw, parse_qs(raw), headers, json.dumps(body or {}).encode())
        return self._mount.handle(request)

    def draft(self, **changes: Any) -> dict[str, Any]:
        payee = self.call("POST", "/beneficiaries", PERSON).body["beneficiary_payout_settings"][0]["id"]
        account = self.call("GET", "/ledger/accounts").body["accounts"][0]["id"]
        body = {"ledger_account_id": account, "beneficiary_payout_setting_id": payee, "purpose": "pool payout"}
        body |= {"amount": "0.5", "amount_currency_id": BTC} | changes
        answer = self.call("POST", "/send_requests", body)
        assert answer.status == 200, answer.body
        return dict(answer.body)

    def status(self, row: dict[str, Any]) -> str:
        return str(self.call("GET", f"/send_requests/{row['id']}").body["status"])

    def _post(self, _service_id: str, url: str, headers: Any, body: bytes) -> None:
        self.posted.append((url, dict(headers), body))


def wait(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("nothing happened in time")


@pytest.fixture
def client() -> Iterator[Client]:
    # The client polls far faster than a real one would, so the world runs fast enough for the rate limit too.
    with Sandbox(speed=30, services=["coingate"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture(scope="module")
def calm() -> Iterator[Client]:
    """One sandbox for all tests in which nothing is made."""
    with Sandbox(speed=30, services=["coingate"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture
def offline() -> Offline:
    return Offline()


def test_a_confirmed_draft_is_paid_out_and_delivered_once(client: Client) -> None:
    before = client.balance()
    draft = client.draft(external_id="cv-1")
    assert (draft["status"], draft["external_id"]) == ("draft", "cv-1")
    assert draft["actions_required"]["confirm"].endswith(f"/send_requests/{draft['id']}/confirm")
    assert client.balance() == before

    confirmed = client.act(draft, "confirm")

    assert (confirmed.status, confirmed.body["status"]) == (200, "in_progress")
    row = client.until(draft, "completed")
    assert "actions_required" not in row
    (payment,) = row["blockchain_transactions"]
    assert payment == {
        "txid": payment["txid"],
        "amount": draft["sending_amount"],
        "status": "confirmed",
        "network_confirmations": 12,
    }
    (delivery,) = client.sandbox.truth.deliveries
    assert delivery | {"time": ""} == {
        "service_id": "coingate",
        "order_id": str(draft["id"]),
        "reference": "cv-1",
        "from_coin": "BTC",
        "from_amount": delivery["from_amount"],
        "to_coin": "ETH",
        "amount": delivery["amount"],
        "address": ETH_ADDRESS,
        "txid": payment["txid"],
        "time": "",
    }
    assert Decimal(delivery["from_amount"]) == before - client.balance()
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert client.sandbox.chain.received(ETH_ADDRESS) == [(payment["txid"], Decimal(draft["sending_amount"]))]
    rows = [row for row in client.sandbox.truth.executions if row["service_id"] == "coingate"]
    assert [(row["operation"], row["reference"], row["address"]) for row in rows] == [
        ("order", "cv-1", ETH_ADDRESS),
        ("approve", "cv-1", ETH_ADDRESS),
    ]


def test_a_send_request_passes_every_stage_of_the_documented_life(offline: Offline) -> None:
    draft = offline.draft()
    seen = [offline.status(draft)]
    offline.call("PATCH", f"/send_requests/{draft['id']}/confirm")
    for _ in range(15):
        seen.append(offline.status(draft))
        offline.pass_time(0.1)
    assert list(dict.fromkeys(seen)) == ["draft", "in_progress", "processing", "completed"]


def test_fees_are_shown_in_the_draft_and_taken_on_top(client: Client) -> None:
    before = client.balance()
    draft = client.draft()
    market = client.sandbox.market
    rate = market.rate("BTC", "USDT") / market.rate("ETH", "USDT") * Decimal("0.997")
    rate *= market.wobble("coingate", Decimal("0.004"))
    euro = Decimal("0.50") * Decimal("1.08") / market.rate("BTC", "USDT")
    service_fee = (Decimal("0.0025") + euro).quantize(UNIT, ROUND_CEILING)
    assert abs(Decimal(draft["sending_amount"]) - (rate / 2).quantize(UNIT, ROUND_FLOOR)) <= UNIT
    assert Decimal(draft["fees"]["conversion_fee"]["amount"]) == Decimal("0.005")
    assert Decimal(draft["fees"]["service_fee"]["amount"]) == service_fee
    assert draft["fees"]["service_fee"]["currency"]["symbol"] == "BTC"
    assert (draft["input_amount"], draft["balance_debit_amount"]) == ("0.5", "0.5")
    client.act(draft, "confirm")
    client.until(draft, "completed")
    assert before - client.balance() == Decimal("0.505") + service_fee


def test_fees_may_come_out_of_the_debit(client: Client) -> None:
    client.configure(fees_inside=True)
    before = client.balance()
    draft = client.draft()
    fees = sum(Decimal(fee["amount"]) for fee in draft["fees"].values())
    expected = (Decimal("0.5") - fees) * Decimal(draft["input_to_sending_rate"])
    assert abs(Decimal(draft["sending_amount"]) - expected) <= UNIT
    client.act(draft, "confirm")
    client.until(draft, "completed")
    assert before - client.balance() == Decimal("0.5")
    exact = client.draft(amount="10", amount_currency_id=ETH)
    assert exact["sending_amount"] == "10.0"
    fees = sum(Decimal(fee["amount"]) for fee in exact["fees"].values())
    net = (Decimal(exact["balance_debit_amount"]) - fees) / Decimal(exact["sending_to_balance_debit_rate"])
    assert abs(net - 10) < Decimal("0.00001")


def test_the_amount_may_be_named_in_the_payout_s_or_another_currency(client: Client) -> None:
    payee = client.payee()
    exact = client.draft(payee, amount="10", amount_currency_id=ETH)
    assert (exact["input_amount"], exact["sending_amount"]) == ("10.0", "10.0")
    assert exact["input_currency"]["symbol"] == "ETH"
    euros = client.draft(payee, amount="1000", amount_currency_id=2)
    assert Decimal("0.02") < Decimal(euros["balance_debit_amount"]) < Decimal("0.03")


def test_without_a_conversion_the_create_call_pays(client: Client) -> None:
    before = client.balance()
    payee = client.payee(currency_id=BTC, platform_id=BITCOIN, crypto_address=BTC_ADDRESS)
    row = client.draft(payee, external_id="cv-2")
    assert row["status"] == "in_progress"
    assert "actions_required" not in row
    assert "conversion_fee" not in row["fees"]
    assert client.balance() < before
    client.until(row, "completed")
    ((_, amount),) = wait(lambda: client.sandbox.utxo["BTC"].received(BTC_ADDRESS))
    assert amount == Decimal("0.5")
    assert client.act(row, "confirm").status == 422


def test_a_token_payout_arrives_as_a_token(client: Client) -> None:
    row = client.draft(client.payee(currency_id=97, platform_id=ETHEREUM))
    client.act(row, "confirm")
    paid = Decimal(client.until(row, "completed")["sending_amount"])
    wait(lambda: client.sandbox.chain.received_token(ETH_ADDRESS))
    assert [amount for _, amount in client.sandbox.chain.received_token(ETH_ADDRESS)] == [paid]


def test_an_external_id_serves_once_and_the_list_finds_it(client: Client) -> None:
    payee = client.payee()
    rows = [client.draft(payee, external_id=name) for name in ("cv-1", "cv-2", "cv-3")]
    again = client.send(payee, external_id="cv-2")
    assert (again.status, again.body["reason"]) == (422, "SendRequestIsNotValid")
    assert "external_id" in again.body["errors"]
    listed = client.get("/send_requests")
    assert [row["external_id"] for row in listed["send_requests"]] == ["cv-3", "cv-2", "cv-1"]
    page = client.get("/send_requests", page=2, per_page=1)
    assert [row["id"] for row in page["send_requests"]] == [rows[1]["id"]]
    assert (page["current_page"], page["per_page"], page["total_pages"]) == (2, 1, 3)
    assert client.call("GET", "/send_requests", params={"per_page": 101}).status == 400


def test_a_draft_is_confirmed_once(client: Client) -> None:
    draft = client.draft()
    client.act(draft, "confirm")
    again = client.act(draft, "confirm")
    assert (again.status, again.body["reason"]) == (422, "SendRequestIsNotValid")
    assert "Current state: " in again.body["errors"][0]
    client.until(draft, "completed")
    assert client.act(draft, "cancel").status == 422
    assert len(client.sandbox.truth.deliveries) == 1


def test_a_cancelled_draft_moves_nothing(client: Client) -> None:
    before = client.balance()
    draft = client.draft()
    assert client.act(draft, "cancel").body["status"] == "canceled"
    assert client.act(draft, "confirm").status == 422
    assert client.balance() == before
    assert client.sandbox.truth.deliveries == []
    assert [row["operation"] for row in client.sandbox.truth.executions] == ["order", "cancel"]


def test_a_draft_expires_after_a_minute(offline: Offline) -> None:
    draft = offline.draft()
    offline.time += 59
    assert offline.status(draft) == "draft"
    offline.time += 1
    answer = offline.call("PATCH", f"/send_requests/{draft['id']}/confirm")
    assert (answer.status, answer.body["errors"]) == (422, ["Transaction expired."])
    assert offline.status(draft) == "expired"
    offline.twin.configure({"draft_seconds": 0})
    assert offline.status(offline.draft()) == "expired"


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"ledger_account_id": "nothing"}, 404, "LedgerAccountNotFound"),
        ({"beneficiary_payout_setting_id": 1}, 404, "BeneficiaryPayoutSettingNotFound"),
        ({"amount": "0"}, 422, "SendRequestIsNotValid"),
        ({"amount": "1e2"}, 422, "SendRequestIsNotValid"),
        ({"amount_currency_id": 999}, 422, "SendRequestIsNotValid"),
        ({"purpose": ""}, 422, "SendRequestIsNotValid"),
        ({"external_id": "x" * 51}, 422, "SendRequestIsNotValid"),
        ({"amount": "1"}, 422, "SendRequestIsNotValid"),
    ],
)
def test_what_is_wrong_with_a_send_request_is_named(
    calm: Client, changes: dict[str, Any], status: int, reason: str
) -> None:
    calm.configure(balances={"BTC": "1"})
    answer = calm.send(**changes)
    assert (answer.status, answer.body["reason"]) == (status, reason)
    assert answer.body["message"]
    assert calm.get("/send_requests")["send_requests"] == []
    assert calm.sandbox.truth.executions == []


def test_a_pair_that_is_not_offered_is_refused_in_the_service_s_words(calm: Client) -> None:
    answer = calm.send(ledger_account_id=calm.account("DOGE")["id"], amount="5000", amount_currency_id=52)
    assert answer.status == 422
    assert answer.body["errors"] == ["The DOGE/ETH conversion pair is not supported on CoinGate."]


def test_funds_that_left_meanwhile_stop_the_confirmation(client: Client) -> None:
    draft = client.draft()
    client.configure(balances={"BTC": "0.1"})
    assert client.act(draft, "confirm").status == 422
    assert client.get(f"/send_requests/{draft['id']}")["status"] == "draft"


@pytest.mark.parametrize("ending", ["failed", "canceled"])
def test_what_fails_is_credited_back_after_a_while(offline: Offline, ending: str) -> None:
    def balance() -> Decimal:
        return Decimal(offline.twin.describe()["balances"]["BTC"])

    before = balance()
    offline.twin.configure({"ending": ending})
    draft = offline.draft()
    offline.call("PATCH", f"/send_requests/{draft['id']}/confirm")
    for _ in range(2):
        offline.pass_time(0.4)
    assert offline.status(draft) == ending
    assert balance() < before
    offline.pass_time(1)
    assert balance() == before
    query = {"source_type": "send_request", "source_id": draft["id"]}
    entries = offline.call("GET", "/ledger/transactions", **query).body["transactions"]
    assert [row["purpose"] for row in entries] == ["send_request_return", "send_request"]
    assert Decimal(entries[0]["closing_balance"]) == before
    assert Decimal(entries[0]["debited_amount"]) == Decimal(entries[1]["credited_amount"])
    assert offline.truth.deliveries == []


def test_what_fails_may_stay_away(offline: Offline) -> None:
    offline.twin.configure({"ending": "failed", "credit_back": False})
    draft = offline.draft()
    offline.call("PATCH", f"/send_requests/{draft['id']}/confirm")
    for _ in range(20):
        offline.pass_time(1)
    assert offline.status(draft) == "failed"
    assert Decimal(offline.twin.describe()["balances"]["BTC"]) < 1_000_000


def test_a_request_may_be_held_in_compliance(offline: Offline) -> None:
    offline.twin.configure({"ending": "in_progress"})
    draft = offline.draft()
    offline.call("PATCH", f"/send_requests/{draft['id']}/confirm")
    for _ in range(20):
        offline.pass_time(60)
    assert offline.status(draft) == "in_progress"


def test_a_second_factor_cannot_be_given_by_call(offline: Offline) -> None:
    offline.twin.configure({"requires_2fa": True})
    draft = offline.draft()
    assert draft["requires_2fa_confirmation"] is True
    assert offline.call("PATCH", f"/send_requests/{draft['id']}/confirm").status == 422
    offline.pass_time(29 * 86400)
    assert offline.status(draft) == "draft"
    offline.pass_time(86400)
    assert offline.status(draft) == "expired"


@pytest.mark.parametrize(
    ("auth", "status", "reason"),
    [
        (None, 401, "BadCredentials"),
        ("Basic abc", 401, "BadCredentials"),
        ("Token nobody", 401, "BadAuthToken"),
        (f"Token {COINGATE_TOKEN}", 200, None),
        (f"Bearer {COINGATE_TOKEN}", 200, None),
    ],
)
def test_the_token_opens_the_private_calls(calm: Client, auth: str | None, status: int, reason: str | None) -> None:
    answer = calm.call("GET", "/auth/test", auth)
    assert (answer.status, (answer.body or {}).get("reason")) == (status, reason)


def test_both_bases_and_both_body_formats_are_served(client: Client) -> None:
    form = {
        "beneficiary_type": "business",
        "business[company_name]": "Pool Ltd",
        "business[company_code]": "77",
        "email": "pool@pool.example",
        "country": "LTU",
        "currency_id": str(ETH),
        "platform_id": str(ETHEREUM),
        "crypto_address": ETH_ADDRESS,
    }
    answer = client.call("POST", "/beneficiaries", data=form)
    assert answer.status == 200, answer.text
    assert answer.body["business"] == {"company_name": "Pool Ltd", "company_code": "77"}
    url = f"{client.sandbox.url}/coingate/api/v2/beneficiaries/{answer.body['id']}"
    found = requests.get(url, headers={"Authorization": f"Token {COINGATE_TOKEN}"}, timeout=5).json()
    assert found == answer.body
    send = {
        "ledger_account_id": client.account()["id"],
        "beneficiary_payout_setting_id": str(answer.body["beneficiary_payout_settings"][0]["id"]),
        "amount": "0.5",
        "amount_currency_id": str(BTC),
        "purpose": "pool payout",
    }
    assert client.call("POST", "/send_requests", data=send).body["status"] == "draft"


def test_beneficiaries_are_checked_and_found_again(client: Client) -> None:
    wrong = {"email": "nobody", "country": "Lithuania", "person": {}, "crypto_address": BTC_ADDRESS}
    answer = client.call("POST", "/beneficiaries", json=PERSON | wrong)
    assert (answer.status, answer.body["reason"]) == (422, "BeneficiaryIsNotValid")
    assert answer.body["errors"].keys() == {
        "email",
        "country",
        "person.first_name",
        "person.surname",
        "crypto_address",
    }
    assert client.call("POST", "/beneficiaries", json=PERSON | {"platform_id": BITCOIN}).status == 422
    client.payee()
    (row,) = client.get("/beneficiaries", email="ada@pool.example")["beneficiaries"]
    assert client.get("/beneficiaries", search_name="nobody")["beneficiaries"] == []
    more = {"currency_id": BTC, "platform_id": BITCOIN, "crypto_address": BTC_ADDRESS}
    setting = client.call("POST", "/beneficiary_payout_settings", json=more | {"beneficiary_id": row["id"]}).body
    assert setting["crypto_address"] == BTC_ADDRESS
    assert client.get(f"/beneficiary_payout_settings/{setting['id']}") == setting
    assert len(client.get("/beneficiary_payout_settings")["beneficiary_payout_settings"]) == 2
    nobody = client.call("POST", "/beneficiary_payout_settings", json=more | {"beneficiary_id": 1})
    assert (nobody.status, nobody.body["reason"]) == (404, "BeneficiaryNotFound")


def conversion(client: Client, **changes: Any) -> Any:
    body = {"ledger_account_id": client.account()["id"], "quote_currency_id": ETH, "base_amount": "0.5"}
    return client.call("POST", "/ledger/conversions", json=body | changes)


def test_a_ledger_conversion_moves_between_two_balances(client: Client) -> None:
    bitcoin, ether = client.balance(), client.balance("ETH")
    row = conversion(client).body
    assert (row["status"], row["fees"]["conversion_fee"]["amount"]) == ("pending", "0.005")
    made, ends = (datetime.fromisoformat(row[name]) for name in ("created_at", "expires_at"))
    assert (ends - made).total_seconds() == 65
    assert client.balance() == bitcoin
    done = client.call("PATCH", f"/ledger/conversions/{row['id']}/confirm")
    assert (done.status, done.body["status"]) == (200, "completed")
    assert client.balance() == bitcoin - Decimal("0.505")
    assert client.balance("ETH") == ether + Decimal(row["quote_amount"])
    again = client.call("PATCH", f"/ledger/conversions/{row['id']}/confirm")
    text = "Conversion can only be confirmed when in 'pending' state. Current state: completed."
    assert (again.status, again.body["errors"]) == (422, [text])
    listed = client.get("/ledger/conversions")
    assert [item["id"] for item in listed["exchange_transactions"]] == [row["id"]]
    assert listed["total_records"] == 1
    assert client.sandbox.truth.deliveries == []


def test_a_pending_conversion_reserves_its_cost_until_it_is_cancelled(client: Client) -> None:
    client.configure(balances={"BTC": "1"})
    row = conversion(client).body
    refused = conversion(client)
    assert (refused.status, refused.body["reason"]) == (422, "LedgerConversionIsNotValid")
    assert client.call("PATCH", f"/ledger/conversions/{row['id']}/cancel").body["status"] == "canceled"
    assert conversion(client).status == 200
    assert conversion(client, quote_currency_id=999).status == 422
    assert client.call("GET", "/ledger/conversions/nothing").body["reason"] == "LedgerConversionNotFound"


def test_a_conversion_expires_after_its_minute(offline: Offline) -> None:
    account = offline.call("GET", "/ledger/accounts").body["accounts"][0]["id"]
    body = {"ledger_account_id": account, "quote_currency_id": ETH, "base_amount": "0.5"}
    row = offline.call("POST", "/ledger/conversions", body).body
    offline.pass_time(65)
    assert offline.call("GET", f"/ledger/conversions/{row['id']}").body["status"] == "expired"


def test_the_public_calls_need_no_token(calm: Client) -> None:
    def public(path: str) -> Any:
        answer = calm.call("GET", path, None)
        assert answer.status == 200, answer.text
        return answer

    assert public("/ping").body["ping"] == "pong"
    assert Decimal(public("/rates/merchant/BTC/EUR").text) > 10_000
    assert public("/rates").body["merchant"]["BTC"]["ETH"]
    table = public("/ledger/conversions/rates").body["rates"]
    assert {"ETH", "LTC", "DOGE", "BCH", "USDT"} <= table["BTC"].keys()
    assert "ETH" not in table["DOGE"]
    assert public("/ledger/conversions/rates/BTC/ETH").body == {"rates": {"BTC": {"ETH": table["BTC"]["ETH"]}}}
    assert public("/ledger/conversions/rates/ETH").body["rates"].keys() == {"ETH"}
    calm.configure(rates_as_text=True)
    assert Decimal(public("/ledger/conversions/rates/BTC/ETH").text) == Decimal(table["BTC"]["ETH"])
    assert public("/ledger/conversions/rates/DOGE/ETH").body == {"rates": {}}
    assert public("/ledger/conversions/rates/ETH").body["rates"].keys() == {"ETH"}
    rows = public("/currencies?kind=crypto&symbol=BTC").body
    assert (rows[0]["id"], rows[0]["platforms"][0]["id_name"]) == (BTC, "bitcoin")
    assert {row["id_name"] for row in public("/platforms").body} >= {"bitcoin", "ethereum", "tron"}
    for side in ("send_requests", "deposits"):
        names = {row["symbol"] for row in public(f"/{side}/supported-currencies").body}
        assert names == {"BTC", "ETH", "LTC", "DOGE", "BCH", "USDT"}
    fees = public(f"/outgoing_fees?currency_id={BTC}").body
    assert fees["outgoing_fees"][0]["amount_eur"] == "0.50"
    assert public("/ips-v4").text == "127.0.0.1\n"


def test_a_deposit_is_credited(client: Client) -> None:
    before = client.balance()
    state = requests.get(f"{client.sandbox.url}/_sandbox/services/coingate", timeout=5).json()
    client.sandbox.utxo["BTC"].pay(state["deposit_addresses"]["BTC"], Decimal("0.25"))
    wait(lambda: client.balance() == before + Decimal("0.25"))


def test_more_than_two_hundred_requests_a_minute_are_refused(offline: Offline) -> None:
    for _ in range(200):
        assert offline.call("GET", "/ledger/accounts").status == 200
    refused = offline.call("GET", "/ledger/accounts")
    assert (refused.status, refused.body["reason"]) == (429, "RateLimitExceeded")
    assert refused.body["message"] == "API request limit is exceeded"
    assert offline.call("GET", "/ping").status == 200
    offline.pass_time(60)
    assert offline.call("GET", "/ledger/accounts").status == 200


@pytest.mark.parametrize("style", ["json", "form"])
def test_callbacks_tell_every_status_unsigned(offline: Offline, style: str) -> None:
    offline.twin.configure({"callback_format": style, "callback_numbers": style == "json"})
    url = "http://127.0.0.1:9/hooks/f3a9"
    draft = offline.draft(callback_url=url, external_id="cv-1")
    offline.call("PATCH", f"/send_requests/{draft['id']}/confirm")
    for _ in range(4):
        offline.pass_time(0.4)
    assert {target for target, _, _ in offline.posted} == {url}
    if style == "json":
        told = [json.loads(body, parse_float=Decimal) for _, _, body in offline.posted]
        assert told[0]["sending_amount"] == Decimal(draft["sending_amount"])
    else:
        told = [{key: value[0] for key, value in parse_qs(body.decode()).items()} for _, _, body in offline.posted]
        assert told[0]["beneficiary_payout_setting[crypto_address]"] == ETH_ADDRESS
        assert told[-1]["blockchain_transactions[][status]"] == "confirmed"
    assert [row["status"] for row in told] == ["draft", "in_progress", "processing", "completed"]
    assert {row["external_id"] for row in told} == {"cv-1"}


def test_an_address_of_the_outside_is_taken_and_gets_nothing(client: Client) -> None:
    assert client.draft(callback_url="https://pool.example/hooks")["callback_url"] == "https://pool.example/hooks"


def test_a_wrong_amount_fault_executes_with_that_amount(client: Client) -> None:
    draft = client.draft()
    client.fault(kind="wrong_amount", factor="0.9", operations=["approve"])
    assert Decimal(client.act(draft, "confirm").body["sending_amount"]) < Decimal(draft["sending_amount"])
    client.fault(kind="wrong_amount", factor="0.9", operations=["order"])
    assert client.draft()["balance_debit_amount"] == "0.45"


def test_a_wrong_rate_fault_changes_the_rate(client: Client) -> None:
    path = "/ledger/conversions/rates/BTC/ETH"
    honest = Decimal(client.get(path)["rates"]["BTC"]["ETH"])
    client.fault(kind="wrong_rate", factor="1.05")
    lying = Decimal(client.get(path)["rates"]["BTC"]["ETH"])
    assert abs(lying / honest - Decimal("1.05")) < Decimal("0.00001")


def test_a_refused_call_is_answered_as_definitely_not_executed(client: Client) -> None:
    draft, account = client.draft(), client.account()["id"]
    client.fault(kind="refuse")
    answer = client.call("POST", "/send_requests", json={"ledger_account_id": account})
    assert (answer.status, answer.body["reason"]) == (422, "SendRequestIsNotValid")
    assert client.act(draft, "confirm").status == 404
    assert client.call("GET", f"/send_requests/{draft['id']}").status == 401  # not "there is no such request"
    assert [row["operation"] for row in client.sandbox.truth.executions] == ["order"]


def test_a_request_whose_answer_was_lost_is_found_by_its_external_id(client: Client) -> None:
    payee = client.payee()
    client.fault(kind="reset_after_execute", operations=["order"], count=1)
    with pytest.raises(requests.ConnectionError):
        client.send(payee, external_id="cv-9")
    assert client.send(payee, external_id="cv-9").status == 422
    (row,) = client.get("/send_requests")["send_requests"]
    assert (row["external_id"], row["status"]) == ("cv-9", "draft")


@pytest.mark.parametrize(
    "settings",
    [
        {"mood": "bad"},
        {"ending": "lost"},
        {"balances": {"GOLD": "1"}},
        {"balances": {"BTC": 1}},
        {"balances": "1"},
        {"draft_seconds": -1},
        {"callback_format": "xml"},
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(offline: Offline, settings: dict[str, Any]) -> None:
    before = offline.twin.describe()
    with pytest.raises(ValueError, match=next(iter(settings))):
        offline.twin.configure({"fees_inside": True} | settings)
    assert offline.twin.describe() == before
