"""Every alert and every panel speaks of series that a real answer of `/metrics` has, with the labels that they have.

The answer comes from an engine that went through everything that is counted once; what depends on the day (which
service, which outcome) is not looked for, what can be told beforehand (states, events, tiers) is.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from converter.api.app import create_app
from converter.api.door import Door
from converter.api.wiring import make_parts
from converter.cli.main import main
from converter.domain import events
from converter.domain.conversions import State
from converter.domain.events import Event
from converter.domain.orders import OperationKind
from converter.ledger.repository import open_ledger
from converter.security.keys import EnvironmentKeys
from converter.settings import load_settings
from converter.settings_faces import Webhook
from tests.shared_state.redis_fixture import redis_url, server

from .promql import Expression, Wrong, read

__all__ = ["redis_url", "server"]

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SECONDS = timedelta(seconds=0.1)
KNOWN_BEFOREHAND = {"state", "event", "tier", "queue"}
"""Labels all of whose values an answer shows, whatever happened."""

Answer = Mapping[str, list[dict[str, str]]]
"""The labels of every series, by metric."""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Answer]:
    """What a system answers in which everything has happened once."""
    hook = Webhook(id="pool", url="https://pool.example/hook")
    settings = load_settings(home=tmp_path_factory.mktemp("home"), redis_url=redis_url, webhooks=(hook,))
    ledger = open_ledger(settings.ledger, migrate=True)
    parts = make_parts(settings, EnvironmentKeys({}), ledger, lambda task, conversion_id: True)
    counting = parts.counting
    counting.called("kraken", "quote", None, SECONDS)
    counting.called("kraken", "find", None, SECONDS)
    counting.sent("kraken", OperationKind.ORDER, "unknown", SECONDS)
    counting.told([Event(events.FAILOVER_SUCCESS, {"from": "kraken", "to": "binance"}, "cv_1")])
    counting.told([Event(events.CONVERSION_COMPLETED, {"serviceId": "kraken", "promised": "1", "delivered": "1"})])
    for state in ("SUCCESS", "FAILURE"):
        counting.began("conversions.execute", 0.1)
        counting.ended("conversions.execute", state, 0.1)
    with ledger.begin() as work:
        for service_id in ("kraken", "binance"):
            work.conditions.enter(f"isolated:{service_id}", "on", normal="off")
        work.followers.move(":alerts", 0)
        work.followers.move(":webhook:pool", 0)
    _check(parts.engine)
    with Redis.from_url(redis_url) as client:
        client.set("converter:pulse", 1)
    client_of_api = TestClient(create_app(parts, Door(frozenset({"here"}))), base_url="http://here")
    client_of_api.get("/healthz")
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for family in text_string_to_metric_families(client_of_api.get("/metrics").text):
        for sample in family.samples:
            found[sample.name].append(sample.labels)
    found["up"] = [{"job": one["job_name"], "instance": "api"} for one in PROMETHEUS["scrape_configs"]]
    yield found
    ledger.close()


def _check(engine: Any) -> None:
    """A health check of a service, as its task keeps it."""
    from converter.domain.health import Check

    with engine.ledger.begin() as work:
        work.memory.checked("kraken", Check(work.now(), "", 12))


def expression(text: str) -> Expression:
    """With what Grafana puts in."""
    return read(text.replace("$__rate_interval", "1m").replace("$service", "kraken"))


def expressions() -> list[tuple[str, str]]:
    found = [(f"alert {rule['alert']}", rule["expr"]) for rule in RULES]
    return found + [(f"panel {panel['title']}", one["expr"]) for panel in PANELS for one in panel["targets"]]


@pytest.mark.parametrize(("place", "text"), expressions())
def test_an_expression_speaks_of_what_is_there(answer: Answer, place: str, text: str) -> None:
    found = expression(text)
    assert found.series, "it asks for nothing"
    for one in found.series:
        assert one.metric in answer, f"{one.metric} is not in the answer"
        shown = answer[one.metric]
        for label, operator, wanted in one.matchers:
            assert all(label in labels for labels in shown), f"{one.metric} has no label {label}"
            if label in KNOWN_BEFOREHAND and operator in ("=", "=~"):
                values = {labels[label] for labels in shown}
                missing = [word for word in _words(wanted) if word not in values]
                assert not missing, f"{one.metric} never has {label} {missing}: {sorted(values)}"
    for label, below in found.grouping:
        for one in below:
            assert all(label in labels for labels in answer[one.metric]), f"{one.metric} has no label {label}"


def _words(pattern: str) -> list[str]:
    """The words that a matcher names: `a|b`, `x:(a|b)`."""
    grouped = re.fullmatch(r"([^()]*)\(([^()]*)\)", pattern)
    if grouped:
        return [grouped[1] + word for word in grouped[2].split("|")]
    return pattern.split("|")


@pytest.mark.parametrize(
    "text",
    [
        "rate(a[5m]",
        "rate(a)",
        "rato(a[5m])",
        "sum by (service rate(a[5m])",
        "a{state=RECEIVED}",
        'a{state="x"',
        "a b",
        "> 5",
        "histogram_quantile(rate(a_bucket[5m]))",
        "a and",
        "rate(sum(a)[5m])",
        "a[]",
    ],
)
def test_a_broken_expression_is_noticed(text: str) -> None:
    with pytest.raises(Wrong):
        read(text)


def test_the_reader_finds_what_an_expression_speaks_of() -> None:
    found = read('sum by (service) (rate(a_total{state=~"x|y", to!="z"}[5m])) / on (service) -b > 0.5')
    assert [one.metric for one in found.series] == ["a_total", "b"]
    assert found.series[0].matchers == [("state", "=~", "x|y"), ("to", "!=", "z")]
    assert [(label, [one.metric for one in below]) for label, below in found.grouping] == [
        ("service", ["a_total"]),
        ("service", ["a_total", "b"]),
    ]


def test_nothing_in_the_answer_names_an_id_an_address_or_an_amount(answer: Answer) -> None:
    """Values of labels are words of ours: a new label that could grow without bound has to be thought about here."""
    bounded = {
        "service",
        "outcome",
        "call",
        "kind",
        "event",
        "from",
        "to",
        "task",
        "state",
        "method",
        "route",
        "status",
    }
    bounded |= {"le", "source", "tier", "operation", "queue", "job", "instance", "follower", "receiver"}
    assert {label for shown in answer.values() for labels in shown for label in labels} <= bounded
    assert sum(len(shown) for shown in answer.values()) < 2000
    assert {labels["state"] for labels in answer["converter_conversions"]} == set(State)


# --- Alerts ----------------------------------------------------------------------------------------------------------


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s")), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "runbook"}, rule["alert"]


def test_every_alert_has_its_place_in_the_runbook_and_no_place_is_without_its_alert() -> None:
    anchors = {_anchor(line) for line in re.findall(r"^### (.+)$", OPERATIONS, re.MULTILINE)}
    named = {rule["annotations"]["runbook"] for rule in RULES}
    assert {place.partition("#")[0] for place in named} == {"docs/operations.md"}
    assert {place.partition("#")[2] for place in named} == anchors
    for rule in RULES:
        assert f"`{rule['alert']}`" in OPERATIONS, f"{rule['alert']} is not in docs/operations.md"


def test_every_command_of_the_runbook_exists() -> None:
    told = set(re.findall(r"`converter ([a-z]+)(?: ([a-z]+))?", OPERATIONS))
    assert len(told) > 5
    for name, inner in told:
        command = main.get_command(click.Context(main), name)
        assert command is not None, f"converter {name}"
        if inner:
            assert isinstance(command, click.Group), f"converter {name} {inner}"
            assert inner in command.commands, f"converter {name} {inner}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_every_summary_uses_what_its_expression_leaves() -> None:
    for rule in RULES:
        left = {label for label, _ in expression(rule["expr"]).grouping}
        aggregated = re.match(r"(sum|histogram_quantile)\b", rule["expr"].strip()) is not None
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert not aggregated or label in left, f"{rule['alert']}: {label} is summed up"


def test_prometheus_loads_the_alerts_and_asks_with_the_token() -> None:
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]
    (job,) = PROMETHEUS["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["credentials_file"].startswith("/run/secrets/")


# --- The dashboard ---------------------------------------------------------------------------------------------------


def test_no_two_panels_lie_upon_each_other_and_all_fit_the_page() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"], f"{panel['title']} lies upon {other}"


def test_panels_have_ids_titles_targets_and_the_chosen_data_source() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    for panel in PANELS:
        assert panel["type"] in {"stat", "timeseries", "state-timeline", "table"}, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        refs = [one["refId"] for one in panel["targets"]]
        assert refs
        assert len(refs) == len(set(refs))


def test_the_dashboard_asks_for_no_variable_that_it_does_not_have() -> None:
    known = {one["name"] for one in DASHBOARD["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= known


def test_the_dashboard_is_put_where_grafana_looks_for_it() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "converter.yml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    chosen = next(one for one in DASHBOARD["templating"]["list"] if one["name"] == "datasource")
    assert chosen["query"] == source["type"] == "prometheus"
    assert chosen["current"]["value"] == source["uid"]
