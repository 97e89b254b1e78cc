"""What the CoinPayments twin accepts as a spend request, in version 1 and in version 2.

Source: `services/coinpayments.md` section B5. Version 1 takes whole numbers of smallest units as text, version 2
decimal text in the wallet's or the target's currency; a network fee may be given within ten percent of the usual one.
Inferred here: titles and texts of the errors; a currency that does not exist is 400 in a body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from converter.sandbox.twins.coinpayments_assets import Currency, currency_of
from converter.sandbox.twins.coinpayments_auth import Problem
from converter.sandbox.twins.coinpayments_wallets import Wallet

_OVERRIDE = Decimal("0.1")
_PLAIN_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")


class Order(NamedTuple):
    """A spend request as the client wrote it, checked."""

    sender: Currency
    receiver: Currency
    amount: Decimal
    of_receiver: bool  # the amount is what the receiver's coin is worth, not the sender's
    receiver_pays: bool
    network_fee: Decimal


def read_order(wallet: Wallet, body: Mapping[str, Any], version: str) -> Order:
    """A spend request's body in the shape of an API version."""
    sender = wallet.currency
    if version == "1":
        receiver = _receiver(body.get("toCurrencyId"), body.get("toContractAddress"))
        units = body.get("amountInSmallestUnits")
        if not isinstance(units, str) or not units.isdecimal() or not units.isascii():
            raise Problem(400, "validationError", "amountInSmallestUnits must be a whole number as text")
        amount, amount_currency = int(units) * sender.unit, sender
        units = body.get("blockchainFeeOverrideInSmallestUnits")
        override = None if units is None else _number(units, "blockchainFeeOverrideInSmallestUnits") * receiver.unit
    else:
        receiver = _receiver(body.get("toCurrency"), None)
        amount = _number(body.get("amount"), "amount")
        named = body.get("amountCurrency")
        amount_currency = sender if named is None else _receiver(named, None)
        given = body.get("blockchainFeeOverrideDecimal", body.get("blockchainFeeOverride"))
        override = None if given is None else _number(given, "blockchainFeeOverride")
    if amount <= 0 or amount_currency not in (sender, receiver):
        raise Problem(400, "validationError", "amount must be above 0, in the wallet's or the target's currency")
    if override is not None and abs(override - receiver.network_fee) > receiver.network_fee * _OVERRIDE:
        raise Problem(400, "validationError", "The network fee may differ by 10 percent")
    pays = body.get("receiverPaysFee") or False
    if not isinstance(pays, bool):
        raise Problem(400, "validationError", "receiverPaysFee must be a boolean")
    fee = receiver.network_fee if override is None else override
    return Order(sender, receiver, amount, amount_currency != sender, pays, fee)


def _receiver(currency_id: object, contract: object) -> Currency:
    try:
        return currency_of(currency_id, contract)
    except Problem as problem:  # an unknown currency of a body is no missing page
        raise Problem(400, "currencyIsNotActive", problem.detail) from None


def _number(value: object, name: str) -> Decimal:
    if not isinstance(value, str) or not _PLAIN_NUMBER.fullmatch(value):
        raise Problem(400, "validationError", f"{name} must be a decimal text")
    return Decimal(value)
