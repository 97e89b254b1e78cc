"""How questions are answered over HTTP: in threads, few at a time, and for a moment from what was told before."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from fastapi import Response

from converter.api.lanes import PATIENCE, Lane
from converter.remembering import Remembering

_AT_ONCE = 2
"""Questions at the same time: many of them wait here, and not in front of the workers' writes."""

Question = Callable[[], dict[str, Any]]


class Answering:
    """Answers questions of one kind as JSON. `patience`: seconds that a question waits for its turn."""

    def __init__(self, patience: float = PATIENCE, seconds: float = 1.0) -> None:
        self._lane = Lane(_AT_ONCE, patience)
        self._told: Remembering[bytes] = Remembering(seconds)

    async def shared(self, key: Hashable, question: Question) -> Response:
        """Answer what many may ask at once: all who ask within a moment get the same."""
        return await self._answer(partial(self._told.get, key, partial(_json, question)))

    async def now(self, question: Question) -> Response:
        """Answer after a change, or what only this caller asks; what was told before is forgotten."""

        def asked() -> bytes:
            try:
                return _json(question)
            finally:
                self._told.forget()

        return await self._answer(asked)

    async def _answer(self, make: Callable[[], bytes]) -> Response:
        return Response(await self._lane.run(make), media_type="application/json")


def _json(question: Question) -> bytes:
    return json.dumps(question(), separators=(",", ":")).encode()
