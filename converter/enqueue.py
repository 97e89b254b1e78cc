"""The one module of `converter/` that touches Celery: how messages travel, and sending a task by its name.

A message is only a hint to look at the ledger. It may be lost, doubled or late; so sending may fail here without any
harm but a delay, and says so by returning False.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

QUEUES = ("conversions", "rates", "maintenance")

PULSE_KEY = "converter:pulse"
"""Unix time of the last sweep that a worker ran."""

_TRANSPORT: dict[str, Any] = {
    # Longer than any task by far: a redelivery during a run is a second run at the same time.
    "visibility_timeout": 900,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "retry_on_timeout": True,
    "health_check_interval": 25,
}


def celery_settings(redis_url: str) -> dict[str, Any]:
    """Settings that senders and workers share."""
    return {
        "broker_url": redis_url,
        "result_backend": redis_url,
        "broker_transport_options": dict(_TRANSPORT),
        "result_backend_transport_options": dict(_TRANSPORT),
        "task_queues": tuple(Queue(name) for name in QUEUES),
        "task_default_queue": "conversions",
        "task_create_missing_queues": False,  # a misspelt queue is an error, not a place where tasks disappear
        "task_routes": {
            "rates.query": {"queue": "rates"},  # many and short: they must not wait behind executions
            "conversions.sweep": {"queue": "maintenance"},
            "services.check": {"queue": "maintenance"},
            "services.check_all": {"queue": "maintenance"},
            "ledger.audit": {"queue": "maintenance"},
            "rates.shadow": {"queue": "maintenance"},
            "rates.keep": {"queue": "maintenance"},
            "events.deliver": {"queue": "maintenance"},
            "events.send": {"queue": "maintenance"},
            "events.prune": {"queue": "maintenance"},
            "alerts.look": {"queue": "maintenance"},
        },
        "task_serializer": "json",  # ids only; nothing in a message can be executed or unpickled
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_send_sent_event": True,  # Flower shows what is waiting, too
        "timezone": "UTC",
        "enable_utc": True,
    }


class TaskSender:
    """Sends tasks by name. Without a broker, or while it is away, every send is a False within about two seconds."""

    def __init__(self, redis_url: str) -> None:
        self._app: Celery | None = None
        if redis_url:
            self._app = Celery("converter-sender", set_as_current=False)
            self._app.conf.update(celery_settings(redis_url))
            self._app.conf.broker_transport_options = {
                **_TRANSPORT,
                "socket_timeout": 2,
                "retry_on_timeout": False,
                "max_retries": 1,
                "interval_start": 0,
                "interval_max": 0.1,
                "connect_retries_timeout": 2,
            }

    def send(self, task: str, conversion_id: str) -> bool:
        """Ask for a task on a conversion; False when the broker did not take it."""
        if self._app is None:
            return False
        try:
            self._app.send_task(task, args=(conversion_id,), ignore_result=True, retry=False)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("broker away, the sweep will find %s: %s", conversion_id, type(error).__name__)
            return False
        return True

    def close(self) -> None:
        """Give the connections back."""
        if self._app is not None:
            self._app.close()
