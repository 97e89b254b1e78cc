"""A coin conversion engine for mining pools: best net rate over many services, failover, never paid twice."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.client import (
        ConversionHandle,
        ConversionNotCompleted,
        ConversionResult,
        ConversionUnfinished,
        MultiServiceConverter,
    )
    from converter.domain.errors import (
        ConfigurationError,
        ConversionNotFound,
        ConverterError,
        IdempotencyConflict,
        InvalidRequest,
    )

__all__ = [
    "ConfigurationError",
    "ConversionHandle",
    "ConversionNotCompleted",
    "ConversionNotFound",
    "ConversionResult",
    "ConversionUnfinished",
    "ConverterError",
    "IdempotencyConflict",
    "InvalidRequest",
    "MultiServiceConverter",
]

_ERRORS = {"ConfigurationError", "ConversionNotFound", "ConverterError", "IdempotencyConflict", "InvalidRequest"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that a part of the package does not load the whole."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("converter.domain.errors" if name in _ERRORS else "converter.client"), name)
