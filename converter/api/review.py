"""What waits for a person, over HTTP, with everything that is known of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response

from converter.api import operator_shapes as shapes
from converter.api.answering import Answering
from converter.evidence import Evidence

ASKED_WITHIN = timedelta(seconds=8)
"""So long services and chains are asked for one answer; what is not known by then is told as not asked in time."""


def review_routes(evidence: Evidence) -> APIRouter:
    """The route of what needs review."""
    router = APIRouter(tags=["review"])
    known, asked = (
        Answering(),
        Answering(patience=2 * ASKED_WITHIN.total_seconds()),
    )  # what takes seconds holds up nothing that is quick

    @router.get("/review", operation_id="review", response_model=shapes.Cases)
    async def review(ask: bool = False) -> Response:
        """List the conversions before a person, the longest waiting first; `ask`: with what services say now."""
        return await (asked if ask else known).shared(ask, lambda: _cases(evidence, ask=ask))

    return router


def _cases(evidence: Evidence, *, ask: bool) -> dict[str, Any]:
    cases = evidence.parked(ask=ask, within=ASKED_WITHIN)
    return {"cases": [one.facts() for one in cases]}
