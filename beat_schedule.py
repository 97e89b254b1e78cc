"""The periodic table: what celery-beat sends, how often, to which queue, and when an unsent tick is worthless."""

BEAT_SCHEDULE = {
    "sweep": {
        "task": "conversions.sweep",
        "schedule": 1.0,
        "options": {"queue": "maintenance", "expires": 5.0},
    },
    "health": {
        "task": "services.check_all",
        "schedule": 10.0,
        "options": {"queue": "maintenance", "expires": 10.0},
    },
    "shadow-quotes": {
        "task": "rates.shadow",
        "schedule": 30.0,
        "options": {"queue": "maintenance", "expires": 30.0},
    },
    "audit": {
        "task": "ledger.audit",
        "schedule": 300.0,
        "options": {"queue": "maintenance", "expires": 300.0},
    },
    "keep-rates": {
        "task": "rates.keep",
        "schedule": 60.0,
        "options": {"queue": "maintenance", "expires": 60.0},
    },
    "events": {
        "task": "events.deliver",
        "schedule": 1.0,
        "options": {"queue": "maintenance", "expires": 5.0},
    },
    "alerts": {
        "task": "alerts.look",
        "schedule": 15.0,
        "options": {"queue": "maintenance", "expires": 15.0},
    },
    "prune-events": {
        "task": "events.prune",
        "schedule": 600.0,
        "options": {"queue": "maintenance", "expires": 600.0},
    },
}
