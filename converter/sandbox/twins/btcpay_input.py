"""What the BTCPay twin accepts in a request, and the two shapes of its errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from converter.sandbox.twin import Request, Response
from converter.sandbox.twins.bolt11 import Invoice, read_invoice

SERVICE_ID = "btcpay_lightning"
MOST_BTC = 21_000_000
CHAIN, LIGHTNING = "BTC-CHAIN", "BTC-LN"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CHAIN_ADDRESS = re.compile(rf"bc1[02-9ac-hj-np-z]{{11,87}}|BC1[02-9AC-HJ-NP-Z]{{11,87}}|[13][{BASE58}]{{25,34}}")
NAMED_DESTINATION = re.compile(r"lnurl1[02-9ac-hj-np-z]+|[a-z0-9._+-]+@[a-z0-9.-]+", re.IGNORECASE)


class ApiError(Exception):
    """An answer with the server's `{code, message}` body."""

    def __init__(self, status: int, code: str, **more: str) -> None:
        super().__init__(code)
        message = code.replace("-", " ").capitalize()
        self.response = Response(status, {"code": code, "message": message} | more)


class Invalid(ApiError):
    """422 with the server's array of `{path, message}`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(422, "invalid")
        self.response = Response(422, [{"path": path, "message": message}])


class Destination(NamedTuple):
    """Where a payout goes. `key` is what the server knows it by; None is never a duplicate."""

    address: str
    key: str | None
    invoice: Invoice | None = None


def body_of(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request."""
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, Mapping):
        raise Invalid("", "A JSON object is required")
    return body


def read_destination(method: str, text: Any, now: float) -> Destination:
    """An address or BIP 21 URI on the chain; a BOLT11, an LNURL or a lightning address on Lightning."""
    if not isinstance(text, str) or not text:
        raise Invalid("destination", "The destination is required")
    if method == CHAIN:
        address = text.removeprefix("bitcoin:").partition("?")[0]
        if CHAIN_ADDRESS.fullmatch(address):
            return Destination(address, address.lower() if address.lower().startswith("bc1") else address)
    elif invoice := read_invoice(text.removeprefix("lightning:")):
        if invoice.expires_at is not None and invoice.expires_at < now:
            raise Invalid("destination", "The BOLT11 invoice has expired")
        return Destination(invoice.text, invoice.payment_hash, invoice)
    elif NAMED_DESTINATION.fullmatch(text):
        return Destination(text, None)
    raise Invalid("destination", f"This is no valid destination for {method}")


def read_amount(text: Any, invoice: Invoice | None) -> Decimal:
    """The amount of a payout in BTC; an invoice may bring its own."""
    asked = invoice.amount if invoice else None
    if text is None and asked is not None:
        return asked
    amount = to_decimal(text) if isinstance(text, str | int | Decimal) else None
    if not amount or amount > MOST_BTC:
        raise Invalid("amount", "The amount must be above 0")
    if asked is not None and asked > amount:
        raise Invalid("destination", "The destination asks for more than the amount")
    return amount


def read_setting(field: str, text: Any) -> Decimal:
    """An amount given over the control interface."""
    amount = to_decimal(text) if isinstance(text, str) else None
    if amount is None or amount > MOST_BTC:
        raise ValueError(f"{field}: {text!r} is no amount; accepted: a decimal string of BTC")
    return amount


def to_decimal(text: str | int | Decimal) -> Decimal | None:
    """A number from 0; None for anything else."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None
