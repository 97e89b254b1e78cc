"""Every operation of the OpenAPI document, with what it says is accepted and with what it says is not.

The document is taken as it is, with whatever routes there are. This is a small run in this process, the same every
time; `make fuzz` plays 2,000 cases against a running system.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from converter.api.app import create_app
from converter.api.documentation import PLACE
from converter.api.wiring import make_door, make_parts
from converter.ledger.repository import SqlLedger, open_ledger
from converter.security.keys import EnvironmentKeys
from converter.settings import load_settings
from converter.settings_faces import Api
from converter.shared_state.redis_access import RedisAccess
from tests.api.fuzz import CHECKS, ENDLESS
from tests.builders import BTC_ADDRESS, START, a_request, an_id
from tests.shared_state.redis_fixture import redis_url, server

__all__ = ["redis_url", "server"]

CASES = 150
_QUICK = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'ledger.db'}", migrate=True)
    with opened.begin() as work:
        for number in range(1, 40):
            work.conversions.add(an_id(number), a_request(), START)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def operations(ledger: SqlLedger, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What an operator changes in Redis is refused without one. Patient with it: the machine may be busy."""
    given = load_settings(home=tmp_path_factory.mktemp("fuzz"), redis_url=redis_url)
    given = given.model_copy(update={"api": Api(allowed_hosts=("testserver",))})
    keys = EnvironmentKeys({})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.sharing.RedisAccess", partial(RedisAccess, timeout=10, away=0.0))
        parts = make_parts(given, keys, ledger, lambda task, conversion_id: True)
    app = create_app(parts, make_door(given, keys, "127.0.0.1"))
    schema = schemathesis.openapi.from_asgi(PLACE, app, config=SchemathesisConfig.from_dict({"checks": CHECKS}))
    schema = schema.exclude(path_regex=ENDLESS).exclude(path="/readyz")  # which rightly is not ready here
    return [found.ok() for found in schema.get_all_operations()]


def brought_home(case: Any, chance: Random) -> Any:
    """Half of what is good in form is also good in fact: of a conversion that is there, to an address that exists."""
    if chance.random() < 0.5:
        if "conversion_id" in case.path_parameters:
            case.path_parameters["conversion_id"] = an_id(chance.randint(1, 39))
        if isinstance(case.body, dict) and "address" in case.body:
            case.body = {"fromCoin": "ETH", "toCoin": "BTC", "amount": "1.5", "address": BTC_ADDRESS}
    return case


def play(operation: Any, mode: GenerationMode, answered: Callable[[Any], None], cases: int) -> None:
    run = given(case=operation.as_strategy(generation_mode=mode))(answered)
    try:
        settings(_QUICK, max_examples=cases)(run)()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, f"{operation.label}: nothing would be accepted"


def test_every_operation_answers_as_it_is_documented(operations: list[Any]) -> None:
    seen: Counter[tuple[str, int]] = Counter()
    chance = Random(7)

    def answered(case: Any) -> None:
        response = case.call()
        seen[case.operation.label, response.status_code] += 1
        case.validate_response(response)

    def good(case: Any) -> None:
        answered(brought_home(case, chance))

    def bad(case: Any) -> None:
        answered(case)

    for operation in operations:
        for mode, how in ((GenerationMode.POSITIVE, good), (GenerationMode.NEGATIVE, bad)):
            play(operation, mode, how, max(3, CASES // len(operations) // 2))
    assert seen["POST /api/v1/conversions", 201] >= 1
    assert seen["POST /api/v1/conversions/{conversion_id}/cancel", 200] >= 1
    assert not [one for one in seen if one[1] >= 500], "none of it is the server's fault"
    assert sum(seen.values()) >= CASES * 2 // 3
