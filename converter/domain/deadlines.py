"""How long a service is waited for when it is asked for a quote: by what its recent answers took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

SAMPLES, FEWEST = 100, 20
"""How many of its newest answers count, and below how many nothing is known."""
MARGIN = 1.5
FLOOR = timedelta(milliseconds=500)


def percentile(sample: Sequence[int], percent: int) -> int:
    """The smallest value that at least so many per cent of a sample reach or stay below; 0 for an empty one."""
    ordered = sorted(sample)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0


def quote_deadline(latencies_ms: Sequence[int], limit: timedelta) -> timedelta:
    """The 99th percentile of its answers with a margin, between FLOOR and `limit`; `limit` while too few are known.

    What never came is not in the sample: a service that hangs does not buy itself more time. One that became slow does,
    because answers that came too late for their round are.
    """
    if len(latencies_ms) < FEWEST:
        return limit
    usual = timedelta(milliseconds=math.ceil(percentile(latencies_ms, 99) * MARGIN))
    return min(limit, max(FLOOR, usual))
