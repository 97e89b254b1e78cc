"""What schemathesis loads for `make fuzz`: half of what is good in form is good in fact, too."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

CONVERSIONS = os.environ["FUZZ_CONVERSIONS"].split(",")
"""Ids of conversions that are there."""

_chance = Random(7)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or _chance.random() < 0.5:
        return
    if "conversion_id" in (case.path_parameters or {}):
        case.path_parameters["conversion_id"] = _chance.choice(CONVERSIONS)
    if isinstance(case.body, dict) and "address" in case.body:
        witness = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
        case.body = {"fromCoin": "ETH", "toCoin": "BTC", "amount": "0.5", "address": witness}
