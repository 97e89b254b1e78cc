"""The only reader of configuration files and of the environment.

Layers, later over earlier: `config/default.json`, the file named by `CONVERTER_CONFIG` (JSON or TOML), environment
variables `CONVERTER_…` with `__` between levels (`CONVERTER_MULTI_SERVICE__MAX_PARALLEL_REQUESTS=5`). Files may spell
keys as the specification does (`maxParallelRequests`) or with underscores. Durations are whole milliseconds. A
`services` list replaces the one before it; an entry takes what it leaves out from the entry with the same id there.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from converter.domain.errors import ConfigurationError
from converter.settings_faces import Alerts, Api, Events, Logs, Webhook
from converter.settings_types import CapsByCoin, CapsByPair, Milliseconds, MillisecondsOrNone, Section

SERVICES = (
    "binance",
    "btcpay_lightning",
    "changenow",
    "coingate",
    "coinpayments",
    "kraken",
    "simpleswap",
    "thorchain",
)
"""Ids that a configuration may name."""


class MultiService(Section):
    """The specification's `multiService`."""

    enabled: bool = True
    parallel_queries: bool = True
    max_parallel_requests: int = Field(default=3, ge=1, le=20)
    request_timeout: Annotated[Milliseconds, Field(le=timedelta(seconds=5))] = timedelta(seconds=5)
    load_balancing: Literal["weighted", "round-robin", "least-used", "adaptive"] = "weighted"
    auto_failover: bool = True
    always_use_best_rate: bool = True
    max_service_failures: int = Field(default=3, ge=1)
    service_recovery_time: Milliseconds = timedelta(seconds=300)
    max_rate_difference: Decimal = Field(default=Decimal("0.02"), ge=0, lt=1)
    adaptive_shadow: bool = False
    allow_unverified: bool = False
    emergency_after: Milliseconds = timedelta(seconds=60)
    quote_freshness: MillisecondsOrNone = timedelta(seconds=1)
    max_open_per_pair: CapsByPair = Field(default_factory=dict)
    max_per_day: CapsByCoin = Field(default_factory=dict)


class RateLimit(Section):
    """So many calls in a period, and at most `burst` at once."""

    calls: int = Field(ge=1)
    period: Milliseconds = timedelta(seconds=1)
    burst: int = Field(default=0, ge=0)


class ServiceRateLimit(RateLimit):
    """Over what the service module declares; `operations`: tighter limits of `quote`, `order`, `advance`, `find`,
    `health`, in the place of all declared ones."""

    operations: dict[Literal["quote", "order", "advance", "find", "health", "list"], RateLimit] = Field(
        default_factory=dict
    )


class Service(Section):
    """One entry of `services`. `min_amount` overrides the floor per from_coin that the service module declares,
    `rate_limit` its limit of calls; `max_open` caps what may be under way there, by from_coin."""

    id: Literal[SERVICES]  # type: ignore[valid-type]
    enabled: bool = True
    priority: int = Field(ge=1, le=4)
    weight: Decimal = Field(gt=0, le=1)
    max_failures: int | None = Field(default=None, ge=1)
    recovery_time: Milliseconds | None = None
    base_url: str = ""
    options: dict[str, str] = Field(default_factory=dict)
    min_amount: dict[str, Decimal] = Field(default_factory=dict)
    rate_limit: ServiceRateLimit | None = None
    max_open: CapsByCoin = Field(default_factory=dict)


class WalletSettings(Section):
    """How deposits of the coins of a network are paid. `tokens`: contracts by coin; `max_fee`: of one payment."""

    kind: Literal["evm", "bitcoind", "manual"]
    rpc_url: str = Field(default="", repr=False)
    chain_id: int = Field(default=1, ge=1)
    confirmations: int = Field(default=12, ge=1)
    tokens: dict[str, str] = Field(default_factory=dict)
    max_fee: Decimal | None = Field(default=None, gt=0)


