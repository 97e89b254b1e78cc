"""`up`, `sandbox`, `status`, `migrate`."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click

from converter.bootstrap import routing_policy
from converter.cli.output import console, errors, json_option, print_json, speaks_errors, table
from converter.domain.errors import ConfigurationError
from converter.equipping import missing_keys
from converter.ledger.repository import open_ledger, schema_version
from converter.local.home import read_run_file, running_settings
from converter.monitoring import status as read_status
from converter.security.keys import EnvironmentKeys
from converter.settings import environment, load_settings

_API_PORT = 8080


def _until_signalled() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stopping = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stopping.set())
    return stopping


@click.command()
@click.option("--sandbox", "with_sandbox", is_flag=True, help="Also start the sandbox and convert there only.")
@click.option("--sandbox-port", default=0, help="Port of the sandbox; 0 picks a free one.")
@click.option("--api-port", type=int, help=f"Port of HTTP, else {_API_PORT} or a free one; 0 picks a free one.")
@click.option("--no-api", is_flag=True, help="Serve no HTTP.")
@json_option
@speaks_errors
def up(with_sandbox: bool, sandbox_port: int, api_port: int | None, no_api: bool, as_json: bool) -> None:
    """Run Redis, a worker, beat and the HTTP API (as `converter api`) on this machine until Ctrl-C.

    With --json one line with the addresses is printed when everything is ready.
    """
    from converter.local.stack import Stack, StackOptions  # noqa: PLC0415  pulls in Celery

    settings = load_settings()
    facts = read_run_file(settings.home)
    if facts is not None:
        raise ConfigurationError(
            f"home: {settings.home} is in use by process {facts['pid']}; accepted: a folder of its own"
        )
    stopping = _until_signalled()
    options = StackOptions(sandbox_port, **_api_options(api_port, no_api=no_api))
    stack = Stack(settings.home, environment(), sandbox=with_sandbox, options=options)
    try:
        addresses = stack.start(lambda part: None if as_json else console.print(f"starting {part} …", highlight=False))
        if as_json:
            print_json(addresses)
        else:
            _say_ready(addresses)
        if not no_api and api_port is None and not addresses["api"].endswith(f":{_API_PORT}"):
            errors.print(f"port {_API_PORT} is taken: HTTP is at {addresses['api']}", highlight=False)
        _warn(with_sandbox)
        while not stopping.wait(1.0):
            for line in stack.watch():
                errors.print(line, highlight=False)
    finally:
        stack.stop()


def _api_options(port: int | None, *, no_api: bool) -> dict[str, Any]:
    if no_api and port is not None:
        raise ConfigurationError("apiPort: means nothing with --no-api; accepted: one of the two")
    if no_api:
        return {"api_port": None}
    return {"api_port": _API_PORT, "api_elsewhere": True} if port is None else {"api_port": port}


def _say_ready(addresses: dict[str, Any]) -> None:
    console.print("[green]ready[/green]", highlight=False)
    for name in ("sandbox", "api", "ledger", "home"):
        if addresses[name]:
            console.print(f"  {name:8} {addresses[name]}", highlight=False, soft_wrap=True)
    console.print("  stop with Ctrl-C", highlight=False)


def _warn(with_sandbox: bool) -> None:
    settings = running_settings()
    for warning in settings.warnings:
        errors.print(f"warning: {warning}", highlight=False)
    if not with_sandbox:
        for service_id, names in missing_keys(settings, EnvironmentKeys(environment())).items():
            errors.print(f"warning: {service_id} is not asked: {', '.join(names)} missing", highlight=False)


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8099, help="Port to listen on; 0 picks a free one.")
@click.option("--seed", default=7, help="Seed of prices and chance.")
@click.option("--speed", default=1.0, help="Divides the waiting times of orders and blocks.")
@json_option
@speaks_errors
def sandbox(host: str, port: int, seed: int, speed: float, as_json: bool) -> None:
    """Serve the outside world: twins of the services, a market, a chain, faults on request (docs/sandbox.md)."""
    from converter.sandbox.server import Sandbox  # noqa: PLC0415  pulls in the chain's cryptography

    stopping = _until_signalled()
    with Sandbox(host, port, seed, speed) as box:
        if as_json:
            print_json({"sandbox": box.url})
        else:
            console.print(f"sandbox at {box.url}; faults and truth below {box.url}/_sandbox/", highlight=False)
        stopping.wait()


@click.command()
@click.option("--watch", is_flag=True, help="Go on showing how everything stands until Ctrl-C; on a pipe, once.")
@json_option
@speaks_errors
def status(watch: bool, as_json: bool) -> None:
    """Show services and conversions as the ledger has them; with --watch also breakers, live."""
    if watch:
        _watch(as_json=as_json)
        return
    settings = running_settings()
    ledger = open_ledger(settings.ledger, migrate=True)
    found = {**read_status(ledger, routing_policy(settings)), "running": read_run_file(settings.home) is not None}
    ledger.close()
    if as_json:
        print_json(found)
        return
    columns = ["Service", "Up", "tier", "weight", "asked", "success", "ms", "executed", "failing"]
    rows = [
        [
            service_id,
            "yes" if one["available"] else "NO",
            one["priority"],
            one["weight"],
            one["totalRequests"],
            f"{one['successRate']:.1%}",
            one["averageResponseTime"],
            one["executions"],
            one["failures"],
        ]
        for service_id, one in sorted(found["services"].items(), key=lambda item: (item[1]["priority"], item[0]))
    ]
    table(f"Services ({found['healthyServices']} healthy, {found['failovers']} failovers)", columns, rows)
    states = [[state, count] for state, count in found["states"].items() if count]
    table(f"Conversions ({found['totalConversions']})", ["State", "count"], states)
    for warning in settings.warnings:
        errors.print(f"warning: {warning}", highlight=False)
    if not found["running"]:
        errors.print("nothing runs from this home; start `converter up`", highlight=False)


def _watch(*, as_json: bool) -> None:
    from converter.cli.watching import Looking, watch  # noqa: PLC0415  quick help

    if not as_json:
        watch(console, _until_signalled())
        return
    looking = Looking()
    print_json(looking.snapshot())
    looking.close()


@click.command()
@json_option
@speaks_errors
def migrate(as_json: bool) -> None:
    """Bring the ledger's schema up to date; harmless when it is."""
    settings = running_settings()
    ledger = open_ledger(settings.ledger, migrate=True)
    version = schema_version(ledger.engine)
    ledger.close()
    if as_json:
        print_json({"schema": version})
    else:
        console.print("the ledger is current", highlight=False)
