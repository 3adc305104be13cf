"""The dashboard's frame and the fleet page in a browser, over a fleet of fakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from controller.core.model import PoolName, ReplicaId
from tests.integration.served_fleet import Served
from tests.waiting import wait_for

AXE = Path(__file__).parents[2] / "dashboards/web/node_modules/axe-core/axe.min.js"
WIDTHS = (360, 1440, 2560)


def row(page: Page, pool: str) -> str:
    """The words of a pool's row."""
    return page.locator(f'tr:has(a[href="/pools/{pool}"][data-main])').inner_text()


def test_a_change_comes_by_itself(served: Served, page: Page) -> None:
    pool = served.fleet.policies[0].pool
    assert "All well" in row(page, pool)
    served.fleet.kill(pool)
    served.fleet.step(2)
    expect(page.locator(f'[id="pool-{pool}:head"]')).not_to_contain_text("All well")
    served.fleet.step(30)
    served.fleet.step(2)
    expect(page.locator(f'[id="pool-{pool}:head"]')).to_contain_text("All well")


def test_times_are_the_readers(served: Served, page: Page) -> None:
    element = page.locator("time[data-as]").first
    assert "UTC" not in element.inner_text()
    assert "GMT+8" in (element.get_attribute("title") or "") or "China" in (element.get_attribute("title") or "")


def test_a_lost_connection_shows_and_heals(served: Served, page: Page) -> None:
    banner = page.locator("#link")
    expect(page.locator("#state")).to_be_visible()
    expect(banner).to_be_hidden()
    served.stop()
    expect(banner).to_be_visible(timeout=15_000)
    assert "lost" in banner.inner_text()
    served.start()
    expect(banner).to_be_hidden(timeout=15_000)


