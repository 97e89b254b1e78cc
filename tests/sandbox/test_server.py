from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import requests

from converter.sandbox.credentials import BTCPAY_STORE_ID, BTCPAY_TOKEN
from converter.sandbox.faults import KINDS
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import TWINS
from converter.sandbox.server import Sandbox

BTCPAY = "btcpay_lightning"
AUTH = {"Authorization": f"token {BTCPAY_TOKEN}"}
STORE = f"/{BTCPAY}/api/v1/stores/{BTCPAY_STORE_ID}"
ADDRESS = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(services=[BTCPAY]) as running:
        # A still market: what differs between two quotes is the fault alone.
        running.market.configure({"volatility": "0", "step_ms": 3_600_000})
        yield running


def eventually(condition: Callable[[], Any], seconds: float = 5) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


def control(sandbox: Sandbox, path: str, body: Any = None, method: str = "PUT") -> requests.Response:
    return requests.request(method, f"{sandbox.url}/_sandbox/{path}", json=body)


def arm(sandbox: Sandbox, **fault: Any) -> None:
    answer = control(sandbox, f"faults/{BTCPAY}", fault)
    assert answer.status_code == 200, answer.text


def order(sandbox: Sandbox, timeout: float = 5) -> requests.Response:
    body = {"destination": ADDRESS, "amount": "0.01", "payoutMethodId": "BTC-CHAIN"}
    return requests.post(f"{sandbox.url}{STORE}/payouts", json=body, headers=AUTH, timeout=timeout)


def rates(sandbox: Sandbox, **options: Any) -> requests.Response:
    return requests.get(f"{sandbox.url}{STORE}/rates?currencyPair=ETH_BTC", headers=AUTH, **options)


def health(sandbox: Sandbox, **options: Any) -> requests.Response:
    return requests.get(f"{sandbox.url}/{BTCPAY}/api/v1/health", **options)


def orders_executed(sandbox: Sandbox) -> int:
    return len(control(sandbox, "truth", method="GET").json()["executions"])


def sandbox_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sandbox-")]


def speak(sandbox: Sandbox, data: bytes) -> socket.socket:
    sock = socket.create_connection((sandbox.host, sandbox.port), timeout=5)
    sock.sendall(data)
    return sock


