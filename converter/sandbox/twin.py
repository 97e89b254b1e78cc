"""What a twin is made of: requests, answers, routes, and the world that all twins share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class Request:
    """One request as it arrived, below the service's prefix (`/binance/api/v3/ping` -> `/api/v3/ping`)."""

    method: str
    path: str
    raw_query: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)  # named groups of the route's pattern

    def one(self, name: str) -> str | None:
        """First value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def json(self) -> Any:
        """Body as JSON with exact numbers; ValueError when it is none."""
        return json.loads(self.body, parse_float=Decimal)


@dataclass(frozen=True)
class Response:
    """An answer. A `body` that is not bytes is sent as JSON; a Decimal inside becomes a plain JSON number."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A path of a service and what it does there.

    `operation` is the word that faults address; `executes` marks the calls that change the outside world, on which
    the `..._execute` faults act when they name no operation.
    """

    method: str
    pattern: re.Pattern[str]
    operation: str
    handle: Callable[[Request], Response]
    executes: bool = False


class Market(Protocol):
    """Mid prices of the sandbox world."""

    def rate(self, from_coin: str, to_coin: str) -> Decimal:
        """Units of `to_coin` for one unit of `from_coin`; KeyError for an unknown coin."""

    def wobble(self, name: str, width: Decimal) -> Decimal:
        """A seeded, slowly moving factor in [1 - width, 1 + width], different for each name."""


class Truth(Protocol):
    """The outside world's own record of what it did."""

    def executed(self, service_id: str, operation: str, **facts: Any) -> None:
        """Note that the service really performed an operation (an order taken, a withdrawal accepted…)."""

    def delivered(self, service_id: str, **facts: Any) -> None:
        """Note that coins really left for an address: order_id, reference, from_coin, from_amount, to_coin, amount,
        address, txid."""


class Chain(Protocol):
    """A chain on which deposits arrive."""

    def new_address(self, owner: str) -> str:
        """A fresh, checksummed deposit address."""

    def received(self, address: str) -> list[tuple[str, Decimal]]:
        """Mined transfers to an address: transaction id and amount in whole coins."""

    def received_with_data(self, address: str) -> list[tuple[str, Decimal, bytes]]:
        """Like `received`, with the bytes that each transfer carries (a memo), empty when there are none."""

    def sender(self, txid: str) -> str | None:
        """Who sent a mined transfer (on a UTXO chain: the address of its first input); None when nobody knows."""

    def pay(self, address: str, amount: Decimal) -> str:
        """Pay from outside (a refund, a withdrawal); returns the transaction id. ValueError: no such address."""


class AccountChain(Chain, Protocol):
    """Ethereum: its coin as above, and USDT as a token."""

    def received_token(self, address: str) -> list[tuple[str, Decimal]]:
        """Mined USDT transfers to an address: transaction id and amount in whole dollars."""

    def pay_token(self, address: str, amount: Decimal) -> str:
        """Pay USDT from outside; returns the transaction id."""


Callback = Callable[[str, str, Mapping[str, str], bytes], None]
"""Posts a callback of a service (service_id, url, headers, body) in the background; only loopback addresses."""


def no_callback(_service_id: str, _url: str, _headers: Mapping[str, str], _body: bytes) -> None:
    """What a world without a network does with callbacks."""


@dataclass
class World:
    """What the twins share. `speed` divides every waiting time; `now()` is Unix time in seconds."""

    market: Market
    truth: Truth
    chain: AccountChain
    now: Callable[[], float]
    speed: float = 1.0
    wrong_rate: Callable[[str], Decimal] = lambda service_id: Decimal(1)  # noqa: ARG005
    """Factor that a `wrong_rate` fault asks this service to apply to its quotes (1 = none)."""
    wrong_amount: Callable[[str], Decimal] = lambda service_id: Decimal(1)  # noqa: ARG005
    """Factor that a `wrong_amount` fault asks this service to apply to the amounts it confirms (1 = none)."""
    utxo: Mapping[str, Chain] = field(default_factory=dict)
    """The UTXO chains by coin: BTC, LTC, DOGE, BCH, RVN. Each is built when it is first asked for."""
    accounts: Mapping[str, Chain] = field(default_factory=dict)
    """The EVM chains beside `chain`, by coin: ETC."""
    callback: Callback = no_callback

    def chain_of(self, network: str) -> Chain | None:
        """The chain that carries a network's own coin (ETH, ETC, and the UTXO coins); None: the sandbox has none."""
        return self.chain if network == "ETH" else self.accounts.get(network) or self.utxo.get(network)


class Twin(Protocol):
    """One service of the outside world. The server serialises calls: handlers and `tick` never run at once."""

    service_id: ClassVar[str]

    def __init__(self, world: World) -> None: ...

    def routes(self) -> list[Route]:
        """Every path that it serves."""

    def refusal(self, operation: str) -> Response:
        """The service's own documented wording of a definite no for an operation, for the `refuse` fault."""

    def tick(self) -> None:
        """Move orders along their life; called some ten times a second."""

    def configure(self, settings: Mapping[str, Any]) -> None:
        """`PUT /_sandbox/services/<id>`: balances and endings, see docs/sandbox.md; ValueError names a bad field."""

    def describe(self) -> dict[str, Any]:
        """`GET /_sandbox/services/<id>`: balances, endings and open orders."""
