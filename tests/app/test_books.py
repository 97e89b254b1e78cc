"""Through whole conversions the books say at every moment where the coins are, and at the end what became of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converter.domain.conversions import AttemptState, State
from converter.domain.errors import ServiceRejected
from converter.domain.orders import OperationKind, OperationRule
from converter.domain.postings import CONVERTED, PAYOUT, POOL, SERVICE_FEE, SUSPENSE, balances, transit_of
from tests.app.house import DEPOSIT, EXCHANGE, KINDS, House
from tests.fakes import lose_answer, refuse, tell

UNPROVABLE = OperationRule(moves_money=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_completed_conversion_has_left_nothing_on_the_way(house: House, kind: OperationKind) -> None:
    house.add("alpha", kind, "0.1")
    cid = house.receive()
    assert house.finish(cid).state is State.COMPLETED
    with house.ledger.begin() as work:
        found = {account: amount for account, amount in work.books.balances().items() if amount}
    assert found == {
        (POOL, "ETH"): Decimal("-1.5"),
        (CONVERTED, "ETH"): Decimal("1.5"),
        (CONVERTED, "BTC"): Decimal("-0.101"),
        (PAYOUT, "BTC"): Decimal("0.1"),
        (SERVICE_FEE, "BTC"): Decimal("0.001"),
    }


def test_coins_go_back_to_the_pool_when_the_service_refuses_and_on_to_the_next(house: House) -> None:
    house.add("alpha", EXCHANGE, "0.1").on("place", refuse(ServiceRejected))
    house.add("beta", EXCHANGE, "0.099")
    cid = house.receive()
    house.finish(cid)
    with house.ledger.begin() as work:
        first, second = (work.books.of(one.id) for one in work.attempts.of(cid))
    assert set(balances(first).values()) == {Decimal(0)}
    assert balances(second)[POOL, "ETH"] == Decimal("-1.5")


def test_an_unknown_order_keeps_its_coins_at_the_service_and_in_suspense_before_a_person(house: House) -> None:
    alpha = house.add("alpha", EXCHANGE, "0.1", rules=dict.fromkeys(OperationKind, UNPROVABLE))
    alpha.on("place", lose_answer)
    alpha.always("find", tell(None))
    cid = house.receive()
    house.begin(cid)
    assert house.holders(cid) == [transit_of("alpha")]
    assert house.finish(cid).state is State.NEEDS_REVIEW
    assert house.holders(cid) == [SUSPENSE]
    alpha.always("find", None)
    assert house.look(cid).state in (State.COMPLETED, State.NEEDS_REVIEW)
    assert house.books_agree(cid)


def test_a_deposit_that_came_back_is_in_the_pool_again(house: House) -> None:
    alpha = house.add("alpha", DEPOSIT, "0.1")
    house.add("beta", DEPOSIT, "0.099")
    alpha.refunds = True
    cid = house.receive()
    for _ in range(40):
        house.look(cid)
        for booked in alpha.orders.values():
            if booked.refund is not None:
                house.wallet.refunds[booked.refund.txid] = Decimal("1.49")
        if house.get(cid).state.is_terminal:
            break
    assert house.get(cid).state is State.COMPLETED
    assert house.states(cid)[0] == ("alpha", AttemptState.REFUNDED)
    with house.ledger.begin() as work:
        first = balances(work.books.of(work.attempts.of(cid)[0].id))
    assert {account: amount for (account, _), amount in first.items() if amount} == {
        POOL: Decimal("-0.01"),
        "network_fee": Decimal("0.01"),
    }
