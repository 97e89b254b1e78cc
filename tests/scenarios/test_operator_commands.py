"""What an operator sees and says: standings, isolation, recovery, held rates, and why a conversion went where it went.

Most of it needs Redis and a ledger and nothing that runs; the last tests are beside a running system.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from os import environ
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis
from rich.console import Console

from converter.bootstrap import build_operating
from converter.cli.main import main
from converter.cli.watching import Look, rendered
from converter.domain import conditions
from converter.domain.anomalies import Judgement, PairState, RatedQuote, judge
from converter.domain.breakers import BreakerState
from converter.domain.health import Check
from converter.domain.quarantine import Change, Standing
from converter.ledger.repository import open_ledger
from converter.local.home import running_settings
from converter.local.sandbox_config import sandbox_environment, write_sandbox_config
from converter.sandbox.server import Sandbox
from converter.shared_state.rates import Rates
from converter.shared_state.redis_access import RedisAccess
from converter.sharing import breakers_of
from tests.builders import START, a_place
from tests.shared_state.redis_fixture import NOWHERE, client, redis_url, server

from .world import SERVICES, World, command, last_json, running_world, until

__all__ = ["client", "redis_url", "server"]

PAIR = "ETH-BTC"
NOWHERE_SQL = "sqlite:////dev/null/ledger.db"


class Desk:
    """A person's shell beside a Redis and a ledger, with nothing that works on them."""

    def __init__(self, home: Path, url: str, config: Path) -> None:
        self.ledger_url = f"sqlite:///{home / 'ledger.db'}"
        self.environ = {
            "CONVERTER_HOME": str(home),
            "CONVERTER_CONFIG": str(config),
            "CONVERTER_REDIS_URL": url,
            **sandbox_environment(),
        }
        access = RedisAccess(url, timeout=10, away=0.0)
        self.rates = Rates(access)
        self.breakers = {one: breakers_of(access, a_place(one)) for one in SERVICES}

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, words, env=self.environ, catch_exceptions=False)

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.run(*words, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def listed(self, service_id: str) -> dict[str, Any]:
        found: dict[str, Any] = {one["id"]: one for one in self.json("services", "list")}[service_id]
        return found

    def condition(self, name: str) -> str | None:
        with closing(open_ledger(self.ledger_url, migrate=True)) as ledger, ledger.begin() as work:
            found = work.conditions.get(name)
        return None if found is None else found.state

    def learn(self, *texts: str, pair: str = PAIR) -> None:
        """A round of quotes with these rates."""
        now = datetime.now(UTC)
        quotes = [RatedQuote(str(index), Decimal(text), now) for index, text in enumerate(texts)]
        self.rates.learn(pair, partial(_judged, quotes, now), now)

    def quarantine(self, service_id: str, **how: Any) -> datetime:
        until = datetime.now(UTC) + timedelta(minutes=15)
        self.rates.note(service_id, lambda _: Change(Standing(until=until, **how)), datetime.now(UTC))
        return until


def _judged(quotes: list[RatedQuote], now: datetime, state: PairState) -> Judgement:
    return judge(quotes, state, (), now)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some services, at addresses that nobody asks here."""
    with Sandbox(services=SERVICES) as running:
        return write_sandbox_config(tmp_path_factory.mktemp("config"), running.url, SERVICES)


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in environ if name.startswith("CONVERTER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def desk(redis_url: str, client: Redis, tmp_path: Path, config: Path, nothing_set: None) -> Desk:
    return Desk(tmp_path, redis_url, config)


@pytest.fixture
def lonely(tmp_path: Path, config: Path, nothing_set: None) -> Desk:
    """Without Redis."""
    return Desk(tmp_path, NOWHERE, config)


# --- services list ---------------------------------------------------------------------------------------------------


def test_the_list_shows_how_each_service_really_stands(desk: Desk) -> None:
    assert (desk.listed("binance")["state"], desk.listed("binance")["reason"]) == ("closed", None)
    desk.breakers["binance"]["execute"].move(BreakerState.OPEN)
    found = desk.listed("binance")
    assert found["state"] == "open"
    assert found["reason"].startswith("execute: next probe in ")
    assert found["breakers"]["execute"]["retryAfter"] > 0
    assert found["breakers"]["quote"]["state"] == "closed"
    desk.breakers["binance"]["execute"].move(BreakerState.HALF_OPEN)
    assert desk.listed("binance")["state"] == "half-open"
    assert desk.listed("changenow")["state"] == "closed"
    assert desk.listed("kraken")["state"] == "disabled"


def test_the_list_shows_a_quarantine_and_its_end(desk: Desk) -> None:
    until = desk.quarantine("binance")
    found = desk.listed("binance")
    assert (found["state"], found["quarantine"]["until"]) == ("quarantined", until.isoformat())
    assert f"until {until:%Y-%m-%d %H:%M:%S} UTC" in found["reason"]
    desk.quarantine("binance", needs_operator=True)
    assert "needs an operator" in desk.listed("binance")["reason"]


def test_the_list_shows_the_last_health_check(desk: Desk) -> None:
    at = datetime.now(UTC) - timedelta(seconds=7)
    with closing(open_ledger(desk.ledger_url, migrate=True)) as ledger, ledger.begin() as work:
        work.memory.checked("binance", Check(at, "binance health: away", 31))
    found = desk.listed("binance")["check"]
    assert found == {"at": at.isoformat(), "ok": False, "error": "binance health: away", "ms": 31, "misses": 1}
    assert desk.listed("changenow")["check"] is None
    assert "FAILED" in desk.run("services", "list").output


def test_without_redis_or_the_ledger_the_list_is_there_and_the_states_are_unknown(
    desk: Desk, lonely: Desk, redis_url: str
) -> None:
    found = lonely.listed("binance")
    assert (found["state"], found["reason"], found["breakers"]) == ("unknown", "Redis did not answer", {})
    lonely.environ.update(CONVERTER_REDIS_URL=redis_url, CONVERTER_LEDGER_URL=NOWHERE_SQL)
    assert (lonely.listed("binance")["state"], lonely.listed("kraken")["state"]) == ("unknown", "disabled")
    assert "the ledger" in lonely.listed("binance")["reason"]


# --- services recover, isolate, release, emergency -------------------------------------------------------------------


def test_an_isolated_service_is_out_until_it_is_released(desk: Desk) -> None:
    told = desk.json("services", "isolate", "binance")
    assert (told["id"], told["state"]) == ("binance", "isolated")
    assert desk.condition(conditions.isolation_of("binance")) == conditions.ON
    assert desk.json("services", "recover", "binance")["state"] == "isolated"
    assert desk.listed("binance")["state"] == "isolated"
    assert desk.json("services", "release", "binance")["state"] == "closed"
    assert desk.condition(conditions.isolation_of("binance")) == conditions.OFF
    assert desk.breakers["binance"]["quote"].snapshot().state is BreakerState.CLOSED


def test_recovering_ends_an_outage_and_a_quarantine(desk: Desk) -> None:
    desk.breakers["binance"]["quote"].move(BreakerState.OPEN)
    desk.quarantine("binance", needs_operator=True)
    done = desk.run("services", "recover", "binance")
    assert (done.exit_code, done.output.count("\n")) == (0, 1)
    assert "state: closed" in done.output
    assert desk.breakers["binance"]["quote"].snapshot().state is BreakerState.CLOSED
    assert not desk.rates.standings(["binance"])["binance"].is_quarantined


@pytest.mark.parametrize("what", ["recover", "isolate", "release"])
@pytest.mark.parametrize("service_id", ["nobody", "kraken"])
def test_a_service_that_takes_no_part_is_refused_with_those_that_do(desk: Desk, what: str, service_id: str) -> None:
    told = desk.json("services", what, service_id, code=2)
    assert (told["field"], told["problem"]) == ("service", f"'{service_id}' is not enabled")
    assert told["accepted"] == f"one of {', '.join(sorted(SERVICES))}"
    assert desk.condition(conditions.isolation_of(service_id)) is None


def test_the_emergency_tier_is_opened_and_closed_by_a_word(desk: Desk) -> None:
    assert desk.json("services", "emergency", "on") == {"emergency": "on"}
    assert desk.condition(conditions.EMERGENCY) == conditions.ON
    assert "only when the other tiers have nobody" in desk.run("services", "emergency", "off").output
    assert desk.condition(conditions.EMERGENCY) == conditions.OFF
    assert desk.run("services", "emergency", "maybe").exit_code == 2


def test_without_redis_nothing_is_said_to_be_recovered_released_or_confirmed(lonely: Desk) -> None:
    assert lonely.json("services", "isolate", "binance")["state"] == "isolated"
    for words in (
        ("services", "recover", "binance"),
        ("services", "release", "binance"),
        ("rates", "confirm", PAIR, "0.06"),
    ):
        assert "redis: does not answer" in lonely.json(*words, code=2)["error"]
    assert lonely.condition(conditions.isolation_of("binance")) == conditions.ON
    assert lonely.json("services", "recover", "nobody", code=2)["field"] == "service"


# --- rates -----------------------------------------------------------------------------------------------------------


def test_rates_that_are_known_are_listed(desk: Desk) -> None:
    assert desk.json("rates", "list") == []
    assert "no pair" in desk.run("rates", "list").output
    desk.learn("0.0650", "0.0651", "0.0652")
    (found,) = desk.json("rates", "list")
    assert (found["pair"], found["last"], found["average"]) == (PAIR, "0.0651", "0.0651")
    assert (found["usable"], found["tolerance"], found["hold"]) == (True, "0.02", None)
    assert 0 <= found["age"] < 60_000
    assert PAIR in desk.run("rates", "list").output


def test_a_held_pair_is_shown_and_confirmed_where_its_quotes_say(desk: Desk) -> None:
    desk.learn("0.065", "0.065", "0.065")
    desk.learn("0.08", "0.08")
    (found,) = desk.json("rates", "list")
    assert (found["last"], found["hold"]["code"], found["hold"]["rate"]) == ("0.065", "jump", "0.08")
    assert datetime.fromisoformat(found["hold"]["since"]) <= datetime.now(UTC)
    assert "jump" in desk.run("rates", "list").output
    told = desk.json("rates", "confirm", PAIR.lower())
    assert (told["pair"], told["last"], told["hold"]) == (PAIR, "0.08", None)
    assert desk.json("rates", "list")[0]["hold"] is None
    assert desk.condition(conditions.hold_of(PAIR)) == conditions.OFF


def test_a_rate_can_be_named_for_a_pair_that_is_not_held(desk: Desk) -> None:
    assert desk.json("rates", "confirm", PAIR, code=2)["field"] == "pair"
    done = desk.run("rates", "confirm", PAIR, "0.0000000000000000000123")
    assert (done.exit_code, done.output) == (0, f"{PAIR}: confirmed at 0.0000000000000000000123, not held\n")
    assert desk.rates.pair(PAIR).history is not None


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ((PAIR, "0"), "rate"),
        ((PAIR, "-1"), "rate"),
        ((PAIR, "1e3"), "rate"),
        ((PAIR, "NaN"), "rate"),
        ((PAIR, "much"), "rate"),
        (("ETH-ETH", "1"), "pair"),
        (("ETH/BTC", "1"), "pair"),
        (("", "1"), "pair"),
    ],
)
def test_a_confirmation_that_is_none_names_the_field(desk: Desk, words: tuple[str, ...], field: str) -> None:
    told = desk.json("rates", "confirm", *words, code=2)
    assert told["field"] == field
    assert told["accepted"]
    assert desk.json("rates", "list") == []


def test_what_the_ledger_kept_of_rates_is_listed_when_redis_is_lost_or_away(
    desk: Desk, client: Redis, lonely: Desk
) -> None:
    desk.learn("0.065", "0.065", "0.065")
    with closing(open_ledger(desk.ledger_url, migrate=True)) as ledger, ledger.begin() as work:
        work.memory.keep_rates(desk.rates.snapshot())
    before = desk.json("rates", "list")[0]["last"]
    client.flushall()
    assert desk.json("rates", "list")[0]["last"] == before
    assert lonely.json("rates", "list")[0]["last"] == before


# --- Beside a running system -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("operator")) as running:
        yield running


def test_a_conversion_is_explained_and_an_isolated_service_is_left_out_of_it(world: World) -> None:
    home = world.stack.home
    assert last_json(command(home, "services", "isolate", "binance", "--json").stdout)["state"] == "isolated"
    (handle,) = world.convert()
    world.wait_until_ended()
    told = last_json(command(home, "conversions", "explain", handle.id, "--json").stdout)
    assert told["state"] == "COMPLETED"
    last = told["rounds"][-1]
    seats = {one["service"]: one for one in last["services"]}
    assert set(seats) == set(SERVICES)
    assert (seats["binance"]["eligible"], seats["binance"]["asked"]) == (False, False)
    quotes = {one["service"]: one for one in last["quotes"]}
    assert set(quotes) == set(SERVICES) - {"binance"}
    assert (last["attempts"][-1]["service"], last["attempts"][-1]["state"]) == (told["service"], "SETTLED")
    assert told["delivered"] == world.deliveries_to(told["address"])[0]["amount"]
    assert last_json(command(home, "services", "release", "binance", "--json").stdout)["state"] == "closed"

    shown = command(home, "conversions", "explain", handle.id)
    assert shown.returncode == 0, shown.stderr
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    for text in ("Round 1", "Why: ", "Attempts", "SETTLED", *SERVICES, f"Promised {told['promised']} BTC, arrived"):
        assert text in shown.stdout


def test_an_unknown_conversion_is_the_error_that_show_gives(world: World) -> None:
    for words in (["conversions", "explain", "cv_nothing"], ["conversions", "show", "cv_nothing"]):
        done = command(world.stack.home, *words, "--json")
        assert (done.returncode, last_json(done.stdout)) == (
            1,
            {"error": "no conversion cv_nothing", "type": "ConversionNotFound"},
        )


class Terminal:
    """`converter status --watch` in a terminal of its own."""

    def __init__(self, home: Path) -> None:
        self.screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 240, 0, 0))
        kept = {name: value for name, value in environ.items() if not name.startswith("CONVERTER_")}
        words = [sys.executable, "-m", "converter.cli.main", "status", "--watch"]
        given = {**kept, "CONVERTER_HOME": str(home), "TERM": "xterm", "COLUMNS": "240", "LINES": "60"}
        self.process = subprocess.Popen(words, env=given, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.told = ""

    def shows(self, text: str) -> bool:
        """Whether the text was drawn since `anew`."""
        while select.select([self.screen], [], [], 0)[0]:
            try:
                drawn = os.read(self.screen, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
            self.told += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
        return text in self.told

    def anew(self) -> None:
        self.told = ""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


def test_the_live_view_follows_a_running_system_until_ctrl_c(world: World) -> None:
    view = Terminal(world.stack.home)
    try:
        until(lambda: view.shows("binance") and view.shows("closed"), 30, "the services are shown")
        before = int(re.findall(r"Conversions (\d+)", view.told)[-1])
        world.convert()
        world.wait_until_ended()
        until(lambda: view.shows(f"Conversions {before + 1}"), 15, "the conversion is counted")
        build_operating(running_settings({"home": world.stack.home})).isolate("binance")
        until(lambda: view.shows("isolated") and view.shows("by an operator"), 15, "the isolation is shown")
        build_operating(running_settings({"home": world.stack.home})).release("binance")
        view.anew()
        view.process.send_signal(signal.SIGINT)
        assert view.process.wait(10) == 0
        assert "Traceback" not in view.told
    finally:
        view.close()


def test_the_live_view_says_since_when_it_is_stale_and_comes_back() -> None:
    seen = {"at": START.isoformat(), "services": [], "states": {}, "conversions": 3, "needsReview": 2, "held": []}
    seen |= {"oldestWaiting": None, "oldestUnknown": None, "failovers": [], "emergency": False, "missing": []}

    def drawn(look: Look, after: float) -> str:
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(rendered(look, START + timedelta(seconds=after)))
        return console.export_text()

    assert "stale" not in drawn(Look(seen, START), 1)
    assert "needs review: 2 (converter conversions review)" in drawn(Look(seen, START), 1)
    away = drawn(Look(seen, START, "the ledger does not answer"), 7)
    assert "the ledger does not answer; stale since 12:00:00, 7 s ago" in away
    assert "Conversions 3" in away
    assert "stale since 12:00:00" in drawn(Look(seen, START), 9)  # the look itself hangs
    assert "Redis did not answer: breakers are unknown" in drawn(Look({**seen, "missing": ["Redis"]}, START), 1)
    assert "the ledger does not answer" in drawn(Look(error="the ledger does not answer"), 1)