def test_an_open_menu_and_what_is_typed_stay(served: Served, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.locator("details.menu summary").click()
    page.evaluate("document.querySelector('input[type=search]').value = 'ge'")
    page.evaluate("document.querySelector('input[type=search]').focus()")
    before = served.fleet.ticker.latest
    served.fleet.step(2)
    wait_for(lambda: served.fleet.ticker.latest is not before, 10, "a tick")
    assert page.locator("details.menu").get_attribute("open") is not None
    assert page.locator("input[type=search]").input_value() == "ge"
    assert page.evaluate("document.activeElement.type") == "search"


def test_the_filter_hides_what_does_not_fit(served: Served, page: Page) -> None:
    pool = str(served.fleet.policies[2].pool)
    page.locator("input[type=search]").fill(pool)
    expect(page.locator("tr[data-row]:visible")).to_have_count(1)
    assert "q=" in page.url
    page.locator("input[type=search]").fill("no such pool")
    expect(page.locator("#pools-none")).to_be_visible()


def test_everything_can_be_reached_by_keyboard(served: Served, page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_axe_finds_nothing_serious(served: Served, browser: Browser, scheme: str, language: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", bypass_csp=True)
    page = context.new_page()
    page.goto(f"{served.url}/fake/login?next=/language/{language}")
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document).then(result => result.violations)")
    context.close()
    told = [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] != "minor"]
    assert told == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(served: Served, page: Page, width: int, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.screenshot(path=tmp_path / f"fleet-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_pages_work_without_what_npm_brings(served: Served, page: Page) -> None:
    page.route("**/vendor/*", lambda route: route.fulfill(status=404))
    page.reload()
    pool = served.fleet.policies[6].pool
    served.fleet.kill(pool)
    served.fleet.step(2)
    expect(page.locator(f'[id="pool-{pool}:head"]')).not_to_contain_text("All well")
    served.fleet.step(60)
    served.fleet.step(2)


def test_back_closes_one_drawer_after_the_other(served: Served, page: Page) -> None:
    pool = served.fleet.policies[0].pool
    drawer, links = page.locator("#drawer"), page.locator("#main a[data-drawer]:visible")
    links.first.click()
    expect(drawer).to_be_visible()
    first = page.url
    expect(drawer.locator("h1")).to_be_visible()
    page.evaluate(  # a decision need not lead to others
        "href => { const link = Object.assign(document.createElement('a'), {href, textContent: 'on'});"
        " link.dataset.drawer = ''; document.getElementById('drawer-body').append(link); }",
        f"/pools/{pool}/placement",
    )
    drawer.locator("a[data-drawer]").last.click()
    expect(page).to_have_url(f"{served.url}/pools/{pool}/placement")
    page.go_back()
    expect(page).to_have_url(first)
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page).to_have_url(f"{served.url}/")


def test_a_drawer_that_is_loaded_anew_is_a_page_and_back_leads_to_the_one_before(served: Served, page: Page) -> None:
    page.locator("#main a[data-drawer]:visible").first.click()
    expect(page.locator("#drawer")).to_be_visible()
    page.reload()
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#pools")).to_have_count(0)
    page.go_back()
    expect(page).to_have_url(f"{served.url}/")
    expect(page.locator("#pools")).to_be_visible()


def test_after_a_lost_connection_nothing_stands_there_that_is_gone(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/pools/{served.fleet.policies[1].pool}")
    page.evaluate(
        "() => { const row = document.querySelector('#replicas tr').cloneNode(true);"
        " row.id = 'replica-gone'; document.getElementById('replicas').append(row); }"
    )
    page.locator("[data-filter=replicas]").fill("-")
    page.locator("h1").click()  # it has not got the focus
    served.stop()
    expect(page.locator("#link")).to_be_visible(timeout=15_000)
    served.start()
    expect(page.locator("#replica-gone")).to_have_count(0, timeout=15_000)
    expect(page.locator("[data-filter=replicas]")).to_have_value("-")


def test_the_dialog_of_bounds_begins_with_those_in_force(served: Served, page: Page) -> None:
    policy = served.fleet.policies[3]
    page.goto(f"{served.url}/pools/{policy.pool}")
    expect(page.locator("[data-open=bounds]")).to_be_visible()
    floor = page.locator("#bounds-floor")
    for ceiling in (policy.scaling.ceiling + 1, policy.scaling.ceiling + 2):
        page.locator("[data-open=bounds]").click()
        floor.fill("999")
        page.keyboard.press("Escape")
        page.locator("[data-open=bounds]").click()
        expect(floor).to_have_value(str(policy.scaling.floor))
        page.locator("#bounds-ceiling").fill(str(ceiling))
        page.locator("#bounds-why").fill("a test")
        page.locator("#bounds button.main").click()
        expect(page.locator("#bounds")).to_be_hidden()
        served.fleet.step(2)
        expect(page.locator("#do-bounds")).to_have_attribute("data-fields", re.compile(rf'"ceiling": {ceiling}\b'))
        page.locator("[data-open=bounds]").click()
        expect(page.locator("#bounds-ceiling")).to_have_value(str(ceiling))
        page.keyboard.press("Escape")


def test_a_dialog_does_what_it_says_whatever_becomes_of_its_button(served: Served, page: Page) -> None:
    node = served.fleet.names[0]
    page.goto(f"{served.url}/nodes/{node}")
    page.locator("#node-head").get_by_role("button", name="Cordon").click()
    asked = page.locator("#confirm h2").inner_text()
    page.evaluate(  # another person does the same
        "([subject, csrf]) => fetch('/api/v1/orders', {method: 'POST', body: JSON.stringify({kind: 'cordon', subject}),"
        " headers: {'Content-Type': 'application/json', 'X-CSRF-Token': csrf}})",
        [f"node/{node}", page.locator("meta[name=csrf]").get_attribute("content")],
    )
    served.fleet.step(2)
    expect(page.locator("#node-head")).to_contain_text("Release")
    assert page.locator("#confirm h2").inner_text() == asked
    page.locator("#confirm textarea").fill("a disk is changed")
    with page.expect_request("**/api/v1/orders") as sent:
        page.locator("#confirm button.main").click()

    assert sent.value.post_data_json == {"kind": "cordon", "subject": f"node/{node}", "why": "a disk is changed"}
    expect(page.locator("#confirm")).to_be_hidden()


def test_spaces_are_no_reason(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/nodes/{served.fleet.names[1]}")
    page.locator("#node-head").get_by_role("button", name="Cordon").click()
    page.locator("#confirm textarea").fill("   ")
    page.locator("#confirm button.main").click()

    expect(page.locator("#confirm .wrong")).to_contain_text("spaces alone are nothing")
    expect(page.locator("#confirm")).to_be_visible()


def test_the_focus_stays_with_what_it_was_on(served: Served, page: Page) -> None:
    node = served.fleet.names[2]
    page.goto(f"{served.url}/nodes/{node}")
    rows = page.locator("#node-replicas tbody tr")
    last = rows.last.locator("th").inner_text().split()[0]
    first = rows.first.locator("th").inner_text().split()[0]
    rows.last.get_by_role("button", name="Drain").focus()
    served.fleet.kill(PoolName(rows.first.locator("td a").first.inner_text()), ReplicaId(first))
    for _ in range(4):
        served.fleet.step(2)
    expect(page.locator(f'[id="on-node-{first}"]')).to_have_count(0)

    assert page.evaluate("document.activeElement.closest('tr').id") == f"on-node-{last}"


def test_the_menu_of_a_phone_closes(served: Served, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    menu = page.locator("details.menu")
    page.locator("details.menu summary").click()
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    page.locator("details.menu summary").click()
    page.mouse.click(180, 780)
    expect(menu).not_to_have_attribute("open", "")
