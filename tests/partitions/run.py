"""Partitions by the seed: `python -m tests.partitions.run --seeds 1 2 3 4 --conversions 500` (root, Linux).

One line of JSON for each seed, then a table; the exit code tells whether every seed kept both promises.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from converter.domain.conversions import State
from converter.local.audit import compare
from tests.partitions.nemesis import Nemesis, plan, profile
from tests.partitions.network import why_not
from tests.partitions.regions import REGIONS, Region, Regions, running_regions

HEALED_WITHIN = 600.0
COLUMNS = (
    "seed",
    "conversions",
    "completed",
    "doubles",
    "lost",
    "phantom",
    "open",
    "parked",
    "settled_after_s",
    "longest_wait_s",
)


def run(folder: Path, seed: int, conversions: int, seconds: float) -> dict[str, Any]:
    """One seed from beginning to end: what was struck, and what came of it."""
    faults = plan(seed, seconds)
    with running_regions(folder) as regions:
        share = conversions // len(REGIONS)
        backends = [
            threading.Thread(target=region.ask, args=(share, max(0.0, seconds / share - 0.02), seed), daemon=True)
            for region in regions.regions.values()
        ]
        for backend in backends:
            backend.start()
        Nemesis(regions, faults).play()
        over = regions.now()
        _wait(regions, backends)
        return {"seed": seed, "faults": profile(faults), **_outcome(regions, over, share * len(REGIONS))}


def passed(facts: dict[str, Any]) -> bool:
    """Nothing paid twice, nothing lost, nothing open."""
    return all(facts[name] == 0 for name in ("doubles", "lost", "phantom", "open")) and facts["accepted_twice"] == 0


def _wait(regions: Regions, backends: list[threading.Thread]) -> None:
    """Until all were asked for and none is open, at most ten minutes."""
    end = time.monotonic() + HEALED_WITHIN
    while time.monotonic() < end:
        regions.watch()
        if not any(backend.is_alive() for backend in backends) and not regions.open():
            return
        time.sleep(0.5)


def _outcome(regions: Regions, over: float, asked: int) -> dict[str, Any]:
    found, deliveries = regions.conversions(), regions.deliveries()
    verdict = compare(found, deliveries)
    open_ones = regions.open()
    moved = [(one.completed_at or one.updated_at).timestamp() for one in found if one.state is not State.NEEDS_REVIEW]
    workers: list[Region] = list(regions.regions.values())
    return {
        "conversions": len(found),
        "completed": sum(one.state is State.COMPLETED for one in found),
        "doubles": verdict.doubles,
        "lost": verdict.unpaid + max(0, asked - len(found)),
        "phantom": verdict.phantom,
        "open": len(open_ones),
        "open_states": dict(Counter(f"{one.state} {one.service_id}: {one.reason[:80]}" for one in open_ones)),
        "parked": sum(one.state is State.NEEDS_REVIEW for one in found),
        "accepted_twice": len(found) - len({one.request.idempotency_key for one in found}),
        "asked_again": sum(region.repeats for region in workers),
        "services": dict(Counter(one.service_id for one in found)),
        "failovers": sum(one.failovers for one in found),
        "restarts": {name: region.stack.workers[0].restarts for name, region in regions.regions.items()},
        "said": dict(Counter(line for region in workers for line in region.said)),
        "settled_after_s": round(max(moved, default=over) - over, 1),
        "longest_wait_s": round(max(region.longest_wait() for region in workers), 1),
    }


def main() -> int:
    reading = argparse.ArgumentParser(description=__doc__)
    reading.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    reading.add_argument("--conversions", type=int, default=500)
    reading.add_argument("--seconds", type=float, default=60.0, help="how long faults strike")
    reading.add_argument("--keep", type=Path, help="a folder for the logs")
    given = reading.parse_args()
    if why_not():
        sys.exit(why_not())
    rows = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory(prefix="converter-partitions-") as temporary:
            folder = (given.keep or Path(temporary)) / f"seed-{seed}"
            rows.append(run(folder, seed, given.conversions, given.seconds))
        print(json.dumps(rows[-1]), flush=True)
    widths = [max(len(name), *(len(str(row[name])) for row in rows)) for name in COLUMNS]
    for line in (dict(zip(COLUMNS, COLUMNS, strict=True)), *rows):
        print("  ".join(str(line[name]).rjust(width) for name, width in zip(COLUMNS, widths, strict=True)))
    return 0 if all(passed(row) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