class TestServing:
    def test_a_started_sandbox_is_healthy(self, sandbox: Sandbox) -> None:
        assert control(sandbox, "health", method="GET").json() == {"ok": True, "problems": []}

    def test_stop_leaves_neither_thread_nor_socket(self) -> None:
        before = sandbox_threads()
        sandbox = Sandbox(services=[BTCPAY]).start()
        with requests.Session() as session:
            session.get(f"{sandbox.url}/_sandbox/health")
            assert len(sandbox_threads()) > len(before)
            sandbox.stop()
        assert set(sandbox_threads()) <= set(before)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((sandbox.host, sandbox.port), timeout=1)

    def test_stop_does_not_wait_for_a_connection_that_is_held(self) -> None:
        with Sandbox(services=[BTCPAY]) as sandbox:
            arm(sandbox, kind="hang")
            held = speak(sandbox, f"GET /{BTCPAY}/api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            eventually(lambda: sandbox.faults.describe(BTCPAY)["faults"][0]["struck"])
            start = time.monotonic()
            sandbox.stop()
            assert time.monotonic() - start < 2
            held.close()

    def test_a_restarted_sandbox_keeps_its_address_and_its_state(self, sandbox: Sandbox) -> None:
        url = sandbox.url
        order(sandbox)
        sandbox.stop()
        sandbox.start()
        assert sandbox.url == url
        assert orders_executed(sandbox) == 1

    def test_one_connection_serves_many_requests(self, sandbox: Sandbox) -> None:
        request = f"GET /{BTCPAY}/api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        with speak(sandbox, request * 3) as sock:
            received = b""
            while received.count(b'{"synchronized":true}') < 3:
                received += sock.recv(65536)
        assert received.count(b"HTTP/1.1 200 OK") == 3

    def test_a_chunked_body_is_understood(self, sandbox: Sandbox) -> None:
        pieces = (piece for piece in (b'{"volatility":', b'"0.01"}'))
        answer = requests.put(f"{sandbox.url}/_sandbox/market", data=pieces)
        assert answer.json()["volatility"] == "0.01"

    def test_bytes_that_are_no_request_are_answered_with_400(self, sandbox: Sandbox) -> None:
        with speak(sandbox, b"what is this?\r\n\r\n") as sock:
            assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")

    def test_many_clients_are_served_at_once(self, sandbox: Sandbox) -> None:
        def work(_index: int) -> set[int]:
            with requests.Session() as session:
                return {session.get(f"{sandbox.url}/_sandbox/market").status_code for _ in range(5)}

        with ThreadPoolExecutor(32) as pool:
            assert set.union(*pool.map(work, range(32))) == {200}

    def test_an_unknown_service_is_404_and_the_known_ones_are_named(self, sandbox: Sandbox) -> None:
        answer = requests.get(f"{sandbox.url}/nowhere/api")
        assert answer.status_code == 404
        assert BTCPAY in answer.json()["error"]

    def test_an_unknown_path_is_404_and_a_wrong_method_405(self, sandbox: Sandbox) -> None:
        assert requests.get(f"{sandbox.url}/{BTCPAY}/api/v9").status_code == 404
        assert requests.put(f"{sandbox.url}/{BTCPAY}/api/v1/health").status_code == 405
        assert control(sandbox, "nothing", method="GET").status_code == 404
        assert control(sandbox, "truth", {}).status_code == 405

    def test_a_twin_that_breaks_is_500_and_shows_in_the_health(self, sandbox: Sandbox) -> None:
        def broken(_request: Any) -> Any:
            raise RuntimeError("a twin's mistake")

        sandbox.mounts[BTCPAY].handle = broken  # type: ignore[assignment, method-assign]
        assert health(sandbox).status_code == 500
        report = control(sandbox, "health", method="GET").json()
        assert report["ok"] is False
        assert "a twin's mistake" in report["problems"][0]

    def test_every_registered_twin_has_a_place(self) -> None:
        assert set(TWINS) == {
            "binance",
            "btcpay_lightning",
            "changenow",
            "coingate",
            "coinpayments",
            "kraken",
            "simpleswap",
            "thorchain",
        }
        with Sandbox() as sandbox:
            assert {name: twin.service_id for name, twin in sandbox.twins.items()} == {name: name for name in TWINS}
            listed = control(sandbox, "services", method="GET").json()
            assert set(listed) == {*TWINS, "evm", "etc", "btc", "ltc", "doge", "bch", "rvn"}
            assert all("quote" in listed[name]["operations"] for name in TWINS)
            for name in listed:
                assert control(sandbox, f"services/{name}", method="GET").status_code == 200
            assert not sandbox.problems

    def test_an_unknown_twin_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match=r"unknown 'binanse'; accepted: .*binance"):
            Sandbox(services=["binanse"])


