"""What must never be in a log line is taken out of it, wherever in the line it stands; what is ours stays."""

from __future__ import annotations

from typing import Any

import pytest

from converter.observability.redaction import GONE, Redaction
from tests.builders import an_id

KEY = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"


def told(redaction: Redaction, **line: Any) -> dict[str, Any]:
    return redaction(None, "", line)


@pytest.mark.parametrize(
    "text",
    [
        f"the node said {KEY}",
        f"{KEY}{KEY}",
        f'{{"apiKey": "{KEY}"}}',
    ],
)
def test_a_key_that_we_hold_is_taken_out(text: str) -> None:
    assert KEY not in told(Redaction([KEY]), event=text)["event"]


def test_a_key_is_taken_out_of_a_trace_and_of_what_is_nested() -> None:
    line = told(Redaction([KEY]), event="failed", exception=f"ValueError: {KEY}", more={"a": [KEY, {"b": f"x{KEY}"}]})
    assert KEY not in str(line)
    assert line["event"] == "failed"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdef0123456789", "Authorization: [redacted]"),
        ("sent basic dXNlcjpwYXNzd29yZA==", "sent [redacted]"),
        ("redis://:hunter2hunter2@10.0.0.1:6379/0", "redis://[redacted]@10.0.0.1:6379/0"),
        ("postgresql://pool:secret@db/ledger", "postgresql://[redacted]@db/ledger"),
        ('{"api_key": "abcd1234", "x": 1}', '{"[redacted]", "x": 1}'),
        ("?token=abcd1234&page=2", "?[redacted]&page=2"),
    ],
)
def test_what_looks_like_a_key_is_taken_out(text: str, left: str) -> None:
    assert told(Redaction(), event=text)["event"] == left


@pytest.mark.parametrize(
    "address",
    [
        "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
        "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L",
        "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu",
    ],
)
def test_an_address_is_taken_out(address: str) -> None:
    assert told(Redaction(), event=f"cannot pay to {address}.")["event"] == f"cannot pay to {GONE}."


@pytest.mark.parametrize("name", ["authorization", "X-Api-Key", "callbackSecret", "password", "set-cookie"])
def test_the_value_of_a_telling_name_is_taken_out_whatever_it_is(name: str) -> None:
    assert told(Redaction(), **{name: "anything"}) == {name: GONE}


def test_ids_names_and_moments_of_ours_stay() -> None:
    line = {
        "event": f"broker away, the sweep will find {an_id()}",
        "conversionId": an_id(),
        "taskId": "a02625df-76c0-42d1-af75-ea75b429a33a",
        "operation": f"{an_id().removeprefix('cv_')}-1d2",
        "task": "conversions.execute",
        "serviceId": "btcpay_lightning,changenow",
        "time": "2026-11-24T16:47:16.583633Z",
        "ms": 12,
    }
    assert told(Redaction([KEY]), **line) == line


def test_a_value_too_short_to_be_a_key_is_not_looked_for() -> None:
    assert told(Redaction(["a"]), event="a plain line")["event"] == "a plain line"
