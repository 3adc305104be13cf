"""Every page, for those who may see it: what is on it, in light and dark, wide and narrow, for everybody's eyes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import serious
from tests.e2e.dashboard.site import ADMIN, OPERATOR, PATIENCE_S, POOL, VIEWER, Site
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
# Of each page: who sees it at least, and words that only what is really there can have brought onto it.
PAGES = {
    "/": (VIEWER, POOL),
    f"/pools/{POOL}": (VIEWER, f"{POOL}-1"),
    "/nodes": (VIEWER, f"{POOL}-1"),
    "/nodes/local": (VIEWER, f"{POOL}-1"),
    "/gateway": (VIEWER, "runs what it should"),
    "/activity": (VIEWER, POOL),
    "/alerts": (VIEWER, ""),
    "/simulator": (VIEWER, POOL),
    "/drills": (VIEWER, "kill"),
    "/account": (VIEWER, VIEWER),
    "/keys": (OPERATOR, "gold"),
    "/audit": (OPERATOR, "user/olga"),
    "/users": (ADMIN, VIEWER),
}
# What reaches over the right edge, where the page as a whole does.
TOO_WIDE = """() => {
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= edge) return [];
  return [...document.querySelectorAll("#main *")].filter((one) => one.getBoundingClientRect().right > edge)
    .map((one) => one.outerHTML.slice(0, 150));
}"""


def fits(page: Page) -> None:
    """It does not scroll sideways, once its charts have been drawn for that width."""
    with suppress(AssertionError):
        wait_for(lambda: page.evaluate(TOO_WIDE) == [], PATIENCE_S, "a page as wide as the window")
    assert page.evaluate(TOO_WIDE) == []


@pytest.mark.parametrize("path", PAGES)
def test_each_page_tells_what_is_and_shuts_nobody_out(site: Site, path: str) -> None:
    who, words = PAGES[path]
    page = site.open(who, path)
    expect(page.locator("#main")).to_contain_text(words)
    expect(page.locator("h1")).to_have_count(1)
    assert serious(page) == []
    site.picture(page, f"page{path.replace('/', '-')}")

    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    fits(page)
    assert serious(page) == []
    site.picture(page, f"narrow{path.replace('/', '-')}")


def test_the_other_language_says_it_all_too(site: Site) -> None:
    page = site.open(VIEWER, "/")
    english = page.locator("h1").inner_text()
    page.get_by_role("link", name="中文").first.click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    assert page.locator("h1").inner_text() != english
    assert serious(page) == []
    site.picture(page, "chinese")
    page.get_by_role("link", name="English").first.click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_what_is_not_there_is_said_on_a_page(site: Site) -> None:
    page = site.open(VIEWER, "/pools/nothing")
    expect(page.locator("h1")).to_be_visible()
    assert serious(page) == []


@pytest.mark.parametrize(("who", "path"), [(VIEWER, "/keys"), (VIEWER, "/audit"), (OPERATOR, "/users")])
def test_a_page_that_a_role_may_not_see_says_so(site: Site, who: str, path: str) -> None:
    page = site.open(who, path)
    expect(page.locator("#main")).to_contain_text("Your role may not do this")
    assert page.locator(f"nav a[href='{path}']").count() == 0, "nor is there a way to it"


def test_the_whole_page_is_worked_by_keyboard(site: Site) -> None:
    page = site.open(OPERATOR, f"/pools/{POOL}")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog#pause")).to_be_visible()
    assert page.evaluate("document.querySelector('dialog#pause').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.locator("dialog#pause")).not_to_be_visible()
    assert page.evaluate("document.activeElement.textContent").startswith("Pause"), "focus comes back"
