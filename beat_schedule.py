"""The periodic table: what celery-beat sends, how often, to which queue, and when an unsent tick is worthless."""

BEAT_SCHEDULE = {
    "sweep": {
        "task": "conversions.sweep",
        "schedule": 1.0,
        "options": {"queue": "maintenance", "expires": 5.0},
    },
}
