"""What the long drill found and is not mended yet, each in its smallest form. One that passes has to lose its mark."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from converter import MultiServiceConverter
from converter.domain.conversions import State
from converter.domain.events import CONVERSION_ACCEPTED, Event
from converter.ledger.repository import open_ledger
from tests.builders import BTC_ADDRESS
from tests.ledger.conftest import new_database
from tests.scenarios.world import running_world

pytestmark = pytest.mark.chaos


@pytest.mark.timeout(150)
def test_a_payout_that_was_cancelled_before_any_approval_frees_the_conversion(tmp_path: Path) -> None:
    with running_world(tmp_path) as world:
        world.strike(
            "btcpay_lightning",
            [
                {"kind": "reset_before_execute", "operations": ["approve"], "count": 1},
                {"kind": "refuse", "operations": ["approve"], "count": 1},
            ],
        )
        with world.preferring("btcpay_lightning") as converter:
            handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
        world.handles.append(handle)
        (ended,) = world.wait_until_ended(90)
        assert [one["struck"] for one in world.faults("btcpay_lightning")] == [1, 1]
        assert ended.state is State.COMPLETED


def test_a_process_that_stands_still_in_a_transaction_does_not_keep_others_from_accepting(
    tmp_path: Path, postgres_url: str
) -> None:
    """It holds the lock of the outbox; the database ends it before anybody who waits gives up."""
    with new_database(postgres_url) as url:
        ledger = open_ledger(url, migrate=True)
        still = ledger.begin()
        still.__enter__().outbox.add(Event(CONVERSION_ACCEPTED, {}, None))
        with MultiServiceConverter(home=tmp_path, ledger_url=url) as converter:
            converter.convert(from_coin="ETH", to_coin="BTC", amount="1.5", address=BTC_ADDRESS)
        with pytest.raises(DatabaseError, match="idle-in-transaction"):
            still.__exit__(None, None, None)
        ledger.close()
