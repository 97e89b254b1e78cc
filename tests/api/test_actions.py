"""A person's word over HTTP: done once, refused where it does not fit, followed by the hint that the command sends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converter.api.app import Parts
from converter.desk import Desk, Next
from converter.domain.conversions import State
from converter.domain.errors import ServiceUnavailable
from converter.domain.orders import OperationKind, OperationRule
from converter.evidence import Evidence
from converter.reviewing import Reviewing
from converter.wallets.manual import ManualWallet
from tests.api.front import Front, front_of, problem, settings_of
from tests.app.conftest import Kept, emptied, kept_ledger
from tests.app.house import DEPOSIT, EXCHANGE, House
from tests.builders import an_id
from tests.fakes import refuse, tell, vanish

UNPROVABLE = dict.fromkeys(OperationKind, OperationRule(moves_money=True))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    yield from kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('actions') / 'ledger.db'}")


@pytest.fixture
def house(kept: Kept) -> House:
    return emptied(kept)


@pytest.fixture
def front(kept: Kept, house: House, tmp_path: Path) -> Iterator[Front]:
    """In front of the house: its services, its wallets, and its clock."""

    def change(parts: Parts) -> Parts:
        return replace(parts, reviewing=OfTheHouse(house))

    with front_of(kept[0], settings_of(tmp_path), change) as opened:
        yield opened


class OfTheHouse(Reviewing):
    """The operator's hands, with the services that the house has by then."""

    def __init__(self, house: House) -> None:
        self._house = house

    @property
    def _desk(self) -> Desk:  # type: ignore[override]
        return self._house.office("api").desk

    @property
    def evidence(self) -> Evidence:  # type: ignore[override]
        return Evidence(self._desk)


def parked(house: House) -> str:
    """A conversion before a person: its order is unknown, and nothing at the service proves anything."""
    alpha = house.add("alpha", EXCHANGE, "0.1", rules=UNPROVABLE)
    house.add("beta", EXCHANGE, "0.099")
    alpha.on("place", vanish)
    alpha.always("find", tell(None))
    conversion_id = house.receive()
    assert house.finish(conversion_id).state is State.NEEDS_REVIEW
    return conversion_id


def told(house: House, name: str) -> dict[str, Any]:
    [event] = house.events(name)
    return event.payload


def test_a_conversion_that_has_not_begun_is_cancelled_with_who_said_it(front: Front, house: House) -> None:
    conversion_id = house.receive()
    answer = front.act(conversion_id, "cancel", reason="the miner left", by="ada")
    assert (answer.status_code, answer.json()["state"]) == (200, "CANCELLED")
    assert told(house, "conversion:cancelled") == {"by": "ada", "reason": "the miner left"}
    assert front.asked == []
    assert "is CANCELLED" in problem(front.act(conversion_id, "cancel", reason="again"), 409, "NotPossible")["detail"]


def test_who_says_nothing_of_himself_is_the_api(front: Front, house: House) -> None:
    front.act(house.receive(), "cancel", reason="a test")
    assert told(house, "conversion:cancelled")["by"] == "api"


def test_of_many_who_cancel_at_once_one_does(front: Front, house: House) -> None:
    conversion_id, ready = house.receive(), threading.Barrier(6)

    def cancel(number: int) -> int:
        ready.wait(20)
        return int(front.act(conversion_id, "cancel", reason=f"by {number}").status_code)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(cancel, range(6))) == [200, *[409] * 5]
    assert len(house.events("conversion:cancelled")) == 1


def test_what_a_worker_holds_is_not_touched(front: Front, house: House) -> None:
    conversion_id = house.receive()
    with house.ledger.begin() as work:
        assert work.conversions.claim(conversion_id, "worker", house.timing.lease, (State.RECEIVED,))
    told = problem(front.act(conversion_id, "cancel", reason="a test"), 409, "NotPossible")
    assert "a worker is looking at it" in told["detail"]
    assert house.get(conversion_id).owner == "worker"


def test_one_that_waits_is_tried_again_at_once(front: Front, house: House) -> None:
    house.add("alpha", EXCHANGE).always("quote", refuse(ServiceUnavailable))
    conversion_id = house.receive()
    house.begin(conversion_id)
    assert house.get(conversion_id).state is State.WAITING
    assert front.act(conversion_id, "retry", reason="it works again").json()["state"] == "WAITING"
    assert front.asked == [(Next.START, conversion_id)]


