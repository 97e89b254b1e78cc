"""A guard of the money rule, and how it is taken out of a copy of the tree."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

QUICK = "not postgresql"
"""Tests on a database run on SQLite only; a guard that only PostgreSQL can miss asks for more."""


class GuardMovedError(Exception):
    """Raised when a text that is to be replaced is not there exactly once: the list no longer fits the code."""


@dataclass(frozen=True)
class Edit:
    """One exact replacement in one file."""

    file: str
    old: str
    new: str

    def check(self, root: Path) -> str:
        """The file's text. Raises GuardMovedError unless the old text is in it exactly once."""
        place = root / self.file
        text = place.read_text() if place.is_file() else ""
        found = text.count(self.old)
        if found != 1 or self.old == self.new:
            raise GuardMovedError(f"the guard moved: {self.file} has {found} times\n{self.old}")
        return text

    def apply(self, root: Path) -> None:
        """Replace. Raises GuardMovedError, or SyntaxError when what remains is no Python: that would prove nothing."""
        changed = self.check(root).replace(self.old, self.new)
        ast.parse(changed, self.file)
        (root / self.file).write_text(changed)


@dataclass(frozen=True)
class Guard:
    """Something that keeps money safe, how to take it out, and which tests must then turn red.

    `tests` are several selections (folders, files or `file::test`); `keyword` narrows them, as pytest's `-k`.
    """

    name: str
    why: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    keyword: str = QUICK

    def remove(self, root: Path) -> None:
        """Take the guard out of the tree at `root`. Raises GuardMovedError, SyntaxError."""
        for edit in self.edits:
            edit.apply(root)


def one(file: str, old: str, new: str) -> tuple[Edit, ...]:
    """The edits of a guard that stands in one place."""
    return (Edit(file, old, new),)


def tests_of(file: str, *names: str) -> tuple[str, ...]:
    """Selections of some tests of a file."""
    return tuple(f"{file}::{name}" for name in names)


def files_of_the_tree(root: Path = ROOT) -> list[str]:
    """What git keeps, or would keep: no environments, no caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


def copy_tree(files: Iterable[str], target: Path, root: Path = ROOT) -> None:
    """Copy the files to a new place."""
    for name in files:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place)
