"""`flower`: Celery's own monitor on our broker, behind a password, for looking only."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path
from typing import Any

import click

from converter.cli.output import console, json_option, print_json, speaks_errors
from converter.domain.errors import ConfigurationError
from converter.local.home import running_settings
from converter.security.keys import EnvironmentKeys, variable
from converter.settings import environment

USER = "converter"
PASSWORD_FILE = "flower-password"  # noqa: S105  the name of a file
_TASKS_KEPT = 10_000
"""Tasks that Flower remembers, in memory; it begins anew with every start."""


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=5555, help="Port to listen on; 0 picks a free one.")
@click.option("--control", is_flag=True, help="Also let who knows the password revoke tasks and stop workers.")
@json_option
@speaks_errors
def flower(host: str, port: int, control: bool, as_json: bool) -> None:
    """Serve Flower, Celery's monitor, until Ctrl-C: workers, queues, and tasks by name and conversion.

    User and password are the keys `user` and `password` of `flower` (CONVERTER_KEY_FLOWER_PASSWORD). Without them a
    password is drawn at every start, shown once and written to `flower-password` in the data folder.

    With --json one line with the address is printed when it listens.
    """
    settings = running_settings()
    if not settings.redis_url:
        raise ConfigurationError("redisUrl: there is no broker; accepted: CONVERTER_REDIS_URL, or a running `up`")
    user, password, file = credentials(EnvironmentKeys(environment()), settings.home)
    options = {"address": host, "port": port, "basic_auth": [f"{user}:{password}"], "read_only": not control}
    server, taken = _listening(settings.redis_url, options)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: server.io_loop.add_callback_from_signal(server.stop))
    url = f"http://{f'[{host}]' if ':' in host else host}:{taken}"
    if as_json:
        print_json({"flower": url, "user": user, "passwordFile": str(file) if file else None})
    else:
        drawn = f", password {password} (also in {file})" if file else ""
        console.print(f"Flower at {url}, user {user}{drawn}; stop with Ctrl-C", highlight=False, soft_wrap=True)
    server.start()


def credentials(keys: EnvironmentKeys, home: Path) -> tuple[str, str, Path | None]:
    """User, password, and the file of a password that was drawn now. Raises ConfigurationError."""
    user, password = keys.get("flower", "user") or USER, keys.get("flower", "password")
    if ":" in user:
        raise ConfigurationError(f"{variable('flower', 'user')}: holds a colon; accepted: a name without one")
    if password is not None:
        return user, password, None
    password, file = secrets.token_urlsafe(18), home / PASSWORD_FILE
    fresh = home / f".{PASSWORD_FILE}.{os.getpid()}"
    home.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(f"{password}\n")
    fresh.replace(file)
    return user, password, file


def _listening(redis_url: str, given: dict[str, Any]) -> tuple[Any, int]:
    """Flower, listening but not yet serving, and its port.

    It is given its options here: on a command line or in the environment others could read the password.
    """
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # its metrics are its own, not a part of ours
    # Flower takes most of a second to import, and reads the environment when it is.
    from celery import Celery  # noqa: PLC0415
    from flower.app import Flower  # noqa: PLC0415
    from flower.options import default_options  # noqa: PLC0415
    from flower.urls import settings  # noqa: PLC0415
    from flower.views.monitor import Healthcheck, Metrics  # noqa: PLC0415
    from tornado.web import authenticated  # noqa: PLC0415

    from converter.enqueue import celery_settings  # noqa: PLC0415

    for name, value in {**given, "max_tasks": _TASKS_KEPT}.items():
        setattr(default_options, name, value)
    app = Celery("converter")
    app.conf.update(celery_settings(redis_url))
    server = Flower(capp=app, options=default_options, **settings)
    # Flower leaves these two open to everybody; what is added goes before what it has.
    closed = {
        path: type(view.__name__, (view,), {"get": authenticated(view.get)})
        for path, view in {"/metrics": Metrics, "/healthcheck": Healthcheck}.items()
    }
    server.add_handlers(".*", list(closed.items()))
    try:
        return server, server.start_http_server()
    except (OSError, OverflowError) as error:
        place = f"{given['address']}:{given['port']}"
        raise ConfigurationError(f"port: {place}: {error}; accepted: a free port, 0 picks one") from error
