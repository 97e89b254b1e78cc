"""Settings of webhooks and alert sinks: what is accepted, and that no secret of theirs is stored."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from beat_schedule import BEAT_SCHEDULE
from converter.announcing import alarms_of, build_posts
from converter.domain.deliveries import Letter
from converter.domain.errors import ConfigurationError
from converter.domain.events import Only
from converter.enqueue import QUEUES, celery_settings
from converter.equipping import secret_values
from converter.security.keys import EnvironmentKeys, variable
from converter.settings import Settings, load_settings

Load = Callable[..., Settings]
URL = "https://pool.example/hooks?token=x%2Fy"
LETTER = Letter("alert_ops_1", {"type": "alert:raised", "timestamp": "t", "data": {}})


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    for name in [name for name in os.environ if name.startswith("CONVERTER_")]:
        monkeypatch.delenv(name)

    def loaded(**sections: Any) -> Settings:
        for name, content in sections.items():
            monkeypatch.setenv(f"CONVERTER_{name.upper()}", json.dumps(content))
        return load_settings()

    return loaded


def test_receivers_are_made_from_the_settings(load: Load) -> None:
    settings = load(
        webhooks=[{"id": "pool", "url": URL, "events": ["conversion:completed"]}, {"id": "all", "url": URL}],
        alerts={
            "cooldown": 60000,
            "unfinishedAfter": 7200000,
            "sinks": [
                {"id": "ops", "kind": "slack", "url": URL},
                {"id": "mail", "kind": "email", "host": "h", "sender": "a@b.example", "to": ["c@d.example"]},
            ],
        },
        events={"keepDays": 7},
    )
    posts, alarms = build_posts(settings, EnvironmentKeys({})), alarms_of(settings)
    assert list(posts.carriers) == ["webhook:pool", "webhook:all", "alert:ops", "alert:mail"]
    assert posts.wanted == {"webhook:pool": Only(frozenset({"conversion:completed"})), "webhook:all": Only()}
    assert (alarms.sinks, alarms.receivers) == (("alert:ops", "alert:mail"), ("webhook:pool", "webhook:all"))
    assert (alarms.cooldown, alarms.unfinished_after) == (timedelta(minutes=1), timedelta(hours=2))
    assert settings.events.keep_days == 7


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"webhooks": [{"id": "p", "url": "http://pool.example/"}]}, "http:// is accepted with allowPrivate"),
        ({"webhooks": [{"id": "p", "url": "https://u:secret@pool.example/"}]}, "without a user and a fragment"),
        ({"webhooks": [{"id": "p", "url": "https://pool.example/a b"}]}, "an encoded http(s):// URL is accepted"),
        ({"webhooks": [{"id": "P", "url": URL}]}, "webhooks.0.id"),
        ({"webhooks": [{"id": "p", "url": URL, "events": ["x"]}]}, "no event is called 'x'; accepted: conversion:"),
        ({"webhooks": [{"id": "p", "url": URL}] * 2}, "webhooks: an id is listed twice"),
        ({"alerts": {"sinks": [{"id": "s", "kind": "pager"}]}}, "'webhook', 'slack' or 'email'"),
        ({"alerts": {"sinks": [{"id": "s", "kind": "email"}]}}, "an email needs host, sender and to"),
        ({"events": {"keepDays": 3}}, "greater than or equal to 4"),
        (
            {"alerts": {"sinks": [{"id": "s", "kind": "email", "host": "h", "sender": "a@b", "to": ["x\n@y"]}]}},
            "mail addresses",
        ),
        (
            {
                "alerts": {
                    "sinks": [
                        {
                            "id": "s",
                            "kind": "email",
                            "host": "h",
                            "sender": "a@b",
                            "to": ["x@y"],
                            "tls": "none",
                            "user": "u",
                        }
                    ]
                }
            },
            "not sent without TLS",
        ),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(load: Load, sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(**sections)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_every_secret_of_a_receiver_is_known_to_the_audit_of_stored_texts(load: Load) -> None:
    settings = load(
        webhooks=[{"id": "pool", "url": URL}], alerts={"sinks": [{"id": "ops", "kind": "slack"}]}, services=[]
    )
    owned = [("webhook_pool", "secret"), ("webhook_pool", "previous_secret")]
    owned += [("alert_ops", name) for name in ("secret", "previous_secret", "url", "password")]
    keys = EnvironmentKeys({variable(*one): f"value of {one}" for one in owned})
    assert set(secret_values(settings, keys)) == {f"value of {one}" for one in owned}
    assert "x%2Fy" not in repr(settings)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", "it has no url, and its key `url` is missing"),
        ("not a url", "its key `url` is no usable URL"),
        ("http://hooks.example/", "its url is not https://"),
    ],
)
def test_a_sink_without_a_usable_url_says_so_when_something_is_sent(load: Load, key: str, error: str) -> None:
    settings = load(alerts={"sinks": [{"id": "ops", "kind": "slack"}]})
    posts = build_posts(settings, EnvironmentKeys({variable("alert_ops", "url"): key}))
    receipt = posts.carriers["alert:ops"].carry(LETTER)
    assert (receipt.taken, receipt.error) == (False, error)


def test_every_entry_of_the_table_of_beat_has_a_queue_that_is_also_its_tasks_own() -> None:
    routes = celery_settings("redis://localhost")["task_routes"]
    for entry in BEAT_SCHEDULE.values():
        assert entry["options"]["queue"] in QUEUES
        assert routes[entry["task"]] == {"queue": entry["options"]["queue"]}
        assert entry["options"]["expires"] >= entry["schedule"]
