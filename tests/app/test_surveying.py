"""Asking services outside of a conversion: what is checked, what is offered, and in whose words."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from converter.domain.errors import (
    AmountOutOfRange,
    AuthenticationFailed,
    InvalidRequest,
    MalformedResponse,
    RateLimited,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import OperationKind
from converter.ports import Deadline
from converter.surveying import ChecksCredentials, Entry, Step, Surveying
from tests.builders import BTC, ETH, LIGHTNING, START, a_place, a_quote_request, seconds
from tests.fakes import HandClock, Scene, ScriptedService, bend, refuse


class ProvingService(ScriptedService):
    """A service with a harmless signed read."""

    def check_credentials(self, deadline: Deadline) -> None:
        self.play("credentials", lambda: None)


def an_entry(service_id: str, tier: int = 1, weight: str = "0.5", **changes: Any) -> Entry:
    place = {name: changes.pop(name) for name in ("minimum",) if name in changes}
    given: dict[str, Any] = {
        "title": service_id.title(),
        "base_url": f"https://{service_id}.example",
        "enabled": True,
        "known": True,
        "needs_keys": True,
        "pairs": ((ETH, BTC), (ETH, LIGHTNING)),
        **changes,
    }
    return Entry(a_place(service_id, tier, weight, **place), **given)


def a_service(service_id: str, net: str = "0.09", kind: type[ScriptedService] = ScriptedService) -> ScriptedService:
    return kind(service_id, OperationKind.ORDER, net)


def surveying(*services: ScriptedService, entries: list[Entry] | None = None) -> Surveying:
    made = {one.service_id: one for one in services}
    return Surveying(entries or [an_entry(name) for name in made], made.__getitem__, HandClock())


# --- Checking --------------------------------------------------------------------------------------------------------


def test_a_service_in_order_passes_every_step_with_its_latency() -> None:
    steps = surveying(a_service("alpha", kind=ProvingService)).check("alpha", 5)
    assert [(one.name, one.ok) for one in steps] == [("settings", True), ("health", True), ("credentials", True)]
    assert [one.ms is not None and one.ms >= 0 for one in steps] == [False, True, True]


def test_a_service_that_lacks_a_key_is_not_called_and_the_variable_is_named() -> None:
    service = a_service("alpha", kind=ProvingService)
    entries = [an_entry("alpha", missing=("CONVERTER_KEY_ALPHA_TOKEN", "services[alpha].baseUrl"))]
    steps = surveying(service, entries=entries).check("alpha", 5)
    lacks = "CONVERTER_KEY_ALPHA_TOKEN, services[alpha].baseUrl missing"
    assert steps == [Step("settings", ok=False, detail=lacks)]
    assert service.calls == []


def test_a_service_without_a_module_is_said_to_be_none_of_this_version() -> None:
    (step,) = surveying(entries=[an_entry("omega", known=False)]).check("omega", 5)
    assert (step.ok, step.detail) == (False, "this version has no such service")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AuthenticationFailed, "unauthorised: it refuses our key, signature or clock (401)"),
        (ServiceUnavailable, "unavailable (401)"),
        (ServiceRejected, "refused (401)"),
        (MalformedResponse, "answers not as documented (401)"),
    ],
)
@pytest.mark.parametrize("step", ["health", "credentials"])
def test_what_is_wrong_is_said_in_words(error: type[Exception], words: str, step: str) -> None:
    service = a_service("alpha", kind=ProvingService)
    service.on(step, refuse(error, code="401"))
    found = {one.name: one for one in surveying(service).check("alpha", 5)}
    assert (found[step].ok, found[step].detail) == (False, words)
    assert all(one.ok for name, one in found.items() if name != step)


def test_a_service_with_keys_but_no_signed_read_is_said_to_be_unchecked() -> None:
    service = a_service("alpha")
    assert not isinstance(service, ChecksCredentials)
    step = surveying(service).check("alpha", 5)[-1]
    assert (step.ok, step.detail, step.ms) == (None, "not checked: no harmless signed read", None)


def test_a_service_that_needs_no_keys_has_none_to_check() -> None:
    step = surveying(a_service("alpha"), entries=[an_entry("alpha", needs_keys=False)]).check("alpha", 5)[-1]
    assert (step.ok, step.detail) == (True, "needs no keys")


def test_an_unknown_id_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="one of alpha, beta") as refused:
        surveying(a_service("alpha"), a_service("beta")).entry("gamma")
    assert refused.value.field == "service"


# --- Asking ----------------------------------------------------------------------------------------------------------


def test_offers_come_best_net_first_whatever_the_tier() -> None:
    services = [a_service("alpha", "0.09"), a_service("beta", "0.0912"), a_service("gamma", "0.0911")]
    entries = [an_entry("alpha", 1), an_entry("beta", 3), an_entry("gamma", 2)]
    offered, declined = surveying(*services, entries=entries).quotes(a_quote_request(), ["alpha", "beta", "gamma"], 5)
    assert [one.entry.service_id for one in offered] == ["beta", "gamma", "alpha"]
    assert declined == []
    assert offered[0].rate == Decimal("0.0608")
    assert 55 <= offered[0].expires_in <= 60


def test_only_prices_are_asked_and_nothing_is_placed() -> None:
    service = a_service("alpha")
    surveying(service).quotes(a_quote_request(), ["alpha"], 5)
    assert service.calls == ["quote"]


def test_all_are_asked_at_once() -> None:
    """Each waits for the others: one after the other, the barrier would break."""
    services = [a_service(name) for name in ("alpha", "beta", "gamma")]
    barrier = threading.Barrier(len(services), timeout=10)

    def meet(scene: Scene) -> Any:
        barrier.wait()
        return scene.do()

    for service in services:
        service.on("quote", meet)
    offered, _ = surveying(*services).quotes(a_quote_request(), ["alpha", "beta", "gamma"], 5)
    assert len(offered) == 3


def test_a_refusal_is_told_with_its_reason_beside_the_offers() -> None:
    alpha, beta, gamma = a_service("alpha"), a_service("beta"), a_service("gamma")
    alpha.on("quote", refuse(AmountOutOfRange, minimum=Decimal(2)))
    gamma.on("quote", refuse(RateLimited, retry_after=7))
    offered, declined = surveying(alpha, beta, gamma).quotes(a_quote_request(), ["alpha", "beta", "gamma"], 5)
    assert [one.entry.service_id for one in offered] == ["beta"]
    assert {one.entry.service_id: one.reason for one in declined} == {
        "alpha": "amount out of its range (minimum 2)",
        "gamma": "too many requests (retry after 7 s)",
    }
    assert all(one.ms is not None for one in declined)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"missing": ("CONVERTER_KEY_ALPHA_TOKEN",)}, "not asked: CONVERTER_KEY_ALPHA_TOKEN missing"),
        ({"known": False}, "not asked: this version has no such service"),
        ({"pairs": ((BTC, ETH),)}, "does not convert this pair"),
        ({"minimum": {"ETH": Decimal(2)}}, "takes no less than 2 ETH"),
    ],
)
def test_who_cannot_answer_is_not_asked(changes: dict[str, Any], reason: str) -> None:
    service = a_service("alpha")
    _, declined = surveying(service, entries=[an_entry("alpha", **changes)]).quotes(a_quote_request(), ["alpha"], 5)
    assert [(one.reason, one.ms) for one in declined] == [(reason, None)]
    assert service.calls == []


def test_an_offer_that_was_over_when_it_came_is_none() -> None:
    service = a_service("alpha")
    service.clock = lambda: START - seconds(61)
    _, (declined,) = surveying(service).quotes(a_quote_request(), ["alpha"], 5)
    assert declined.reason == "its offer was over when it came"


def test_an_offer_for_another_question_is_none() -> None:
    from dataclasses import replace

    service = a_service("alpha")
    service.on("quote", bend(lambda quote: replace(quote, request=a_quote_request("1.6"))))
    _, (declined,) = surveying(service).quotes(a_quote_request(), ["alpha"], 5)
    assert declined.reason.startswith("its answer does not fit the question")


def test_a_rate_is_never_rounded_up() -> None:
    service = a_service("alpha", "0.2")
    (offered,), _ = surveying(service).quotes(a_quote_request("3"), ["alpha"], 5)
    assert offered.rate == Decimal("0.06666666666666666")


# --- Standing --------------------------------------------------------------------------------------------------------


def test_entries_stand_by_tier_then_weight_then_id() -> None:
    entries = [an_entry("d", 2), an_entry("c", 1, "0.2"), an_entry("b", 1, "0.4"), an_entry("a", 1, "0.4")]
    assert [one.service_id for one in surveying(entries=entries).entries] == ["a", "b", "c", "d"]


def test_what_it_takes_and_pays_follows_from_its_pairs() -> None:
    entry = an_entry("alpha", pairs=((ETH, BTC), (ETH, LIGHTNING), (BTC, ETH)))
    assert entry.takes == (ETH, BTC)
    assert entry.pays == (BTC, LIGHTNING, ETH)
