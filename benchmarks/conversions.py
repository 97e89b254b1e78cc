"""Sustained conversions per second and time to settlement on the real stack, against the sandbox without faults.

make bench                      # 200 conversions
python benchmarks/conversions.py 500 --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from random import Random

from converter.client import MultiServiceConverter
from converter.domain.bech32 import segwit_address
from converter.domain.conversions import State
from converter.local.stack import Stack
from converter.settings import environment


def measure(stack: Stack, count: int) -> dict[str, float | int]:
    """Accept `count` conversions at once and wait until all are settled."""
    chance = Random(7)
    with MultiServiceConverter(home=stack.home) as converter:
        started = time.monotonic()
        handles = [
            converter.convert(
                from_coin="ETH",
                to_coin="BTC",
                amount=Decimal("0.5"),
                address=segwit_address("bc", 0, chance.randbytes(20)),
            )
            for _ in range(count)
        ]
        accepted = time.monotonic() - started
        for handle in handles:
            handle.result(timeout=300)
        elapsed = time.monotonic() - started
        ended = [handle.details() for handle in handles]
    times = [(one.completed_at - one.created_at).total_seconds() * 1000 for one in ended if one.completed_at]
    return {
        "conversions": count,
        "completed": sum(one.state is State.COMPLETED for one in ended),
        "accepted_per_s": round(count / accepted, 1),
        "settled_per_s": round(count / elapsed, 1),
        "p50_ms": round(statistics.median(times)),
        "p95_ms": round(statistics.quantiles(times, n=20)[18]),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="converter-bench-") as folder,
        Stack(Path(folder), environment(), sandbox=True) as stack,
    ):
        facts = measure(stack, given.count)
    if given.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name:16} {value}")


if __name__ == "__main__":
    main()
