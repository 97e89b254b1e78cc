"""The breakers' scripts on the common way to Redis: each is put behind the state machine that they share."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from converter.shared_state.redis_access import RedisAccess


class BreakerAccess(RedisAccess):
    """Runs `breaker_common.lua` and one of `breaker_<step>.lua` as one script. Any other script as it is."""

    def _evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        if not script.startswith("breaker_"):
            return super()._evaluate(script, keys, arguments)
        text, digest = breaker_script(script)
        try:
            return self._client.evalsha(digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return self._client.eval(text, len(keys), *keys, *arguments)  # which also makes Redis remember it


@functools.cache
def breaker_script(script: str) -> tuple[str, str]:
    """A breaker script's whole text and the digest by which Redis knows it."""
    folder = importlib.resources.files(__package__).joinpath("scripts")
    parts = [folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in ("breaker_common", script)]
    text = "\n".join(parts)
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
