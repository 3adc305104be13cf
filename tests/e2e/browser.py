"""Debian's Chromium as the tests open it, and what they want of every page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

AXE = Path(__file__).parents[2] / "dashboards/web/node_modules/axe-core/axe.min.js"
_PROGRAM = "/usr/bin/chromium"
_QUIET = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """It asks nobody but the pages that it is sent to."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_PROGRAM, args=_QUIET)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page, and what it did that no page of ours may do."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The browser itself writes a line for each answer that is an error; the tests look at those.
        self.page.on("console", lambda said: self._said(said.type, said.text))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda asked: self._asked(asked.url))

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(f"console: {text}")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, url: str) -> None:
        here, there = urlsplit(self.page.url), urlsplit(url)
        if here.scheme.startswith("http") and there.scheme not in ("data", "blob") and there.netloc != here.netloc:
            self.faults.append(f"request to {url}")


def tab_of(context: BrowserContext) -> Tab:
    """A new one, that notices violations of the content security policy, too: they are errors on the console."""
    return Tab(context.new_page())


def serious(page: Page) -> list[str]:
    """What axe finds on the page that keeps somebody from using it: serious and critical."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
