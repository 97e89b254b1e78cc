"""The dashboard over a ledger with 10,000 conversions, behind a token, without Redis and without a worker."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, Request, expect

from converter.api.app import create_app
from converter.api.door import Door
from converter.api.wiring import make_parts
from converter.domain.events import CONVERSION_WAITING, Event
from converter.domain.intake import conversion_id
from converter.ledger import tables
from converter.ledger.repository import SqlLedger, open_ledger
from converter.security.keys import EnvironmentKeys
from converter.settings import load_settings
from tests.builders import BTC_ADDRESS
from tests.shared_state.redis_fixture import NOWHERE

from .driving import Screen, screen, served

pytestmark = pytest.mark.timeout(120)

MANY = 10_000
TOKEN = "correct-horse"


def fill(ledger: SqlLedger) -> None:
    """10,000 conversions, one a second until now, most of them completed."""
    now = ledger.now()
    states = ["COMPLETED"] * 96 + ["WAITING", "FAILED", "CANCELLED", "EXPIRED"]
    rows = []
    for number in range(MANY):
        at = now - timedelta(seconds=MANY - number)
        state = states[number % len(states)]
        done = state == "COMPLETED"
        rows.append(
            {
                "id": conversion_id(int(at.timestamp() * 1000), number.to_bytes(10, "big")),
                "state": state,
                "from_coin": "ETH",
                "from_network": "ETH",
                "to_coin": "BTC",
                "to_network": "BTC",
                "amount": Decimal("1.5"),
                "address": BTC_ADDRESS,
                "policy": "",
                "round": 1,
                "fence": 1,
                "service_id": "changenow" if done else None,
                "promised": Decimal("0.09") if done else None,
                "delivered": Decimal("0.09") if done else None,
                "txid": "f00d" if done else "",
                "reason": "",
                "failovers": 0,
                "created_at": at,
                "updated_at": at,
                "since": at,
                "completed_at": at if state != "WAITING" else None,
            }
        )
    with ledger.engine.begin() as connection:
        connection.execute(sa.insert(tables.conversions), rows)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlLedger]:
    opened = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('many') / 'ledger.db'}", migrate=True)
    fill(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def url(ledger: SqlLedger) -> Iterator[str]:
    settings = load_settings().model_copy(update={"redis_url": NOWHERE})
    parts = make_parts(settings, EnvironmentKeys({}), ledger, lambda task, identity: True)
    with served(create_app(parts, Door(frozenset({"127.0.0.1"}), TOKEN))) as found:
        yield found


def show_token(page: Page) -> None:
    asked = page.get_by_role("dialog")
    asked.get_by_label("Token").fill(TOKEN)
    asked.get_by_role("button", name="Open the dashboard").click()
    expect(asked).to_be_hidden()


def open_with_token(shown: Screen, place: str) -> None:
    shown.away = True  # the browser itself notes each 401
    show_token(shown.go(place))
    expect(shown.page.locator("#line")).to_have_attribute("data-state", "live")


def test_the_token_is_asked_for_once_and_kept_in_this_tab(browser: Browser, url: str) -> None:
    with screen(browser, url) as shown:
        shown.away = True
        page = shown.go("overview")
        asked = page.get_by_role("dialog")
        expect(asked).to_contain_text("Token needed")
        assert shown.issues() == []
        asked.get_by_label("Token").fill("a guess")
        asked.get_by_role("button", name="Open the dashboard").click()
        expect(asked).to_contain_text("not accepted")
        asked.get_by_label("Token").fill(TOKEN)
        asked.get_by_label("Token").press("Enter")
        expect(page.locator(".tile").first).to_contain_text("10,000")
        expect(asked).to_be_hidden()
        page.reload()
        expect(page.locator(".tile").first).to_contain_text("10,000")
        assert page.get_by_role("dialog").count() == 0
        assert page.evaluate("() => Object.values({ ...localStorage })") == []


def test_without_redis_the_page_says_that_it_does_not_know_how_services_stand(browser: Browser, url: str) -> None:
    with screen(browser, url) as shown:
        open_with_token(shown, "overview")
        expect(shown.page.locator(".service").first).to_contain_text("Unknown")
        expect(shown.page.locator(".service").first).to_contain_text("Redis did not answer")


def test_without_the_stream_the_page_says_so_asks_more_often_and_connects_again(browser: Browser, url: str) -> None:
    with screen(browser, url) as shown:
        shown.page.route("**/api/v1/events", lambda route: route.abort())
        shown.away = True
        page = shown.go("overview")
        show_token(page)
        expect(page.locator("#notice")).to_contain_text("The event stream is cut")
        expect(page.locator("#notice")).to_contain_text(re.compile(r"again in \d+\ss"))
        expect(page.locator(".tile").first).to_contain_text("10,000")
        page.unroute("**/api/v1/events")
        expect(page.locator("#line")).to_have_attribute("data-state", "live")
        expect(page.locator("#notice")).to_be_hidden()


def test_a_tab_that_nobody_sees_gives_its_line_back_and_goes_on_behind_its_last_event(
    browser: Browser, url: str, ledger: SqlLedger
) -> None:
    with screen(browser, url) as shown:
        page = shown.page
        page.clock.install()
        lines: list[Request] = []
        ended: list[Request] = []
        page.on("request", lambda one: lines.append(one) if one.url.endswith("/events") else None)
        page.on("requestfailed", lambda one: ended.append(one) if one.url.endswith("/events") else None)
        open_with_token(shown, "alerts")
        with ledger.begin() as work:
            work.outbox.add(Event(CONVERSION_WAITING, {"reason": "before", "seconds": 5}))
        expect(page.locator(".log-panel li").first).to_contain_text("before")
        turn_away = """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        page.evaluate(turn_away, True)
        page.clock.fast_forward(31_000)
        expect(page.locator("#line")).not_to_have_attribute("data-state", "live")
        assert len(ended) == 1
        with ledger.begin() as work:
            work.outbox.add(Event(CONVERSION_WAITING, {"reason": "meanwhile", "seconds": 5}))
        page.evaluate(turn_away, False)
        expect(page.locator(".log-panel li").first).to_contain_text("meanwhile")
        assert lines[-1].headers["last-event-id"].isdecimal()


