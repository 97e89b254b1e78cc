"""The Celery app. Which settings, and why: each figure and failure mode was measured on Celery 5.7 with Redis 7."""

from __future__ import annotations

from celery import Celery

from beat_schedule import BEAT_SCHEDULE
from converter.enqueue import celery_settings
from converter.settings import load_settings

_TASKS = [f"workers.tasks.{name}" for name in ("conversions", "rates", "services", "events", "maintenance")]

app = Celery("converter", include=_TASKS)
app.conf.update(celery_settings(load_settings().redis_url or "redis://127.0.0.1:6379/0"))
app.conf.update(
    # Acknowledged after the run: a killed worker's tasks come back. They may then run twice; the ledger allows that.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_acks_on_failure_or_timeout=True,
    # One message in hand per thread: a slow execution does not hold others back.
    worker_prefetch_multiplier=1,
    # Only the chord needs results, and only until its callback ran.
    task_ignore_result=True,
    result_expires=600,
    result_chord_join_timeout=5.0,
    # Without it a Redis restart left workers alive that never took work again.
    result_backend_always_retry=True,
    # One backend per process instead of one per thread.
    result_backend_thread_safe=True,
    redis_socket_connect_timeout=2,
    redis_socket_keepalive=True,
    redis_retry_on_timeout=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A warm stop waits for what runs; a longer execution is repaired by the sweep.
    worker_soft_shutdown_timeout=20.0,
    worker_enable_soft_shutdown_on_idle=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    # Remote control stays on: together with always_retry it is what kept workers from wedging.
    worker_enable_remote_control=True,
    worker_send_task_events=True,
    beat_schedule=BEAT_SCHEDULE,
    # Beat looks at its table at least this often; a tick lost in a restart is made up for by the next one.
    beat_max_loop_interval=1,
)