class TestFaultsOfTheConnection:
    @pytest.mark.parametrize("kind", ["down", "reset_before_execute"])
    def test_a_reset_before_executes_nothing(self, sandbox: Sandbox, kind: str) -> None:
        arm(sandbox, kind=kind)
        with pytest.raises(requests.ConnectionError):
            order(sandbox)
        assert orders_executed(sandbox) == 0

    def test_a_reset_after_has_executed(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="reset_after_execute")
        with pytest.raises(requests.ConnectionError):
            order(sandbox)
        assert orders_executed(sandbox) == 1

    def test_what_was_refused_is_told_though_a_fault_waits_for_an_execution(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="reset_after_execute", count=1)
        refused = requests.post(f"{sandbox.url}/{BTCPAY}/api/v1/stores/{BTCPAY_STORE_ID}/payouts", json={}, timeout=5)
        assert refused.status_code == 401
        assert sandbox.faults.describe(BTCPAY)["faults"][0]["struck"] == 0
        with pytest.raises(requests.ConnectionError):
            order(sandbox)
        assert orders_executed(sandbox) == 1

    @pytest.mark.parametrize(
        ("kind", "executed"), [("timeout_before_execute", 0), ("hang", 0), ("timeout_after_execute", 1)]
    )
    def test_a_timeout_says_nothing(self, sandbox: Sandbox, kind: str, executed: int) -> None:
        arm(sandbox, kind=kind)
        with pytest.raises(requests.ReadTimeout):
            order(sandbox, timeout=0.2)
        assert orders_executed(sandbox) == executed

    def test_a_client_that_leaves_a_held_connection_frees_it(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="hang")
        eventually(lambda: len(sandbox_threads()) == 2)
        with speak(sandbox, f"GET /{BTCPAY}/api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n".encode()):
            eventually(lambda: sandbox.faults.describe(BTCPAY)["faults"][0]["struck"])
            assert len(sandbox_threads()) == 3
        eventually(lambda: len(sandbox_threads()) == 2)

    @pytest.mark.parametrize(("kind", "executed"), [("5xx_before_execute", 0), ("5xx_after_execute", 1)])
    def test_a_5xx_is_a_page_in_html(self, sandbox: Sandbox, kind: str, executed: int) -> None:
        arm(sandbox, kind=kind)
        answer = order(sandbox)
        assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
        assert orders_executed(sandbox) == executed

    @pytest.mark.parametrize(("kind", "executed"), [("rubbish", 0), ("rubbish_after_execute", 1)])
    def test_rubbish_is_200_without_sense(self, sandbox: Sandbox, kind: str, executed: int) -> None:
        arm(sandbox, kind=kind)
        answer = order(sandbox)
        assert answer.status_code == 200
        assert answer.text.startswith("<html>")
        assert orders_executed(sandbox) == executed

    def test_too_many_requests_name_the_time_to_wait(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="429", retry_after_s=7)
        answer = order(sandbox)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        assert orders_executed(sandbox) == 0

    def test_half_a_body_comes_after_executing(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="half_body")
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            order(sandbox)
        assert orders_executed(sandbox) == 1

    def test_half_of_an_empty_body_still_promises_more(self, sandbox: Sandbox) -> None:
        payout = order(sandbox).json()
        arm(sandbox, kind="half_body")
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            requests.delete(f"{sandbox.url}{STORE}/payouts/{payout['id']}", headers=AUTH)

    def test_refuse_is_the_services_own_no(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="refuse")
        answer = order(sandbox)
        assert answer.status_code == 400
        assert set(answer.json()) == {"code", "message"}
        assert orders_executed(sandbox) == 0

    def test_refuse_leaves_a_path_that_is_not_served_at_404(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="refuse")
        assert requests.get(f"{sandbox.url}/{BTCPAY}/api/v9").status_code == 404

    def test_latency_delays_and_then_answers_normally(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="latency", latency_ms=120)
        assert health(sandbox).elapsed.total_seconds() >= 0.12

    def test_a_delay_goes_before_any_other_fault(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="5xx_before_execute", operations=["info"], latency_ms=120)
        answer = health(sandbox)
        assert answer.status_code == 502
        assert answer.elapsed.total_seconds() >= 0.12

    def test_a_slow_answer_is_executed_though_the_client_has_left(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="latency", latency_ms=150)
        with pytest.raises(requests.ReadTimeout):
            order(sandbox, timeout=0.05)
        eventually(lambda: orders_executed(sandbox) == 1)

    @pytest.mark.parametrize("kind", ["drip", "drip_headers"])
    def test_a_dripping_answer_comes_byte_by_byte(self, sandbox: Sandbox, kind: str) -> None:
        arm(sandbox, kind=kind)
        with speak(sandbox, f"GET /{BTCPAY}/api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n".encode()) as sock:
            start = time.monotonic()
            if kind == "drip":
                received = b""
                while not received.partition(b"\r\n\r\n")[2]:
                    received += sock.recv(65536)
                assert received.endswith(b"\r\n\r\n{")
            else:
                assert sock.recv(65536) == b"H"
            assert len(sock.recv(65536) + sock.recv(65536)) == 2
            assert 0.3 < time.monotonic() - start < 2


