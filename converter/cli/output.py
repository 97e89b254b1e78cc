"""How commands speak: tables and progress on a terminal, one JSON document with `--json`, errors on one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import wraps
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from converter.domain.conversions import Conversion
from converter.domain.errors import ConfigurationError, ConverterError, InvalidRequest
from converter.domain.money import plain

console = Console()
errors = Console(stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables.")

EXIT_INVALID, EXIT_FAILED = 2, 1


def print_json(content: Any) -> None:
    """One line of JSON; amounts as plain decimal text."""
    click.echo(json.dumps(content, default=_plain))


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return str(value)


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """A table; columns named in lower case hold numbers and stand to the right, the first one is never cut."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    texts = [["" if cell is None else _plain(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        width = max((len(row[index]) for row in texts), default=0) if index == 0 else None  # ids are copied, so whole
        shown.add_column(column, justify="right" if column[0].islower() else "left", overflow="fold", min_width=width)
    for row in texts:
        shown.add_row(*row)
    console.print(shown)


def conversion_facts(conversion: Conversion) -> dict[str, Any]:
    """A conversion as JSON shows it."""
    request = conversion.request
    return {
        "id": conversion.id,
        "state": conversion.state,
        "fromCoin": request.from_asset.coin,
        "fromNetwork": request.from_asset.network,
        "toCoin": request.to_asset.coin,
        "toNetwork": request.to_asset.network,
        "amount": plain(request.amount),
        "address": request.address,
        "idempotencyKey": request.idempotency_key,
        "service": conversion.service_id,
        "promised": _amount(conversion.promised),
        "delivered": _amount(conversion.delivered),
        "txid": conversion.txid or None,
        "reason": conversion.reason or None,
        "round": conversion.round,
        "failovers": conversion.failovers,
        "createdAt": conversion.created_at.isoformat(),
        "completedAt": conversion.completed_at.isoformat() if conversion.completed_at else None,
    }


def _amount(amount: Decimal | None) -> str | None:
    return plain(amount) if amount is not None else None


def speaks_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show the project's errors as one line (or one JSON object) and end with 2 for bad input, 1 for the rest."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (ConfigurationError, ConverterError) as error:
            if kwargs.get("as_json"):
                content: dict[str, Any] = {"error": str(error), "type": type(error).__name__}
                if isinstance(error, InvalidRequest):
                    content.update(field=error.field, problem=error.problem, accepted=error.accepted)
                print_json(content)
            else:
                errors.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
            invalid = isinstance(error, ConfigurationError | InvalidRequest)
            raise SystemExit(EXIT_INVALID if invalid else EXIT_FAILED) from error

    return run
