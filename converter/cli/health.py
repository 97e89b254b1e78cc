"""`health`: is one part of the system well. For a container's health check: quick, quiet, and 0 or 1 at the end."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import click

from converter.cli.output import console, json_option, print_json, speaks_errors
from converter.domain.errors import ConfigurationError
from converter.enqueue import PULSE_KEY, celery_settings
from converter.local.home import running_settings

_PATIENCE = 5.0
"""Seconds that a part has to answer."""


@click.command()
@click.option("--http", "url", help="This address answers; that it asks for a password is an answer, too.")
@click.option("--worker", help="The worker of this name on this machine (`-n NAME@%h`) takes what it is told.")
@click.option("--sweep", is_flag=True, help="Beat sends and a worker takes: there was a sweep a moment ago.")
@click.option("--within", default=60.0, help="Seconds since the last sweep.")
@json_option
@speaks_errors
def health(url: str | None, worker: str | None, sweep: bool, within: float, as_json: bool) -> None:
    """Ask parts of the system whether they are well. Ends with 1 when one is not."""
    if not (url or worker or sweep):
        raise ConfigurationError("health: nothing to ask; accepted: --http, --worker, --sweep")
    problems = {}
    if url:
        problems["http"] = _http_problem(url)
    if worker:
        problems["worker"] = _worker_problem(f"{worker}@{socket.gethostname()}")
    if sweep:
        problems["sweep"] = _sweep_problem(within)
    bad = {part: problem for part, problem in problems.items() if problem}
    if as_json:
        print_json({part: problem or "ok" for part, problem in problems.items()})
    else:
        for part, problem in problems.items():
            console.print(f"{part}: {problem or 'ok'}", highlight=False, markup=False, soft_wrap=True)
    if bad:
        raise SystemExit(1)


def _http_problem(url: str) -> str | None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"http: {url!r} is no address; accepted: http://host:port/path")
    try:
        urllib.request.urlopen(url, timeout=_PATIENCE).close()  # noqa: S310  the scheme is checked above
    except urllib.error.HTTPError as error:
        return f"answers {error.code}" if error.code >= 500 else None
    except OSError as error:
        return f"does not answer: {getattr(error, 'reason', error)}"
    return None


def _worker_problem(name: str) -> str | None:
    """Ask through the broker: the answer comes from the loop that takes tasks."""
    from celery import Celery  # noqa: PLC0415  takes half a second to import
    from kombu.exceptions import OperationalError  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    app = Celery("converter-health", set_as_current=False)
    app.conf.update(celery_settings(_redis_url()))
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "max_retries": 1, "socket_timeout": 3}
    try:
        answers = app.control.ping(destination=[name], timeout=_PATIENCE, limit=1)
    except (OperationalError, RedisError, OSError) as error:
        return f"the broker is away: {type(error).__name__}"
    finally:
        app.close()
    return None if answers else f"{name} does not answer"


def _sweep_problem(within: float) -> str | None:
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    patience: dict[str, Any] = {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
    try:
        with Redis.from_url(_redis_url(), retry=Retry(NoBackoff(), 0), **patience) as client:
            found = client.get(PULSE_KEY)
    except RedisError as error:
        return f"the broker is away: {type(error).__name__}"
    if found is None:
        return "there was none"
    age = time.time() - int(found) / 1000
    return f"the last was {age:.0f} s ago" if age > within else None


def _redis_url() -> str:
    url = running_settings().redis_url
    if not url:
        raise ConfigurationError("redisUrl: there is no broker; accepted: CONVERTER_REDIS_URL, or a running `up`")
    return url
