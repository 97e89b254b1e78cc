"""`services recover|isolate|release|emergency`: an operator's word on services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from converter.bootstrap import build_operating
from converter.cli.completing import service_ids
from converter.cli.output import console, errors, json_option, print_json, speaks_errors
from converter.cli.standing import read_standings, require_redis, standing_facts
from converter.local.home import running_settings
from converter.operating import Operating
from converter.settings import Settings


@click.command()
@click.argument("service_id", shell_complete=service_ids)
@json_option
@speaks_errors
def recover(service_id: str, as_json: bool) -> None:
    """Close the breakers of a service and end its quarantine now. An isolated one stays isolated."""
    settings = running_settings()
    _order(settings, service_id, Operating.recover)
    _say(settings, service_id, "its breakers were closed and its quarantine is over", as_json=as_json)


@click.command()
@click.argument("service_id", shell_complete=service_ids)
@json_option
@speaks_errors
def isolate(service_id: str, as_json: bool) -> None:
    """Take a service out until `release`: nothing new goes there, what is under way is settled."""
    settings = running_settings()
    build_operating(settings).isolate(service_id)
    _say(settings, service_id, f"taken out until `converter services release {service_id}`", as_json=as_json)


@click.command()
@click.argument("service_id", shell_complete=service_ids)
@json_option
@speaks_errors
def release(service_id: str, as_json: bool) -> None:
    """End an isolation; the breakers of the service begin closed."""
    settings = running_settings()
    _order(settings, service_id, Operating.release)
    _say(settings, service_id, "released", as_json=as_json)


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@json_option
@speaks_errors
def emergency(state: str, as_json: bool) -> None:
    """Let conversions use the emergency tier whatever the others do (on), or only by its rule again (off)."""
    build_operating(running_settings()).emergency(on=state == "on")
    if as_json:
        print_json({"emergency": state})
        return
    meaning = {"on": "open until it is switched off", "off": "used only when the other tiers have nobody"}
    console.print(f"the emergency tier is {meaning[state]}", highlight=False)


def _order(settings: Settings, service_id: str, what: Callable[[Operating, str], None]) -> None:
    """Do what needs Redis; an unknown service is told first. Raises InvalidRequest, ConfigurationError."""
    operating = build_operating(settings)
    if service_id in read_standings(settings):
        require_redis(settings)
    what(operating, service_id)


def _say(settings: Settings, service_id: str, text: str, *, as_json: bool) -> None:
    """What happened, and how the service stands now."""
    standing = read_standings(settings)[service_id]
    detail = standing.detail(datetime.now(UTC))
    if as_json:
        facts: dict[str, Any] = {"id": service_id, "done": text, "state": standing.state, "reason": detail or None}
        print_json({**facts, **standing_facts(standing)})
        return
    state = f"{standing.state}, {detail}" if detail else standing.state
    console.print(f"{service_id}: {text}; state: {state}", highlight=False, markup=False, soft_wrap=True)
    if standing.missing:
        missing = " and ".join(standing.missing)
        errors.print(f"{missing} did not answer: workers that run follow within a health check", highlight=False)
