"""All commands together: each speaks JSON, each is on the page of commands, each ends with the documented codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from converter.cli.main import main
from converter.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
NOWHERE_SQL = "postgresql://127.0.0.1:1/none"


def leaves(command: click.Command = main, path: str = "converter") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its whole name."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, f"{path} {name}")


COMMANDS = dict(leaves())


def summary(command: click.Command) -> str:
    """The first paragraph of the help, on one line."""
    return " ".join((command.help or "").split("\n\n")[0].split())


def variables(section: BaseModel, prefix: str = "CONVERTER_") -> Iterator[tuple[str, Any]]:
    """Variables of a section of the settings with their defaults; sections within take one more level."""
    for name in type(section).model_fields:
        default, variable = getattr(section, name), f"{prefix}{name.upper()}"
        if isinstance(default, BaseModel):
            yield from variables(default, f"{variable}__")
        else:
            yield variable, default


def spelled(default: Any) -> str:
    """A default as the environment spells it."""
    if isinstance(default, timedelta):
        return f"`{default // timedelta(milliseconds=1)}`"
    if isinstance(default, bool | list | tuple | dict):
        return f"`{json.dumps(default)}`"
    return "" if default in ("", None) else f"`{default}`"


def rows_of(heading: str) -> list[list[str]]:
    """The table below a heading of the page, without its head."""
    part = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in found[2:]]


def test_every_command_speaks_json() -> None:
    mute = [name for name, command in COMMANDS.items() if all(one.name != "as_json" for one in command.params)]
    assert mute == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_is_there_and_short(name: str) -> None:
    command = COMMANDS[name]
    assert 10 <= len(summary(command)) <= 160
    assert summary(command).endswith((".", ")"))
    silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert silent == []


def test_the_page_has_every_command_with_its_line() -> None:
    expected = [f"| `{name}` | {summary(command)} |" for name, command in COMMANDS.items()]
    found = [line for line in PAGE.split("## Exit codes")[0].splitlines() if line.startswith("| `converter")]
    assert found == expected, "\n".join(["docs/commands.md wants this table:", *expected])


def test_the_page_has_every_variable_with_its_default() -> None:
    home = {"CONVERTER_HOME": "`~/.converter`"}
    known = {name: spelled(one) for name, one in variables(Settings.model_construct())} | home
    expected = [f"| `{name}` | {default} |" for name, default in known.items()]
    found = [f"| {row[0]} | {row[1] if len(row) > 1 else ''} |" for row in rows_of("Settings as variables")]
    assert found == expected, "\n".join(["docs/commands.md wants this table:", *expected])


# --- Exit codes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str | None]:
    given: dict[str, str | None] = {"CONVERTER_CONFIG": None, "CONVERTER_REDIS_URL": None, "CONVERTER_LEDGER_URL": None}
    return {**given, "CONVERTER_HOME": str(tmp_path)}


def test_the_page_tells_the_exit_codes() -> None:
    assert [row[0] for row in rows_of("Exit codes")] == ["0", "1", "2", "130"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("conversions list", 0),
        ("completion bash", 0),
        ("migrate", 0),
        ("conversions show cv_nothing", 1),
        ("conversions list --id nonsense", 2),
        ("conversions list --limit 0", 2),
        ("services isolate nobody", 2),
        ("services recover changenow", 2),
        ("nonsense", 2),
        ("status --nonsense", 2),
    ],
)
def test_a_command_ends_with_the_documented_code(environ: dict[str, str | None], words: str, code: int) -> None:
    done = CliRunner().invoke(main, words.split(), env=environ)
    assert done.exit_code == code, done.output


def test_a_ledger_that_is_away_is_said_on_one_line_and_is_a_failure(environ: dict[str, str | None]) -> None:
    away = {**environ, "CONVERTER_LEDGER_URL": NOWHERE_SQL}
    done = CliRunner().invoke(main, ["conversions", "list", "--json"], env=away)
    assert (done.exit_code, json.loads(done.stdout)["type"]) == (1, "LedgerUnavailable")
    done = CliRunner().invoke(main, ["status", "--watch"], env=away)
    assert done.exit_code == 0
    assert re.search(r"the ledger does not answer", done.stdout)


def test_ctrl_c_ends_with_130_whatever_was_running(
    environ: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("converter.cli.conversions.open_ledger", interrupted)
    done = CliRunner().invoke(main, ["conversions", "list"], env=environ)
    assert done.exit_code == 130
