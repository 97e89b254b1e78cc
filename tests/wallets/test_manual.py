"""The wallet that is a person: it signs and sends nothing, and claims nothing that it cannot know."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converter.domain.coins import asset
from converter.domain.errors import Outcome, OutcomeUnknown, policy_of
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline
from converter.wallets.manual import ManualWallet

PAYMENT = Payment(asset("BTC"), "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Decimal("0.5"))
REPORTED = Transfer("BTC", "manual", 0, "", "9f1c" * 16, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Decimal("0.5"))


def test_a_person_pays() -> None:
    wallet = ManualWallet("BTC")
    assert not wallet.pays_itself
    assert wallet.account(Deadline.after(1)) == ("BTC", "manual", 0)
    assert wallet.prepare(PAYMENT, Deadline.after(1)) is None
    wallet.release(None, Deadline.after(1))


def test_a_person_pays_whatever_is_on_the_network() -> None:
    wallet = ManualWallet("ETH")
    assert [wallet.holds(one) for one in (asset("ETH"), asset("USDT", "ETH"), asset("ETC"))] == [True, True, False]


def test_nothing_is_signed_or_broadcast_and_nothing_is_refused() -> None:
    wallet = ManualWallet("BTC")
    with pytest.raises(OutcomeUnknown) as signing:
        wallet.sign(PAYMENT, 0, None)
    with pytest.raises(OutcomeUnknown) as sending:
        wallet.broadcast(REPORTED, Deadline.after(1))
    for caught in (signing, sending):
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN


def test_a_reported_payment_is_on_its_way_and_no_more() -> None:
    assert ManualWallet("BTC").observe(REPORTED, Deadline.after(1)) is Sighting.PENDING


def test_a_person_confirms_a_refund() -> None:
    refund = Refund(REPORTED.address, REPORTED.amount, REPORTED.txid)
    assert ManualWallet("BTC").received(asset("BTC"), refund, Deadline.after(1)) is None
