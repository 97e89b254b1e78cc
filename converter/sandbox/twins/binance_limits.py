"""How the Binance twin counts request weight.

Source: `services/binance.md` section 9. `/api` has one counter of 6000 a minute; each endpoint of `/sapi` has its
own, of 12000 (by IP) or 180000 (by UID) a minute. Every request counts, refused ones too. Inferred here: minutes are
those of the clock and start at zero; the sandbox's speed shortens them, as it shortens everything that a client waits
for; a client that goes on after a 429 is not banned (418).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from converter.sandbox.twin import World
from converter.sandbox.twins.binance_auth import BinanceError, Endpoint

LIMITS = {"api": 6000, "ip": 12000, "uid": 180000}
_HEADERS = {
    "api": "X-MBX-USED-WEIGHT-1M",
    "ip": "X-SAPI-USED-IP-WEIGHT-1M",
    "uid": "X-SAPI-USED-UID-WEIGHT-1M",
}


@dataclass
class Weights:
    """Used weight in the present minute."""

    world: World
    _minute: int = -1
    _used: dict[str, int] = field(default_factory=dict)

    def charge(self, endpoint: Endpoint, weight: int) -> dict[str, str]:
        """Count a request and return the headers of its answer; BinanceError 429 when it is one too many."""
        seconds = 60 / self.world.speed
        minute, into = divmod(self.world.now(), seconds)
        if int(minute) != self._minute:
            self._minute = int(minute)
            self._used.clear()
        name = endpoint.counter if endpoint.counter == "api" else f"{endpoint.method} {endpoint.path}"
        used = self._used[name] = self._used.get(name, 0) + weight
        limit = LIMITS[endpoint.counter]
        headers = {_HEADERS[endpoint.counter]: str(used)}
        if used > limit:
            message = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
            retry = {"Retry-After": str(max(1, math.ceil(seconds - into)))}
            raise BinanceError(-1003, message, 429, headers | retry)
        return headers
