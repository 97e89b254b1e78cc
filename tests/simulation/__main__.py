"""`python -m tests.simulation`: many worlds of every mix and profile, or one world again, with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.profiles import MIXES, PROFILES
from tests.simulation.run import Name, Played, in_parallel, steps_of, story, table
from tests.simulation.sabotage import SABOTAGES
from tests.simulation.truth import Figures
from tests.simulation.world import CONVERSIONS

_BATCH = 10
_SHOWN = 3


def main() -> int:
    given = _arguments()
    mixes = [given.mix] if given.mix else list(MIXES)
    profiles = [given.profile] if given.profile else list(PROFILES)
    if given.seed is not None:
        for name in (Name(mix, profile, given.seed, given.without) for mix in mixes for profile in profiles):
            print(story(name))
            if given.conversion:
                world = name.world(traced=True)
                world.play()
                print("\n".join(steps_of(world, given.conversion, 10_000)))
        return 0
    results = _many([(mix, profile) for mix in mixes for profile in profiles], given)
    print(table([*results.values(), _sum(results)]))
    wrong = [name for one in results.values() for name, _ in one.wrong]
    for name in wrong[:_SHOWN]:
        print(story(name))
    doubles = _sum(results).figures
    print(f"{10_000 * doubles.doubles / max(1, doubles.conversions):.1f} doubles in 10,000")
    print(f"{len(wrong)} worlds in which something is wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def _many(chosen: list[tuple[str, str]], given: argparse.Namespace) -> dict[tuple[str, str], Played]:
    results = {one: Played(*one, Figures(), []) for one in chosen}
    last = given.first + given.seeds
    batches = [
        [Name(mix, profile, number, given.without) for number in range(first, min(first + _BATCH, last))]
        for first in range(given.first, last, _BATCH)
        for mix, profile in chosen
    ]
    began, done, total = time.monotonic(), 0, len(chosen) * given.seeds * CONVERSIONS
    for one in in_parallel(batches, given.jobs):
        results[one.mix, one.profile] += one
        done += one.figures.conversions
        wrong = sum(len(each.wrong) for each in results.values())
        spent = time.monotonic() - began
        text = f"\r{done:,} of {total:,} conversions, {done / spent:,.0f}/s, {wrong} worlds wrong"
        print(text, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def _sum(results: dict[tuple[str, str], Played]) -> Played:
    total = Played("all of it", "", Figures(), [])
    for one in results.values():
        total += one
    return total


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=20, help=f"worlds of each mix and profile, {CONVERSIONS} conversions each"
    )
    parser.add_argument("--first", type=int, default=0, help="the number of the first world")
    parser.add_argument("--mix", choices=list(MIXES), help="only this mix of services")
    parser.add_argument("--profile", choices=list(PROFILES), help="only this profile of faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--without", choices=list(SABOTAGES), default="nothing", help="take a guard out")
    parser.add_argument("--seed", type=int, help="play this one world again and tell what is wrong in it")
    parser.add_argument("--conversion", help="with --seed: every step of this conversion")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
