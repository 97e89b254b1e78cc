"""Callbacks over HTTP: verified, then a hint. Whatever comes, only a due time moves, and never a flood of look-ups."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from converter.api.app import create_app
from converter.api.callbacks import MAX_BODY
from converter.api.wiring import make_parts
from converter.desk import Next
from converter.domain.conversions import State
from converter.domain.errors import RateLimited
from converter.domain.orders import OperationKind, OrderStatus
from converter.hearing import PAUSE
from converter.ledger.tables import metadata
from converter.security.keys import EnvironmentKeys
from converter.settings import Service, Settings
from tests.app.conftest import Kept, emptied, kept_ledger
from tests.app.house import House
from tests.fakes import lose_answer, refuse, vanish

PLAIN, SIGNED, OTHER = "coingate", "btcpay_lightning", "simpleswap"
SECRET = "the-webhook-secret"
KEYS = {
    "CONVERTER_KEY_BTCPAY_LIGHTNING_CALLBACK_SECRET": SECRET,
    "CONVERTER_KEY_SIMPLESWAP_CALLBACK_SECRET": SECRET,
}
IDS = (PLAIN, SIGNED, OTHER, "binance", "changenow")
SETTINGS = Settings(services=tuple(Service(id=one, priority=1, weight="0.2") for one in IDS))


@dataclass
class Front:
    """The HTTP server in front of a house; what it asks for is kept."""

    house: House
    keys: dict[str, str] = field(default_factory=lambda: dict(KEYS))
    asked: list[tuple[str, str]] = field(default_factory=list)
    broker: bool = True

    def __post_init__(self) -> None:
        parts = make_parts(SETTINGS, EnvironmentKeys(self.keys), self.house.ledger, self._send)
        self.http = TestClient(create_app(parts), follow_redirects=False)

    def _send(self, task: str, conversion_id: str) -> bool:
        self.asked.append((task, conversion_id))
        return self.broker

    def post(self, path: str, body: bytes, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"/callbacks/{path}", content=body, headers=named)

    def plain(self, **fields: Any) -> int:
        return int(self.post(PLAIN, json.dumps(fields).encode()).status_code)

    def signed(self, **fields: Any) -> int:
        body = json.dumps(fields).encode()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        return int(self.post(SIGNED, body, BTCPay_Sig=f"sha256={digest}").status_code)

    def settling(self, service_id: str = PLAIN) -> str:
        """A conversion whose accepted order is looked at again in a while, and was not touched for some seconds."""
        self.house.add(service_id, OperationKind.APPROVAL).pays_out = False
        conversion_id = self.house.receive()
        self.house.begin(conversion_id)
        return self.rested(conversion_id)

    def rested(self, conversion_id: str) -> str:
        while self.house.pause(conversion_id) < 10:
            self.house.look(conversion_id)
        self.pass_time(3)
        return conversion_id

    def pass_time(self, seconds: float) -> None:
        self.house.clock.reach(self.house.clock.time + timedelta(seconds=seconds))

    def order_id(self, conversion_id: str) -> str:
        found = self.house.attempts(conversion_id)[-1].service_order_id
        assert found
        return found

    def contents(self) -> dict[str, Any]:
        """Everything in the ledger except due times."""
        with self.house.ledger.begin() as work:
            return {
                table.name: [
                    {name: value for name, value in row.items() if name != "due_at"}
                    for row in work._connection.execute(table.select()).mappings()  # type: ignore[attr-defined]
                ]
                for table in metadata.sorted_tables
            }


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('callbacks') / 'ledger.db'}")


@pytest.fixture
def front(kept: Kept) -> Front:
    return Front(emptied(kept))


# --- What a hint does ------------------------------------------------------------------------------------------------


def test_a_callback_of_a_known_order_asks_for_one_look(front: Front) -> None:
    conversion_id = front.settling()
    assert front.plain(id=front.order_id(conversion_id), status="completed") == 200
    assert front.asked == [(Next.SETTLE, conversion_id)]


def test_our_own_reference_finds_the_conversion_too(front: Front) -> None:
    conversion_id = front.settling()
    assert front.plain(external_id=front.house.attempts(conversion_id)[0].key) == 200
    assert front.asked == [(Next.SETTLE, conversion_id)]


def test_a_signed_callback_asks_for_one_look(front: Front) -> None:
    conversion_id = front.settling(SIGNED)
    assert front.signed(payoutId=front.order_id(conversion_id), payoutState="Completed") == 200
    assert front.asked == [(Next.SETTLE, conversion_id)]


@pytest.mark.parametrize("status", ["completed", "failed", "canceled", "draft", "nonsense"])
def test_whatever_a_callback_says_nothing_but_a_due_time_changes(front: Front, status: str) -> None:
    conversion_id = front.settling()
    before = front.contents()
    told = {"id": front.order_id(conversion_id), "status": status, "input_amount": "99", "txid": "0xforged"}
    for _ in range(5):
        assert front.plain(**told) == 200
    assert front.contents() == before
    assert front.house.get(conversion_id).state is State.SETTLING


def test_the_look_that_follows_reads_the_truth_from_the_service(front: Front) -> None:
    conversion_id = front.settling()
    front.plain(id=front.order_id(conversion_id), status="completed")
    front.house.office().follow(Next.SETTLE, conversion_id)
    assert front.house.get(conversion_id).state is State.SETTLING, "the service does not say so"
    front.rested(conversion_id)
    front.house.services[PLAIN].pays_out = True
    front.plain(id=front.order_id(conversion_id), status="failed")
    front.house.office().follow(Next.SETTLE, conversion_id)
    assert front.house.get(conversion_id).state is State.COMPLETED
    assert len(front.house.payouts()) == 1


def test_a_lost_message_is_made_up_for_by_the_sweep(front: Front) -> None:
    conversion_id = front.settling()
    front.broker = False
    assert front.plain(id=front.order_id(conversion_id)) == 200
    assert front.house.pause(conversion_id) == PAUSE.total_seconds()


def test_a_conversion_that_was_just_looked_at_is_looked_at_again_after_a_pause(front: Front) -> None:
    conversion_id = front.settling()
    front.house.look(conversion_id)
    front.pass_time(0.5)
    assert front.plain(id=front.order_id(conversion_id)) == 200
    assert front.asked == []
    assert front.house.pause(conversion_id) == 1.5


def test_a_flood_makes_no_more_look_ups_than_the_pause_allows(front: Front) -> None:
    conversion_id = front.settling()
    order_id, service = front.order_id(conversion_id), front.house.services[PLAIN]
    before = service.count("find")
    for _ in range(200):  # ten a second, and a worker that is quick
        front.plain(id=order_id, status="completed")
        front.pass_time(0.1)
        if front.asked:
            front.house.office().follow(Next.SETTLE, front.asked.pop()[1])
        front.house.sweep()
    assert 5 <= service.count("find") - before <= 20 / PAUSE.total_seconds() + 1
    assert len(service.payouts) == 1, "the approval was sent once"


def test_a_flood_while_no_worker_runs_sends_few_messages(front: Front) -> None:
    conversion_id = front.settling()
    for _ in range(100):
        front.plain(id=front.order_id(conversion_id))
    assert len(front.asked) == 1


# --- What is left alone ----------------------------------------------------------------------------------------------


def test_a_completed_conversion_is_left_alone(front: Front) -> None:
    conversion_id = front.settling()
    order_id = front.order_id(conversion_id)
    front.house.services[PLAIN].pays_out = True
    assert front.house.finish(conversion_id).state is State.COMPLETED
    before = front.contents()
    assert front.plain(id=order_id, status="failed") == 200
    assert (front.contents(), front.asked) == (before, [])


def test_an_order_of_another_service_is_left_alone(front: Front) -> None:
    conversion_id = front.settling(PLAIN)
    due = front.house.get(conversion_id).due_at
    assert front.signed(payoutId=front.order_id(conversion_id)) == 200
    assert (front.house.get(conversion_id).due_at, front.asked) == (due, [])


def test_the_service_of_an_attempt_that_came_to_nothing_is_not_listened_to(front: Front) -> None:
    front.house.add(PLAIN, OperationKind.APPROVAL, net="0.1").on("advance", refuse(RateLimited))
    front.house.add(SIGNED, OperationKind.APPROVAL, net="0.099").pays_out = False
    conversion_id = front.house.receive()
    front.house.begin(conversion_id)
    front.rested(conversion_id)
    first, second = front.house.attempts(conversion_id)
    assert (first.service_id, second.service_id) == (PLAIN, SIGNED)
    due = front.house.get(conversion_id).due_at
    assert front.plain(external_id=first.key) == 200
    assert (front.house.get(conversion_id).due_at, front.asked) == (due, [])


def test_a_reconciliation_keeps_its_own_pace(front: Front) -> None:
    service = front.house.add(PLAIN, OperationKind.APPROVAL)
    service.on("advance", vanish)
    service.always("find", vanish)
    conversion_id = front.house.receive()
    assert front.house.begin(conversion_id).state is State.RECONCILING
    front.rested(conversion_id)
    due = front.house.get(conversion_id).due_at
    assert front.plain(external_id=front.house.attempts(conversion_id)[0].key) == 200
    assert (front.house.get(conversion_id).due_at, front.asked) == (due, [])


def test_a_refused_withdrawal_is_not_repeated_sooner(front: Front) -> None:
    service = front.house.add(PLAIN, OperationKind.ORDER)
    service.always("advance", refuse(RateLimited))
    conversion_id = front.house.receive()
    front.house.begin(conversion_id)
    front.rested(conversion_id)
    assert front.house.get(conversion_id).state is State.SETTLING
    due, tried = front.house.get(conversion_id).due_at, service.count("advance")
    assert front.plain(external_id=front.house.attempts(conversion_id)[0].key) == 200
    assert (front.house.get(conversion_id).due_at, front.asked) == (due, [])
    assert service.count("advance") == tried


def test_a_conversion_in_somebody_s_hands_is_left_alone(front: Front) -> None:
    conversion_id = front.settling()
    with front.house.ledger.begin() as work:
        assert work.conversions.claim(conversion_id, "a", timedelta(seconds=30), (State.SETTLING,)) is not None
    front.pass_time(3)
    due = front.house.get(conversion_id).due_at
    assert front.plain(id=front.order_id(conversion_id)) == 200
    assert (front.house.get(conversion_id).due_at, front.asked) == (due, [])


def test_a_parked_conversion_is_completed_by_a_payout_that_a_callback_announces(front: Front) -> None:
    conversion_id = front.settling()
    service = front.house.services[PLAIN]
    booked = next(iter(service.orders.values()))
    booked.status = OrderStatus.HELD
    assert front.house.finish(conversion_id).state is State.NEEDS_REVIEW
    booked.status, service.pays_out = OrderStatus.PAYING_OUT, True
    front.pass_time(3)
    assert front.plain(id=front.order_id(conversion_id)) == 200
    assert front.asked == [(Next.SETTLE, conversion_id)]
    front.house.office().follow(Next.SETTLE, conversion_id)
    assert front.house.get(conversion_id).state is State.COMPLETED


def test_a_callback_that_comes_before_the_answer_to_our_order_does_no_harm(front: Front) -> None:
    service = front.house.add(PLAIN, OperationKind.APPROVAL)
    heard: list[int] = []

    def announce(scene: Any) -> Any:
        heard.append(front.plain(external_id=next(iter(service.orders), "none-yet"), status="completed"))
        return lose_answer(scene)

    service.on("place", announce)
    conversion_id = front.house.receive()
    front.house.begin(conversion_id)
    assert front.house.finish(conversion_id).state is State.COMPLETED
    assert (heard, front.asked, len(service.payouts)) == ([200], [], 1)


# --- Who is let in ---------------------------------------------------------------------------------------------------


def test_known_and_unknown_orders_are_answered_alike(front: Front) -> None:
    conversion_id = front.settling()
    known = front.post(PLAIN, json.dumps({"id": front.order_id(conversion_id)}).encode())
    unknown = front.post(PLAIN, b'{"id":1}')
    nameless = front.post(PLAIN, b"{}")
    answers = [(one.status_code, one.content, sorted(one.headers)) for one in (known, unknown, nameless)]
    assert answers == [answers[0]] * 3
    assert answers[0][:2] == (200, b"")


@pytest.mark.parametrize("path", ["nonsense", "binance", "changenow", "coinpayments", "COINGATE", "coingate%00", "a/b"])
def test_a_service_that_sends_none_here_is_not_found(front: Front, path: str) -> None:
    assert front.post(path, b"{}").status_code == 404


def test_a_forged_callback_is_refused_and_nothing_of_it_is_kept(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    conversion_id = front.settling(SIGNED)
    before = front.contents()
    body = json.dumps({"payoutId": front.order_id(conversion_id), "note": "SENTINEL"}).encode()
    with caplog.at_level(logging.DEBUG):
        for signature in ("", "sha256=", "sha256=" + "0" * 64, SECRET):
            assert front.post(SIGNED, body, BTCPay_Sig=signature).status_code == 401
    assert (front.contents(), front.asked) == (before, [])
    assert "refused" in caplog.text
    for kept_back in ("SENTINEL", SECRET, "0" * 64, front.order_id(conversion_id)):
        assert kept_back not in caplog.text


def test_a_secret_that_was_not_set_up_lets_nobody_in(front: Front) -> None:
    conversion_id = front.settling(SIGNED)
    closed = Front(front.house, keys={})
    assert closed.signed(payoutId=front.order_id(conversion_id)) == 401
    assert closed.asked == []


def test_names_of_headers_are_read_in_any_case_and_a_doubled_signature_is_refused(front: Front) -> None:
    body = b'{"payoutId":"x"}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    for name in ("BTCPAY-SIG", "btcpay-sig", "bTcPaY-sIg"):
        assert front.http.post(f"/callbacks/{SIGNED}", content=body, headers={name: signature}).status_code == 200
    twice = [("BTCPay-Sig", signature), ("btcpay-sig", signature)]
    assert front.http.post(f"/callbacks/{SIGNED}", content=body, headers=twice).status_code == 401


def test_a_path_with_a_token_lets_only_its_owner_in(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    conversion_id = front.settling()
    body = json.dumps({"id": front.order_id(conversion_id)}).encode()
    guarded = Front(front.house, keys={"CONVERTER_KEY_COINGATE_CALLBACK_TOKEN": "unguessable"})
    for path in (PLAIN, f"{PLAIN}/guess", f"{PLAIN}/unguessable2", f"{PLAIN}/%ff"):
        assert guarded.post(path, body).status_code == 401
    assert guarded.asked == []
    assert "unguessable" not in caplog.text
    assert guarded.post(f"{PLAIN}/unguessable", body).status_code == 200
    assert guarded.asked == [(Next.SETTLE, conversion_id)]


def test_a_token_that_was_not_set_up_is_refused(front: Front) -> None:
    assert front.post(f"{PLAIN}/anything", b"{}").status_code == 401


# --- Bodies that are none --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe\x00", b"[1]", b"{", b"[" * MAX_BODY, b'{"id":' + b"9" * 60_000 + b"}"], ids=len
)
def test_a_body_that_cannot_be_read_is_a_bad_request(front: Front, body: bytes) -> None:
    assert front.post(PLAIN, body).status_code == 400
    assert front.asked == []


def in_pieces(size: int) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield b'{"pad":"'
        for _ in range(size // 1024):
            yield b" " * 1024
        yield b'"}'

    return pieces


def test_a_body_may_be_as_long_as_the_limit_and_no_longer(front: Front) -> None:
    fits = b'{"pad":"' + b" " * (MAX_BODY - 10) + b'"}'
    assert len(fits) == MAX_BODY
    assert front.post(PLAIN, fits).status_code == 200
    assert front.post(PLAIN, fits + b" ").status_code == 413


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY - 1024, 200), (MAX_BODY, 413), (50 * MAX_BODY, 413)])
def test_a_body_of_no_declared_length_is_counted_while_it_is_read(front: Front, size: int, status: int) -> None:
    answer = front.http.post(f"/callbacks/{PLAIN}", content=in_pieces(size)())
    assert answer.status_code == status


def test_only_posting_is_served(front: Front) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert front.http.request(method, f"/callbacks/{PLAIN}").status_code == 405


def test_the_server_says_that_it_is_there(front: Front) -> None:
    answer = front.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
