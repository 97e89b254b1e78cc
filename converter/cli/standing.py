"""How the services stand, for the commands that show it or change it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from converter.bootstrap import routing_policy
from converter.cli.figures import ago
from converter.domain.errors import ConfigurationError
from converter.domain.health import Check
from converter.ledger.repository import SqlLedger, open_ledger
from converter.settings import Settings
from converter.sharing import Commons, build_commons
from converter.standing import ServiceStanding, standings

# Redis' absence is said by the commands themselves, in their own words.
logging.getLogger("converter.shared_state.redis_access").addHandler(logging.NullHandler())

_TRIES = 3
_MILLISECOND = timedelta(milliseconds=1)


def read_standings(settings: Settings) -> dict[str, ServiceStanding]:
    """How the enabled services stand, as far as Redis and the ledger can be reached. Never raises."""
    commons, ledger = _commons(settings), _ledger(settings)
    try:
        return standings(ledger, commons.breakers, commons.desk.rates)
    except SQLAlchemyError:
        return standings(None, commons.breakers, commons.desk.rates)
    finally:
        commons.access.close()
        if ledger is not None:
            ledger.close()


def redis_answers(settings: Settings) -> bool:
    """Whether what the processes share can be reached."""
    commons = _commons(settings)
    answers = _answers(commons)
    commons.access.close()
    return answers


def require_redis(settings: Settings) -> None:
    """Raises ConfigurationError when Redis does not answer: what is changed there would be changed nowhere."""
    if not redis_answers(settings):
        raise ConfigurationError("redis: does not answer, nothing was changed; accepted: a running system")


def standing_facts(standing: ServiceStanding | None) -> dict[str, Any]:
    """What JSON shows beside state and reason: each breaker, the quarantine and the last health check."""
    if standing is None:
        return {"breakers": {}, "quarantine": None, "check": None}
    rates, known = standing.rates, not standing.missing
    return {
        "breakers": {
            operation: {
                "state": str(one.state),
                "failures": one.failures,
                "retryAfter": None if one.retry_after is None else one.retry_after // _MILLISECOND,
            }
            for operation, one in standing.breakers.items()
            if known
        },
        "quarantine": {
            "until": rates.until.isoformat() if rates.until is not None else None,
            "needsOperator": rates.needs_operator,
            "shadows": rates.shadows,
        }
        if rates.is_quarantined
        else None,
        "check": None if standing.check is None else _check_facts(standing.check),
    }


def last_check(standing: ServiceStanding | None, now: datetime) -> str:
    """The last health check in words, empty when there was none."""
    if standing is None or standing.check is None:
        return ""
    check = standing.check
    return f"{'ok' if check.ok else 'FAILED'} {ago(check.at, now)}"


def _check_facts(check: Check) -> dict[str, Any]:
    return {
        "at": check.at.isoformat(),
        "ok": check.ok,
        "error": check.error or None,
        "ms": check.elapsed_ms,
        "misses": check.misses,
    }


def _commons(settings: Settings) -> Commons:
    """What the processes share. Asked more than once: on a busy machine a first answer may take too long."""
    places = routing_policy(settings).services
    for _ in range(_TRIES):
        commons = build_commons(settings, places)
        if _answers(commons):
            break
    return commons


def _answers(commons: Commons) -> bool:
    first = next(iter(commons.breakers.values()), None)
    return first is None or first["quote"].snapshot().shared


def _ledger(settings: Settings) -> SqlLedger | None:
    try:
        return open_ledger(settings.ledger, migrate=True)
    except (ConfigurationError, SQLAlchemyError, OSError):
        return None
