"""The wallet that is a person: it signs and sends nothing, and claims nothing that it cannot know."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converter.domain.errors import Outcome, OutcomeUnknown, policy_of
from converter.ports import Deadline, Sighting, Transfer
from converter.wallets.manual import ManualWallet

REPORTED = Transfer("BTC", "manual", 0, "", "9f1c" * 16, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Decimal("0.5"))


def test_a_person_pays() -> None:
    wallet = ManualWallet("BTC")
    assert not wallet.pays_itself
    assert wallet.account(Deadline.after(1)) == ("BTC", "manual", 0)
    assert wallet.terms(Decimal("0.5"), Deadline.after(1)) is None


def test_nothing_is_signed_or_broadcast_and_nothing_is_refused() -> None:
    wallet = ManualWallet("BTC")
    with pytest.raises(OutcomeUnknown) as signing:
        wallet.sign((REPORTED.address, REPORTED.amount, ""), 0, None)
    with pytest.raises(OutcomeUnknown) as sending:
        wallet.broadcast(REPORTED, Deadline.after(1))
    for caught in (signing, sending):
        assert policy_of(caught.value).outcome is Outcome.UNKNOWN


def test_a_reported_payment_is_on_its_way_and_no_more() -> None:
    assert ManualWallet("BTC").observe(REPORTED, Deadline.after(1)) is Sighting.PENDING