def test_ten_thousand_conversions_are_a_page_at_a_time(browser: Browser, url: str) -> None:
    with screen(browser, url) as shown:
        open_with_token(shown, "conversions")
        page = shown.page
        rows = page.locator(".conversion")
        expect(rows).to_have_count(50)
        expect(page.locator(".chip", has_text="Completed")).to_contain_text("9,600")
        first = rows.first.get_attribute("data-key")
        assert page.evaluate("() => document.querySelectorAll('*').length") < 4000
        seen = {first}
        for number in (2, 3):
            page.get_by_role("link", name="Older").click()
            expect(page.locator(".pager")).to_contain_text(f"Page {number}")
            expect(rows.first).not_to_have_attribute("data-key", max(seen, key=lambda one: one or "") or "")
            expect(page.locator(".turning")).to_have_count(0)
            seen |= {one.get_attribute("data-key") for one in rows.all()}
        assert len(seen) == 101, "no page repeats another"
        assert rows.count() == 50
        page.go_back()
        expect(page.locator(".pager")).to_contain_text("Page 2")
        page.get_by_role("link", name="Newest").click()
        expect(rows.first).to_have_attribute("data-key", first or "")
        page.locator(".chip", has_text="Expired").click()
        expect(rows.first.locator(".badge")).to_have_text("Expired")
        expect(page).to_have_url(re.compile("state=EXPIRED"))
        page.get_by_label("Address or id").fill(first or "")
        page.get_by_role("button", name="Clear").click()
        page.get_by_label("Address or id").fill(first or "")
        page.get_by_label("Address or id").press("Enter")
        expect(rows).to_have_count(1)


def test_a_flood_of_events_makes_no_flood_of_requests_and_a_bounded_page(
    browser: Browser, url: str, ledger: SqlLedger
) -> None:
    with screen(browser, url) as shown:
        open_with_token(shown, "conversions")
        expect(shown.page.locator(".conversion")).to_have_count(50)
        asked: Counter[str] = Counter()

        def count(request: Request) -> None:
            asked[re.sub(r"\?.*", "", request.url)] += 1

        shown.page.on("request", count)
        began = shown.page.evaluate("() => performance.now()")
        for _ in range(10):
            with ledger.begin() as work:
                for number in range(100):
                    work.outbox.add(Event(CONVERSION_WAITING, {"reason": f"flood {number}", "seconds": 5}))
            shown.page.wait_for_timeout(200)
        shown.page.wait_for_timeout(500)
        seconds = (shown.page.evaluate("() => performance.now()") - began) / 1000
        assert asked, "events make the page ask"
        assert max(asked.values()) <= seconds + 2, asked
        shown.page.remove_listener("request", count)
        shown.move("alerts")
        expect(shown.page.locator(".log-panel li").first).to_contain_text("flood")
        for _ in range(4):
            with ledger.begin() as work:
                for number in range(200):
                    work.outbox.add(Event(CONVERSION_WAITING, {"reason": f"more {number}", "seconds": 5}))
        expect(shown.page.locator(".log-note")).to_contain_text("of the newest 500")
        assert shown.page.locator(".log-panel li").count() == 500
