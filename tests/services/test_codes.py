"""Every service says of every asset that the system knows what it is called there, or that it is not converted."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from itertools import product
from typing import Any

import pytest

import converter.services
from converter.domain.coins import asset, assets
from converter.services import REGISTRY, service_class

PLACES = [(one.coin, one.network) for one in assets()]


def codes_of(service_id: str) -> dict[tuple[str, str], Any]:
    """The one table of a service, wherever among its modules it stands."""
    names = [module.name for module in pkgutil.iter_modules(converter.services.__path__)]
    modules = [import_module(f"converter.services.{name}") for name in names if f"{name}_".startswith(f"{service_id}_")]
    tables = {id(module.CODES): module.CODES for module in modules if hasattr(module, "CODES")}
    (table,) = tables.values()
    return dict(table)


@pytest.mark.parametrize("service_id", REGISTRY)
def test_exactly_the_assets_of_the_system_are_listed_in_its_order(service_id: str) -> None:
    assert list(codes_of(service_id)) == PLACES


@pytest.mark.parametrize("service_id", REGISTRY)
def test_what_is_listed_without_a_code_is_not_converted_and_everything_else_is(service_id: str) -> None:
    codes, supports = codes_of(service_id), service_class(service_id).supports
    converted = {
        place
        for sender, receiver in product(PLACES, repeat=2)
        if supports(asset(*sender), asset(*receiver))
        for place in (sender, receiver)
    }
    assert converted == {place for place, code in codes.items() if code is not None}


@pytest.mark.parametrize("service_id", REGISTRY)
def test_nothing_is_converted_into_itself(service_id: str) -> None:
    supports = service_class(service_id).supports
    assert not any(supports(one, one) for one in assets())
