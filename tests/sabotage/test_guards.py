"""The list of guards fits the code, and the one who takes them out tells noticing from breaking."""

from __future__ import annotations

import ast
import functools
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.sabotage.guard import ROOT, Edit, Guard, GuardMovedError, copy_tree
from tests.sabotage.guards import GUARDS
from tests.sabotage.run import Verdict, red_anyway, tried


@functools.cache
def names_in(file: str) -> frozenset[str]:
    """Names of the tests that a file defines, those of its classes too."""
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_is_still_where_the_list_says(guard: Guard, tmp_path: Path) -> None:
    copy_tree({edit.file for edit in guard.edits}, tmp_path)
    guard.remove(tmp_path)
    assert any((tmp_path / one.file).read_text() != (ROOT / one.file).read_text() for one in guard.edits)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_guard_names_tests_that_exist(guard: Guard) -> None:
    assert guard.tests
    for selection in guard.tests:
        file, _, name = selection.partition("::")
        assert (ROOT / file).exists(), file
        assert not name or name in names_in(file), selection


def test_every_guard_has_a_name_of_its_own_and_a_reason() -> None:
    assert [name for name, times in Counter(guard.name for guard in GUARDS).items() if times > 1] == []
    assert [guard.name for guard in GUARDS if not guard.why.endswith(".")] == []


def test_a_guard_that_moved_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1\nb = 1\n")
    for old in ("= 1", "c = 1"):
        with pytest.raises(GuardMovedError, match=r"code\.py has [02] times"):
            Edit("code.py", old, "= 2").apply(tmp_path)
    with pytest.raises(GuardMovedError):
        Edit("gone.py", "a", "b").apply(tmp_path)
    with pytest.raises(SyntaxError):
        Edit("code.py", "a = 1", "a =").apply(tmp_path)
    assert (tmp_path / "code.py").read_text() == "a = 1\nb = 1\n"


# --- In a small house of its own -------------------------------------------------------------------------------------

HOUSE = {
    "converter/__init__.py": "",
    "converter/pay.py": "LEFT = [1]\n\ndef pay():\n    if LEFT:\n        return LEFT.pop()\n    return 0\n",
    "tests/test_pay.py": (
        "from converter.pay import LEFT, pay\n\n"
        "def test_it_is_paid_once():\n    LEFT[:] = [1]\n    assert [pay(), pay()] == [1, 0]\n\n"
        "def test_it_is_paid():\n    LEFT[:] = [1]\n    assert pay() == 1\n\n"
        "def test_that_is_red_anyway():\n    assert pay() == 2\n"
    ),
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tree with one guard, its tests, and the witness."""
    for name, text in HOUSE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tests/sabotage").mkdir()
    for name in ("__init__.py", "sabotage/__init__.py", "sabotage/witness.py"):
        shutil.copyfile(ROOT / "tests" / name, tmp_path / "tests" / name)
    return tmp_path


PAID_AGAIN = ("LEFT.pop()", "LEFT[0]")


def judged(small: Path, change: tuple[str, str], *names: str) -> Verdict:
    edits = (Edit("converter/pay.py", *change),)
    guard = Guard("once", "Paid once.", edits, tuple(f"tests/test_pay.py::{name}" for name in names))
    return tried(guard, files_of(small), small)


def files_of(small: Path) -> list[str]:
    return [str(path.relative_to(small)) for path in sorted(small.rglob("*.py"))]


def test_a_guard_is_caught_by_the_test_that_asserts_it(small: Path) -> None:
    verdict = judged(small, PAID_AGAIN, "test_it_is_paid_once", "test_it_is_paid")
    assert verdict.is_caught
    assert verdict.caught_by == ("tests/test_pay.py::test_it_is_paid_once",)


def test_a_guard_that_nobody_misses_is_not_caught(small: Path) -> None:
    verdict = judged(small, PAID_AGAIN, "test_it_is_paid")
    assert (verdict.is_caught, verdict.trouble, verdict.tests) == (False, "", 1)


@pytest.mark.parametrize("change", [("LEFT.pop()", "left.pop()"), ("LEFT = [1]", "import nowhere\nLEFT = [1]")])
def test_what_merely_breaks_has_caught_nothing(small: Path, change: tuple[str, str]) -> None:
    verdict = judged(small, change, "test_it_is_paid_once")
    assert not verdict.is_caught
    assert "only broken" in verdict.trouble


def test_a_test_that_is_red_anyway_has_caught_nothing(small: Path) -> None:
    names = [f"tests/test_pay.py::{name}" for name in ("test_it_is_paid_once", "test_that_is_red_anyway")]
    assert red_anyway(names, files_of(small), small) == {"tests/test_pay.py::test_that_is_red_anyway"}
