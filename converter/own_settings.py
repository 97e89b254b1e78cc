"""The settings that a caller gives its own conversions, checked against the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from converter.domain.errors import ConfigurationError
from converter.domain.money import plain
from converter.settings import MultiService, Settings, describe_errors

_PER_CONVERSION = {
    "parallel_queries",
    "max_parallel_requests",
    "load_balancing",
    "auto_failover",
    "always_use_best_rate",
    "max_rate_difference",
    "request_timeout",
}


def own_settings(
    settings: Settings, services: Iterable[Mapping[str, Any]] | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What differs from the configuration, ready to be stored with a conversion. Raises ConfigurationError."""
    own: dict[str, Any] = {}
    if given:
        try:
            checked = MultiService(**given)
        except ValidationError as error:
            raise ConfigurationError(describe_errors(error)) from None
        for name in sorted(checked.model_fields_set):
            if name not in _PER_CONVERSION:
                raise ConfigurationError(f"{name}: is set for the whole system; accepted: in the configuration file")
            value = getattr(checked, name)
            if name == "request_timeout":
                own["request_timeout_ms"] = round(value.total_seconds() * 1000)
            else:
                own[name] = plain(value) if isinstance(value, Decimal) else value
    if services is not None:
        own["services"] = [[one["id"], one["priority"], one["weight"]] for one in _checked(settings, services)]
    return own


class _GivenOnly(Settings):
    """The same rules for what is handed in alone: the environment would go over the caller's services."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is handed in."""
        return (init_settings,)


def _checked(settings: Settings, services: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The caller's services over the configured ones: same rules, and only ids that are enabled there."""
    enabled = {one.id: one for one in settings.enabled_services}
    chosen = []
    for given in services:
        if given.get("id") not in enabled:
            accepted = ", ".join(sorted(enabled))
            raise ConfigurationError(f"services: {given.get('id')!r} is not enabled; accepted: {accepted}")
        chosen.append({**enabled[given["id"]].model_dump(), **given})
    try:
        checked = _GivenOnly(services=tuple(chosen))
    except ValidationError as error:
        raise ConfigurationError(describe_errors(error)) from None
    return [{"id": one.id, "priority": one.priority, "weight": plain(one.weight)} for one in checked.services]
