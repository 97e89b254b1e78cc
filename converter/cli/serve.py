"""`api`, of which `serve` is another name."""

from __future__ import annotations

import signal
import socket

import click

from converter.cli.output import console, json_option, print_json, speaks_errors
from converter.domain.errors import ConfigurationError
from converter.local.home import running_settings
from converter.security.keys import EnvironmentKeys
from converter.settings import environment

_CONNECTIONS = 1500
"""Requests in hand at once; more are answered with 503."""


@click.command("api")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=8080, help="Port to listen on; 0 picks a free one.")
@json_option
@speaks_errors
def api(host: str, port: int, as_json: bool) -> None:
    """Serve HTTP until Ctrl-C: the API below /api/v1/, callbacks of the services, /healthz, /readyz (docs/http.md).

    On loopback (127.0.0.1, ::1, localhost) this machine may ask. Elsewhere /api/v1/ is there only with a token: it is
    the key CONVERTER_KEY_API_TOKEN, and every request shows it as `Authorization: Bearer …`.

    With --json one line with the address is printed when it listens.
    """
    import uvicorn  # noqa: PLC0415  quick help

    from converter.api.app import create_app  # noqa: PLC0415  pulls in FastAPI
    from converter.api.serving import Server, drop_the_unread  # noqa: PLC0415
    from converter.api.wiring import make_door, open_parts  # noqa: PLC0415  pulls in Celery

    # uvicorn raises the signal that ended it once more when it has cleaned up; then it is our turn to clean up.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, _end)
    settings, keys = running_settings(), EnvironmentKeys(environment())
    with _listening(host, port) as listener, open_parts(settings, keys) as parts:
        drop_the_unread(listener)
        app = create_app(parts, make_door(settings, keys, host))
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="warning",
            access_log=False,  # a path may end with a token
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        url = f"http://{_shown(host)}:{listener.getsockname()[1]}"
        if as_json:
            print_json({"api": url})
        else:
            console.print(f"HTTP at {url}; stop with Ctrl-C", highlight=False)
        Server(config, app.state.hub).run(sockets=[listener])


def _end(*_: object) -> None:
    raise SystemExit(0)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"port: {host}:{port}: {error}; accepted: a free port, 0 picks one") from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
