"""Answers that are kept for a moment: one look for many, none that is too old, and no error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from converter.remembering import Remembering


def test_who_asks_while_an_answer_is_made_gets_that_answer() -> None:
    made: list[int] = []
    go, everyone = Event(), Barrier(9)

    def make() -> int:
        made.append(1)
        go.wait(10)
        return len(made)

    kept: Remembering[int] = Remembering(60)

    def ask() -> int:
        everyone.wait(10)
        return kept.get("key", make)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        everyone.wait(10)
        go.set()
        assert [one.result(10) for one in asked] == [1] * 8


def test_each_key_has_an_answer_of_its_own_and_the_oldest_are_dropped() -> None:
    kept: Remembering[str] = Remembering(60, size=2)
    assert [kept.get(key, lambda key=key: f"{key}1") for key in "abc"] == ["a1", "b1", "c1"]  # type: ignore[misc]
    assert kept.get("c", lambda: "c2") == "c1"
    assert kept.get("a", lambda: "a2") == "a2"


def test_an_answer_is_made_again_when_it_is_old_or_forgotten() -> None:
    kept: Remembering[int] = Remembering(0.0)
    assert [kept.get("key", lambda number=number: number) for number in (1, 2)] == [1, 2]  # type: ignore[misc]
    lasting: Remembering[int] = Remembering(60)
    assert lasting.get("key", lambda: 1) == 1
    lasting.forget()
    assert lasting.get("key", lambda: 2) == 2


def test_an_error_is_told_and_not_kept() -> None:
    kept: Remembering[int] = Remembering(60)

    def fail() -> int:
        raise ValueError("away")

    with pytest.raises(ValueError, match="away"):
        kept.get("key", fail)
    assert kept.get("key", lambda: 1) == 1


def test_a_costly_answer_is_kept_for_longer() -> None:
    kept: Remembering[int] = Remembering(0.0, times=1e6)
    assert kept.get("key", lambda: sum(range(20_000))) == kept.get("key", lambda: -1)
