"""A conversion that no rule can end, and what a person does about it, through the command, beside a running system."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from standardwebhooks import Webhook

from converter.cli.main import main
from converter.domain.conversions import State
from converter.security.webhooks import new_secret
from tests.carriers.receiver import WebhookReceiver

from .world import World, last_json, running_world, until

SERVICES = ("btcpay_lightning", "coinpayments")
SECRET = new_secret(bytes(range(32)))
SOON = {"CONVERTER_ENGINE__PARK_UNPROVABLE": "2000", "CONVERTER_ENGINE__POLL_LIMIT": "1000"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as started:
        yield started


@pytest.fixture(scope="module")
def outside(receiver: WebhookReceiver) -> dict[str, str]:
    """A webhook for the events of parked conversions, and a sink for alerts, both at one receiver."""
    hook = {"url": receiver.url, "allowPrivate": True}
    events = ["conversion:needs_review", "conversion:resolved", "conversion:completed"]
    return {
        "CONVERTER_WEBHOOKS": json.dumps([{"id": "pool", "events": events, **hook}]),
        "CONVERTER_ALERTS": json.dumps({"sinks": [{"id": "ops", "kind": "webhook", **hook}]}),
        "CONVERTER_KEY_WEBHOOK_POOL_SECRET": SECRET,
        "CONVERTER_KEY_ALERT_OPS_SECRET": SECRET,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, outside: dict[str, str]) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("review"), only=SERVICES, environ={**SOON, **outside}) as running:
        yield running


def run(world: World, *words: str) -> Result:
    """The command, in this process: a new one takes a second by itself."""
    environ = {name: text for name, text in world.stack.environment.items() if name.startswith("CONVERTER_")}
    return CliRunner().invoke(main, words, env={**environ, "CONVERTER_HOME": str(world.stack.home)})


def said(world: World, *words: str, code: int = 0) -> Any:
    """What the command answers in JSON."""
    done = run(world, *words, "--json")
    assert done.exit_code == code, done.output
    return last_json(done.stdout)


def parked(world: World) -> str:
    """A confirmation was lost on its way, and the service shows nothing that would prove it either way."""
    world.fault("coinpayments", "reset_before_execute", operations=["approve"], count=1)
    with world.preferring("coinpayments", SERVICES) as converter:
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
    world.handles.append(handle)
    until(lambda: handle.state is State.NEEDS_REVIEW, 40, lambda: f"parked: {handle.details()}")
    world.mend()
    return handle.id


def test_what_was_never_executed_by_a_persons_word_is_paid_elsewhere_once(world: World) -> None:
    cid = parked(world)
    shown = run(world, "conversions", "review")
    assert shown.exit_code == 0
    for part in (cid, "coinpayments", "sent 1 times", "now: the service shows it as"):
        assert part in shown.stdout
    refused = said(world, "conversions", "resolve", cid, "--executed", "--reason", "?", code=2)
    assert (refused["field"], refused["accepted"]) == ("txid", "the transaction in which the payout arrived")
    assert said(world, "conversions", "cancel", cid, "--reason", "not wanted", code=2)["field"] == "cancel"
    said(world, "conversions", "resolve", cid, "--not-executed", "--reason", "support: never confirmed", "--by", "ada")
    world.wait_until_ended()
    world.assert_all_completed_once()
    [told] = [one for one in world.events(cid) if one.name == "conversion:resolved"]
    assert (told.payload["by"], told.payload["reason"]) == ("ada", "support: never confirmed")


def test_what_a_person_saw_arrive_completes_it_and_the_books_and_the_audit_agree(world: World) -> None:
    cid = parked(world)
    done = said(world, "conversions", "resolve", cid, "--executed", "--txid", "f00d", "--reason", "seen on its chain")
    assert (done["state"], done["txid"]) == ("COMPLETED", "f00d")
    audit = said(world, "audit", "--books", "--all")
    assert audit["sound"], audit["breaches"]
    assert set(audit["compared"]) == set(SERVICES)
    held = {(one["account"], one["coin"]): one["balance"] for one in audit["books"]}
    assert not any(account.startswith("transit") or account == "suspense" for account, _ in held)


def test_what_waits_is_tried_again_and_what_is_not_wanted_is_cancelled(world: World) -> None:
    for service_id in SERVICES:
        world.fault(service_id, "refuse", operations=["quote"])
    handle = world.converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=world.address())
    until(lambda: handle.state is State.WAITING, 40, "waits")
    assert said(world, "conversions", "retry", handle.id, "--reason", "now")["state"] in ("WAITING", "QUOTING")
    until(lambda: handle.state is State.WAITING, 40, "waits again")

    def cancelled() -> bool:
        done = run(world, "conversions", "cancel", handle.id, "--reason", "asked for twice", "--json")
        return done.exit_code == 0 or handle.state is State.CANCELLED

    until(cancelled, 40, "cancelled between two rounds")
    world.mend()
    assert said(world, "conversions", "show", handle.id)["state"] == "CANCELLED"
    assert world.deliveries_to(handle.details().request.address) == []


def test_a_webhook_and_a_sink_have_heard_of_every_parked_conversion_and_its_end(
    world: World, receiver: WebhookReceiver
) -> None:
    """Of those that the tests before this one parked."""
    told = [one for one in said(world, "events", "history", "--limit", "500")["events"] if "review" in one["name"]]
    parked_ones = sorted({one["conversionId"] for one in told})
    assert len(parked_ones) == 2

    def heard(kind: str) -> list[str]:
        found = [got.content for got in receiver.taken if got.content["type"] == kind]
        return sorted({one["data"]["conversionId"] for one in found})

    for kind in ("conversion:needs_review", "conversion:resolved", "alert:raised", "alert:ended"):
        until(lambda kind=kind: heard(kind) == parked_ones, 20, f"{kind} of all")  # type: ignore[misc]
    for got in receiver.taken:
        assert Webhook(SECRET).verify(got.body, dict(got.headers)) == got.content
    assert {one["receiver"]: one["state"] for one in said(world, "webhooks", "list")["receivers"]} == {
        "webhook:pool": "ok",
        "alert:ops": "ok",
    }
    ended = said(world, "alerts", "--all")["alerts"]
    assert {one["conversionId"] for one in ended if one["name"] == "conversion:needs_review"} == set(parked_ones)


def test_a_receiver_is_tried_by_hand_and_switched_on_again(world: World, receiver: WebhookReceiver) -> None:
    assert said(world, "webhooks", "test", "pool") == {"receiver": "webhook:pool", "taken": True, "error": None}
    assert receiver.taken[-1].content["type"] == "webhook:test"
    receiver.refuse = 1
    assert said(world, "webhooks", "test", "alert:ops", code=1)["error"] == "it answered 500"
    assert said(world, "webhooks", "redeliver", "pool")["planned"] == 0
    refused = said(world, "webhooks", "test", "nobody", code=2)
    assert (refused["field"], refused["accepted"]) == ("receiver", "webhook:pool, alert:ops")
    assert said(world, "events", "history", "--name", "nope", code=2)["field"] == "name"


def test_the_tail_shows_what_comes_until_it_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("converter.cli.events.time.sleep", ended)
    done = run(world, "events", "tail", "--after", "0", "--name", "conversion:resolved", "--json")
    assert done.exit_code == 0, done.output
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["name"] for one in shown} == {"conversion:resolved"}
    plain = run(world, "events", "tail", "--after", "0", "--conversion", shown[0]["conversionId"])
    assert "conversion:accepted" in plain.stdout.splitlines()[0]
    assert run(world, "alerts").exit_code == run(world, "webhooks", "list").exit_code == 0
