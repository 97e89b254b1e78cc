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
from sqlalchemy.exc import SQLAlchemyError

from converter.domain.errors import ConfigurationError, ConverterError, InvalidRequest
from converter.domain.money import plain

console = Console()
errors = Console(stderr=True)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables.")

EXIT_FAILED, EXIT_INVALID = 1, 2
"""Beside 0, done: failed or unfinished; bad input or configuration (and 130 by Ctrl-C)."""


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
        except SQLAlchemyError as error:
            text = f"the ledger did not answer ({type(error).__name__}); nothing is promised"
            if kwargs.get("as_json"):
                print_json({"error": text, "type": "LedgerUnavailable"})
            else:
                errors.print(f"[red]error:[/red] {text}", highlight=False, soft_wrap=True)
            raise SystemExit(EXIT_FAILED) from error

    return run
