"""A harmless signed read tells good keys from bad ones, at every service that has keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from converter.domain.errors import AuthenticationFailed, ServiceUnavailable
from converter.ports import Deadline
from converter.sandbox.clients import KEYS, OPTIONS
from converter.sandbox.server import Sandbox
from converter.services import REGISTRY, make_service, service_class
from converter.services.base import ServiceSettings

WITH_KEYS = [one for one in REGISTRY if service_class(one).capabilities.keys]


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=20) as running:
        yield running
        assert running.problems == []


def service(sandbox: Sandbox, service_id: str, **changed: str) -> Any:
    keys = {name: key for (owner, name), key in KEYS.items() if owner == service_id}
    place = ServiceSettings(f"{sandbox.url}/{service_id}", {**keys, **changed}, OPTIONS.get(service_id, {}))
    return make_service(service_id, place, SystemClock())


@pytest.mark.parametrize("service_id", WITH_KEYS)
def test_good_keys_are_told_good_and_nothing_is_executed(sandbox: Sandbox, service_id: str) -> None:
    before = len(sandbox.truth.executions)
    service(sandbox, service_id).check_credentials(Deadline.after(5))
    assert len(sandbox.truth.executions) == before


@pytest.mark.parametrize("service_id", WITH_KEYS)
def test_a_wrong_key_is_told(sandbox: Sandbox, service_id: str) -> None:
    name = service_class(service_id).capabilities.keys[0]
    good = KEYS[service_id, name]
    with pytest.raises(AuthenticationFailed) as caught:
        service(sandbox, service_id, **{name: good[:-2] + "zz"}).check_credentials(Deadline.after(5))
    assert good[:12] not in str(caught.value)


@pytest.mark.parametrize("service_id", WITH_KEYS)
def test_a_service_that_does_not_answer_says_nothing_about_the_keys(service_id: str) -> None:
    keys = {name: key for (owner, name), key in KEYS.items() if owner == service_id}
    place = ServiceSettings("http://127.0.0.1:9", keys, OPTIONS.get(service_id, {}))
    with pytest.raises(ServiceUnavailable):
        make_service(service_id, place, SystemClock()).check_credentials(Deadline.after(2))
