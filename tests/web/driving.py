"""A page as an operator has it before him, and everything that it complains of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Locator, Page, expect

from converter.api.serving import Server

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
VIEWS = ("overview", "conversions", "rates", "failovers", "review", "alerts")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (one) => window.violations.push(one.violatedDirective));
"""
_WIDER = """() => {
  const scrolls = (one) => one !== document.body
    && (/auto|scroll|hidden/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
  return {
    by: Math.max(document.documentElement.scrollWidth, innerWidth) - Math.min(screen.width, innerWidth),
    within: [...document.querySelectorAll("dialog[open], .panel")]
      .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.className),
    who: [...document.querySelectorAll("body *")]
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one))
      .slice(0, 5).map((one) => `${one.tagName} ${one.getAttribute("class")}`),
  };
}"""
_CONTRAST = {"runOnly": ["color-contrast", "link-in-text-block"]}

expect.set_options(timeout=20_000)


class Screen:
    """A page of the dashboard. `away`: that the server cannot be reached is expected now."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.away = False
        self._complaints: list[str] = []
        page.add_init_script(_VIOLATIONS)
        page.on("pageerror", lambda error: self._complaints.append(f"error: {error}"))
        page.on("console", lambda message: self._note(message.type, message.text))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not (self.away and "Failed to load resource" in text):
            self._complaints.append(f"{kind}: {text}")

    def go(self, place: str = "overview") -> Page:
        """Load a place, such as `conversions?state=FAILED`."""
        self.page.goto(f"{self.url}/#/{place}")
        return self.page

    def move(self, place: str) -> Page:
        """Go on to a place within the loaded page."""
        self.page.evaluate("(hash) => { location.hash = hash }", f"#/{place}")
        return self.page

    def complaints(self) -> list[str]:
        """What the console, errors and the content security policy said."""
        broken: list[str] = self.page.evaluate("() => window.violations")
        return self._complaints + [f"policy: {one}" for one in broken]

    def overflow(self) -> dict[str, Any]:
        """By how many pixels the page is wider than the screen, and which elements are; empty when none is."""
        found: dict[str, Any] = self.page.evaluate(_WIDER)
        return {name: value for name, value in found.items() if value}

    def issues(self, *, contrast_only: bool = False) -> list[str]:
        """Serious and critical issues of accessibility."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE)
        found = self.page.evaluate("(options) => axe.run(document, options)", _CONTRAST if contrast_only else {})
        return [
            f"{one['id']}: {node['target']} {node['failureSummary'][:300]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def ready(self) -> Page:
        """Wait until nothing on the page is loading any more."""
        expect(self.page.locator(".loading:visible")).to_have_count(0)
        expect(self.page.locator("#line")).to_have_attribute("data-state", "live")
        return self.page

    def say(self, dialog: Locator, **fields: str) -> None:
        """Fill in a dialog, by the labels of its fields."""
        for label, text in fields.items():
            dialog.get_by_label(label.replace("_", " ")).fill(text)


@contextmanager
def screen(browser: Browser, url: str, **context: Any) -> Iterator[Screen]:
    """A page in a context of its own. What it complained of fails the test at the end."""
    opened = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **context})
    opened.set_default_timeout(15_000)
    shown = Screen(opened.new_page(), url)
    try:
        yield shown
        assert shown.complaints() == [], shown.complaints()
    finally:
        opened.close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a free port, in a thread."""
    server = Server(uvicorn.Config(app, port=0, lifespan="off", log_level="warning"), app.state.hub)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not (server.started and server.servers):
            assert time.monotonic() < end, "it does not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
