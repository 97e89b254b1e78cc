"""A pool's payout job: convert what was mined into what a miner asked for.

Start the system first, in another terminal:

    make up                                  # or: converter up --sandbox
    .venv/bin/python examples/pool_backend.py
"""

from __future__ import annotations

import sys
from decimal import Decimal

from converter import ConversionNotCompleted, InvalidRequest, MultiServiceConverter

PAYOUTS = [
    ("payout-2026-11-24-worker-7", Decimal("1.5"), "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"),
    ("payout-2026-11-24-worker-9", Decimal("0.25"), "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
]


def main() -> int:
    """Convert every payout once, however often this job is started."""
    failed = 0
    with MultiServiceConverter(always_use_best_rate=True) as converter:
        converter.on("service:failure", lambda event: print(f"{event['serviceId']} failed ({event['failures']} times)"))
        converter.on("failover:success", lambda event: print(f"failover from {event['from']} to {event['to']}"))
        converter.on("service:recovered", lambda event: print(f"{event['serviceId']} has recovered"))

        handles = []
        for key, amount, address in PAYOUTS:
            try:
                # The key makes the job repeatable: the same payout is the same conversion.
                handles.append(
                    converter.convert(
                        from_coin="ETH", to_coin="BTC", amount=amount, address=address, idempotency_key=key
                    )
                )
            except InvalidRequest as error:
                print(f"{key}: refused, {error.field} {error.problem}")
                failed += 1

        for handle in handles:
            try:
                result = handle.result(timeout=120)
            except ConversionNotCompleted as error:
                print(error)
                failed += 1
            else:
                print(f"{result.amount} ETH -> {result.delivered} BTC via {result.service}, transaction {result.txid}")

        stats = converter.get_stats()
        print(
            f"{stats['totalConversions']} conversions, {stats['failovers']} failovers,"
            f" {stats['healthyServices']} healthy services, use {stats['serviceUsage']}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
