"""Takes out of a log line what must never be in one: keys that we hold, and what looks like a key or an address.

Nothing of ours logs such a thing on purpose. This is for the text of an error that came from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

GONE = "[redacted]"
SHORTEST = 6
"""Shorter values would be found by chance."""

_NAMES = re.compile(r"(?i)authorization|password|passwd|secret|token|cookie|signature|private|mnemonic|api[-_]?key")
"""Names whose value is not for a log, whatever it is."""

_SHAPES = re.compile(
    r"""
      (?P<login>(?<=://)[^/\s:@]*:[^/\s@]+(?=@))                            # user:password in a URL
    | (?P<header>(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,})          # an authorization header
    | (?P<named>(?i:(?:api[-_]?key|token|secret|password|signature)["']?\s*[=:]\s*["']?)[^\s"'&,;]{4,})
    | (?P<segwit>\b(?:bc|tb|bcrt|ltc)1[02-9ac-hj-np-z]{20,90}\b)
    | (?P<lightning>\bln(?:bc|tb|bcrt)[0-9][0-9a-z]{40,})
    | (?P<evm>\b0x[0-9a-fA-F]{40}\b)
    | (?P<base58>\b[13LMDXtRr][1-9A-HJ-NP-Za-km-z]{25,34}\b)
    """,
    re.VERBOSE,
)
# One cheap look first: nearly every line has nothing of the kind.
_SUSPICIOUS = re.compile(
    r"://|(?i:bearer|basic|key|token|secret|password|signature)|\b0x|1[0-9a-z]{20}|[A-Za-z0-9]{26}"
)


class Redaction:
    """A step for structlog. `secrets`: values that no line may hold; more may be added later."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: re.Pattern[str] | None = None
        self._held: set[str] = set()
        self.hold(secrets)

    def hold(self, secrets: Iterable[str]) -> None:
        """Keep these values out, too."""
        self._held |= {one for one in secrets if len(one) >= SHORTEST}
        if self._held:
            longest_first = sorted(self._held, key=len, reverse=True)
            self._secrets = re.compile("|".join(re.escape(one) for one in longest_first))

    def __call__(self, _logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
        """The line without them."""
        for name, value in line.items():
            if isinstance(value, str):
                line[name] = GONE if _NAMES.search(name) else self.text(value)
            elif isinstance(value, Mapping | list | tuple):
                line[name] = self._inside(value)
        return line

    def text(self, text: str) -> str:
        """A text without them."""
        if self._secrets is not None:
            text = self._secrets.sub(GONE, text)
        return _SHAPES.sub(GONE, text) if _SUSPICIOUS.search(text) else text

    def _inside(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: GONE if _NAMES.search(str(name)) else self._inside(one) for name, one in value.items()}
        return [self._inside(one) for one in value] if isinstance(value, list | tuple) else value
