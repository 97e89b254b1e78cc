"""The dashboard in a real browser, over a real system with the outside world in a box. One system lives through it
all, in the order of the tests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from converter.domain.conversions import State
from converter.local.stack import Stack, StackOptions
from tests.scenarios.world import World, until

from .driving import DESKTOP, PHONE, VIEWS, Screen, screen

pytestmark = pytest.mark.timeout(180)

SERVICES = ("btcpay_lightning", "changenow", "coinpayments")
SOON = {"CONVERTER_ENGINE__PARK_UNPROVABLE": "2000", "CONVERTER_ENGINE__POLL_LIMIT": "1000"}


@dataclass
class Scene:
    """A system, what happens in it, and a page that was open from the beginning."""

    world: World
    shown: Screen

    @property
    def page(self) -> Page:
        return self.shown.page

    @property
    def url(self) -> str:
        return self.shown.url

    def ask(self, amount: str = "0.5") -> str:
        """A pool asks for a conversion over HTTP; its id."""
        body = {"fromCoin": "ETH", "toCoin": "BTC", "amount": amount, "address": self.world.address()}
        headers = {"Idempotency-Key": os.urandom(8).hex()}
        answer = requests.post(f"{self.url}/api/v1/conversions", json=body, headers=headers, timeout=20)
        assert answer.status_code == 201, answer.text
        identity: str = answer.json()["id"]
        return identity

    def newest(self) -> str:
        """The newest completed conversion; its id."""
        found = requests.get(f"{self.url}/api/v1/conversions?state=COMPLETED&limit=1", timeout=10).json()
        identity: str = found["conversions"][0]["id"]
        return identity

    def failed_over(self) -> str:
        """A conversion that one service refuses and another executes; its id."""
        self.world.fault("changenow", "refuse", operations=["order"], count=1)
        with self.world.preferring("changenow", SERVICES) as converter:
            handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=self.world.address())
        until(lambda: handle.state is State.COMPLETED, 60, lambda: f"{handle.details()}", pause=0.2)
        return handle.id

    def parked(self) -> str:
        """A conversion of which nobody can prove whether it was executed; its id."""
        self.world.fault("coinpayments", "reset_before_execute", operations=["approve"], count=1)
        with self.world.preferring("coinpayments", SERVICES) as converter:
            handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="0.5", address=self.world.address())
        until(lambda: handle.state is State.NEEDS_REVIEW, 60, lambda: f"{handle.details()}", pause=0.2)
        self.world.mend()
        return handle.id


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Scene]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    options = StackOptions(sandbox_speed=5.0, services=SERVICES, api_port=0)
    stack = Stack(tmp_path_factory.mktemp("dashboard"), {**kept, **SOON}, sandbox=True, options=options)
    url = stack.start()["api"]
    world = World(stack)
    try:
        with screen(browser, url) as shown:
            yield Scene(world, shown)
    finally:
        world.close()
        stack.stop()


def row(page: Page, identity: str) -> str:
    return f'.conversion[data-key="{identity}"]'


def test_before_anything_happened_every_view_says_so(scene: Scene) -> None:
    page = scene.shown.go("conversions")
    expect(page.get_by_text("No conversions yet")).to_be_visible()
    for view, text in {
        "rates": "No quotes yet",
        "failovers": "No failover yet",
        "review": "Nothing needs review",
        "alerts": "Nothing fires",
    }.items():
        scene.shown.move(view)
        expect(page.get_by_text(text)).to_be_visible()
    scene.shown.move("overview")
    expect(page.locator(".service")).to_have_count(len(SERVICES))
    assert page.locator(".service .badge").all_inner_texts() == ["Available"] * len(SERVICES)


def test_a_conversion_appears_by_itself_and_goes_its_way_before_the_operators_eyes(scene: Scene) -> None:
    page = scene.shown.move("conversions")
    expect(page.get_by_text("No conversions yet")).to_be_visible()
    identity = scene.ask("0.500000000000000001")
    shown = page.locator(row(page, identity))
    expect(shown).to_contain_text("Completed")
    assert shown.locator(".way .done").count() == 4
    assert shown.locator(".figure").first.inner_text() == "0.500000000000000001", "all of it, however it is cut"
    expect(page.locator(".chip", has_text="Completed")).to_contain_text("1")


def test_a_service_that_goes_down_and_the_failover_are_seen_live(scene: Scene) -> None:
    page = scene.shown.move("failovers")
    expect(page.get_by_text("No failover yet")).to_be_visible()
    identity = scene.failed_over()
    hop = page.locator(".timeline-item").first
    expect(hop).to_contain_text("changenow")
    expect(hop.locator("a")).to_have_attribute("title", identity)
    expect(hop.locator(".why")).to_contain_text("changenow order: PairNotSupported")

    scene.shown.move("overview")
    scene.world.fault("changenow", "down")
    for _ in range(3):
        scene.ask()
    service = page.locator('.service[data-key="changenow"]')
    expect(service.locator(".badge")).to_have_text("Breaker open", timeout=40_000)
    expect(service.locator(".countdown").first).to_have_text(re.compile(r"^\d+:\d\d$|probe is due"))
    expect(service.get_by_role("button", name="Recover")).to_be_visible()
    scene.world.mend()
    service.get_by_role("button", name="Recover").click()
    asked = page.get_by_role("dialog")
    expect(asked).to_contain_text("are closed and a quarantine of its rates ends")
    asked.get_by_role("button", name="Recover changenow").click()
    expect(service.locator(".badge")).to_have_text("Available")
    expect(service.locator(".when .tip").first).to_have_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"))


def test_the_explain_view_tells_who_was_asked_what_was_offered_and_what_was_tried(scene: Scene) -> None:
    page = scene.shown.move("failovers")
    opener = page.locator(".timeline-item a").last
    opener.click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("Completed")
    expect(drawer.get_by_role("heading", level=4).first).to_contain_text("Round 1")
    expect(drawer.locator(".answer")).to_have_count(len(SERVICES))
    assert drawer.locator(".answer", has_text="in the band").count() >= 2
    for part in ("Net", "Gross", "Fees", "Rate"):
        expect(drawer.locator(".answer").first).to_contain_text(part)
    expect(drawer.locator(".attempts li")).to_have_count(2)
    expect(drawer.locator(".attempts li").first).to_contain_text("Not executed")
    expect(drawer.locator(".attempts li").last).to_contain_text("Settled")
    expect(drawer.locator(".facts")).to_contain_text("Against the promise")
    expect(drawer.locator(".log")).to_contain_text("failover:success")
    expect(page).to_have_url(re.compile("show=cv_"))
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(opener).to_be_focused()
    expect(page).not_to_have_url(re.compile("show="))
    page.go_back()
    expect(drawer).to_be_visible()
    page.go_back()
    expect(drawer).to_be_hidden()


def test_an_operator_takes_a_service_out_and_back_with_the_keyboard_alone(scene: Scene) -> None:
    page = scene.shown.move("overview")
    service = page.locator('.service[data-key="btcpay_lightning"]')
    service.get_by_role("button", name="Isolate").focus()
    page.keyboard.press("Enter")
    asked = page.get_by_role("dialog")
    expect(asked.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(service.locator(".badge")).to_have_text("Isolated")
    expect(service.get_by_role("button", name="Release")).to_be_focused()
    page.keyboard.press("Enter")
    expect(asked).to_contain_text("takes part again at once")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(service.locator(".badge")).to_have_text("Available")


def test_a_parked_conversion_is_judged_by_its_evidence_and_paid_elsewhere_once(scene: Scene) -> None:
    page = scene.shown.move("review")
    expect(page.get_by_text("Nothing needs review")).to_be_visible()
    identity = scene.parked()
    case = page.locator(f"#case-{identity}")
    expect(case).to_contain_text("coinpayments")
    expect(case.locator(".sent")).to_contain_text("outcome unknown")
    expect(case.locator(".sent")).to_contain_text("sent once")
    expect(case.locator(".answer-now")).to_contain_text("coinpayments shows it as")
    expect(page.get_by_role("link", name="Review 1 to review")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(\d+\) Review"))

    case.get_by_role("button", name="It was executed").click()
    asked = page.get_by_role("dialog")
    asked.get_by_role("button", name="Continue").click()
    expect(asked.get_by_text("Transaction id is missing.")).to_be_visible()
    expect(asked.get_by_label("Transaction id")).to_be_focused()
    page.set_viewport_size(PHONE)
    assert scene.shown.overflow() == {}
    page.set_viewport_size(DESKTOP)
    asked.get_by_role("button", name="Cancel").click()

    case.get_by_role("button", name="It was not executed").click()
    scene.shown.say(asked, Reason="support: never confirmed", Your_name="ada")
    asked.get_by_role("button", name="Continue").click()
    expect(asked.locator(".again")).to_contain_text("another service is asked and pays to")
    asked.get_by_role("button", name="Free it for another service").click()
    expect(page.get_by_text("Nothing needs review")).to_be_visible()
    scene.shown.move(f"conversions?show={identity}")
    expect(asked.get_by_role("heading", level=2)).to_contain_text("Completed")
    expect(asked.locator(".log")).to_contain_text("conversion:resolved")
    assert len(scene.world.deliveries_to(asked.locator(".facts .breakable").first.inner_text())) == 1
    page.keyboard.press("Escape")


def test_a_conversion_that_waits_is_cancelled_with_a_reason(scene: Scene) -> None:
    for service_id in SERVICES:
        scene.world.fault(service_id, "refuse", operations=["quote"])
    identity = scene.ask()
    page = scene.shown.move(f"conversions?show={identity}")
    drawer = page.locator(".drawer")
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("Waiting")
    drawer.get_by_role("button", name="Cancel").click()
    asked = page.locator(".ask")
    scene.shown.say(asked, Reason="asked for twice")
    asked.get_by_role("button", name="Continue").click()
    expect(asked.locator(".again")).to_contain_text("that is never taken back")

    def cancelled() -> bool:
        button = asked.get_by_role("button", name="Cancel the conversion")
        if button.is_visible() and button.is_enabled():
            button.click()
        return not asked.is_visible()

    until(cancelled, 40, "cancelled between two rounds", pause=0.5)
    scene.world.mend()
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("Cancelled")
    page.keyboard.press("Escape")


def test_a_cut_line_is_told_and_what_happened_meanwhile_comes_when_it_is_back(scene: Scene) -> None:
    stack = scene.world.stack
    page = scene.shown.move("alerts?kind=conversion%3A")
    expect(page.locator("#line")).to_have_attribute("data-state", "live")
    assert stack._api is not None
    scene.shown.away = True
    stack._api.kill()
    expect(page.locator("#line")).to_have_attribute("data-state", "stale")
    expect(page.locator("#notice")).to_contain_text("The API does not answer")
    expect(page.locator("#notice")).to_contain_text(re.compile(r"\d+\ss ago"))
    (handle,) = scene.world.convert()
    stack.watch()
    until(lambda: handle.state is State.COMPLETED, 60, "it completes whether or not anybody looks", pause=0.2)
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#line")).to_have_attribute("data-state", "live")
    expect(page.locator("#notice")).to_be_hidden()
    scene.shown.away = False
    missed = page.locator(".log-panel li", has=page.locator(f'[title="{handle.id}"]'))
    expect(missed.filter(has_text="conversion:completed")).to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("The event stream is back.")


def test_rates_show_each_service_over_time_and_what_was_excluded(scene: Scene) -> None:
    page = scene.shown.move("rates?pair=ETH-BTC")
    expect(page.locator(".legend button")).to_have_count(len(SERVICES))
    assert page.locator(".chart .series").count() == len(SERVICES)
    expect(page.get_by_label("Pair")).to_have_value("ETH-BTC")
    scene.world.fault("changenow", "wrong_rate", factor="1.3", count=1)
    scene.ask()
    excluded = page.get_by_role("row", name=re.compile("too good"))
    expect(excluded.first).to_contain_text("changenow")
    assert page.locator(".chart .cross").count() >= 1
    scene.world.mend()
    page.locator(".legend button").first.click()
    expect(page.locator(".chart .series")).to_have_count(len(SERVICES) - 1)
    page.locator(".legend button").first.click()


def test_events_can_be_filtered_and_held_still(scene: Scene) -> None:
    page = scene.shown.move("alerts")
    lines = page.locator(".log-panel li")
    expect(lines.first).to_be_visible()
    page.get_by_label("Kind").select_option("failover:")
    expect(lines.filter(has_not_text="failover:")).to_have_count(0)
    expect(lines.filter(has_text="failover:success")).not_to_have_count(0)
    page.get_by_label("Kind").select_option("")
    page.get_by_role("button", name="Pause").click()
    before = lines.count()
    scene.ask()
    expect(page.locator(".log-note")).to_contain_text(re.compile(r"paused: \d+ new"))
    assert lines.count() == before
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Contains").fill("conversion:accepted")
    expect(page.locator(".log-note")).not_to_contain_text("paused")
    expect(page).to_have_url(re.compile("text=conversion"))


@pytest.mark.parametrize("place", [*VIEWS, "conversions?show"])
def test_no_view_has_a_serious_issue_of_accessibility_in_light_or_dark(scene: Scene, place: str) -> None:
    shown = scene.shown
    page = shown.move(f"{place}={scene.newest()}" if place.endswith("show") else place)
    if place.endswith("show"):
        expect(page.locator(".drawer .attempts")).to_be_visible()
    shown.ready()
    assert shown.issues() == []
    page.emulate_media(color_scheme="dark")
    try:
        assert shown.issues(contrast_only=True) == []
    finally:
        page.emulate_media(color_scheme="light")
        page.keyboard.press("Escape")


def test_a_phone_shows_every_view_without_scrolling_sideways(scene: Scene, browser: Browser) -> None:
    with screen(browser, scene.url, viewport=PHONE, is_mobile=True, has_touch=True) as phone:
        phone.go("overview")
        for place in (*VIEWS, f"conversions?show={scene.newest()}"):
            phone.move(place)
            phone.ready()
            assert phone.overflow() == {}, place
        phone.page.get_by_role("button", name="Close").click()
        phone.page.get_by_role("link", name="Overview").click()
        expect(phone.page.get_by_role("heading", level=1)).to_have_text("Overview")
        expect(phone.page.get_by_role("heading", level=1)).to_be_focused()
        phone.page.get_by_role("button", name="Isolate").first.click()
        expect(phone.page.get_by_role("dialog")).to_be_visible()
        assert phone.overflow() == {}
        phone.page.keyboard.press("Escape")
