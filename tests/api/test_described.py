"""What the API says of itself: the specification's status, field by field, and an OpenAPI document without gaps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from converter.api.documentation import PLACE
from converter.domain.errors import ServiceUnavailable
from tests.api.front import Front, front_of, settings_of
from tests.app.conftest import emptied, kept_ledger
from tests.app.house import APPROVAL
from tests.fakes import refuse

SAMPLE: dict[str, Any] = {
    "services": {
        "btcpay_lightning": {
            "available": True,
            "priority": 1,
            "weight": 0.4,
            "totalRequests": 15234,
            "successRate": 0.995,
            "averageResponseTime": 245,
            "failures": 0,
            "lastFailure": None,
        },
        "simpleswap": {
            "available": True,
            "priority": 1,
            "weight": 0.3,
            "totalRequests": 11456,
            "successRate": 0.987,
            "averageResponseTime": 367,
            "failures": 1,
            "lastFailure": 1702314567000,
        },
        "changenow": {
            "available": False,
            "priority": 1,
            "weight": 0.3,
            "totalRequests": 10987,
            "successRate": 0.923,
            "averageResponseTime": 512,
            "failures": 5,
            "lastFailure": 1702315123000,
        },
    },
    "healthyServices": 2,
    "totalConversions": 37677,
    "failovers": 156,
    "loadBalancing": "weighted",
}
"""The answer that the specification shows."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """After a day on which one service executed, one failed and was isolated, and the others were not asked."""
    for kept in kept_ledger(f"sqlite:///{tmp_path_factory.mktemp('described') / 'ledger.db'}"):
        house = emptied(kept)
        house.add("btcpay_lightning", APPROVAL)
        house.add("changenow", APPROVAL).always("quote", refuse(ServiceUnavailable))
        conversion_id = house.receive()
        house.begin(conversion_id)
        house.finish(conversion_id)
        with front_of(kept[0], settings_of(tmp_path_factory.mktemp("home"))) as opened:
            opened.parts.operating.isolate("changenow")
            yield opened


@pytest.fixture(scope="module")
def document(front: Front) -> dict[str, Any]:
    told: dict[str, Any] = front.http.get(PLACE).json()
    return told


def kind(value: Any) -> str:
    """The JSON type; a bool is no number, and a number with a fraction no integer."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", type(None): "null"}
    return names[type(value)]


def test_every_field_of_the_specified_status_is_there_with_its_type(front: Front) -> None:
    told = front.http.get("/api/v1/multi-service/status").json()
    for name, value in SAMPLE.items():
        assert kind(told[name]) == kind(value), name
    fields = {
        name: {kind(one[name]) for one in SAMPLE["services"].values()} for name in SAMPLE["services"]["changenow"]
    }
    assert fields["lastFailure"] == {"null", "integer"}, "both are in the sample, and both below"
    assert set(SAMPLE["services"]) <= set(told["services"])
    for service_id, one in told["services"].items():
        assert list(one)[: len(fields)] == list(fields), "in the order of the sample"
        for name, kinds in fields.items():
            assert kind(one[name]) in kinds, f"{service_id}.{name}"
    assert (told["services"]["changenow"]["available"], told["services"]["btcpay_lightning"]["available"]) == (
        False,
        True,
    )
    assert kind(told["services"]["changenow"]["lastFailure"]) == "integer"
    assert kind(told["services"]["simpleswap"]["lastFailure"]) == "null"
    assert told["totalConversions"] == 1


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Any = document
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolved(document, found)


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that is documented: of requests, and of answers."""
    for label, operation in operations(document):
        given = [("request", operation["requestBody"])] if "requestBody" in operation else []
        for status, answer in (*given, *operation["responses"].items()):
            for one in resolved(document, answer).get("content", {}).values():
                yield f"{label} {status}", one


def test_every_body_has_an_example_that_fits_it(document: dict[str, Any]) -> None:
    seen = 0
    for label, body in bodies(document):
        schema = resolved(document, body["schema"])
        examples = [one["value"] for one in body.get("examples", {}).values()] or schema.get("examples", [])
        assert examples or not label.partition(" ")[2].startswith("/api/v1"), f"{label} has no example"
        for example in examples:
            Draft202012Validator({**body["schema"], "components": document["components"]}).validate(example)
            seen += 1
    assert seen > 20


MONEY = {"amount", "net", "gross", "rate", "promised", "delivered"}


def money_fields(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if name in MONEY:
            yield name, schema
        for key, one in schema.items():
            if key == "properties":
                for field, inner in one.items():
                    yield from money_fields(inner, field)
            elif key not in ("examples", "example"):
                yield from money_fields(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from money_fields(one)


def test_money_is_text_with_an_exact_pattern(document: dict[str, Any]) -> None:
    found = list(money_fields(document["components"]["schemas"]))
    assert {name for name, _ in found} == MONEY
    for name, schema in found:
        told = [one for one in (schema, *schema.get("anyOf", [])) if "pattern" in one]
        assert told, f"{name} has no pattern"
        for one in told:
            assert one["type"] == "string"
            for good in ("1", "0.000000000000000001", "12345678901234567890.5"):
                assert re.search(one["pattern"], good), f"{name}: {good}"
            for bad in ("1e3", "-1", ".5", "1.", "NaN", " 1", "1,5", "", "0x1"):
                assert not re.search(one["pattern"], bad), f"{name}: {bad}"


def test_every_operation_has_a_name_a_tag_and_its_problems(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for label, operation in operations(document):
        assert operation["tags"], label
        assert operation.get("description"), label
        if " /api/" in label:
            for status, answer in operation["responses"].items():
                if status[0] != "2":
                    assert list(resolved(document, answer)["content"]) == ["application/problem+json"], label
            assert "default" in operation["responses"], label
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_callbacks_of_the_services_are_nobody_elses_business(document: dict[str, Any]) -> None:
    assert not [path for path in document["paths"] if path.startswith("/callbacks")]
