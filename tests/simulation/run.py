"""Plays many worlds and tells what came of them. A world is named by its mix, its profile and its number."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from multiprocessing import get_context
from random import Random

from tests.simulation.profiles import MIXES, PROFILES
from tests.simulation.sabotage import SABOTAGES, Sabotaged
from tests.simulation.truth import Figures, Verdict
from tests.simulation.world import Setup, World

STEPS_SHOWN = 60


@dataclass(frozen=True)
class Name:
    """What fixes a world."""

    mix: str
    profile: str
    number: int
    without: str = "nothing"
    """A guard that is taken out (`tests.simulation.sabotage`)."""

    def world(self, *, traced: bool = False) -> World:
        setup, chance = Setup(MIXES[self.mix], PROFILES[self.profile]), Random(str(self))
        if self.without == "nothing":
            return World(setup, chance, traced=traced)
        return Sabotaged.by(SABOTAGES[self.without])(setup, chance, traced=traced)

    def __str__(self) -> str:
        return f"{self.mix}|{self.profile}|{self.number}"

    @property
    def command(self) -> str:
        place = f"--mix '{self.mix}' --profile '{self.profile}' --seed {self.number}"
        return f"python -m tests.simulation {place}" + f" --without '{self.without}'" * (self.without != "nothing")


@dataclass
class Played:
    """What came of some worlds of one mix and profile."""

    mix: str
    profile: str
    figures: Figures
    wrong: list[tuple[Name, dict[str, str]]]
    seconds: float = 0.0

    def __iadd__(self, other: Played) -> Played:
        self.figures += other.figures
        self.wrong += other.wrong
        self.seconds += other.seconds
        return self


def played(names: Iterable[Name]) -> Played:
    """Play these worlds, all of one mix and profile."""
    told, began = Played("", "", Figures(), []), time.process_time()
    for name in names:
        told.mix, told.profile = name.mix, name.profile
        verdict = quickly(name.world())
        told.figures += verdict.figures
        if verdict.figures.wrong:
            told.wrong.append((name, verdict.wrong))
    told.seconds = time.process_time() - began
    return told


def quickly(world: World) -> Verdict:
    """A world is thrown away as a whole: nothing is gained by looking for what it drops."""
    gc.disable()
    try:
        return world.play()
    finally:
        gc.enable()


def in_parallel(batches: list[list[Name]], jobs: int) -> Iterator[Played]:
    """Play batches on so many processes, in whatever order they end."""
    if jobs == 1:
        yield from map(played, batches)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(played, batches)


def story(name: Name) -> str:
    """What is wrong in a world, with the last steps of each conversion concerned, and how to see it again."""
    world = name.world(traced=True)
    verdict = world.play()
    lines = [f"{name}: {verdict.figures.wrong or 'nothing is wrong'}", f"  again: {name.command}"]
    for cid, text in verdict.wrong.items():
        lines += [f"{cid}: {text}", *steps_of(world, cid, STEPS_SHOWN)]
    return "\n".join(lines)


def steps_of(world: World, conversion_id: str, most: int) -> list[str]:
    """The last steps of a conversion, with simulated times in seconds."""
    steps = [(at, text) for at, cid, text in world.trace or () if cid == conversion_id]
    return [f"  {at / 1_000_000:12.6f} {text}" for at, text in steps[-most:]]


COLUMNS = [one.name for one in fields(Figures)]


def table(results: Iterable[Played]) -> str:
    """Figures by mix and profile."""
    heads = ["mix", "profile", *(name.replace("_", " ") for name in COLUMNS), "unaided %", "seconds"]
    rows = []
    for one in results:
        counts = [str(getattr(one.figures, name)) for name in COLUMNS]
        rows.append([one.mix, one.profile, *counts, f"{one.figures.unaided:.2f}", f"{one.seconds:.0f}"])
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    return "\n".join(
        "  ".join(text.rjust(wide) for text, wide in zip(row, widths, strict=True)) for row in [heads, *rows]
    )
