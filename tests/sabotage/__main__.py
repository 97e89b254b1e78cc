"""`python -m tests.sabotage [part of a guard's name …]`: takes out each guard of the money rule in turn.

Prints a table of guard, tests that turned red, and seconds. Ends with 1 if one stays green or could not be tried.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from tests.sabotage.guard import ROOT, Guard
from tests.sabotage.guards import GUARDS
from tests.sabotage.run import AT_ONCE, Verdict, try_all

WIDTH = max(len(guard.name) for guard in GUARDS)

SHOWN = 2
"""Tests that are named for each guard."""


def chosen(parts: list[str]) -> list[Guard]:
    """Guards with one of these words in their names; all of them without any."""
    return [guard for guard in GUARDS if not parts or any(part in guard.name for part in parts)]


def short(nodeid: str) -> str:
    """A test as file and name, without the folders."""
    file, _, name = nodeid.partition("::")
    return f"{file.rpartition('/')[2]}::{name.rpartition('::')[2]}"


def row(verdict: Verdict) -> str:
    """One line of the table."""
    caught = "; ".join(short(name) for name in verdict.caught_by[:SHOWN])
    if len(verdict.caught_by) > SHOWN:
        caught += f" (+{len(verdict.caught_by) - SHOWN})"
    text = caught if verdict.is_caught else verdict.trouble or f"NOTHING: {verdict.tests} tests stayed green"
    return f"{verdict.guard.name:<{WIDTH}} | {verdict.seconds:>5.1f} | {text}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage")
    parser.add_argument("guard", nargs="*", help="part of a guard's name; without any, all are tried")
    parser.add_argument("--jobs", type=int, default=AT_ONCE, help="guards at the same time")
    parser.add_argument("--list", action="store_true", help="only show the guards, and why each exists")
    given = parser.parse_args()
    guards = chosen(given.guard)
    if given.list:
        for guard in guards:
            print(f"{guard.name}\n    {guard.why}")
        return 0
    if not guards:
        parser.error("no guard has that in its name")
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is ended too
    print(f"{'guard taken out':<{WIDTH}} | {'s':>5} | caught by", flush=True)
    verdicts = try_all(guards, ROOT, lambda verdict: print(row(verdict), flush=True), at_once=given.jobs)
    missed = [verdict for verdict in verdicts if not verdict.is_caught]
    seconds = time.monotonic() - began
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} guards are missed when they are gone; {seconds:.0f} s")
    for verdict in missed:
        print(f"  not caught: {verdict.guard.name}. {verdict.guard.why} {verdict.trouble}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
