"""The decision core under a director that hypothesis plays (`tests/simulation/decisions.py`).

`SIMULATE_EXAMPLES=20000 pytest tests/simulation/test_decisions.py` plays more, and other plays every time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase

from converter import sending
from converter.domain.errors import Outcome, policy_of
from converter.domain.orders import OperationRule
from converter.ports import Deadline
from tests.builders import seconds
from tests.memory_ledger import ALL_GUARDS, Guard
from tests.simulation.decisions import Decisions, played

EXAMPLES = int(os.environ.get("SIMULATE_EXAMPLES", "0"))


@pytest.mark.timeout(0 if EXAMPLES else 120)
def test_no_play_doubles_loses_or_misjudges_a_conversion() -> None:
    played(Decisions, EXAMPLES or 200, derandomize=not EXAMPLES)


# --- Does it see? One guard is taken out, and some play has to break -------------------------------------------------


class WithoutQuietTime(Decisions):
    kinds = ("exchange",)

    @staticmethod
    def declared(rule: OperationRule) -> OperationRule:
        return replace(rule, quiet=None if rule.quiet is None else seconds(0))


class WithTrustInAbsence(Decisions):
    kinds = ("blind", "blind exchange")

    @staticmethod
    def declared(rule: OperationRule) -> OperationRule:
        return replace(rule, quiet=rule.quiet or seconds(5))


class WithTrustInRepeats(Decisions):
    kinds = ("blind",)

    @staticmethod
    def declared(rule: OperationRule) -> OperationRule:
        return replace(rule, repeat_recognised=rule.moves_money)


class WithSendsNotCounted(Decisions):
    kinds = ("recognises",)
    guards = ALL_GUARDS - {Guard.COUNTED_SENDS}


def failing_over_on_any_error(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sending, "policy_of", lambda error: replace(policy_of(error), outcome=Outcome.NOT_EXECUTED))


def sending_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Deadline, "expired", False)


def nothing_more(patch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize(
    ("machine", "sabotage"),
    [
        (WithoutQuietTime, nothing_more),
        (WithTrustInAbsence, nothing_more),
        (WithTrustInRepeats, nothing_more),
        (WithSendsNotCounted, nothing_more),
        (Decisions, failing_over_on_any_error),
        (Decisions, sending_late),
    ],
    ids=lambda one: one.__name__,
)
def test_a_guard_that_is_missing_is_seen(
    machine: type[Decisions], sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    with pytest.raises(AssertionError, match=r"I\d|is recorded as|sent (too late|more often)"):
        played(machine, 1500, phases=[Phase.generate])