def test_a_parked_one_is_tried_again_with_all_its_time(front: Front, house: House) -> None:
    conversion_id = parked(house)
    assert front.act(conversion_id, "retry", reason="it works again").json()["state"] == "RECONCILING"
    assert front.asked == [(Next.SETTLE, conversion_id)]


def test_what_a_person_saw_arrive_completes_the_conversion(front: Front, house: House) -> None:
    conversion_id = parked(house)
    said = {"verdict": "executed", "txid": "f00d", "delivered": "0.0999", "reason": "seen", "by": "ada"}
    found = front.act(conversion_id, "resolve", **said).json()
    assert (found["state"], found["txid"], found["delivered"]) == ("COMPLETED", "f00d", "0.0999")
    assert told(house, "conversion:resolved")["by"] == "ada"
    assert front.asked == []


def test_what_was_not_executed_goes_to_another_service(front: Front, house: House) -> None:
    conversion_id = parked(house)
    answer = front.act(conversion_id, "resolve", verdict="notExecuted", reason="their support says so")
    assert answer.status_code == 200
    [(task, hinted)] = front.asked
    assert hinted == conversion_id
    house.office().follow(Next(task), conversion_id)
    assert house.finish(conversion_id).service_id == "beta"


def test_not_executed_is_refused_against_what_can_be_seen(front: Front, house: House) -> None:
    house.add("alpha", DEPOSIT)
    conversion_id = house.receive()
    house.begin(conversion_id)
    answer = front.act(conversion_id, "resolve", verdict="notExecuted", reason="I think so")
    problem(answer, 409, "NotPossible")
    assert front.asked == []


APART: list[tuple[dict[str, str], str]] = [
    ({"verdict": "executed", "reason": "r"}, "txid"),
    ({"verdict": "executed", "txid": "a b", "reason": "r"}, "txid"),
    ({"verdict": "executed", "txid": "a", "refundTxid": "b", "reason": "r"}, "refundTxid"),
    ({"verdict": "notExecuted", "txid": "a", "reason": "r"}, "txid"),
    ({"verdict": "notExecuted", "delivered": "1", "reason": "r"}, "delivered"),
    ({"verdict": "executed", "txid": "a", "delivered": "1e1", "reason": "r"}, "delivered"),
    ({"verdict": "perhaps", "reason": "r"}, "verdict"),
    ({"verdict": "notExecuted"}, "reason"),
    ({"verdict": "notExecuted", "reason": " "}, "reason"),
    ({"verdict": "notExecuted", "reason": "x" * 1001}, "reason"),
    ({"verdict": "notExecuted", "reason": "\0"}, "reason"),
    ({"verdict": "notExecuted", "reason": "r", "by": ""}, "by"),
]


def test_words_that_do_not_go_together_claim_nothing(front: Front, house: House) -> None:
    conversion_id = parked(house)
    before = house.get(conversion_id)
    for said, field in APART:
        assert problem(front.act(conversion_id, "resolve", **said), 422, "InvalidRequest")["field"] == field, said
    assert house.get(conversion_id) == before


def test_a_deposit_by_hand_is_reported_once(front: Front, house: House) -> None:
    house.wallets["ETH"] = ManualWallet("ETH")
    house.add("alpha", DEPOSIT)
    conversion_id = house.receive()
    house.begin(conversion_id)
    assert front.act(conversion_id, "deposit", txid="0xabc").json()["id"] == conversion_id
    assert front.asked == [(Next.SETTLE, conversion_id)]
    transfer = house.transfer(conversion_id)
    assert transfer is not None
    assert transfer.txid == "0xabc"
    problem(front.act(conversion_id, "deposit", txid="0xdef"), 409, "NotPossible")
    assert problem(front.act(conversion_id, "deposit", txid="a-b"), 422, "InvalidRequest")["field"] == "txid"


@pytest.mark.parametrize("action", ["cancel", "retry", "resolve", "deposit"])
def test_an_unknown_conversion_is_not_found(front: Front, action: str) -> None:
    words = {"cancel": {"reason": "r"}, "retry": {"reason": "r"}, "deposit": {"txid": "a"}}
    said = words.get(action, {"reason": "r", "verdict": "notExecuted"})
    problem(front.act(an_id(9), action, **said), 404, "ConversionNotFound")
