"""The Binance twin, held against its fact sheet: really signed requests over the wire, and a clock of our own."""

from __future__ import annotations

import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from decimal import ROUND_FLOOR, Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest
import requests

from converter.sandbox.chain import EvmChain
from converter.sandbox.credentials import BINANCE_API_KEY, BINANCE_SECRET_KEY
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import TwinMount
from converter.sandbox.server import Sandbox
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, World
from converter.sandbox.twins.binance import BinanceTwin
from converter.sandbox.twins.binance_auth import signature_of, signed_payload
from converter.sandbox.twins.binance_book import take_base, take_quote

BTC_ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
ETH_ADDRESS = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"
VECTOR_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
UNIT = Decimal("0.00000001")


def sign(payload: str, secret: str = BINANCE_SECRET_KEY) -> str:
    return hmac.new(secret.encode(), payload.encode(), "sha256").hexdigest()


class Client:
    """A stranger's client, with the standard library's own HMAC."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.base = f"{sandbox.url}/binance"
        self._session = requests.Session()

    def raw(self, method: str, path: str, query: str = "", body: str = "", key: str | None = BINANCE_API_KEY) -> Any:
        headers = {} if key is None else {"X-MBX-APIKEY": key}
        url = f"{self.base}{path}" + (f"?{query}" if query else "")
        answer = self._session.request(method, url, headers=headers, data=body or None, timeout=5)
        parsed = json.loads(answer.text, parse_float=pytest.fail)  # amounts are text, ids are whole numbers
        return SimpleNamespace(status=answer.status_code, body=parsed, headers=answer.headers)

    def call(self, method: str, path: str, **params: Any) -> Any:
        query = urlencode({"timestamp": int(time.time() * 1000)} | params)
        return self.raw(method, path, f"{query}&signature={sign(query)}")

    def public(self, path: str, **params: Any) -> Any:
        answer = self.raw("GET", path, urlencode(params), key=None)
        assert answer.status == 200, answer.body
        return answer.body

    def ok(self, method: str, path: str, **params: Any) -> Any:
        answer = self.call(method, path, **params)
        assert answer.status == 200, answer.body
        return answer.body

    def order(self, **params: Any) -> Any:
        return self.ok("POST", "/api/v3/order", **{"symbol": "ETHBTC", "side": "SELL", "type": "MARKET"} | params)

    def free(self, coin: str) -> Decimal:
        rows = self.ok("GET", "/api/v3/account")["balances"]
        return next(Decimal(row["free"]) for row in rows if row["asset"] == coin)

    def coin(self, coin: str) -> dict[str, Any]:
        return next(row for row in self.ok("GET", "/sapi/v1/capital/config/getall") if row["coin"] == coin)

    def withdraw(self, **params: Any) -> Any:
        default = {"coin": "BTC", "network": "BTC", "address": BTC_ADDRESS, "amount": "0.5", "walletType": 0}
        return self.call("POST", "/sapi/v1/capital/withdraw/apply", **default | params)

    def withdrawal(self, withdraw_id: str) -> dict[str, Any]:
        (row,) = self.ok("GET", "/sapi/v1/capital/withdraw/history", idList=withdraw_id)
        return row

    def closed(self, withdraw_id: str) -> dict[str, Any]:
        """The row of a withdrawal that has ended; history may be asked ten times a minute only."""
        wait(lambda: not self.sandbox.twins["binance"].describe()["open_withdrawals"])
        return self.withdrawal(withdraw_id)

    def configure(self, **settings: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/services/binance", json=settings, timeout=5)
        assert answer.status_code == 200, answer.text

    def fault(self, **fault: Any) -> None:
        answer = self._session.put(f"{self.sandbox.url}/_sandbox/faults/binance", json=fault, timeout=5)
        assert answer.status_code == 200, answer.text


class Offline:
    """The twin alone, on a clock that only the test moves."""

    def __init__(self) -> None:
        self.time = 1_767_225_600.0
        self.truth = TruthBook(self.now)
        market = SeededMarket(7, self.now)
        market.configure({"step_ms": 10**9})
        chain = EvmChain(self.truth, self.now)
        self.twin = BinanceTwin(World(market, self.truth, chain, self.now))
        self._mount = TwinMount(self.twin)

    def now(self) -> float:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.twin.tick()

    def call(self, method: str, path: str, **params: Any) -> Any:
        query = urlencode({"timestamp": int(self.time * 1000)} | params)
        query += f"&signature={sign(query)}"
        headers = {"x-mbx-apikey": BINANCE_API_KEY}
        answer = self._mount.handle(Request(method, path, query, parse_qs(query), headers, b""))
        return SimpleNamespace(status=answer.status, body=answer.body, headers=answer.headers)


def wait(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError("nothing happened in time")


@pytest.fixture
def client() -> Iterator[Client]:
    with Sandbox(speed=20, services=["binance"]) as sandbox:
        sandbox.market.configure({"step_ms": 10**9})
        yield Client(sandbox)
        assert not sandbox.problems


@pytest.fixture
def offline() -> Offline:
    return Offline()


# Signatures and clocks


FULLWIDTH = quote("".join(chr(0xFF10 + digit) for digit in range(1, 7)))
STAMP = "recvWindow=5000&timestamp=1499827319559"
VECTORS = [
    (
        f"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&{STAMP}",
        "",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    (
        f"symbol={FULLWIDTH}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&{STAMP}",
        "",
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
        f"quantity=1&price=0.1&{STAMP}",
        "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
    ),
    (
        f"symbol=LTCBTC&side=SELL&type=MARKET&quantity=0.5&newClientOrderId=cv-7f3a-1&newOrderRespType=FULL&{STAMP}",
        "",
        "e9569d5c17c90713ad779d7e91fc3a01976dde578c45d9821373e2ab0358a177",
    ),
    (
        f"symbol=LTCBTC&origClientOrderId=cv-7f3a-1&{STAMP}",
        "",
        "d107d9e93409ecdc3aadb89b7d1b9f22169d96f3e4e2e5849f7fa7adcf2b72ee",
    ),
    (f"withdrawOrderId=cv-7f3a-w&{STAMP}", "", "0455ce3002f134afb1032b7d8619307536c92d45cdb8e05285cac04e5bf9bcb5"),
]


@pytest.mark.parametrize(("query", "body", "signature"), VECTORS)
def test_signatures_agree_with_the_published_vectors(query: str, body: str, signature: str) -> None:
    assert signature_of(VECTOR_SECRET, signed_payload(query, body.encode())) == signature
    assert signature_of(VECTOR_SECRET, signed_payload(f"{query}&signature=00", body.encode())) == signature
    if body:
        assert signature_of(VECTOR_SECRET, signed_payload(query, f"{body}&signature=00".encode())) == signature


def test_an_order_may_travel_in_query_or_body_or_split_between_them(client: Client) -> None:
    where = "/api/v3/order/test"
    first = "symbol=ETHBTC&side=SELL&type=MARKET"
    second = f"quantity=1&timestamp={int(time.time() * 1000)}"
    whole = f"{first}&{second}"
    signed, split = sign(whole), sign(first + second)
    assert client.raw("POST", where, f"{whole}&signature={signed}").status == 200
    assert client.raw("POST", where, "", f"{whole}&signature={signed}").status == 200
    assert client.raw("POST", where, whole, f"signature={signed}").status == 200
    assert client.raw("POST", where, f"{first}&signature={split}", second).status == 200
    assert client.raw("POST", where, first, f"{second}&signature={split}").status == 200
    assert client.raw("POST", where, first, f"{second}&signature={split.upper()}").status == 200
    assert client.raw("POST", where, first, f"{second}&signature={signed}").body["code"] == -1022


def test_a_parameter_in_both_places_is_taken_from_the_query(client: Client) -> None:
    query = "symbol=ETHBTC&side=SELL&type=MARKET&quantity=1"
    body = f"quantity=2&timestamp={int(time.time() * 1000)}"
    answer = client.raw("POST", "/api/v3/order", query, f"{body}&signature={sign(query + body)}")
    assert answer.body["origQty"] == "1.00000000"


def test_signatures_and_keys_are_really_checked(client: Client) -> None:
    query = f"timestamp={int(time.time() * 1000)}"
    good = f"{query}&signature={sign(query)}"

    def code(query: str, key: str | None = BINANCE_API_KEY) -> tuple[int, int]:
        answer = client.raw("GET", "/api/v3/account", query, key=key)
        return answer.status, answer.body.get("code")

    assert code(good) == (200, None)
    assert code(good + "&x=1") == (400, -1022)
    assert code(f"{query}&signature={sign(query, 'other')}") == (400, -1022)
    assert code(query) == (400, -1102)
    assert code(f"signature={sign('')}") == (400, -1102)
    assert code(good, None) == (401, -2014)
    assert code(good, "bad key") == (401, -2014)
    assert code(good, "a" * 64) == (401, -2015)


def test_what_is_not_percent_encoded_has_no_right_signature(offline: Offline) -> None:
    query = f"asset={chr(0xFF11)}&timestamp={int(offline.time * 1000)}"
    query += f"&signature={sign(query)}"
    request = Request("GET", "/api/v3/account", query, {}, {"x-mbx-apikey": BINANCE_API_KEY}, b"")
    assert TwinMount(offline.twin).handle(request).body["code"] == -1022


@pytest.mark.parametrize(
    ("drift", "window", "code"),
    [
        (0, None, None),
        (999, None, None),
        (1000, None, -1021),
        (-5000, None, None),
        (-5001, None, -1021),
        (-60000, 60000, None),
        (-60001, 60000, -1021),
        (0, 60001, -1102),
        (-2, "1.5", -1021),
        (-1, "1.5", None),
        (0, "1.5555", -1111),
    ],
)
def test_a_request_is_taken_only_inside_its_window(offline: Offline, drift: int, window: Any, code: int | None) -> None:
    params = {"timestamp": int(offline.time * 1000) + drift} | ({} if window is None else {"recvWindow": window})
    answer = offline.call("GET", "/api/v3/account", **params)
    assert (answer.body.get("code") if answer.status != 200 else None) == code


def test_a_timestamp_in_microseconds_is_understood(offline: Offline) -> None:
    assert offline.call("GET", "/api/v3/account", timestamp=int(offline.time * 10**6)).status == 200


def test_the_servers_clock_can_be_put_out_of_step(client: Client) -> None:
    client.configure(clock_offset_ms=-30_000)
    answer = client.call("GET", "/api/v3/account")
    assert (answer.status, answer.body["code"]) == (400, -1021)
    server_time = client.public("/api/v3/time")["serverTime"]
    assert client.call("GET", "/api/v3/account", timestamp=server_time).status == 200


# Market data


def test_health_answers_without_a_key(client: Client) -> None:
    assert client.public("/api/v3/ping") == {}
    assert client.public("/sapi/v1/system/status") == {"status": 0, "msg": "normal"}
    assert abs(client.public("/api/v3/time")["serverTime"] - time.time() * 1000) < 5000


def test_exchange_info_lists_symbols_with_their_filters(client: Client) -> None:
    everything = {row["symbol"]: row for row in client.public("/api/v3/exchangeInfo")["symbols"]}
    assert {"ETHBTC", "LTCBTC", "DOGEBTC", "BTCUSDT", "ETHUSDT", "LTCUSDT"} <= everything.keys()
    (row,) = client.public("/api/v3/exchangeInfo", symbol="ETHBTC")["symbols"]
    assert (row["baseAsset"], row["quoteAsset"], row["status"]) == ("ETH", "BTC", "TRADING")
    kinds = [item["filterType"] for item in row["filters"]]
    assert kinds == ["PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "NOTIONAL"]
    two = client.public("/api/v3/exchangeInfo", symbols='["ETHBTC","LTCBTC"]')["symbols"]
    assert [row["symbol"] for row in two] == ["ETHBTC", "LTCBTC"]
    for query, code in (("symbol=NOPE", -1121), ("symbol=ETHBTC&symbols=[]", -1128), ("symbols=x", -1100)):
        assert client.raw("GET", "/api/v3/exchangeInfo", query, key=None).body["code"] == code


@pytest.mark.parametrize("name", ["ETHBTC", "LTCBTC", "DOGEBTC", "BTCUSDT", "DOGEUSDT", "LTCETH"])
def test_every_book_is_ordered_tight_and_in_whole_steps(client: Client, name: str) -> None:
    (row,) = client.public("/api/v3/exchangeInfo", symbol=name)["symbols"]
    tick, step = Decimal(row["filters"][0]["tickSize"]), Decimal(row["filters"][1]["stepSize"])
    book = client.public("/api/v3/depth", symbol=name, limit=100)
    bids = [(Decimal(price), Decimal(quantity)) for price, quantity in book["bids"]]
    asks = [(Decimal(price), Decimal(quantity)) for price, quantity in book["asks"]]
    assert len(bids) == len(asks) == 20
    assert [price for price, _ in bids] == sorted({price for price, _ in bids}, reverse=True)
    assert [price for price, _ in asks] == sorted({price for price, _ in asks})
    assert bids[0][0] < asks[0][0] <= bids[0][0] * Decimal("1.002") + 2 * tick
    assert all(not price % tick and not quantity % step for price, quantity in bids + asks)
    assert [quantity for _, quantity in bids] == sorted(quantity for _, quantity in bids)


def test_tickers_agree_with_the_book(client: Client) -> None:
    book = client.public("/api/v3/depth", symbol="ETHBTC", limit=1)
    best = client.public("/api/v3/ticker/bookTicker", symbol="ETHBTC")
    assert [[best["bidPrice"], best["bidQty"]], [best["askPrice"], best["askQty"]]] == book["bids"] + book["asks"]
    middle = Decimal(client.public("/api/v3/ticker/price", symbol="ETHBTC")["price"])
    assert Decimal(best["bidPrice"]) < middle < Decimal(best["askPrice"])
    assert Decimal(client.public("/api/v3/avgPrice", symbol="ETHBTC")["price"]).quantize(Decimal("0.00001")) == middle
    day = client.public("/api/v3/ticker/24hr", symbol="ETHBTC")
    assert (Decimal(day["lastPrice"]), day["bidPrice"]) == (middle, best["bidPrice"])
    assert len(client.public("/api/v3/ticker/bookTicker")) > 5


def test_a_wrong_rate_fault_bends_the_book_but_not_the_fill(client: Client) -> None:
    honest = client.public("/api/v3/ticker/bookTicker", symbol="ETHBTC")["bidPrice"]
    client.fault(kind="wrong_rate", factor="1.1")
    lying = client.public("/api/v3/ticker/bookTicker", symbol="ETHBTC")["bidPrice"]
    assert Decimal(lying) > Decimal(honest) * Decimal("1.09")
    assert client.order(quantity="1")["fills"][0]["price"] == honest


def test_the_walk_reproduces_the_sheets_worked_examples() -> None:
    bids = [(Decimal(100), Decimal("0.40")), (Decimal("99.50"), Decimal("0.30")), (Decimal(99), Decimal(5))]
    asks = [(Decimal(101), Decimal("0.50")), (Decimal(102), Decimal("1.00"))]
    sold = take_base(bids, Decimal(1))
    assert sum(price * quantity for price, quantity in sold) == Decimal("99.55")
    bought = take_quote(asks, Decimal(100), Decimal("0.00001"))
    assert sum(quantity for _, quantity in bought) == Decimal("0.98529")
    assert sum(price * quantity for price, quantity in bought) == Decimal("99.99958")


# Orders


def test_a_market_sale_fills_as_the_book_foretold(client: Client) -> None:
    bids = client.public("/api/v3/depth", symbol="ETHBTC", limit=100)["bids"]
    eth, btc = client.free("ETH"), client.free("BTC")
    left, expected = Decimal("1.5"), []
    for price, quantity in bids:
        part = min(left, Decimal(quantity))
        if part:
            expected.append((Decimal(price), part))
        left -= part

    answer = client.order(quantity="1.5", newClientOrderId="cv-1")

    assert (answer["status"], answer["executedQty"], answer["clientOrderId"]) == ("FILLED", "1.50000000", "cv-1")
    assert [(Decimal(row["price"]), Decimal(row["qty"])) for row in answer["fills"]] == expected
    assert len(expected) == 2
    brought = sum((price * part).quantize(UNIT, ROUND_FLOOR) for price, part in expected)
    assert Decimal(answer["cummulativeQuoteQty"]) == brought
    commission = sum(Decimal(row["commission"]) for row in answer["fills"])
    assert {row["commissionAsset"] for row in answer["fills"]} == {"BTC"}
    assert abs(commission - brought / 1000) < 2 * UNIT
    assert client.free("ETH") == eth - Decimal("1.5")
    assert client.free("BTC") == btc + brought - commission
    (executed,) = client.sandbox.truth.executions
    assert (executed["operation"], executed["reference"]) == ("order", "cv-1")
    assert (executed["symbol"], executed["side"]) == ("ETHBTC", "SELL")
    assert (Decimal(executed["executed_qty"]), Decimal(executed["quote_qty"])) == (Decimal("1.5"), brought)


def test_a_purchase_by_quote_amount_takes_whole_steps_and_pays_commission_in_base(client: Client) -> None:
    eth, btc = client.free("ETH"), client.free("BTC")
    answer = client.order(side="BUY", quoteOrderQty="0.1")
    executed, spent = Decimal(answer["executedQty"]), Decimal(answer["cummulativeQuoteQty"])
    best = Decimal(client.public("/api/v3/depth", symbol="ETHBTC")["asks"][-1][0])
    assert answer["status"] == "FILLED"
    assert executed % Decimal("0.0001") == 0
    assert Decimal("0.1") - best * Decimal("0.0001") < spent <= Decimal("0.1")
    assert answer["origQuoteOrderQty"] == "0.10000000"
    commission = sum(Decimal(row["commission"]) for row in answer["fills"])
    assert {row["commissionAsset"] for row in answer["fills"]} == {"ETH"}
    assert client.free("ETH") == eth + executed - commission
    assert client.free("BTC") == btc - spent


def test_liquidity_is_back_after_every_order(client: Client) -> None:
    first, second = client.order(quantity="3"), client.order(quantity="3")
    assert first["cummulativeQuoteQty"] == second["cummulativeQuoteQty"]
    assert second["orderId"] > first["orderId"]


def test_an_order_larger_than_the_book_expires_with_a_partial_fill(client: Client) -> None:
    depth = client.public("/api/v3/depth", symbol="ETHBTC", limit=100)
    total = sum(Decimal(quantity) for _, quantity in depth["bids"])
    answer = client.order(quantity="4000")
    assert (answer["status"], answer["expiryReason"]) == ("EXPIRED", "INSUFFICIENT_LIQUIDITY")
    assert Decimal(answer["executedQty"]) == total < 4000
    answer = client.order(side="BUY", quoteOrderQty="4000")
    assert (answer["status"], Decimal(answer["executedQty"])) == ("EXPIRED", total)


def test_limit_orders_respect_their_price_and_their_time_in_force(client: Client) -> None:
    bids = client.public("/api/v3/depth", symbol="ETHBTC", limit=100)["bids"]
    (top, available), (second, _) = bids[0], bids[1]
    limit = {"type": "LIMIT", "quantity": "1.5"}
    filled = client.order(**limit, price=second, timeInForce="FOK")
    assert filled["status"] == "FILLED"
    nothing = client.order(**limit, price=top, timeInForce="FOK")
    assert (nothing["status"], nothing["executedQty"], nothing["fills"]) == ("EXPIRED", "0.00000000", [])
    part = client.order(**limit, price=top, timeInForce="IOC")
    assert (part["status"], part["executedQty"]) == ("EXPIRED", available)
    assert part["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    rest = client.order(**limit, price=top, timeInForce="GTC")
    assert (rest["status"], rest["executedQty"]) == ("PARTIALLY_FILLED", available)


def test_a_resting_order_locks_its_coins_until_it_is_cancelled(client: Client) -> None:
    btc = client.free("BTC")
    price = "0.05000"
    answer = client.order(
        side="BUY", type="LIMIT", quantity="2", price=price, timeInForce="GTC", newClientOrderId="rest"
    )
    assert answer["status"] == "NEW"
    assert client.free("BTC") == btc - Decimal("0.1")
    assert [row["clientOrderId"] for row in client.ok("GET", "/api/v3/openOrders", symbol="ETHBTC")] == ["rest"]
    assert client.ok("GET", "/api/v3/openOrders", symbol="LTCBTC") == []
    gone = client.ok("DELETE", "/api/v3/order", symbol="ETHBTC", origClientOrderId="rest")
    assert (gone["status"], gone["origClientOrderId"]) == ("CANCELED", "rest")
    assert client.free("BTC") == btc
    again = client.call("DELETE", "/api/v3/order", symbol="ETHBTC", origClientOrderId="rest")
    assert (again.status, again.body["code"], again.body["msg"]) == (400, -2011, "Unknown order sent.")


def test_a_client_order_id_is_unique_among_open_orders_only(client: Client) -> None:
    resting = {"type": "LIMIT", "quantity": "1", "price": "1", "timeInForce": "GTC", "newClientOrderId": "cv-1"}
    client.order(**resting)
    refused = client.call("POST", "/api/v3/order", symbol="ETHBTC", side="SELL", **resting)
    assert refused.body == {"code": -2010, "msg": "Duplicate order sent."}
    first, second = (client.order(quantity="1", newClientOrderId="cv-2") for _ in range(2))
    assert first["orderId"] != second["orderId"]  # the second one traded again
    assert [row["reference"] for row in client.sandbox.truth.executions] == ["cv-1", "cv-2", "cv-2"]


def test_an_order_is_found_by_either_id_and_carries_no_fills(client: Client) -> None:
    placed = client.order(quantity="1.5", newClientOrderId="cv-1")
    found = client.ok("GET", "/api/v3/order", symbol="ETHBTC", origClientOrderId="cv-1")
    assert found == client.ok("GET", "/api/v3/order", symbol="ETHBTC", orderId=placed["orderId"])
    assert found["executedQty"] == placed["executedQty"]
    assert found["cummulativeQuoteQty"] == placed["cummulativeQuoteQty"]
    assert "fills" not in found
    trades = client.ok("GET", "/api/v3/myTrades", symbol="ETHBTC", orderId=placed["orderId"])
    assert [row["id"] for row in trades] == [row["tradeId"] for row in placed["fills"]]
    assert [row["commission"] for row in trades] == [row["commission"] for row in placed["fills"]]
    assert sum(Decimal(row["quoteQty"]) for row in trades) == Decimal(placed["cummulativeQuoteQty"])
    assert client.ok("GET", "/api/v3/allOrders", symbol="ETHBTC") == [found]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "ETHBTC", "origClientOrderId": "never"}, -2013),
        ({"symbol": "LTCBTC", "origClientOrderId": "cv-1"}, -2013),
        ({"symbol": "ETHBTC"}, -1102),
        ({"origClientOrderId": "cv-1"}, -1102),
        ({"symbol": "NOPE", "origClientOrderId": "cv-1"}, -1121),
        ({"symbol": "ETHBTC", "origClientOrderId": "never", "orderId": "1"}, -2013),
    ],
)
def test_a_lookup_that_finds_nothing_says_why(client: Client, params: dict[str, str], code: int) -> None:
    client.order(quantity="1", newClientOrderId="cv-1")
    answer = client.call("GET", "/api/v3/order", **params)
    assert (answer.status, answer.body["code"]) == (400, code)


def test_ids_that_do_not_belong_together_are_refused(client: Client) -> None:
    placed = client.order(quantity="1", newClientOrderId="cv-1")
    answer = client.call("GET", "/api/v3/order", symbol="ETHBTC", orderId=placed["orderId"], origClientOrderId="cv-2")
    assert answer.body["code"] == -2039


def test_fresh_orders_can_be_hidden_from_the_first_lookups(client: Client) -> None:
    client.configure(hide_lookups=2)
    client.order(quantity="1", newClientOrderId="cv-1")
    wanted = {"symbol": "ETHBTC", "origClientOrderId": "cv-1"}
    codes = [client.call("GET", "/api/v3/order", **wanted).body.get("code") for _ in range(3)]
    assert codes == [-2013, -2013, None]


LIMIT = {"type": "LIMIT", "timeInForce": "GTC", "price": "0.07", "quantity": "1"}


@pytest.mark.parametrize(
    ("params", "code", "msg"),
    [
        ({"quantity": "0.00001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "1.00005"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "5001"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({"quantity": "0.0010"}, -1013, "Filter failure: NOTIONAL"),
        ({"quoteOrderQty": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        (LIMIT | {"price": "0.070001"}, -1013, "Filter failure: PRICE_FILTER"),
        (LIMIT | {"quantity": "0.001"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "1.000000001"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"quantity": "1e-2"}, -1100, None),
        ({"quantity": "-1"}, -1100, None),
        ({"quantity": ""}, -1105, None),
        ({"quantity": "1", "quoteOrderQty": "1"}, -1128, None),
        ({}, -1102, None),
        ({"quantity": "1", "price": "1"}, -1106, None),
        ({"quantity": "1", "timeInForce": "GTC"}, -1106, None),
        (LIMIT | {"timeInForce": "GTX"}, -1115, None),
        (LIMIT | {"price": None}, -1102, None),
        (LIMIT | {"timeInForce": None}, -1102, None),
        ({"quantity": "1", "type": "STOP"}, -1116, None),
        ({"quantity": "1", "side": "HOLD"}, -1117, None),
        ({"quantity": "1", "symbol": "ETHXYZ"}, -1121, "Invalid symbol."),
        ({"quantity": "1", "newClientOrderId": "a" * 37}, -1100, None),
        ({"quantity": "1", "newClientOrderId": "a b"}, -1100, None),
        ({"quantity": "1", "newOrderRespType": "SHORT"}, -1130, None),
        ({"quantity": "1.2345", "symbol": "BTCUSDT"}, None, None),
    ],
)
def test_what_is_wrong_with_an_order_is_named_and_nothing_trades(
    client: Client, params: dict[str, Any], code: int | None, msg: str | None
) -> None:
    asked = {"symbol": "ETHBTC", "side": "SELL", "type": "MARKET"} | params
    asked = {name: value for name, value in asked.items() if value is not None}
    for path in ("/api/v3/order/test", "/api/v3/order"):
        answer = client.call("POST", path, **asked)
        assert answer.body.get("code") == code
        assert answer.status == (200 if code is None else 400)
        assert msg in {None, answer.body.get("msg")}
    assert len(client.sandbox.truth.executions) == (code is None)


def test_a_parameter_sent_twice_is_refused(client: Client) -> None:
    answer = client.raw("POST", "/api/v3/order", "symbol=ETHBTC&symbol=LTCBTC")
    assert answer.body["code"] == -1101


@pytest.mark.parametrize(
    "params",
    [
        {"quantity": "1.6"},
        {"side": "BUY", "quantity": "1.6"},
        {"side": "BUY", "quoteOrderQty": "0.11"},
        {"type": "LIMIT", "quantity": "1.6", "price": "1", "timeInForce": "GTC"},
        {"side": "BUY", "type": "LIMIT", "quantity": "1.5", "price": "0.09", "timeInForce": "IOC"},
    ],
)
def test_an_order_beyond_the_balance_is_refused_whole(client: Client, params: dict[str, str]) -> None:
    client.configure(balances={"ETH": "1.5", "BTC": "0.1"})
    answer = client.call("POST", "/api/v3/order", **{"symbol": "ETHBTC", "side": "SELL", "type": "MARKET"} | params)
    assert answer.body == {"code": -2010, "msg": "Account has insufficient balance for requested action."}
    assert client.sandbox.truth.executions == []
    assert (client.free("ETH"), client.free("BTC")) == (Decimal("1.5"), Decimal("0.1"))


def test_answers_are_as_long_as_asked_for(client: Client) -> None:
    short = client.order(quantity="1", newOrderRespType="ACK")
    assert set(short) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    result = client.order(quantity="1", newOrderRespType="RESULT")
    assert "fills" not in result
    assert result["status"] == "FILLED"


def test_a_test_order_tells_the_commission_and_does_nothing(client: Client) -> None:
    asked = {"symbol": "ETHBTC", "side": "SELL", "type": "MARKET", "quantity": "1"}
    assert client.ok("POST", "/api/v3/order/test", **asked) == {}
    rates = client.ok("POST", "/api/v3/order/test", **asked, computeCommissionRates="true")
    assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert client.ok("GET", "/api/v3/allOrders", symbol="ETHBTC") == []


def test_a_wrong_amount_fault_changes_the_executed_quantity_that_is_reported(client: Client) -> None:
    client.fault(kind="wrong_amount", factor="0.9", operations=["order"])
    placed = client.order(quantity="1", newClientOrderId="cv-1")
    assert placed["executedQty"] == "0.90000000"
    assert client.ok("GET", "/api/v3/order", symbol="ETHBTC", origClientOrderId="cv-1")["executedQty"] == "1.00000000"


# Withdrawals


def test_a_withdrawal_delivers_the_net_amount_once(client: Client) -> None:
    before = client.free("BTC")
    withdraw_id = client.withdraw(amount="0.5", withdrawOrderId="cv-1-w").body["id"]
    assert re.fullmatch(r"[0-9a-f]{32}", withdraw_id)
    assert client.free("BTC") == before - Decimal("0.5")
    row = client.closed(withdraw_id)
    assert row["status"] == 6
    assert (row["amount"], row["transactionFee"]) == ("0.4999", "0.0001")
    assert (row["withdrawOrderId"], row["network"], row["transferType"]) == ("cv-1-w", "BTC", 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["completeTime"])
    (delivery,) = client.sandbox.truth.deliveries
    assert delivery | {"time": ""} == {
        "service_id": "binance",
        "reference": "cv-1-w",
        "order_id": withdraw_id,
        "from_coin": None,
        "from_amount": None,
        "to_coin": "BTC",
        "amount": "0.4999",
        "address": BTC_ADDRESS,
        "txid": row["txId"],
        "time": "",
    }
    (executed,) = client.sandbox.truth.executions
    assert (executed["operation"], executed["reference"], executed["amount"]) == ("withdraw", "cv-1-w", "0.5")
    assert client.coin("BTC")["withdrawing"] == "0"


def test_a_withdrawal_passes_every_documented_stage(offline: Offline) -> None:
    asked = {"coin": "BTC", "network": "BTC", "address": BTC_ADDRESS, "amount": "0.5"}
    withdraw_id = offline.call("POST", "/sapi/v1/capital/withdraw/apply", **asked).body["id"]
    seen = []
    for _ in range(15):
        row = offline.twin.describe()["open_withdrawals"]
        seen.append(row[0]["status"] if row else 6)
        offline.pass_time(0.1)
    assert list(dict.fromkeys(seen)) == [0, 2, 4, 6]
    assert offline.call("GET", "/sapi/v1/capital/withdraw/history").body[0]["id"] == withdraw_id


def test_an_eth_withdrawal_really_arrives_on_the_chain(client: Client) -> None:
    withdraw_id = client.withdraw(coin="ETH", network="ETH", address=ETH_ADDRESS, amount="1.0008").body["id"]
    (arrived,) = wait(lambda: client.sandbox.chain.received(ETH_ADDRESS))
    assert arrived == (client.withdrawal(withdraw_id)["txId"], Decimal(1))


def test_a_repeated_withdraw_order_id_is_a_second_withdrawal(client: Client) -> None:
    first, second = (client.withdraw(withdrawOrderId="cv-1-w").body["id"] for _ in range(2))
    rows = client.ok("GET", "/sapi/v1/capital/withdraw/history", withdrawOrderId="cv-1-w")
    assert {row["id"] for row in rows} == {first, second}
    wait(lambda: len(client.sandbox.truth.deliveries) == 2)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"coin": "XYZ"}, -4018),
        ({"network": "TRX"}, -4018),
        ({"address": ETH_ADDRESS}, -4007),
        ({"addressTag": "7"}, -4106),
        ({"amount": "0.500000001"}, -4021),
        ({"amount": "0.0001"}, -4028),
        ({"amount": "0.0002"}, -4022),
        ({"amount": "7501"}, -4023),
        ({"amount": "1.6"}, -4026),
        ({"amount": "0.5", "walletType": 1}, -4026),
        ({"amount": "5e-1"}, -1100),
        ({"amount": ""}, -1102),
        ({"address": ""}, -1102),
        ({"coin": ""}, -1102),
    ],
)
def test_what_is_wrong_with_a_withdrawal_is_named_and_nothing_leaves(
    client: Client, params: dict[str, Any], code: int
) -> None:
    client.configure(balances={"BTC": "1.5"})
    answer = client.withdraw(**params)
    assert (answer.status, answer.body["code"]) == (400, code)
    assert client.free("BTC") == Decimal("1.5")
    assert client.sandbox.truth.executions == []


def test_withdrawals_of_a_coin_can_be_closed(client: Client) -> None:
    client.configure(withdraw_enabled={"BTC": False})
    coin = client.coin("BTC")
    assert coin["withdrawAllEnable"] is coin["networkList"][0]["withdrawEnable"] is False
    assert client.withdraw().body["code"] == -4019
    client.configure(withdraw_enabled={"BTC": True})
    assert client.withdraw().status == 200


@pytest.mark.parametrize(("ending", "status"), [("rejected", 3), ("failed", 5), ("cancelled", 1)])
def test_a_withdrawal_that_ends_badly_brings_the_money_back(client: Client, ending: str, status: int) -> None:
    before = client.free("BTC")
    client.configure(withdraw_ending=ending)
    withdraw_id = client.withdraw().body["id"]
    row = client.closed(withdraw_id)
    assert row["status"] == status
    assert row["info"]
    assert row["txId"] == ""
    assert client.free("BTC") == before
    assert client.sandbox.truth.deliveries == []


def test_without_a_network_the_coins_default_one_is_used(client: Client) -> None:
    usdt = client.coin("USDT")
    default = next(row["network"] for row in usdt["networkList"] if row["isDefault"])
    asked = {"coin": "USDT", "address": ETH_ADDRESS, "amount": "20"}
    withdraw_id = client.ok("POST", "/sapi/v1/capital/withdraw/apply", **asked)["id"]
    assert client.withdrawal(withdraw_id)["network"] == default == "ETH"


def test_history_by_our_id_looks_back_seven_days_unless_told_otherwise(offline: Offline) -> None:
    path = "/sapi/v1/capital/withdraw/history"
    asked = {"coin": "BTC", "network": "BTC", "address": BTC_ADDRESS, "amount": "0.5", "withdrawOrderId": "old"}
    assert offline.call("POST", "/sapi/v1/capital/withdraw/apply", **asked).status == 200
    began = int(offline.time * 1000)
    day = 86_400_000
    offline.pass_time(8 * 86_400)
    assert offline.call("GET", path, withdrawOrderId="old").body == []
    assert len(offline.call("GET", path, withdrawOrderId="old", startTime=began - day, endTime=began + day).body) == 1
    assert len(offline.call("GET", path).body) == 1
    now = int(offline.time * 1000)
    too_long = offline.call("GET", path, withdrawOrderId="old", startTime=began, endTime=now)
    assert (too_long.status, too_long.body["code"]) == (400, -1127)
    assert offline.call("GET", path, startTime=began - 90 * day, endTime=now).body["code"] == -4047


def test_history_can_be_narrowed(client: Client) -> None:
    path = "/sapi/v1/capital/withdraw/history"
    first = client.withdraw().body["id"]
    second = client.withdraw(coin="ETH", network="ETH", address=ETH_ADDRESS, amount="1").body["id"]

    def found(**query: Any) -> list[str]:
        return [row["id"] for row in client.ok("GET", path, **query)]

    assert found() == [second, first]
    assert found(coin="BTC") == [first]
    assert found(idList=f"{first},{second}", limit=1) == [second]
    assert found(offset=1) == [first]
    assert found(status=1) == []
    too_many = ",".join(["x"] * 46)
    assert client.call("GET", path, idList=too_many).status == 400


def test_fresh_withdrawals_can_be_hidden_from_the_first_lookups(client: Client) -> None:
    client.configure(hide_withdrawals=1)
    client.withdraw(withdrawOrderId="w")
    path = "/sapi/v1/capital/withdraw/history"
    assert [len(client.ok("GET", path, withdrawOrderId="w")) for _ in range(2)] == [0, 1]


# Account, limits, control


def test_the_account_answers_what_a_client_asks_before_it_starts(client: Client) -> None:
    account = client.ok("GET", "/api/v3/account")
    assert account["canTrade"] is account["canWithdraw"] is True
    assert account["commissionRates"]["taker"] == "0.00100000"
    assert client.ok("GET", "/sapi/v1/account/apiRestrictions")["enableWithdrawals"] is True
    wanted = {"questionnaireCountryCode": "NIL"}
    assert client.ok("GET", "/sapi/v1/localentity/questionnaire-requirements") == wanted
    (fee,) = client.ok("GET", "/sapi/v1/asset/tradeFee", symbol="ETHBTC")
    assert fee == {"symbol": "ETHBTC", "makerCommission": "0.001", "takerCommission": "0.001"}
    usdt = client.coin("USDT")
    tron = next(row for row in usdt["networkList"] if row["network"] == "TRX")
    assert (tron["withdrawFee"], tron["withdrawMin"], tron["withdrawIntegerMultiple"]) == ("1", "10", "0.000001")
    address = client.ok("GET", "/sapi/v1/capital/deposit/address", coin="USDT", network="TRX")["address"]
    assert re.fullmatch(tron["addressRegex"], address)


def test_signed_paths_refuse_strangers(client: Client) -> None:
    for method, path in (
        ("GET", "/api/v3/account"),
        ("POST", "/api/v3/order"),
        ("POST", "/sapi/v1/capital/withdraw/apply"),
        ("GET", "/sapi/v1/capital/config/getall"),
    ):
        assert client.raw(method, path, key=None).status == 401


def test_used_weight_is_counted_as_documented(offline: Offline) -> None:
    def used(path: str, name: str = "X-MBX-USED-WEIGHT-1M", **params: Any) -> int:
        return int(offline.call("GET", path, **params).headers[name])

    assert used("/api/v3/ping") == 1
    assert used("/api/v3/depth", symbol="ETHBTC", limit=100) == 6
    assert used("/api/v3/depth", symbol="ETHBTC", limit=5000) == 256
    assert used("/api/v3/ticker/bookTicker", symbol="ETHBTC") == 258
    assert used("/api/v3/ticker/24hr") == 338
    assert used("/api/v3/order", symbol="ETHBTC", orderId="1") == 342  # a refused request counts too
    assert used("/sapi/v1/capital/config/getall", "X-SAPI-USED-IP-WEIGHT-1M") == 10
    assert used("/sapi/v1/asset/tradeFee", "X-SAPI-USED-IP-WEIGHT-1M") == 1
    assert used("/sapi/v1/capital/withdraw/history", "X-SAPI-USED-UID-WEIGHT-1M") == 18000
    offline.pass_time(60)
    assert used("/api/v3/ping") == 1


def test_the_eleventh_history_call_of_a_minute_is_refused(offline: Offline) -> None:
    path = "/sapi/v1/capital/withdraw/history"
    offline.pass_time(20)
    answers = [offline.call("GET", path) for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert answers[-1].body["code"] == -1003
    assert answers[-1].headers["Retry-After"] == "40"
    offline.pass_time(40)
    assert offline.call("GET", path).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/api/v3/order", 400, -2010),
        ("POST", "/sapi/v1/capital/withdraw/apply", 400, -4019),
        ("DELETE", "/api/v3/order", 400, -2011),
        ("GET", "/api/v3/depth", 400, -1121),
        ("GET", "/api/v3/order", 401, -2015),
        ("GET", "/api/v3/ping", 401, -2015),
    ],
)
def test_a_refused_call_is_answered_as_definitely_not_executed(
    client: Client, method: str, path: str, status: int, code: int
) -> None:
    client.fault(kind="refuse")
    answer = client.call(method, path)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert client.sandbox.truth.executions == []


@pytest.mark.parametrize(
    "settings",
    [
        {"mood": "bad"},
        {"withdraw_ending": "lost"},
        {"balances": {"ETH": "1e99"}},
        {"balances": {"ETH": 1}},
        {"balances": {"XYZ": "1"}},
        {"balances": "1"},
        {"withdraw_enabled": {"BTC": "no"}},
        {"hide_lookups": -1},
        {"clock_offset_ms": "1"},
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(offline: Offline, settings: dict[str, Any]) -> None:
    before = offline.twin.describe()
    with pytest.raises(ValueError, match=next(iter(settings))):
        offline.twin.configure({"hide_withdrawals": 3, "balances": {"BTC": "1"}} | settings)
    assert offline.twin.describe() == before
