"""Turns inside a tier, shared by all processes.

One hash in Redis for each tier, strategy and configuration, changed by one script; the rules are those of
`converter.domain.balancing`. While Redis is away each process keeps turns of its own by the same rules: the shares
then hold in each process instead of over all. Nothing here is worth keeping: a lost state is a fresh start.

Reading the order charges nobody. The balancer is charged when an attempt starts, over the services between which its
order decided: the equals of the best rate, or the candidates where the best rate is switched off. One that was chosen
for its rate alone is charged over itself, which leaves a weighted order as it is.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from converter.domain import balancing
from converter.domain.balancing import WINDOW_SECONDS, Member, Strategy, Tier
from converter.shared_state.redis_access import RedisAccess, RedisAway

_TTL = {
    Strategy.WEIGHTED: 2 * 86_400,
    Strategy.ROUND_ROBIN: 2 * 86_400,
    Strategy.LEAST_USED: 2 * WINDOW_SECONDS,
}
_STATES_KEPT = 64  # a conversion may bring weights of its own, so configurations are not few by nature
_READ, _FIRST = "", "*"


class Balancer:
    """Gives and charges turns. Never raises for want of Redis. Shared by threads."""

    def __init__(self, access: RedisAccess, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._states: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def turns(self, tier: Tier, services: Collection[str]) -> list[str]:
        """The order in which these services of the tier would come next. Charges nobody."""
        return self._step(tier, tier.members(services), _READ)

    def charge(self, tier: Tier, services: Collection[str], service_id: str) -> None:
        """An attempt starts at `service_id`, which was chosen among `services`."""
        self._step(tier, tier.members(services), service_id)

    def take(self, tier: Tier, services: Collection[str], waiting: Collection[str] = ()) -> str:
        """Read the order of these services (at least one) and charge the first, in one step; returns it.

        `waiting` could have been asked but were not: their credit grows with this choice.
        """
        return self._step(tier, tier.members(services, waiting), _FIRST)[0]

    def _step(self, tier: Tier, members: list[Member], chosen: str) -> list[str]:
        script = f"balancer_{tier.strategy.replace('-', '_')}"
        pairs = [text for member in members for text in (member.service_id, member.weight)]
        candidates = sum(not member.waits for member in members)
        arguments = [chosen, _TTL[tier.strategy], candidates, *pairs]
        try:
            return list(self._access.run(script, [f"converter:balancer:{tier.mark()}"], arguments))
        except RedisAway:
            return self._step_here(tier, members, chosen)

    def _step_here(self, tier: Tier, members: list[Member], chosen: str) -> list[str]:
        second, mark = int(self._clock()), tier.mark()
        with self._lock:
            state = self._states.pop(mark, {})
            order = balancing.turns(tier.strategy, state, members, second)
            if chosen != _READ and order:
                service_id = order[0] if chosen == _FIRST else chosen
                state = balancing.charged(tier.strategy, state, members, service_id, second)
            self._states[mark] = state
            if len(self._states) > _STATES_KEPT:
                self._states.popitem(last=False)
        return order
