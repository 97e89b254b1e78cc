"""The Kraken twin, held against its fact sheet: really signed requests over the wire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from itertools import count
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from converter.sandbox.credentials import KRAKEN_API_KEY, KRAKEN_PRIVATE_KEY
from converter.sandbox.server import Sandbox
from converter.sandbox.twins.kraken_auth import signature_of

BTC_ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"
CLIENT_ID = "6d1b345e-2821-40e2-ad83-4ecb18a06876"
VECTOR_SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
VECTOR_NONCE = "1616492376594"
VECTORS = [
    (
        "AddOrder",
        "ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
    ),
    (
        "QueryOrders",
        "txid=OUF4EM-FRGI2-MQMWZD&trades=true",
        "Pv1qAXYgFmKnalH5kxV5yxQHy9x+xekmfGkX/QywxXC7IMsmAoSiX7fOdo7ZA7agUyzCumxmrT4zHV29CpUmrA==",
    ),
    (
        "OpenOrders",
        f"cl_ord_id={CLIENT_ID}",
        "dUgOWrQG/dlhWYc3vGxMS6MJc6BFKOWoD716ar0J8VYcX7Y3SnCTN02iYqwI5bVZxVQrR3ZNiQn0oGTdmVSK+g==",
    ),
    (
        "Withdraw",
        "asset=XBT&key=pool+hot+%231&amount=0.725",
        "3rrO8b3S8Qkvndf57pzNJrJAHNfOibjl3PGpp5XFNmcBopfjiEAm0pvVxfxs4XfIn/c7p6xdvxL7gNJ5RdN2sQ==",
    ),
]


class Client:
    """A stranger's client."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.base = sandbox, f"{sandbox.url}/kraken"
        self._nonces = count(int(time.time() * 1000))
        self._session = requests.Session()

    def signed(self, method: str, nonce: Any, api_key: str = KRAKEN_API_KEY, **params: Any) -> Any:
        path, body = f"/0/private/{method}", urlencode({"nonce": nonce} | params)
        inner = hashlib.sha256(str(nonce).encode() + body.encode()).digest()
        digest = hmac.new(base64.b64decode(KRAKEN_PRIVATE_KEY), path.encode() + inner, "sha512").digest()
        headers = {"API-Key": api_key, "API-Sign": base64.b64encode(digest).decode()}
        return self.raw(path, body, headers | {"Content-Type": "application/x-www-form-urlencoded"})

    def raw(self, path: str, body: str, headers: dict[str, str]) -> Any:
        answer = self._session.post(self.base + path, data=body, headers=headers, timeout=5)
        assert answer.status_code == 200
        return json.loads(answer.text, parse_float=Decimal)

    def call(self, method: str, **params: Any) -> Any:
        return self.signed(method, next(self._nonces), **params)

    def ok(self, method: str, **params: Any) -> Any:
        answer = self.call(method, **params)
        assert answer["error"] == []
        return answer["result"]

    def refused(self, method: str, **params: Any) -> str:
        answer = self.call(method, **params)
        assert "result" not in answer
        (text,) = answer["error"]
        assert isinstance(text, str)
        return text

    def public(self, method: str, **params: Any) -> Any:
        answer = self._session.get(f"{self.base}/0/public/{method}", params=params, timeout=5)
        body = json.loads(answer.text, parse_float=Decimal)
        return body["result"] if not body["error"] else body["error"]

    def order(self, **params: Any) -> str:
        (txid,) = self.ok("AddOrder", **ORDER | params)["txid"]
        assert isinstance(txid, str)
        return txid

    def row(self, txid: str) -> Any:
        return self.ok("QueryOrders", txid=txid, trades="true")[txid]

    def balance(self, asset: str) -> Decimal:
        return Decimal(self.ok("Balance")[asset])

    def configure(self, **settings: Any) -> requests.Response:
        return self._session.put(f"{self.sandbox.url}/_sandbox/services/kraken", json=settings, timeout=5)

    def fault(self, **fault: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/faults/kraken", json=fault, timeout=5)
        assert answer.status_code == 200, answer.text

    def saved(self, **more: Any) -> None:
        keys = {"btc-1": {"asset": "XBT", "address": BTC_ADDRESS}, "eth-1": {"asset": "ETH", "address": ETH_ADDRESS}}
        assert self.configure(withdraw_keys=keys | more).status_code == 200

    def withdrawal(self, refid: str, *statuses: str) -> Any:
        def found() -> Any:
            rows = self.ok("WithdrawStatus")
            return next((row for row in rows if row["refid"] == refid and row["status"] in statuses), None)

        return wait(found)


ORDER = {"pair": "ETHXBT", "type": "sell", "ordertype": "market", "volume": "1.5", "oflags": "fciq"}


def wait(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)
    return found


@pytest.fixture
def client() -> Iterator[Client]:
    with Sandbox(speed=20, services=["kraken"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


# Signatures, nonces, limits


@pytest.mark.parametrize(("method", "rest", "signature"), VECTORS)
def test_signatures_agree_with_the_vectors(method: str, rest: str, signature: str) -> None:
    body = f"nonce={VECTOR_NONCE}&{rest}".encode()
    assert signature_of(VECTOR_SECRET, f"/0/private/{method}", VECTOR_NONCE, body) == signature


def test_a_json_body_is_signed_as_it_is(client: Client) -> None:
    body = json.dumps({"nonce": 10**15, "asset": "XBT"})
    signature = signature_of(KRAKEN_PRIVATE_KEY, "/0/private/WithdrawMethods", str(10**15), body.encode())
    headers = {"API-Key": KRAKEN_API_KEY, "API-Sign": signature, "Content-Type": "application/json"}
    assert client.raw("/0/private/WithdrawMethods", body, headers)["result"][0]["method"] == "Bitcoin"


def test_wrong_keys_and_signatures_are_told_apart(client: Client) -> None:
    assert client.signed("Balance", 1, api_key="nobody")["error"] == ["EAPI:Invalid key"]
    headers = {"API-Key": KRAKEN_API_KEY, "API-Sign": "bm8="}
    assert client.raw("/0/private/Balance", "nonce=1", headers)["error"] == ["EAPI:Invalid signature"]


def test_the_nonce_must_grow(client: Client) -> None:
    for nonce, error in ((100, []), (100, ["EAPI:Invalid nonce"]), (99, ["EAPI:Invalid nonce"]), (101, [])):
        assert client.signed("Balance", nonce)["error"] == error
    assert client.signed("Balance", "-5")["error"] == ["EAPI:Invalid nonce"]


def test_a_nonce_window_tolerates_disorder_but_no_repeat(client: Client) -> None:
    client.configure(nonce_window=10)
    for nonce, error in ((100, []), (95, []), (95, ["EAPI:Invalid nonce"]), (90, ["EAPI:Invalid nonce"]), (101, [])):
        assert client.signed("Balance", nonce)["error"] == error


def test_bad_nonces_again_and_again_lock_the_key_out(client: Client) -> None:
    client.signed("Balance", 10)
    answers = [client.signed("Balance", 10)["error"][0] for _ in range(16)]
    assert answers[-1] == "EGeneral:Temporary lockout"
    assert client.refused("Balance") == "EGeneral:Temporary lockout"


def test_the_counter_of_calls_leaves_orders_alone() -> None:
    with Sandbox(speed=1, services=["kraken"]) as sandbox:
        client = Client(sandbox)
        client.configure(tier="starter")
        answers = [client.call("ClosedOrders")["error"] for _ in range(17)]
        assert answers[-1] == ["EAPI:Rate limit exceeded"]
        assert client.order()


# Prices


def test_answers_are_keyed_by_the_pair_id(client: Client) -> None:
    (pair,) = client.public("AssetPairs", pair="ETHXBT").items()
    assert pair[0] == "XETHXXBT"
    assert pair[1]["fees"][0] == [0, Decimal("0.26")]
    assert (pair[1]["base"], pair[1]["wsname"]) == ("XETH", "ETH/XBT")
    assert client.public("Assets")["XXDG"]["altname"] == "XDG"
    assert client.public("AssetPairs", pair="NOPE") == ["EQuery:Unknown asset pair"]
    assert set(client.public("Ticker", pair="XBTUSDT")) == {"XBTUSDT"}
    assert client.public("SystemStatus")["status"] == "online"
    assert client.public("Time")["unixtime"] > 0


def test_the_book_stands_around_the_market(client: Client) -> None:
    depth = client.public("Depth", pair="ETHXBT", count=5)["XETHXXBT"]
    bids, asks = ([Decimal(level[0]) for level in depth[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert len(bids) == 5
    mid = client.sandbox.market.rate("ETH", "BTC")
    assert bids[0] < asks[0]
    assert abs((bids[0] + asks[0]) / 2 / mid - 1) < Decimal("0.01")


def test_wrong_rates_are_shown_but_not_traded(client: Client) -> None:
    honest = Decimal(client.public("Ticker", pair="ETHXBT")["XETHXXBT"]["b"][0])
    client.fault(kind="wrong_rate", factor="1.2")
    assert Decimal(client.public("Ticker", pair="ETHXBT")["XETHXXBT"]["b"][0]) > honest * Decimal("1.15")
    assert Decimal(client.row(client.order())["price"]) <= honest


# Orders


def test_a_market_order_is_answered_with_an_id_and_books_its_fee(client: Client) -> None:
    ether, bitcoin = client.balance("XETH"), client.balance("XXBT")
    answer = client.ok("AddOrder", **ORDER, cl_ord_id=CLIENT_ID)
    assert answer["descr"] == {"order": "sell 1.50000000 ETHXBT @ market"}
    row = client.row(answer["txid"][0])
    cost, fee = Decimal(row["cost"]), Decimal(row["fee"])
    assert (row["status"], row["vol_exec"], row["cl_ord_id"]) == ("closed", "1.50000000", CLIENT_ID)
    assert fee == (cost * Decimal("0.0026")).quantize(fee, ROUND_FLOOR)
    assert client.balance("XETH") == ether - Decimal("1.5")
    assert abs(client.balance("XXBT") - (bitcoin + cost - fee)) < Decimal("1e-9")
    (execution,) = client.sandbox.truth.executions
    assert (execution["operation"], execution["reference"]) == ("order", CLIENT_ID)
    assert set(client.ok("TradesHistory")["trades"]) >= set(row["trades"])
    assert client.ok("QueryTrades", txid=row["trades"][0])[row["trades"][0]]["ordertxid"] == answer["txid"][0]


def test_a_client_id_is_unique_among_open_orders_only(client: Client) -> None:
    resting = ORDER | {"ordertype": "limit", "price": "5", "cl_ord_id": CLIENT_ID}
    txid = client.order(**resting)
    assert client.refused("AddOrder", **resting) == "EOrder:Duplicate order"
    assert list(client.ok("OpenOrders", cl_ord_id=CLIENT_ID)["open"]) == [txid]
    assert Decimal(client.ok("BalanceEx")["XETH"]["hold_trade"]) == Decimal("1.5")
    assert client.ok("CancelOrder", txid=txid) == {"count": 1}
    assert client.refused("CancelOrder", txid=txid) == "EOrder:Unknown order"
    again = [client.order(cl_ord_id=CLIENT_ID) for _ in range(2)]
    assert set(client.ok("ClosedOrders", cl_ord_id=CLIENT_ID)["closed"]) == {txid, *again}


def test_a_quote_amount_can_be_spent(client: Client) -> None:
    row = client.row(client.order(type="buy", volume="0.5", oflags="viqc,fciq"))
    assert Decimal("0.4999") < Decimal(row["cost"]) <= Decimal("0.5")
    assert row["status"] == "closed"


def test_the_fee_can_be_taken_from_the_base(client: Client) -> None:
    row = client.row(client.order(type="buy", oflags="fcib"))
    assert Decimal(row["fee"]) == Decimal(row["vol_exec"]) * Decimal("0.0026")


def test_ioc_keeps_what_it_got_and_fok_takes_all_or_nothing(client: Client) -> None:
    best = client.public("Depth", pair="ETHXBT", count=1)["XETHXXBT"]["bids"][0]
    big = {"ordertype": "limit", "price": best[0], "volume": str(Decimal(best[1]) * 3)}
    part = client.row(client.order(**big, timeinforce="IOC"))
    assert part["status"] == "canceled"
    assert 0 < Decimal(part["vol_exec"]) < Decimal(part["vol"])
    none = client.row(client.order(**big, timeinforce="FOK"))
    assert (none["status"], Decimal(none["vol_exec"])) == ("canceled", 0)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"pair": "ETHNOT"}, "EQuery:Unknown asset pair"),
        ({"volume": "0.001"}, "EOrder:Order minimum not met"),
        ({"volume": "900000"}, "EOrder:Insufficient funds"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"ordertype": "stop"}, "EGeneral:Invalid arguments:ordertype"),
        ({"ordertype": "limit", "price": "0.0000001"}, "EOrder:Tick size check failed"),
        ({"ordertype": "limit", "price": "0.00001", "volume": "1"}, "EOrder:Cost minimum not met"),
        ({"volume": "1e0"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1_0"}, "EGeneral:Invalid arguments:volume"),
        ({"oflags": "post"}, "EGeneral:Invalid arguments:oflags"),
        ({"userref": "2147483648"}, "EGeneral:Invalid arguments:userref"),
        ({"timeinforce": "FOK"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"cl_ord_id": "this is no id at all"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "short", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"ordertype": "limit", "price": "1", "oflags": "viqc"}, "EGeneral:Invalid arguments:oflags"),
    ],
)
def test_bad_orders_are_refused_in_the_documented_words(client: Client, change: dict[str, str], error: str) -> None:
    assert client.refused("AddOrder", **ORDER | change) == error
    assert client.sandbox.truth.executions == []


def test_a_dry_run_executes_nothing(client: Client) -> None:
    assert set(client.ok("AddOrder", **ORDER, validate="true")) == {"descr"}
    assert client.sandbox.truth.executions == []


def test_deadlines_are_kept(client: Client) -> None:
    def at(seconds: float) -> str:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()

    assert client.order(deadline=at(10))
    assert client.refused("AddOrder", **ORDER, deadline=at(-1)) == "EService:Deadline elapsed"
    assert client.refused("AddOrder", **ORDER, deadline=at(90)) == "EGeneral:Invalid arguments:deadline"
    for text in (
        "soon",
        at(10).replace("T", " "),
        at(10).replace("-", ""),
        at(10)[:-6],
        at(10).replace("+00:00", "+0000"),
    ):
        assert client.refused("AddOrder", **ORDER, deadline=text) == "EGeneral:Invalid arguments:deadline"


@pytest.mark.parametrize("executed", [True, False])
def test_an_ambiguous_error_hides_whether_the_order_was_placed(client: Client, executed: bool) -> None:
    puzzle = {"operation": "order", "error": "EService:Deadline elapsed", "executed": executed, "count": 1}
    assert client.configure(ambiguous=[puzzle]).status_code == 200
    assert client.refused("AddOrder", **ORDER, cl_ord_id=CLIENT_ID) == "EService:Deadline elapsed"
    assert len(client.ok("ClosedOrders", cl_ord_id=CLIENT_ID)["closed"]) == int(executed)
    assert client.order(cl_ord_id=CLIENT_ID)


def test_rows_may_be_missing_then_pending_then_closed(client: Client) -> None:
    client.configure(pending_lookups=1)
    txid = client.order()
    client.configure(hide_lookups=1)
    assert client.ok("QueryOrders", txid=txid) == {}
    assert client.ok("OpenOrders")["open"][txid]["status"] == "pending"
    assert client.row(txid)["status"] == "closed"


def test_an_order_may_surface_late_and_only_among_the_closed(client: Client) -> None:
    client.configure(surface_after_ms=6000)
    txid = client.order(cl_ord_id=CLIENT_ID)
    assert client.ok("ClosedOrders", cl_ord_id=CLIENT_ID)["closed"] == {}
    wait(lambda: client.ok("ClosedOrders", cl_ord_id=CLIENT_ID)["closed"])
    assert client.ok("QueryOrders", txid=txid) == {}


def test_the_engine_may_refuse_what_was_accepted(client: Client) -> None:
    client.configure(engine_refuses=1, pending_lookups=1)
    txid = client.order()
    assert client.row(txid)["status"] == "pending"
    row = client.row(txid)
    assert (row["status"], row["vol_exec"]) == ("canceled", "0.00000000")
    assert row["reason"]


def test_partial_fills_and_closed_markets_can_be_asked_for(client: Client) -> None:
    client.configure(fill_share="0.4")
    assert client.row(client.order())["vol_exec"] == "0.60000000"
    client.configure(status="cancel_only")
    assert client.refused("AddOrder", **ORDER) == "EService:Market in cancel_only mode"
    client.configure(status="online", pair_status={"ETHXBT": "limit_only"})
    assert client.refused("AddOrder", **ORDER) == "EGeneral:Invalid arguments:ordertype"


# Withdrawals


def test_a_withdrawal_pays_net_and_is_seen_on_the_chain(client: Client) -> None:
    client.saved()
    before = client.balance("XXBT")
    info = client.ok("WithdrawInfo", asset="XBT", key="btc-1", amount="0.725")
    assert (info["method"], info["amount"], info["fee"]) == ("Bitcoin", "0.72485000", "0.00015000")
    refid = client.ok("Withdraw", asset="XBT", key="btc-1", amount="0.725", address=BTC_ADDRESS)["refid"]
    assert client.withdrawal(refid, "Initial", "Pending")["txid"] == ""
    row = client.withdrawal(refid, "Success")
    assert (row["amount"], row["fee"], row["key"]) == ("0.72485000", "0.00015000", "btc-1")
    wait(lambda: client.sandbox.utxo["BTC"].received(BTC_ADDRESS) == [(row["txid"], Decimal("0.72485"))])
    (delivery,) = client.sandbox.truth.deliveries
    assert (delivery["order_id"], delivery["reference"], delivery["amount"]) == (refid, None, "0.72485")
    assert client.balance("XXBT") == before - Decimal("0.725")


def test_ether_and_tokens_arrive_on_the_account_chain(client: Client) -> None:
    client.saved(usdt={"asset": "USDT", "address": ETH_ADDRESS, "method": "Tether USD (ERC20)"})
    ether = client.ok("Withdraw", asset="ETH", key="eth-1", amount="1")["refid"]
    dollars = client.ok("Withdraw", asset="USDT", key="usdt", amount="104")["refid"]
    for refid in (ether, dollars):
        client.withdrawal(refid, "Success")
    wait(lambda: client.sandbox.chain.received(ETH_ADDRESS) and client.sandbox.chain.received_token(ETH_ADDRESS))
    assert client.sandbox.chain.received(ETH_ADDRESS)[0][1] == Decimal("0.9985")
    assert client.sandbox.chain.received_token(ETH_ADDRESS)[0][1] == Decimal(100)


def test_withdrawals_go_only_to_saved_and_confirmed_addresses(client: Client) -> None:
    client.saved(new={"asset": "XBT", "address": BTC_ADDRESS, "verified": False})
    whole = {"asset": "XBT", "key": "btc-1", "amount": "0.5"}
    assert client.refused("Withdraw", **whole | {"key": "nobody"}) == "EFunding:Unknown withdraw key"
    assert client.refused("Withdraw", **whole | {"key": "new"}) == "EFunding:Unknown withdraw key"
    assert client.refused("Withdraw", **whole | {"asset": "ETH"}) == "EFunding:Unknown withdraw key"
    assert "match" in client.refused("Withdraw", **whole, address="1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")
    assert client.refused("Withdraw", **whole, max_fee="0.0001") == "EFunding:Max fee exceeded"
    assert client.refused("Withdraw", **whole | {"amount": "0.0001"}) == "EFunding:Invalid amount"
    assert [row["key"] for row in client.ok("WithdrawAddresses", asset="XBT", verified="true")] == ["btc-1"]
    assert client.sandbox.truth.executions == []


def test_two_equal_withdrawals_are_two(client: Client) -> None:
    client.saved()
    refids = [client.ok("Withdraw", asset="XBT", key="btc-1", amount="0.5")["refid"] for _ in range(2)]
    assert len(set(refids)) == 2
    for refid in refids:
        client.withdrawal(refid, "Success")
    assert len(client.sandbox.truth.deliveries) == 2


def test_a_lost_answer_leaves_a_withdrawal_to_be_found(client: Client) -> None:
    client.saved()
    client.fault(kind="5xx_after_execute", operations=["withdraw"], count=1)
    with pytest.raises(AssertionError):
        client.call("Withdraw", asset="XBT", key="btc-1", amount="0.51234567")
    (row,) = client.ok("WithdrawStatus", asset="XBT")
    assert Decimal(row["amount"]) + Decimal(row["fee"]) == Decimal("0.51234567")
    paged = client.ok("WithdrawStatus", asset="XBT", cursor="true")
    assert (len(paged["withdrawals"]), paged["next_cursor"]) == (1, None)


@pytest.mark.parametrize(("ending", "prop"), [("failure", None), ("canceled", "canceled")])
def test_failed_withdrawals_give_the_money_back(client: Client, ending: str, prop: str | None) -> None:
    client.saved()
    client.configure(withdraw_ending=ending)
    before = client.balance("XXBT")
    row = client.withdrawal(client.ok("Withdraw", asset="XBT", key="btc-1", amount="0.5")["refid"], "Failure")
    assert row.get("status-prop") == prop
    assert client.balance("XXBT") == before
    assert client.sandbox.truth.deliveries == []


def test_a_withdrawal_can_be_cancelled_while_it_is_initial(client: Client) -> None:
    client.saved()
    client.configure(withdraw_ending="stuck")
    refid = client.ok("Withdraw", asset="XBT", key="btc-1", amount="0.5")["refid"]
    assert client.ok("WithdrawCancel", asset="XBT", refid=refid) is True
    assert client.withdrawal(refid, "Failure")["status-prop"] == "canceled"
    assert client.ok("WithdrawCancel", asset="XBT", refid=refid) is False
    assert client.refused("WithdrawCancel", asset="XBT", refid="FTnone") == "EFunding:Unknown reference id"


# Settings


def test_settings_are_checked_and_shown(client: Client) -> None:
    assert client.configure(balances={"XBT": "0"}).status_code == 200
    assert client.balance("XXBT") == 0
    for wrong in (
        {"nothing": 1},
        {"balances": {"NOPE": "1"}},
        {"withdraw_keys": {"a": {"asset": "XBT"}}},
        {"withdraw_keys": {"a": {"asset": "XBT", "address": "x", "method": "Tron"}}},
        {"ambiguous": [{"operation": "quote"}]},
        {"withdraw_ending": "never"},
        {"hide_lookups": -1},
        {"fill_share": "2"},
        {"pair_status": {"NOPE": "online"}},
    ):
        answer = client.configure(**wrong)
        assert answer.status_code == 400, wrong
        assert "accepted" in answer.json()["error"]
    shown = requests.get(f"{client.sandbox.url}/_sandbox/services/kraken", timeout=5).json()
    assert shown["withdraw_keys"] == {}
    assert client.sandbox.twins["kraken"].refusal("order").body == {"error": ["EOrder:Insufficient funds"]}
