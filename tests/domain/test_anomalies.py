"""Judging rates: gates, the reference, the band, holds, history, strikes and quarantine, and the simulated market."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.anomalies import measure
from converter.domain.anomalies import (
    HOLD_ALERTS,
    Code,
    HoldCode,
    Judgement,
    PairState,
    RatedQuote,
    Verdict,
    confirm,
    judge,
)
from converter.domain.quarantine import (
    FIRST_TERM,
    LIFTED,
    LONGEST_TERM,
    NEEDS_OPERATOR,
    QUARANTINED,
    SHADOWS,
    SLIPPED,
    STRUCK,
    Change,
    Standing,
    after_settlement,
    after_verdict,
    lift,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest
from converter.domain.rate_history import USABLE, History, accept, tolerance
from converter.domain.rating import malformed, rate_of
from tests.builders import BTC, ETH

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
NAMES = "abcdefgh"


def history(average: str, *, age: timedelta = MINUTE, variance: str = "0") -> History:
    rate = Decimal(average)
    return History(rate, rate, NOW - age, Decimal(variance), rate, NOW - age)


def known(average: str, *, age: timedelta = MINUTE) -> PairState:
    return PairState(history(average, age=age))


def rates(*texts: str, at: datetime = NOW) -> list[RatedQuote]:
    return [RatedQuote(NAMES[index], Decimal(text), at) for index, text in enumerate(texts)]


def judged(*texts: str, state: PairState | None = None, at: datetime = NOW) -> Judgement:
    return judge(rates(*texts, at=at), state or PairState(), (), at)


def codes(judgement: Judgement) -> list[Code]:
    return [one.code for one in judgement.verdicts]


def struck(judgement: Judgement) -> str:
    return "".join(one.service_id for one in judgement.verdicts if one.strike)


# --- Gates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "1E+21", "1E-21", "1E+999999"])
def test_what_is_no_rate_has_no_vote(text: str) -> None:
    found = judged("1", "1.001", "1.002", text)
    assert codes(found) == [Code.ACCEPTED] * 3 + [Code.MALFORMED]
    assert found.reference == Decimal("1.001")


@pytest.mark.parametrize(("age", "code"), [(15, Code.ACCEPTED), (15.1, Code.STALE), (-15.1, Code.STALE)])
def test_a_quote_is_judged_for_fifteen_seconds(age: float, code: Code) -> None:
    late = RatedQuote("late", Decimal(1), NOW - timedelta(seconds=age))
    assert judge([*rates("1", "1"), late], PairState(), (), NOW).verdicts[-1].code is code


@pytest.mark.parametrize(("left", "code"), [(timedelta(microseconds=1), Code.ACCEPTED), (timedelta(0), Code.EXPIRED)])
def test_an_offer_that_ended_is_not_taken(left: timedelta, code: Code) -> None:
    offer = RatedQuote("offer", Decimal(1), NOW, NOW + left)
    assert judge([*rates("1", "1"), offer], PairState(), (), NOW).verdicts[-1].code is code


@pytest.mark.parametrize(
    ("text", "code"), [("5", Code.TOO_GOOD), ("5.0001", Code.SLIP), ("0.2", Code.TOO_BAD), ("0.1999", Code.SLIP)]
)
def test_a_slip_of_the_decimal_point_is_told_by_the_last_accepted_rate(text: str, code: Code) -> None:
    found = judged("1", "1.001", text, state=known("1"))
    assert codes(found) == [Code.ACCEPTED, Code.ACCEPTED, code]
    assert struck(found) == "c"


def test_when_every_quote_looks_like_a_slip_history_is_in_doubt_and_nobody_is_struck() -> None:
    found = judged("6", "6", "6", state=known("1"))
    assert codes(found) == [Code.SLIP] * 3
    assert found.state.hold is not None
    assert found.state.hold.code is HoldCode.JUMP
    assert struck(found) == ""
    later = NOW + USABLE
    assert codes(judged("6", "6", "6", state=found.state, at=later)) == [Code.ACCEPTED] * 3, (
        "history is too old by then"
    )


def a_quote(net: str, gross: str = "0.1", *fees: Fee) -> Quote:
    request = QuoteRequest(ETH, BTC, Decimal("1.5"))
    return Quote("alpha", request, Decimal(gross), fees, Decimal(net), firm=True, expires_at=NOW)


def test_a_rate_is_judged_before_fixed_fees_and_after_those_that_are_a_share() -> None:
    fees = Fee("service", Decimal("0.001")), Fee("withdrawal", Decimal("0.0003")), Fee("network", Decimal("0.0002"))
    assert rate_of(a_quote("0.0985", "0.1", *fees)) == Decimal("0.066")


@pytest.mark.parametrize(
    ("quote", "problem"),
    [
        (a_quote("0.09"), ""),
        (a_quote("0.1"), ""),
        (a_quote("0.10000001"), "promises more than its gross"),
        (a_quote("0"), "leaves nothing for the receiver"),
        (a_quote("NaN"), "has a figure that is no amount"),
        (a_quote("0.09", "Infinity"), "has a figure that is no amount"),
        (a_quote("0.09", "1E+20"), "has a figure that is no amount"),
        (a_quote("0.09", "0.1", Fee("service", Decimal("NaN"))), "has a figure that is no amount"),
    ],
)
def test_a_quote_that_cannot_be_an_answer_is_told(quote: Quote, problem: str) -> None:
    assert malformed(quote, quote.request) == problem


def test_a_quote_for_another_pair_or_amount_is_no_answer() -> None:
    assert malformed(a_quote("0.09"), QuoteRequest(BTC, ETH, Decimal("1.5")))
    assert malformed(a_quote("0.09"), QuoteRequest(ETH, BTC, Decimal("1.4")))


# --- The reference and the band --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "average", "reference"),
    [
        (("1", "1.01", "1.005"), None, "1.005"),
        (("1", "1.01", "1.005"), "1.02", "1.005"),
        (("1", "1.01", "1.004", "1.006"), None, "1.005"),
        (("1", "1.01", "1.004", "1.006"), "1.02", "1.006"),
        (("1", "1.01"), None, "1.005"),
        (("1", "1.01"), "1.004", "1.004"),
        (("1", "1.01"), "1.02", "1.01"),
        (("1", "1.03"), "1.01", "1.01"),
        (("1",), None, "1"),
        (("1",), "1.01", "1.01"),
        ((), "1.01", "1.01"),
        ((), None, None),
    ],
)
def test_the_reference_is_a_median_in_which_history_votes_when_quotes_are_even(
    texts: tuple[str, ...], average: str | None, reference: str | None
) -> None:
    found = judged(*texts, state=known(average) if average else None)
    assert found.reference == (None if reference is None else Decimal(reference))


@pytest.mark.parametrize(
    ("text", "code", "strike"),
    [
        ("1.0203", Code.TOO_GOOD, True),
        ("1.0202", Code.ACCEPTED, False),
        ("0.9802", Code.ACCEPTED, False),
        ("0.9799", Code.UNCOMPETITIVE, False),
        ("0.9513", Code.UNCOMPETITIVE, False),
        ("0.9499", Code.TOO_BAD, True),
        ("10", Code.TOO_GOOD, True),
        ("0.1", Code.TOO_BAD, True),
    ],
)
def test_too_good_and_absurd_are_struck_and_a_little_too_bad_is_only_left_out(
    text: str, code: Code, strike: bool
) -> None:
    found = judged("1", "1", text)
    assert codes(found)[-1] is code
    assert struck(found) == ("c" if strike else "")
    assert found.accepted == ({"a", "b", "c"} if code is Code.ACCEPTED else {"a", "b"})


@pytest.mark.parametrize(
    ("sigma", "width"), [("0", "0.02"), ("0.004", "0.02"), ("0.008", "0.032"), ("0.0125", "0.05"), ("0.1", "0.05")]
)
def test_the_tolerance_is_four_standard_deviations_within_its_bounds(sigma: str, width: str) -> None:
    assert tolerance(history("1", variance=str(Decimal(sigma) ** 2))) == Decimal(width)
    assert tolerance(None) == Decimal("0.02")


def test_of_two_that_contradict_each_other_the_one_near_history_survives_unstruck() -> None:
    found = judged("1", "1.03", state=known("1.001"))
    assert codes(found) == [Code.ACCEPTED, Code.TOO_GOOD]
    assert struck(found) == "", "history alone may be with the one that stands still"


def test_a_slip_is_struck_even_when_only_one_quote_and_history_stand_against_it() -> None:
    assert struck(judged("1", "50", state=known("1"))) == "b"


def test_two_that_contradict_each_other_far_from_history_are_held() -> None:
    found = judged("1.03", "1.09", state=known("1"))
    assert found.accepted == frozenset()
    assert found.state.hold is not None
    assert found.state.hold.code is HoldCode.NO_AGREEMENT


@pytest.mark.parametrize(
    "texts", [("1", "1.03"), ("1", "1.03", "1.06"), ("1", "1.03", "1.06", "1.09"), ("1", "1", "1.03", "1.03")]
)
def test_quotes_of_which_no_two_agree_are_held(texts: tuple[str, ...]) -> None:
    found = judged(*texts)
    assert found.state.hold is not None
    assert found.state.hold.code is HoldCode.NO_AGREEMENT
    assert found.accepted == frozenset()
    assert struck(found) == ""


def test_a_lone_quote_needs_history_or_leave() -> None:
    alone = judged("1")
    assert codes(alone) == [Code.HELD]
    assert alone.state.hold is not None
    assert alone.state.hold.code is HoldCode.UNVERIFIED
    assert judge(rates("1"), PairState(), (), NOW, allow_unverified=True).accepted == {"a"}
    assert judged("1", state=known("1.01")).accepted == {"a"}
    assert judged("1", state=known("1.01", age=USABLE + SECOND)).accepted == frozenset()
    assert judge(rates("1.05"), known("1"), (), NOW, allow_unverified=True).accepted == frozenset()


def test_a_service_in_quarantine_is_judged_but_has_no_vote() -> None:
    found = judge(rates("1", "1.001", "1.001", "1.03"), PairState(), {"c", "d"}, NOW)
    assert found.reference == Decimal("1.0005")
    assert codes(found) == [Code.ACCEPTED, Code.ACCEPTED, Code.SHADOW, Code.TOO_GOOD]
    assert struck(found) == ""
    assert found.accepted == {"a", "b"}


def test_a_shadow_quote_alone_is_judged_by_history_and_does_not_touch_it() -> None:
    found = judge(rates("1.001"), known("1"), {"a"}, NOW)
    assert codes(found) == [Code.SHADOW]
    assert found.state == known("1")
    assert codes(judge(rates("1.03"), known("1"), {"a"}, NOW)) == [Code.TOO_GOOD]
    assert codes(judge(rates("1"), PairState(), {"a"}, NOW)) == [Code.HELD], "nothing to compare it with"


@given(
    st.lists(st.decimals(min_value=Decimal("0.5"), max_value=2, places=4), min_size=1, max_size=6),
    st.one_of(st.none(), st.decimals(min_value=Decimal("0.5"), max_value=2, places=4)),
    st.integers(min_value=0, max_value=40),
)
def test_in_any_round_what_is_accepted_lies_together_and_nobody_accepted_is_struck(
    texts: list[Decimal], average: Decimal | None, age: int
) -> None:
    state = PairState() if average is None else known(str(average), age=age * MINUTE)
    found = judged(*map(str, texts), state=state)
    assert found.reference is not None
    taken = [Decimal(text) for text, one in zip(texts, found.verdicts, strict=True) if one.code is Code.ACCEPTED]
    assert all(abs((rate / found.reference).ln()) <= found.tolerance for rate in taken)
    assert not taken or found.state.hold is None
    assert all(one.code in {Code.TOO_GOOD, Code.TOO_BAD, Code.SLIP} for one in found.verdicts if one.strike)
    assert found.state.hold is None or struck(found) == ""
    assert not taken or len(texts) > 1 or average is not None, "a lone quote without history never passes"


# --- Jumps and holds -------------------------------------------------------------------------------------------------


def test_a_jump_that_three_confirm_is_taken_and_history_begins_anew_there() -> None:
    found = judged("1.2", "1.205", "1.21", state=known("1"))
    assert found.accepted == {"a", "b", "c"}
    assert found.state.history is not None
    assert found.state.history.average == Decimal("1.205")


def test_a_jump_that_only_two_see_is_held_until_three_agree() -> None:
    first = judged("1.2", "1.21", state=known("1"))
    hold = first.state.hold
    assert hold is not None
    assert (hold.code, hold.since, hold.rate) == (HoldCode.JUMP, NOW, Decimal("1.205"))
    assert codes(first) == [Code.HELD, Code.HELD]
    assert struck(first) == ""
    assert first.state.history == known("1").history, "a held rate teaches nothing"
    again = judged("1.2", "1.21", state=first.state, at=NOW + MINUTE)
    assert again.state.hold is not None
    assert again.state.hold.since == NOW
    done = judged("1.2", "1.205", "1.21", state=again.state, at=NOW + 2 * MINUTE)
    assert done.state.hold is None
    assert done.accepted == {"a", "b", "c"}


def test_three_of_which_one_is_apart_do_not_confirm_a_jump() -> None:
    found = judged("1.2", "1.205", "1.22", state=known("1"))
    assert found.state.hold is not None
    assert found.state.hold.code is HoldCode.JUMP


def test_a_jump_that_goes_back_releases_the_pair() -> None:
    held = judged("1.2", "1.21", state=known("1")).state
    back = judged("1.001", "1.002", state=held, at=NOW + MINUTE)
    assert back.state.hold is None
    assert back.accepted == {"a", "b"}


def test_the_age_of_history_alone_does_not_make_a_jump_true() -> None:
    held = judged("1.2", "1.21", state=known("1")).state
    later = NOW + USABLE + MINUTE
    assert judged("1.2", "1.21", state=held, at=later).accepted == frozenset()
    assert judged("1.2", "1.205", "1.21", state=held, at=later).accepted == {"a", "b", "c"}


def test_a_round_in_which_nobody_agrees_leaves_a_jump_a_jump() -> None:
    held = judged("1.2", "1.21", state=known("1")).state
    mixed = judged("1.2", "1.4", state=held, at=NOW + MINUTE).state
    assert mixed.hold is not None
    assert mixed.hold.code is HoldCode.JUMP


def test_an_operator_confirms_the_rate_that_was_seen_and_no_other() -> None:
    confirmed = confirm(judged("1.2", "1.21", state=known("1")).state, None, NOW)
    assert confirmed.hold is None
    assert judged("1.21", "1.215", state=confirmed, at=NOW + MINUTE).accepted == {"a", "b"}
    assert judged("1.5", "1.51", state=confirmed, at=NOW + MINUTE).accepted == frozenset()


def test_an_operator_confirms_a_lone_quote_even_against_history() -> None:
    for state in (known("1"), PairState()):
        held = judged("1.05", state=state).state
        assert held.hold is not None
        assert held.hold.rate == Decimal("1.05")
        confirmed = confirm(held, None, NOW)
        assert judged("1.051", state=confirmed, at=NOW + MINUTE).accepted == {"a"}


def test_an_operator_may_name_another_rate_and_volatility_stays() -> None:
    before = PairState(history("1", variance="0.0001"))
    confirmed = confirm(before, Decimal("1.5"), NOW)
    assert confirmed.history is not None
    assert (confirmed.history.average, confirmed.history.variance) == (Decimal("1.5"), Decimal("0.0001"))
    assert confirm(before, None, NOW) == before


def test_a_hold_without_a_jump_ends_with_the_first_good_round() -> None:
    held = judged("1").state
    assert held.hold is not None
    assert judged("1", "1.001", state=held, at=NOW + MINUTE).state.hold is None


def test_a_round_without_an_answer_changes_nothing() -> None:
    held = judged("1.2", "1.21", state=known("1")).state
    assert judged(state=held, at=NOW + MINUTE).state == held
    assert judged(state=known("1")).state == known("1")


def test_a_hold_is_alerted_and_then_given_to_a_person() -> None:
    hold = judged("1").state.hold
    assert hold is not None
    assert [hold.is_due(HOLD_ALERTS, NOW + timedelta(seconds=age)) for age in (119, 120)] == [False, True]


# --- History ---------------------------------------------------------------------------------------------------------


def test_half_of_the_average_is_from_the_last_ten_minutes() -> None:
    after = accept(accept(None, Decimal(1), NOW), Decimal("1.04"), NOW + 10 * MINUTE)
    assert after.average.quantize(Decimal("1e-12")) == Decimal("1.02")
    assert after.last == Decimal("1.04")


def test_volatility_is_that_of_the_return_over_thirty_seconds_whatever_the_step() -> None:
    for step in (30, 90):
        remembered, rate, at = accept(None, Decimal(1), NOW), Decimal(1), NOW
        move = Decimal("0.01") * (Decimal(step) / 30).sqrt()
        for index in range(400):
            rate = move.exp() if index % 2 else Decimal(1)
            at += step * SECOND
            remembered = accept(remembered, rate, at)
        assert abs(remembered.variance.sqrt() - Decimal("0.01")) < Decimal("0.0002")
        assert abs(tolerance(remembered) - Decimal("0.04")) < Decimal("0.001")


def test_many_rounds_in_a_second_are_no_volatility() -> None:
    remembered = accept(None, Decimal(1), NOW)
    for index in range(100):
        remembered = accept(remembered, Decimal("1.004") if index % 2 else Decimal(1), NOW + index * SECOND / 10)
    assert remembered.variance == 0
    assert abs(remembered.average - Decimal("1.00002")) < Decimal("0.00002")


def test_a_clock_that_goes_back_does_no_harm() -> None:
    remembered = accept(accept(None, Decimal(1), NOW), Decimal("1.01"), NOW - MINUTE)
    assert (remembered.average, remembered.updated_at) == (Decimal(1), NOW)


def test_history_that_is_too_old_begins_anew() -> None:
    found = judged("1.05", "1.05", "1.05", state=known("1", age=USABLE + SECOND))
    assert found.state.history == accept(None, Decimal("1.05"), NOW)


def test_history_learns_what_was_accepted_and_never_from_itself() -> None:
    lone = judged("1.01", state=known("1", age=10 * MINUTE)).state.history
    assert lone is not None
    assert lone.average.quantize(Decimal("1e-9")) == Decimal("1.005")
    three = judged("1", "1.001", "1.03", state=None).state.history
    assert three is not None
    assert three.average == Decimal("1.0005"), "the one that was left out does not count"


# --- Strikes and quarantine ------------------------------------------------------------------------------------------


def verdict(code: Code, *, strike: bool = False) -> Verdict:
    return Verdict("alpha", code, "", strike)


STRIKE = verdict(Code.TOO_GOOD, strike=True)


def strikes(standing: Standing, *moments: datetime) -> Change:
    change = Change(standing)
    for moment in moments:
        change = after_verdict(change.standing, STRIKE, moment)
    return change


def sentenced(standing: Standing, at: datetime) -> Change:
    return strikes(standing, at - 2 * MINUTE, at - MINUTE, at)


def test_three_strikes_in_a_quarter_of_an_hour_are_a_quarantine() -> None:
    assert strikes(Standing(), NOW).alerts == (STRUCK,)
    assert not strikes(Standing(), NOW, NOW + MINUTE).standing.is_quarantined
    change = strikes(Standing(), NOW, NOW + MINUTE, NOW + 14 * MINUTE)
    assert change.alerts == (STRUCK, QUARANTINED)
    assert change.standing.until == NOW + 14 * MINUTE + FIRST_TERM


def test_strikes_that_are_a_quarter_of_an_hour_old_are_forgotten() -> None:
    assert not strikes(Standing(), NOW, NOW + 8 * MINUTE, NOW + 15 * MINUTE).standing.is_quarantined


def test_one_bad_moment_in_many_conversions_is_one_strike() -> None:
    moments = [NOW + index * SECOND for index in range(29)]
    assert len(strikes(Standing(), *moments).standing.strikes) == 1


@pytest.mark.parametrize("code", list(Code))
def test_what_is_no_strike_changes_nothing(code: Code) -> None:
    assert after_verdict(Standing(), verdict(code), NOW) == Change(Standing())


def shadows(standing: Standing, at: datetime, *given: Code) -> Change:
    change = Change(standing)
    for code in given:
        change = after_verdict(change.standing, verdict(code), at)
    return change


GOOD = [Code.SHADOW] * SHADOWS


def test_a_quarantine_ends_when_its_time_is_over_and_five_shadow_quotes_in_a_row_were_good() -> None:
    out = sentenced(Standing(), NOW).standing
    early = shadows(out, NOW + MINUTE, *GOOD)
    assert early.standing.is_quarantined
    over = NOW + FIRST_TERM
    assert shadows(early.standing, over, Code.SHADOW).alerts == (LIFTED,)
    assert shadows(out, over, *GOOD[:-1]).standing.is_quarantined
    assert not shadows(out, over, *GOOD).standing.is_quarantined


@pytest.mark.parametrize("bad", [Code.TOO_GOOD, Code.TOO_BAD, Code.UNCOMPETITIVE, Code.SLIP, Code.MALFORMED])
def test_a_bad_shadow_quote_begins_the_row_anew(bad: Code) -> None:
    out, over = sentenced(Standing(), NOW).standing, NOW + FIRST_TERM
    assert shadows(out, over, *GOOD[:-1], bad, Code.SHADOW).standing.shadows == 1


@pytest.mark.parametrize("silent", [Code.STALE, Code.EXPIRED, Code.HELD])
def test_a_shadow_quote_that_says_nothing_leaves_the_row_as_it_is(silent: Code) -> None:
    out, over = sentenced(Standing(), NOW).standing, NOW + FIRST_TERM
    assert shadows(out, over, *GOOD[:-1], silent, Code.SHADOW).alerts == (LIFTED,)


def test_terms_double_up_to_four_hours_and_are_short_again_after_a_good_day() -> None:
    standing, at, terms = Standing(), NOW, []
    for _ in range(6):
        standing = sentenced(standing, at).standing
        assert standing.until is not None
        terms.append(standing.until - at)
        standing = lift(standing, standing.until).standing
        at = at + timedelta(hours=13)
    assert terms == [FIRST_TERM * factor for factor in (1, 2, 4, 8, 16, 16)]
    assert terms[-1] == LONGEST_TERM
    late = sentenced(standing, at + timedelta(days=2)).standing
    assert late.until == at + timedelta(days=2) + FIRST_TERM


def test_the_third_quarantine_in_a_day_is_lifted_by_an_operator_alone() -> None:
    standing, at = Standing(), NOW
    for _ in range(2):
        standing = lift(sentenced(standing, at).standing, at + MINUTE).standing
        at += timedelta(hours=2)
    change = sentenced(standing, at)
    assert change.alerts == (STRUCK, QUARANTINED, NEEDS_OPERATOR)
    assert shadows(change.standing, at + timedelta(days=3), *GOOD).standing.is_quarantined
    freed = lift(change.standing, at + MINUTE)
    assert freed.alerts == (LIFTED,)
    assert not freed.standing.is_quarantined
    assert lift(freed.standing, at) == Change(freed.standing)


@pytest.mark.parametrize(
    ("realised", "alerts"), [("0.98", ()), ("1.5", ()), ("0.97999999", (SLIPPED,)), ("0", (SLIPPED,))]
)
def test_paying_out_less_than_promised_is_a_strike(realised: str, alerts: tuple[str, ...]) -> None:
    change = after_settlement(Standing(), Decimal(1), Decimal(realised), NOW)
    assert change.alerts == alerts
    assert len(change.standing.strikes) == len(alerts)


def test_three_shortfalls_in_a_day_are_a_quarantine_however_far_apart() -> None:
    change = Change(Standing())
    for hours in (0, 10, 23):
        change = after_settlement(change.standing, Decimal(1), Decimal("0.9"), NOW + timedelta(hours=hours))
    assert change.alerts == (SLIPPED, QUARANTINED)
    change = Change(Standing())
    for hours in (0, 13, 25):
        change = after_settlement(change.standing, Decimal(1), Decimal("0.9"), NOW + timedelta(hours=hours))
    assert not change.standing.is_quarantined


def test_a_shortfall_and_two_wrong_rates_are_three_strikes() -> None:
    twice = strikes(Standing(), NOW, NOW + MINUTE).standing
    assert after_settlement(twice, Decimal(1), Decimal("0.9"), NOW + 2 * MINUTE).standing.is_quarantined


def test_a_service_that_is_always_too_good_is_out_within_three_rounds() -> None:
    standing, state = Standing(), PairState()
    for number in range(3):
        at = NOW + number * MINUTE
        found = judged("1", "1.002", "1.04", state=state, at=at)
        state, standing = found.state, after_verdict(standing, found.verdicts[-1], at).standing
    assert standing.is_quarantined


# --- The simulated market --------------------------------------------------------------------------------------------


def test_on_the_simulated_market_honest_quotes_pass_and_wrong_ones_are_caught() -> None:
    figures = measure(1000)
    assert figures["honest_excluded"] <= 0.01
    assert figures["rounds_held"] == 0
    assert figures["honest_quarantined"] == 0
    assert all(figures[name] >= 97 for name in figures if name.startswith("catches_"))
    assert sum(name.startswith("catches_") for name in figures) == 5
