"""A profile as faults of the sandbox, for one service or node and the operations that it has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from converter.local.chaos.profiles import Profile

BROADCAST = "send"
EXECUTING = ("order", "approve", "withdraw", "pay", BROADCAST)
LOOKUPS = ("status",)
_QUOTE = "quote"

_LOST = (
    "reset_before_execute",
    "reset_after_execute",
    "5xx_before_execute",
    "5xx_after_execute",
    "timeout_before_execute",
    "timeout_after_execute",
)
"""Half of them executed. A look-up is never answered with a refusal: no service may deny what it did."""

_SILENT = ("5xx_before_execute", "down", "5xx_before_execute", "hang")
"""Ways in which a look-up fails, equally often."""


def faults_of(profile: Profile, operations: Collection[str]) -> list[dict[str, Any]]:
    """What goes wrong there, ready to be set; the sandbox lets the first fault of the connection that strikes win.

    Only a node broadcasts. Each of its payments carries the next number of its account, so that one that was lost holds
    back all that come after it: see `Profile.of_nodes`.
    """
    share = profile.of_nodes if BROADCAST in operations else 1.0
    executing = [one for one in EXECUTING if one in operations]
    lookups = [one for one in LOOKUPS if one in operations]
    refusable = [*executing, *(one for one in (_QUOTE,) if one in operations)]
    faults: list[dict[str, Any]] = [
        {"kind": "latency", "latency_ms": profile.latency_ms, "jitter_ms": profile.jitter_ms},
        {"kind": "duplicate_callback", "rate": profile.callbacks_doubled},
        {"kind": "out_of_order_callback", "rate": profile.callbacks_doubled},
    ]
    if executing:
        late = {"kind": "latency", "operations": executing, "latency_ms": 6000, "jitter_ms": 14000}
        faults.append({**late, "rate": round(profile.late * share, 6)})
    chances = [(kind, executing, profile.unknown * share / len(_LOST)) for kind in _LOST]
    chances.append(("refuse", refusable, profile.refused * share))
    faults += _one_of([one for one in chances if one[1]])
    faults += _one_of([(kind, lookups, profile.lookups_failing * share / len(_SILENT)) for kind in _SILENT if lookups])
    return faults


def down() -> list[dict[str, Any]]:
    """A service that is away."""
    return [{"kind": "down"}]


def _one_of(chances: list[tuple[str, list[str], float]]) -> list[dict[str, Any]]:
    """Faults that are drawn one after the other until one strikes, each of them striking with its own chance in all."""
    faults: list[Mapping[str, Any]] = []
    spared = 1.0
    for kind, operations, chance in chances:
        faults.append({"kind": kind, "operations": operations, "rate": round(min(1.0, chance / spared), 6)})
        spared -= chance
    return [dict(one) for one in faults]