class TestWhenFaultsStrike:
    def test_without_operations_an_execute_fault_leaves_reading_alone(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="5xx_after_execute")
        assert rates(sandbox).status_code == 200
        assert order(sandbox).status_code == 502

    def test_named_operations_alone_are_struck(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="5xx_before_execute", operations=["quote"])
        assert rates(sandbox).status_code == 502
        assert order(sandbox).status_code == 200

    def test_a_fault_strikes_as_often_as_its_count(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="429", count=2)
        assert [health(sandbox).status_code for _ in range(4)] == [429, 429, 200, 200]
        assert control(sandbox, f"faults/{BTCPAY}", method="GET").json()["faults"][0]["struck"] == 2

    def test_chance_is_the_same_on_every_run(self) -> None:
        def run(seed: int) -> list[int]:
            with Sandbox(services=[BTCPAY], seed=seed) as sandbox:
                arm(sandbox, kind="429", rate=0.5)
                return [health(sandbox).status_code for _ in range(20)]

        first = run(3)
        assert first == run(3)
        assert set(first) == {200, 429}
        assert first != run(4)

    def test_several_faults_may_be_set_and_the_first_of_the_connection_wins(self, sandbox: Sandbox) -> None:
        faults = [{"kind": "latency", "latency_ms": 100}, {"kind": "429", "count": 1}, {"kind": "rubbish", "count": 1}]
        control(sandbox, f"faults/{BTCPAY}", {"faults": faults})
        answers = [health(sandbox) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 200, 200]
        assert [answer.text.startswith("<html>") for answer in answers] == [True, True, False]
        assert min(answer.elapsed.total_seconds() for answer in answers) >= 0.1

    def test_clearing_one_service_or_all_ends_the_faults(self, sandbox: Sandbox) -> None:
        for path in (f"faults/{BTCPAY}", "faults"):
            arm(sandbox, kind="429")
            assert health(sandbox).status_code == 429
            assert control(sandbox, path, method="DELETE").status_code == 200
            assert health(sandbox).status_code == 200

    def test_what_get_answers_may_be_put_back(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="wrong_rate", factor="1.2", rate=0.25, count=3, jitter_ms=5, operations=["quote"])
        shown = control(sandbox, f"faults/{BTCPAY}", method="GET").json()
        assert control(sandbox, f"faults/{BTCPAY}", shown).json() == shown

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"kind": "explode"}, "kind"),
            ({}, "kind"),
            ({"kind": "429", "rate": 2}, "rate"),
            ({"kind": "429", "rate": "1"}, "rate"),
            ({"kind": "429", "count": -1}, "count"),
            ({"kind": "429", "latency_ms": "5"}, "latency_ms"),
            ({"kind": "429", "retry_after_s": 1.5}, "retry_after_s"),
            ({"kind": "429", "operations": ["nap"]}, "operations"),
            ({"kind": "429", "operations": "quote"}, "operations"),
            ({"kind": "429", "factor": "2"}, "factor"),
            ({"kind": "wrong_rate", "factor": 1.2}, "factor"),
            ({"kind": "429", "often": True}, "often"),
            ({"faults": [{"kind": "429"}, {"kind": "explode"}]}, "kind"),
            (["429"], "faults"),
        ],
    )
    def test_a_wrong_body_names_its_field_and_changes_nothing(self, sandbox: Sandbox, body: Any, field: str) -> None:
        arm(sandbox, kind="429", count=5)
        answer = control(sandbox, f"faults/{BTCPAY}", body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(f"{field}: ")
        assert "; accepted: " in answer.json()["error"]
        assert [fault["kind"] for fault in sandbox.faults.describe(BTCPAY)["faults"]] == ["429"]

    def test_a_fault_for_an_unknown_service_is_404(self, sandbox: Sandbox) -> None:
        assert control(sandbox, "faults/nowhere", {"kind": "429"}).status_code == 404

    def test_text_that_is_no_json_is_400(self, sandbox: Sandbox) -> None:
        assert requests.put(f"{sandbox.url}/_sandbox/faults/{BTCPAY}", data="{").status_code == 400

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_may_be_set(self, sandbox: Sandbox, kind: str) -> None:
        arm(sandbox, kind=kind)


class TestWrongFigures:
    def test_a_wrong_rate_is_off_by_its_factor(self, sandbox: Sandbox) -> None:
        honest = Decimal(rates(sandbox).json()[0]["rate"])
        arm(sandbox, kind="wrong_rate", factor="1.5", count=1)
        wrong, again = (Decimal(rates(sandbox).json()[0]["rate"]) for _ in range(2))
        assert abs(wrong / honest - Decimal("1.5")) < Decimal("0.000001")
        assert again == honest

    def test_a_wrong_amount_is_off_by_its_factor(self, sandbox: Sandbox) -> None:
        arm(sandbox, kind="wrong_amount")
        assert Decimal(order(sandbox).json()["originalAmount"]) == Decimal("0.009")


class TestMarket:
    def test_the_first_prices_make_the_known_rate_of_ether(self, sandbox: Sandbox) -> None:
        assert round(sandbox.market.rate("ETH", "BTC"), 4) == Decimal("0.0652")

    def test_a_part_of_the_market_may_be_set(self, sandbox: Sandbox) -> None:
        before = control(sandbox, "market", method="GET").json()
        after = control(sandbox, "market", {"prices": {"ETH": "5000"}}).json()
        assert after == before | {"prices": before["prices"] | {"ETH": "5000.00000000"}}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"prices": {"XYZ": "1"}}, "prices.XYZ"),
            ({"prices": {"BTC": "1", "ETH": "0"}}, "prices.ETH"),
            ({"prices": {"BTC": 1}}, "prices.BTC"),
            ({"prices": []}, "prices"),
            ({"prices": {"BTC": "1"}, "volatility": "9"}, "volatility"),
            ({"volatility": "NaN"}, "volatility"),
            ({"step_ms": 0}, "step_ms"),
            ({"seed": 8}, "seed"),
            ([], "body"),
        ],
    )
    def test_a_wrong_market_names_its_field_and_changes_nothing(self, sandbox: Sandbox, body: Any, field: str) -> None:
        before = control(sandbox, "market", method="GET").json()
        answer = control(sandbox, "market", body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(f"{field}: ")
        assert control(sandbox, "market", method="GET").json() == before

    def test_prices_walk_the_same_way_for_the_same_seed(self) -> None:
        def walk(seed: int, *moments: float) -> list[Decimal]:
            clock = [0.0]
            market = SeededMarket(seed, lambda: clock[0])
            seen = []
            for moment in moments:
                clock[0] = moment
                seen.append(market.rate("ETH", "BTC"))
            return seen

        assert walk(1, 10, 50, 200) == walk(1, 10, 50, 200)
        assert walk(1, 200)[-1] == walk(1, 3, 40, 100, 200)[-1]
        assert walk(1, 200) != walk(2, 200)
        assert len(set(walk(1, 1, 2, 3, 4))) == 4

    def test_a_wobble_stays_in_its_width_and_differs_by_name(self) -> None:
        clock = [0.0]
        market = SeededMarket(1, lambda: clock[0])
        seen = []
        for second in range(200):
            clock[0] = float(second)
            seen.append((market.wobble("a", Decimal("0.01")), market.wobble("b", Decimal("0.01"))))
        assert all(abs(factor - 1) <= Decimal("0.01") for pair in seen for factor in pair)
        assert all(first != second for first, second in seen)
        assert all(abs(now[0] - then[0]) < Decimal("0.002") for then, now in pairwise(seen))

    def test_an_unknown_coin_has_no_rate(self, sandbox: Sandbox) -> None:
        with pytest.raises(KeyError):
            sandbox.market.rate("XYZ", "BTC")


class TestTruth:
    def test_a_delivery_shows_every_fact_and_null_for_the_unknown(self, sandbox: Sandbox) -> None:
        sandbox.truth.delivered("binance", order_id="7", to_coin="BTC", amount=Decimal("1E+2"))
        (delivery,) = control(sandbox, "truth", method="GET").json()["deliveries"]
        assert delivery.pop("time").endswith("Z")
        assert delivery == {
            "service_id": "binance",
            "reference": None,
            "order_id": "7",
            "from_coin": None,
            "from_amount": None,
            "to_coin": "BTC",
            "amount": "100",
            "address": None,
            "txid": None,
        }

    def test_an_unknown_fact_of_a_delivery_is_refused(self, sandbox: Sandbox) -> None:
        with pytest.raises(TypeError, match="colour"):
            sandbox.truth.delivered("binance", colour="red")


class TestServices:
    def test_settings_of_a_service_are_shown_and_set(self, sandbox: Sandbox) -> None:
        assert control(sandbox, f"services/{BTCPAY}", {"balance": "1.5"}).json()["balance"] == "1.5"
        assert control(sandbox, f"services/{BTCPAY}", method="GET").json()["balance"] == "1.5"

    def test_a_wrong_setting_names_its_field(self, sandbox: Sandbox) -> None:
        for body, field in (({"balance": 1}, "balance"), ({"ending": "happy"}, "ending"), ({"colour": 1}, "colour")):
            answer = control(sandbox, f"services/{BTCPAY}", body)
            assert answer.status_code == 400
            assert answer.json()["error"].startswith(f"{field}: ")

    def test_all_services_are_listed_with_their_operations(self, sandbox: Sandbox) -> None:
        listed = control(sandbox, "services", method="GET").json()
        assert listed["evm"] == {"operations": ["info", "send", "status"]}
        assert "quote" in listed[BTCPAY]["operations"]
