"""Forms of what comes in: one pattern for each kind of text, the same in the documentation and in the check.

A text that does not have its form is refused with the form that is accepted. What the pattern cannot say (a checksum, a
coin's decimals) is checked by the domain afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from converter.domain.coins import assets, coins
from converter.domain.conversions import is_conversion_id
from converter.domain.errors import ConversionNotFound
from converter.settings import SERVICES

ID_EXAMPLE = "cv_01KEZ8M1Q8Z0V6T1X3N5B7D9F2"


@dataclass(frozen=True)
class Form:
    """Text that matches `pattern` as a whole; `accepted` says the same in words."""

    pattern: str
    accepted: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checked here, so that an error names what is accepted."""
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """As the documentation shows it."""
        pattern = f"^(?:{self.pattern})$"
        return {"type": "string", "pattern": pattern, "description": self.accepted, "examples": [self.example]}

    def _read(self, value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return value
        what = "is not of the accepted form" if isinstance(value, str) else "is not text"
        raise PydanticCustomError("form", what, {"accepted": self.accepted})


@dataclass(frozen=True)
class Words:
    """Free text of a person, that every database can store and that says something."""

    longest: int
    meaning: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checked here, so that an error names what is accepted."""
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """As the documentation shows it."""
        limits = {"minLength": 1, "maxLength": self.longest, "pattern": r"^[^\x00]*[^\x00\s][^\x00]*$"}
        return {"type": "string", **limits, "description": self._accepted, "examples": [self.example]}

    @property
    def _accepted(self) -> str:
        return f"1 to {self.longest} characters: {self.meaning}"

    def _read(self, value: Any) -> str:
        if isinstance(value, str) and value.strip() and len(value) <= self.longest and _can_be_stored(value):
            return value
        raise PydanticCustomError("form", "is not of the accepted form", {"accepted": self._accepted})


def _can_be_stored(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


class Body(BaseModel):
    """A body of a request: camelCase, and no field that is not known."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _one_of(words: list[str]) -> tuple[str, str]:
    return "|".join(words), f"one of {', '.join(words)}"


_COINS = _one_of(list(coins()))
_NETWORKS = _one_of(sorted({one.network for one in assets()}))

Amount = Annotated[
    str, Form(r"[0-9]{1,20}(\.[0-9]{1,18})?", 'a positive plain decimal as text, such as "1.5"; never a number', "1.5")
]
Coin = Annotated[str, Form(*_COINS, "ETH")]
ToCoin = Annotated[str, Form(*_COINS, "BTC")]
Network = Annotated[str, Form(*_NETWORKS, "ETH")]
ToNetwork = Annotated[str, Form(*_NETWORKS, "BTC")]
Address = Annotated[
    str,
    Form(
        "[0-9A-Za-z:]{1,2000}",
        "an address of the to_coin on its main network, letters and digits, with its checksum",
        "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh",
    ),
]
Txid = Annotated[
    str,
    Form(
        "[!-~]{1,200}",
        "a transaction's id as its chain shows it, 1 to 200 visible ASCII characters",
        "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    ),
]
DepositTxid = Annotated[
    str,
    Form(
        "[0-9A-Za-z]{1,200}",
        "a transaction's id as its chain shows it, 1 to 200 letters and digits",
        "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    ),
]
Reason = Annotated[str, Words(1000, "what was found out, and how", "the miner asked for another coin")]
By = Annotated[str, Words(100, "who says it", "alice")]
Service = Annotated[str, Form("[a-z][a-z0-9_]{0,39}", "a service's id, as `GET /services` has it", SERVICES[2])]
Cursor = Annotated[str, Form("cv_[0-9A-HJKMNP-TV-Z]{26}", "`next` of the page before", ID_EXAMPLE)]
IdPrefix = Annotated[
    str, Form("cv_[0-9A-HJKMNP-TV-Z]{0,26}", "how a conversion's id begins: cv_ and up to 26 characters", "cv_01KEZ8")
]


async def _conversion_id(
    conversion_id: Annotated[
        str,
        Path(
            description="A conversion's id.",
            examples=[ID_EXAMPLE],
            json_schema_extra={"pattern": "^cv_[0-9A-HJKMNP-TV-Z]{26}$"},
        ),
    ],
) -> str:
    """What cannot be an id is not looked for: no database is asked about texts that it could not even store."""
    if not is_conversion_id(conversion_id):
        raise ConversionNotFound(conversion_id[:40])
    return conversion_id


ConversionId = Annotated[str, Depends(_conversion_id)]