class Engine(Section):
    """Durations and sizes of the engine itself."""

    lease: Milliseconds = timedelta(seconds=30)
    quoting: Milliseconds = timedelta(seconds=12)
    poll: Milliseconds = timedelta(seconds=1)
    poll_limit: Milliseconds = timedelta(seconds=30)
    park_unprovable: Milliseconds = timedelta(minutes=15)
    sweep_interval: Milliseconds = timedelta(seconds=2)
    concurrency: int = Field(default=16, ge=1, le=200)
    workers: int = Field(default=1, ge=1, le=1000)
    rate_limit: RateLimit = RateLimit(calls=200, burst=400)


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(env_prefix="CONVERTER_", env_nested_delimiter="__", extra="forbid", frozen=True)

    multi_service: MultiService = MultiService()
    services: tuple[Service, ...] = ()
    wallets: dict[str, WalletSettings] = Field(default_factory=dict)
    engine: Engine = Engine()
    api: Api = Api()
    events: Events = Events()
    webhooks: tuple[Webhook, ...] = ()
    alerts: Alerts = Alerts()
    logs: Logs = Logs()
    home: Path = Field(default_factory=lambda: Path.home() / ".converter")
    redis_url: str = Field(default="", repr=False)
    ledger_url: str = Field(default="", repr=False)

    @property
    def ledger(self) -> str:
        """The ledger's URL; a SQLite file in `home` unless one is configured."""
        return self.ledger_url or f"sqlite:///{self.home.absolute() / 'ledger.db'}"

    @property
    def enabled_services(self) -> tuple[Service, ...]:
        """Services that take part."""
        return tuple(one for one in self.services if one.enabled)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is accepted but not advisable."""
        primaries = sum(one.priority == 1 for one in self.enabled_services)
        if primaries >= 3:
            return ()
        return (f"services: {primaries} primary services are enabled; at least 3 are advisable",)

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Settings:
        ids = [one.id for one in self.services]
        for repeated in {one for one in ids if ids.count(one) > 1}:
            raise ValueError(f"services: {repeated} is listed twice")
        for part, named in (("webhooks", self.webhooks), ("alerts.sinks", self.alerts.sinks)):
            if len({one.id for one in named}) < len(named):
                raise ValueError(f"{part}: an id is listed twice")
        for tier in sorted({one.priority for one in self.services}):
            total = sum(one.weight for one in self.services if one.priority == tier)
            if total != 1:
                raise ValueError(f"services: the weights of priority {tier} sum to {total}; they must sum to 1")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the files, which `load_settings` hands in."""
        return env_settings, init_settings


_SECTIONS = {"multi_service", "engine", "api", "events", "alerts", "logs"}
"""Sections whose keys are settings; in the others some keys are data (networks, options)."""


def _snake(content: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = to_snake(key)
        result[name] = (
            {to_snake(inner): one for inner, one in value.items()}
            if name in _SECTIONS and isinstance(value, dict)
            else value
        )
    return result


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = {**base}
    for key, value in over.items():
        if key == "services" and isinstance(value, list):
            known = {one.get("id"): one for one in base.get("services", []) if isinstance(one, dict)}
            merged[key] = [{**known.get(one.get("id"), {}), **one} if isinstance(one, dict) else one for one in value]
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = {**base[key], **value}
        else:
            merged[key] = value
    return merged


def default_file() -> Path:
    """The shipped configuration, in the source tree or inside the installed package."""
    tree = Path(__file__).parent.parent / "config" / "default.json"
    return tree if tree.is_file() else Path(__file__).parent / "default.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text()
        content = (
            tomllib.loads(text, parse_float=Decimal)
            if file.suffix == ".toml"
            else json.loads(text, parse_float=Decimal)
        )
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror}); accepted: a JSON or TOML file") from error
    except ValueError as error:
        raise ConfigurationError(f"{file}: {error}; accepted: a JSON or TOML file") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file}: accepted: an object at the top")
    return _snake(content)


def load_settings(*, config: Path | None = None, **places: Any) -> Settings:
    """Read all layers. `config` stands in for CONVERTER_CONFIG; `places` (home, redis_url,
    ledger_url) go over everything.

    Raises ConfigurationError that names the key, the problem and what is accepted.
    """
    content = _read(default_file())
    named = config or os.environ.get("CONVERTER_CONFIG")
    if named:
        content = _merged(content, _read(Path(named)))
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise ConfigurationError(describe_errors(error)) from None
    except SettingsError as error:
        raise ConfigurationError(f"environment: {error}; accepted: JSON for a whole section or list") from None
    # Copied, not validated again: a BaseSettings that is made anew reads the environment over what it is given.
    return settings.model_copy(update={**places, **({"home": Path(places["home"])} if "home" in places else {})})


def describe_errors(error: ValidationError) -> str:
    """One line that names each key, its problem and what is accepted."""
    return "; ".join(_describe(one) for one in error.errors())


def _describe(problem: Any) -> str:
    where = ".".join(str(part) if isinstance(part, int) else to_camel(str(part)) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key; accepted: the keys of config/default.json"
    return f"{where}: {message}" if where else message


def environment() -> Mapping[str, str]:
    """The environment, for those who pass it on (keys, child processes)."""
    return os.environ
