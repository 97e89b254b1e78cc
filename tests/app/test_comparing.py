"""The ledger against what the services themselves list as paid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

import pytest

from converter.auditing import Auditing
from converter.comparing import Comparing
from converter.domain.breaches import Breach
from converter.domain.conversions import State
from converter.domain.errors import ServiceRejected, ServiceUnavailable
from converter.domain.payouts import Payout, PayoutState
from converter.ports import Deadline
from tests.app.house import EXCHANGE, House
from tests.builders import an_id
from tests.fakes import ScriptedService, refuse


@dataclass
class Listed:
    """What a service lists, or the error of its list."""

    rows: list[Payout] = field(default_factory=list)
    error: Exception | None = None
    since: datetime | None = None

    def __call__(self, since: datetime, deadline: Deadline) -> list[Payout]:
        self.since = since
        if self.error is not None:
            raise self.error
        return self.rows


class Lister(ScriptedService):
    lists = True
    listed: Listed

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        return self.listed(since, deadline)


def payout(service_id: str, reference: str = "", **changes: object) -> Payout:
    plain = Payout(service_id, reference, "", "BTC", Decimal("0.1"), "there", "aa", None, PayoutState.PAID)
    return replace(plain, **changes)


@pytest.fixture
def listed(house: House) -> Callable[[str], Listed]:
    """Lets a service keep a list."""

    def keep(service_id: str) -> Listed:
        service = house.services[service_id]
        service.__class__ = Lister
        service.listed = Listed()
        return service.listed

    return keep


def found(house: House) -> list[Breach]:
    comparing = Comparing(house.ledger, house.office("auditor").desk.services)
    return list(Auditing(house.ledger, comparing=comparing).look().breaches)


def failed_over(house: House) -> str:
    """Refused by alpha, paid by beta."""
    house.add("alpha", EXCHANGE, "0.1").on("place", refuse(ServiceRejected))
    house.add("beta", EXCHANGE, "0.099")
    cid = house.receive()
    assert house.finish(cid).state is State.COMPLETED
    return cid


def key_of(house: House, cid: str, number: int) -> str:
    """The key under which the n-th attempt's last operation went out."""
    return house.operations(cid, number)[-1].key


def test_what_the_ledger_knows_and_what_is_nobodys_business_is_no_breach(
    house: House, listed: Callable[[str], Listed]
) -> None:
    cid = failed_over(house)
    mine = payout("beta", key_of(house, cid, 2))
    listed("beta").rows = [mine, payout("beta", "somebody-elses"), payout("beta"), payout("beta", order_id="17")]
    assert found(house) == []
    assert Comparing(house.ledger, house.office().desk.services).compare(house.clock())[1] == {"beta": 4}


def test_two_payments_of_one_conversion_are_a_double_wherever_they_were_made(
    house: House, listed: Callable[[str], Listed]
) -> None:
    cid = failed_over(house)
    key = key_of(house, cid, 2)
    beta = listed("beta")
    beta.rows = [payout("beta", key), payout("beta", key, txid="bb")]
    [breach] = found(house)
    assert (breach.invariant, breach.conversion_id) == ("I1", cid)
    assert "aa" in breach.detail
    assert "bb" in breach.detail
    beta.rows = beta.rows[:1]
    listed("alpha").rows = [payout("alpha", key_of(house, cid, 1))]
    assert sorted(one.invariant for one in found(house)) == ["I1", "I4"]


@pytest.mark.parametrize("state", [PayoutState.UNDER_WAY, PayoutState.FAILED, PayoutState.UNKNOWN])
def test_what_was_not_paid_is_no_double(house: House, listed: Callable[[str], Listed], state: PayoutState) -> None:
    cid = failed_over(house)
    key = key_of(house, cid, 2)
    listed("beta").rows = [payout("beta", key), payout("beta", key, state=state)]
    assert found(house) == []


def test_a_payment_of_an_attempt_that_was_called_not_executed_is_found(
    house: House, listed: Callable[[str], Listed]
) -> None:
    cid = failed_over(house)
    listed("alpha").rows = [payout("alpha", key_of(house, cid, 1))]
    [breach] = found(house)
    assert (breach.invariant, breach.conversion_id) == ("I4", cid)
    assert "NOT_EXECUTED" in breach.detail


def test_a_payment_under_a_key_of_ours_that_the_ledger_never_held_is_found(
    house: House, listed: Callable[[str], Listed]
) -> None:
    failed_over(house)
    listed("beta").rows = [payout("beta", f"{an_id(9).removeprefix('cv_')}-1w2")]
    [breach] = found(house)
    assert (breach.invariant, breach.conversion_id) == ("I5", None)


def test_a_payment_of_less_than_was_promised_is_found_unless_it_is_noted(
    house: House, listed: Callable[[str], Listed]
) -> None:
    cid = failed_over(house)
    listed("beta").rows = [payout("beta", key_of(house, cid, 2), amount=Decimal("0.05"))]
    assert [one.invariant for one in found(house)] == ["I10"]


def test_where_no_key_travels_the_order_s_own_id_tells(house: House, listed: Callable[[str], Listed]) -> None:
    cid = failed_over(house)
    order_id = house.attempts(cid)[1].service_order_id or ""
    beta = listed("beta")
    beta.rows = [payout("beta", order_id=order_id), payout("beta", order_id=order_id, txid="bb")]
    assert [one.invariant for one in found(house)] == ["I1"]
    beta.rows = [payout("beta", "somebody-elses", order_id=order_id)] * 2
    assert found(house) == [], "a foreign key goes before an id"


def test_a_list_that_cannot_be_read_is_told_and_is_no_breach(house: House, listed: Callable[[str], Listed]) -> None:
    failed_over(house)
    listed("beta").error = ServiceUnavailable("beta", "list")
    comparing = Comparing(house.ledger, house.office("auditor").desk.services)
    audit = Auditing(house.ledger, comparing=comparing).look()
    assert audit.breaches == ()
    assert "could not be read" in str(audit.compared["beta"])
    assert "alpha" not in audit.compared


def test_lists_are_asked_for_one_day_whatever_is_looked_at(house: House, listed: Callable[[str], Listed]) -> None:
    failed_over(house)
    beta = listed("beta")
    comparing = Comparing(house.ledger, house.office("auditor").desk.services)
    audit = Auditing(house.ledger, comparing=comparing).look(None)
    assert beta.since is not None
    assert (audit.at - beta.since).total_seconds() == 86_400
