"""Callbacks as they come from outside: what proves where they are from, and that odd ones are refused, never crash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.services import CALLBACKS, REGISTRY, callback_reader
from converter.services.base import ServiceSettings
from converter.services.callbacks import CallbackHint, CallbackRefused, CallbackUnreadable, check_token

CLIENT_ID = "cc7caaa431d54ad6accfd28b20170ee4"
CLIENT_SECRET = "dGVzdC1zZWNyZXQtZm9yLXNhbmRib3g="
URL = "https://pool.example/hooks/coinpayments"
WALLET = "0a54b29f-51cb-44a8-9bed-111c5cb1b335"
REQUEST = "02741e6d-f5c5-43bb-8f08-9a523173cb42"
SECRET = "a-webhook-secret"

KEYS = {
    "btcpay_lightning": {"callback_secret": SECRET},
    "coingate": {},
    "coinpayments": {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
    "simpleswap": {"callback_secret": SECRET},
}
OPTIONS = {"coinpayments": {"callbackUrl": URL}}
SIGNED = ("btcpay_lightning", "coinpayments", "simpleswap")

BODIES = {
    "btcpay_lightning": b'{"deliveryId":"8Qm","type":"PayoutUpdated","payoutId":"6NfVnqKx2LQyZb8tRcYw4T",'
    b'"payoutState":"Completed"}',
    "coingate": b'{"id":90210,"status":"completed","external_id":"01J9Z7Q0-1","input_amount":0.5}',
    "coinpayments": b'{"walletId":"' + WALLET.encode() + b'","transactionId":"3fa85f64-5717-4562-b3fc-2c963f66afa6",'
    b'"spendRequestId":"' + REQUEST.encode() + b'","transactionType":"ExternalSpend"}',
    "simpleswap": b'{"messageId":"a6c1f7f0-4f3e-4a66-9b9b-0c2f4f2f8d11","publicId":"m1ps8q2vx7d4k0ze",'
    b'"status":"finished","signature":"%s"}'
    % hashlib.sha1(f"a6c1f7f0-4f3e-4a66-9b9b-0c2f4f2f8d11_m1ps8q2vx7d4k0ze_finished_{SECRET}".encode())
    .hexdigest()
    .encode(),
}
HINTS = {
    "btcpay_lightning": CallbackHint(order_id="6NfVnqKx2LQyZb8tRcYw4T"),
    "coingate": CallbackHint(order_id="90210", reference="01J9Z7Q0-1"),
    "coinpayments": CallbackHint(order_id=f"{WALLET}/{REQUEST}"),
    "simpleswap": CallbackHint(order_id="m1ps8q2vx7d4k0ze"),
}


def signed(service_id: str, body: bytes) -> dict[str, str]:
    """The headers with which a service sends a body."""
    if service_id == "btcpay_lightning":
        return {"btcpay-sig": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}
    if service_id == "coinpayments":
        stamp = "2026-01-15T10:30:00"
        head = b"\xef\xbb\xbf" + f"POST{URL}{CLIENT_ID}{stamp}".encode()
        digest = hmac.new(CLIENT_SECRET.encode(), head + body, hashlib.sha256).digest()
        return {
            "x-coinpayments-client": CLIENT_ID,
            "x-coinpayments-timestamp": stamp,
            "x-coinpayments-signature": base64.b64encode(digest).decode(),
        }
    return {"content-type": "application/json"}


def read(service_id: str, headers: Mapping[str, str], body: bytes, keys: Mapping[str, str] | None = None) -> Any:
    settings = ServiceSettings("", KEYS[service_id] if keys is None else keys, OPTIONS.get(service_id, {}))
    return callback_reader(service_id)(headers, body, settings)


@pytest.mark.parametrize("service_id", sorted(CALLBACKS))
def test_a_callback_names_its_order_and_nothing_else(service_id: str) -> None:
    body = BODIES[service_id]
    assert read(service_id, signed(service_id, body), body) == HINTS[service_id]


def test_every_service_with_callbacks_is_a_service_and_is_tested_here() -> None:
    assert set(CALLBACKS) <= set(REGISTRY)
    assert set(CALLBACKS) == set(BODIES)


def test_the_documented_vector_of_coinpayments_is_accepted() -> None:
    headers = {
        "x-coinpayments-client": CLIENT_ID,
        "x-coinpayments-timestamp": "2026-01-15T10:30:00",
        "x-coinpayments-signature": "GJuE3/aO+P4/tXXPWB/sLY+wkSRdTwU0TinFDM7RnPg=",
    }
    assert read("coinpayments", headers, BODIES["coinpayments"]) == HINTS["coinpayments"]


@pytest.mark.parametrize("service_id", ["btcpay_lightning", "coinpayments"])
def test_a_signature_covers_every_byte_of_the_body(service_id: str) -> None:
    body = BODIES[service_id]
    headers = signed(service_id, body)
    for other in (body + b" ", body.replace(b":", b": ", 1), body[:-1], b""):
        with pytest.raises(CallbackRefused):
            read(service_id, headers, other)


@pytest.mark.parametrize("place", ["messageId", "publicId", "status"])
def test_a_simpleswap_signature_covers_the_fields_that_it_is_made_of(place: str) -> None:
    fields = json.loads(BODIES["simpleswap"])
    body = json.dumps({**fields, place: "other"}).encode()
    with pytest.raises(CallbackRefused):
        read("simpleswap", {}, body)


@pytest.mark.parametrize("service_id", SIGNED)
def test_without_a_signature_or_with_another_secret_s_a_callback_is_refused(service_id: str) -> None:
    body = BODIES[service_id]
    unsigned = json.dumps({**json.loads(body), "signature": ""}).encode()
    with pytest.raises(CallbackRefused):
        read(service_id, {}, unsigned)
    others = {name: "another" if "secret" in name else key for name, key in KEYS[service_id].items()}
    with pytest.raises(CallbackRefused):
        read(service_id, signed(service_id, body), body, others)


@pytest.mark.parametrize("service_id", SIGNED)
@pytest.mark.parametrize("empty", [True, False])
def test_a_secret_that_is_missing_verifies_nothing(service_id: str, empty: bool) -> None:
    name = "client_secret" if service_id == "coinpayments" else "callback_secret"
    body = BODIES[service_id]
    keys = {**KEYS[service_id], name: ""} if empty else {}
    with pytest.raises(CallbackRefused, match=name):
        read(service_id, signed(service_id, body), body, keys)


def test_coinpayments_is_verified_by_the_registered_address_only() -> None:
    body = BODIES["coinpayments"]
    reader, headers = callback_reader("coinpayments"), signed("coinpayments", body)
    with pytest.raises(CallbackRefused, match="callbackUrl"):
        reader(headers, body, ServiceSettings("", KEYS["coinpayments"]))
    with pytest.raises(CallbackRefused):
        reader(headers, body, ServiceSettings("", KEYS["coinpayments"], {"callbackUrl": URL + "/"}))


def test_coinpayments_of_another_client_is_refused() -> None:
    body = BODIES["coinpayments"]
    with pytest.raises(CallbackRefused):
        read("coinpayments", {**signed("coinpayments", body), "x-coinpayments-client": "another"}, body)


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda text: text.removeprefix("sha256="), lambda text: f"{text}, {text}", lambda text: text + "\xe9"],
    ids=["upper case", "no prefix", "twice", "not ASCII"],
)
def test_a_signature_that_is_written_otherwise_is_refused(change: Any) -> None:
    body = BODIES["btcpay_lightning"]
    headers = signed("btcpay_lightning", body)
    with pytest.raises(CallbackRefused):
        read("btcpay_lightning", {"btcpay-sig": change(headers["btcpay-sig"])}, body)


def test_the_place_of_a_simpleswap_signature_is_a_setting() -> None:
    fields = json.loads(BODIES["simpleswap"])
    signature = fields.pop("signature")
    body = json.dumps(fields).encode()
    settings = ServiceSettings("", KEYS["simpleswap"], {"callbackSignature": "X-Signature"})
    hint = callback_reader("simpleswap")({"x-signature": signature.upper()}, body, settings)
    assert hint == HINTS["simpleswap"]
    inside = json.dumps({**fields, "X-Signature": signature}).encode()
    assert callback_reader("simpleswap")({}, inside, settings) == HINTS["simpleswap"]


def test_a_coingate_callback_may_be_a_form() -> None:
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = b"id=90210&status=completed&external_id=01J9Z7Q0-1&fees[service_fee][amount]=0.1"
    assert read("coingate", headers, body) == HINTS["coingate"]
    for odd in (b"id=%ff", b"\xff", b"&".join([b"a=1"] * 600)):
        with pytest.raises(CallbackUnreadable):
            read("coingate", headers, odd)


@pytest.mark.parametrize(
    "value",
    [None, True, 1.5, -1, 10**31, "", "a b", "a" * 101, "\ud800", "a\x00", "é", [], {}, "' OR 1=1 --"],
    ids=repr,
)
def test_a_name_that_no_order_has_is_no_name(value: Any) -> None:
    body = json.dumps({"id": value, "external_id": value}).encode()
    assert read("coingate", {}, body) == CallbackHint()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"id":1}x',
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"id":' + b"9" * 60_000 + b"}",
        '{"id":1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("service_id", sorted(CALLBACKS))
def test_what_is_no_json_object_is_unreadable_even_when_it_is_signed(service_id: str, body: bytes) -> None:
    with pytest.raises(CallbackUnreadable):
        read(service_id, signed(service_id, body), body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"id":1,"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
        b'{"a":"\\"' + b"[" * 60 + b'","b":' + b"[" * 60_000,
    ],
    ids=["lists", "objects", "whole", "behind a string"],
)
def test_deep_nesting_is_refused_even_where_a_library_has_lifted_python_s_guard(body: bytes) -> None:
    """Run in a process of its own: what this guards against is its death."""
    script = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from converter.services.callbacks import CallbackUnreadable, json_fields\n"
        "try: json_fields(sys.stdin.buffer.read())\n"
        "except CallbackUnreadable: sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=body, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (7, b"")


def test_brackets_inside_strings_are_no_nesting() -> None:
    body = json.dumps({"id": 7, "note": "[{" * 100 + '\\"' + "[" * 100, "list": [[1]] * 100}).encode()
    assert read("coingate", {}, body) == CallbackHint(order_id="7")


@pytest.mark.parametrize("service_id", sorted(CALLBACKS))
@given(body=st.binary(max_size=200), value=st.text(max_size=80))
def test_nothing_that_comes_breaks_a_reader(service_id: str, body: bytes, value: str) -> None:
    headers = dict.fromkeys(["btcpay-sig", "content-type", "x-coinpayments-signature"], value)
    try:
        hint = read(service_id, headers, body)
    except (CallbackRefused, CallbackUnreadable):
        return
    assert service_id not in SIGNED
    assert isinstance(hint, CallbackHint)


@pytest.mark.parametrize("service_id", SIGNED)
def test_a_refusal_tells_no_secret(service_id: str) -> None:
    body = BODIES[service_id]
    with pytest.raises(CallbackRefused) as refused:
        read(service_id, {}, json.dumps({**json.loads(body), "signature": "x"}).encode())
    assert not any(key in str(refused.value) for key in KEYS[service_id].values())


@pytest.mark.parametrize("signature", ["\ud800", 7, None, ["a"], {"a": 1}])
def test_an_odd_signature_in_a_body_is_refused(signature: Any) -> None:
    body = json.dumps({**json.loads(BODIES["simpleswap"]), "signature": signature}).encode()
    with pytest.raises(CallbackRefused):
        read("simpleswap", {}, body)


def test_half_characters_in_what_is_signed_match_nothing() -> None:
    fields = {"messageId": "\ud800", "publicId": "x", "status": "\udfff", "signature": "0" * 40}
    with pytest.raises(CallbackRefused):
        read("simpleswap", {}, json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("keys", "token", "accepted"),
    [
        ({}, "", True),
        ({}, "anything", False),
        ({"callback_token": "unguessable"}, "unguessable", True),
        ({"callback_token": "unguessable"}, "", False),
        ({"callback_token": "unguessable"}, "unguessablE", False),
        ({"callback_token": "unguessable"}, "\xff\ud800", False),
    ],
)
def test_a_path_ends_with_the_token_that_was_set(keys: dict[str, str], token: str, accepted: bool) -> None:
    settings = ServiceSettings("", keys)
    if accepted:
        check_token(token, settings)
        return
    with pytest.raises(CallbackRefused):
        check_token(token, settings)
