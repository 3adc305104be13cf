"""A running stack as people see it: each role has a browser of its own that is logged in."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.browser import Tab, tab_of
from tests.e2e.stack import Stack
from tests.waiting import wait_for

PASSWORD = "correct horse battery"
ADMIN, OPERATOR, VIEWER = "admin", "olga", "viktor"
PATIENCE_S, HEAL_S = 20.0, 90.0
POOL = "smollm2"


@dataclass
class Site:
    """The stack, the browser, and a context for each person."""

    stack: Stack
    browser: Browser
    said: str  # by `stoker up`
    pictures: Path
    kill: Callable[[str], None]  # `docker kill` of a replica
    contexts: dict[str, BrowserContext] = field(default_factory=dict)
    tabs: list[Tab] = field(default_factory=list)

    @property
    def url(self) -> str:
        """How the addresses of its pages begin."""
        return f"http://127.0.0.1:{self.stack.port('controller')}"

    def new_context(self, **more: Any) -> BrowserContext:
        """A browser that nobody has used."""
        made = self.browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "locale": "en-US"} | more)
        made.set_default_timeout(1000 * PATIENCE_S)
        return made

    def join(self, link: str, name: str) -> Tab:
        """Follow an invitation, and be logged in as that person from then on."""
        context = self.contexts[name] = self.new_context()
        tab = self.watched(context)
        tab.page.goto(link)
        tab.page.locator("#password").fill(PASSWORD)
        tab.page.locator("#again").fill(PASSWORD)
        return tab

    def log_in(self, context: BrowserContext, name: str, password: str = PASSWORD, path: str = "/") -> Tab:
        """By the form."""
        tab = self.watched(context)
        tab.page.goto(f"{self.url}{path}")
        tab.page.locator("#name").fill(name)
        tab.page.locator("#password").fill(password)
        tab.page.locator("form.card button").click()
        return tab

    def watched(self, context: BrowserContext) -> Tab:
        """A new tab; whatever it does that it may not is found at the end of the test."""
        tab = tab_of(context)
        self.tabs.append(tab)
        return tab

    def open(self, name: str, path: str) -> Page:
        """That page, for that person."""
        page = self.watched(self.contexts[name]).page
        page.goto(f"{self.url}{path}")
        return page

    def close_tabs(self) -> list[str]:
        """What they did that they may not."""
        found = [f"{tab.page.url}: {fault}" for tab in self.tabs for fault in tab.faults]
        for tab in self.tabs:
            if not tab.page.is_closed():
                tab.page.close()
        self.tabs.clear()
        return found

    def picture(self, page: Page, name: str) -> None:
        """Kept as an artefact."""
        page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """What the API answers; as who has the state directory, unless headers say otherwise."""
        given = headers if headers is not None else {"Authorization": f"Bearer {self.stack.token()}"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"{self.url}{path}", data, {"Content-Type": "application/json", **given}, method=method
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, _told(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _told(error.read())

    def pool(self) -> dict[str, Any]:
        """Of the API."""
        found: dict[str, Any] = self.stack.api("/api/v1/pools")[0]
        return found

    def quiet(self, count: int = 3) -> None:
        """Wait until so many serve, and nothing moves."""

        def now() -> bool:
            states = [row["state"] for row in self.stack.replicas()]
            return states == ["ready"] * count and len(self.stack.ready()) == count

        wait_for(now, HEAL_S, f"{count} ready replicas, and no other")

    def sessions(self, context: BrowserContext) -> list[Any]:
        """Its cookies that are those of a login."""
        port = self.stack.port("controller")
        return [one for one in context.cookies() if one["name"] == f"stoker_session_{port}"]

    def cookie_of(self, context: BrowserContext) -> str:
        """Its cookies as a header."""
        return "; ".join(f"{one['name']}={one['value']}" for one in context.cookies())


def _told(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode()


def link_in(text: str) -> str:
    """The invitation that a command printed."""
    found = re.search(r"http://\S+/join#\S+", text)
    assert found, text
    return found[0]


def csrf_of(page: Page) -> str:
    """What a change must show."""
    return str(page.locator('meta[name="csrf"]').get_attribute("content"))


def confirm(page: Page, why: str) -> None:
    """Give the reason that the one dialog of the page asks for."""
    dialog = page.locator("#confirm")
    dialog.locator("textarea").fill(why)
    dialog.locator("button[type=submit]").click()
    expect(dialog).not_to_be_visible()


def submit(page: Page, dialog_id: str, **fields: str) -> None:
    """Fill the named fields of a dialog and send it; it closes when the API took it."""
    dialog = page.locator(f"dialog#{dialog_id}")
    for name, value in fields.items():
        place = dialog.locator(f"[name={name}]").first
        if place.evaluate("one => one.tagName") == "SELECT":
            place.select_option(value)
        elif place.get_attribute("type") == "radio":
            dialog.locator(f"[name={name}][value={value}]").check()
        else:
            place.fill(value)
    dialog.locator("button[type=submit]").click()
    expect(dialog).not_to_be_visible()


def pictures_folder(fallback: Path) -> Path:
    """Where screenshots go: STOKER_TEST_PICTURES, or a folder of the tests."""
    folder = Path(os.environ.get("STOKER_TEST_PICTURES") or fallback)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
