"""docs/events.md names every event, every field of its payload and every alert: as the source has them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from converter.alerting import _OF_STATE
from converter.domain import alerts, events
from converter.domain.events import ALL_EVENTS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def fields_in_the_source() -> dict[str, set[str]]:
    """What is put into the payload of each event, anywhere in the product."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "converter").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
            for name, fields in told_in(function):
                found[name] |= fields
    return found


def told_in(function: Function) -> Iterator[tuple[str, set[str]]]:
    for call in [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args]:
        name = constant(call.args[0])
        if name is None:
            continue
        if isinstance(call.func, ast.Name) and call.func.id == "Event":
            yield name, keys(call.args[1], function)
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "event":  # a person's word
            given = [{one.arg} if one.arg else keys(one.value, function) for one in call.keywords]
            yield name, {"by", "reason"}.union(*given)


def constant(node: ast.expr) -> str | None:
    """The event that `events.NAME` or `NAME` stands for."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    value = getattr(events, name, None) if name.isupper() else None
    return value if value in ALL_EVENTS else None


def keys(node: ast.expr, function: Function) -> set[str]:
    """The keys of a dictionary, and of every dictionary that a name stands for in this function."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return set().union(
            *({key.value} if isinstance(key, ast.Constant) else keys(value, function) for key, value in pairs)
        )
    assert isinstance(node, ast.Name), ast.dump(node)
    values = [
        one.value
        for one in ast.walk(function)
        if isinstance(one, ast.Assign | ast.AnnAssign) and one.value is not None
        for target in (one.targets if isinstance(one, ast.Assign) else [one.target])
        if isinstance(target, ast.Name) and target.id == node.id
    ]
    assert values, f"{function.name} has no dictionary {node.id}"
    return set().union(*(keys(one, function) for one in values))


def test_every_event_stands_on_the_page_with_every_field() -> None:
    written = {names(row[0])[0]: set(names(row[2])) for row in rows("The events")}
    assert set(written) == ALL_EVENTS
    assert written == fields_in_the_source()


def test_every_alert_stands_on_the_page() -> None:
    written = [name for row in rows("Alerts") for name in names(row[0])]
    raised = {alerts.RATE_HELD if name == events.RATE_JUMP else name for name in alerts.RAISING}
    assert sorted(written) == sorted(raised | _OF_STATE)
