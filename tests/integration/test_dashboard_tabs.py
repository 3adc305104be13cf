"""What becomes of a page that stays open: on a slow link, in the background, with answers that come late or never."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.integration.served_fleet import Served
from tests.waiting import wait_for

# Pages and answers that scripts ask for wait until they are let go.
HOLD = """
const real = window.fetch;
const held = (window.held = []);
window.begun = 0;
window.holding = null;
window.fetch = (path, options) => {
  const asked = `${options?.method ?? "GET"} ${options?.headers?.Accept} ${path}`;
  if (!window.holding || !new RegExp(window.holding).test(asked)) return real(path, options);
  window.begun += 1;
  return new Promise((go) => held.push(() => go(real(path, options))));
};
window.letGo = () => held.splice(0).forEach((go) => go());
"""
MODULE = "new URL('./live.js', document.querySelector('script[src*=\"js/shell.js\"]').src)"
ORDER = "**/api/v1/orders"


@pytest.fixture
def slow(page: Page) -> Page:
    """One whose script holds back what `hold` names."""
    page.context.add_init_script(HOLD)
    page.reload()
    return page


def hold(page: Page, what: str) -> None:
    page.evaluate("what => { window.holding = what; window.begun = 0; }", what)


def begun(page: Page) -> int:
    return int(page.evaluate("window.begun"))


def test_a_slow_page_is_asked_for_once_at_a_time(served: Served, slow: Page) -> None:
    pool = served.fleet.policies[4].pool
    hold(slow, "text/html")
    for _ in range(5):
        slow.evaluate(f"import({MODULE}).then(live => void live.refetch())")
    head = slow.locator(f'[id="pool-{pool}:head"]')
    served.fleet.kill(pool)
    served.fleet.step(2)
    expect(head).not_to_contain_text("All well")  # parts come meanwhile
    assert begun(slow) == 1

    slow.evaluate("letGo()")
    wait_for(lambda: begun(slow) == 2, 10, "the page that was asked for while the first was on its way")
    expect(head).not_to_contain_text("All well")
    slow.evaluate("letGo()")
    state = slow.locator("#answers")
    for _ in range(3):
        served.fleet.kill(pool)
        before = state.inner_html()
        served.fleet.step(2)
        expect(state).not_to_have_js_property("innerHTML", before)
    assert begun(slow) == 2


def test_parts_that_came_during_the_load_of_a_page_outlive_it(served: Served, slow: Page) -> None:
    pool = served.fleet.policies[0].pool
    head = slow.locator(f'[id="pool-{pool}:head"]')
    expect(head).to_contain_text("All well")
    hold(slow, "text/html")
    slow.evaluate(f"import({MODULE}).then(live => void live.refetch())")
    slow.route("**/", lambda route: old_page(route, "pool-"))
    served.fleet.kill(pool)
    served.fleet.step(2)
    expect(head).not_to_contain_text("All well")
    slow.evaluate("window.holding = null; letGo()")
    wait_for(lambda: slow.locator("[data-old]").count() > 0, 10, "the old page is taken")

    expect(head).not_to_contain_text("All well")
    expect(head).not_to_have_attribute("data-old", "")
    slow.unroute("**/")
    for _ in range(15):
        served.fleet.step(2)


def old_page(route: Route, what: str) -> None:
    """As if it had been made before the parts that came meanwhile."""
    text = route.fetch().text()
    route.fulfill(body=text.replace(f'id="{what}', f'data-old id="{what}'), content_type="text/html")


def test_a_tab_that_was_opened_in_the_background_gives_its_connection_back(served: Served, browser: Browser) -> None:
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.away ?? true})")
    page = context.new_page()
    page.clock.install()
    page.goto(f"{served.url}/fake/login")
    wait_for(lambda: served.live.streams == 1, 20, "it is live, for a while")
    page.clock.run_for(31_000)
    wait_for(lambda: served.live.streams == 0, 20, "nobody looks at it")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: served.live.streams == 1, 20, "somebody does")
    context.close()
    wait_for(lambda: served.live.streams == 0, 20, "it is closed")


def test_a_refusal_is_seen_although_its_dialog_was_closed(served: Served, slow: Page) -> None:
    slow.goto(f"{served.url}/nodes/{served.fleet.names[3]}")
    hold(slow, "POST")
    slow.route(ORDER, lambda route: route.fulfill(status=409, json={"detail": "Not now."}))
    slow.locator("#node-head").get_by_role("button", name="Cordon").click()
    dialog = slow.locator("#confirm")
    dialog.locator("textarea").fill("a disk is changed")
    dialog.locator("button.main").click()
    slow.keyboard.press("Escape")
    dialog.locator("[data-close]").click()
    expect(dialog).to_be_visible()
    dialog.evaluate("element => element.close()")  # a browser may insist
    slow.locator("#node-head").get_by_role("button", name="Drain").click()
    dialog.locator("textarea").fill("another thing")
    slow.evaluate("letGo()")

    expect(slow.locator("#said .failed")).to_contain_text("Not now.")
    expect(dialog).to_be_visible()
    expect(dialog.locator(".wrong")).to_have_text("")
    expect(dialog.locator("textarea")).to_have_value("another thing")
    slow.locator("#said .close").click()  # it does not lie under the dialog
    expect(slow.locator("#said .failed")).to_have_count(0)
    slow.unroute(ORDER)


def test_a_reason_is_not_offered_for_another_action(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/nodes/{served.fleet.names[3]}")
    page.locator("#node-head").get_by_role("button", name="Cordon").click()
    page.locator("#confirm textarea").fill("a disk is changed")
    page.keyboard.press("Escape")
    page.locator("#node-head").get_by_role("button", name="Drain").click()

    expect(page.locator("#confirm textarea")).to_have_value("")


def test_older_lines_stay_while_the_connection_is_lost_and_comes_back(served: Served, page: Page) -> None:
    for _ in range(60):
        served.fleet.kill(served.fleet.policies[6].pool)
        served.fleet.step(2)
        served.fleet.step(30)
    page.goto(f"{served.url}/activity")
    lines = page.locator("#stream > tr")
    before = lines.count()
    page.locator("a[data-older]").click()
    wait_for(lambda: lines.count() > before, 20, "older lines")
    more = lines.count()
    served.stop()
    expect(page.locator("#link")).to_be_visible(timeout=15_000)
    served.start()
    expect(page.locator("#link")).to_be_hidden(timeout=15_000)
    served.fleet.kill(served.fleet.policies[6].pool)
    served.fleet.step(2)
    expect(page.locator("#news button")).to_be_visible()
    assert lines.count() == more

    page.locator("#news button").click()
    expect(page.locator("#news button")).to_have_count(0)
    expect(lines).to_have_count(before)


def test_a_time_of_another_year_says_so(served: Served, page: Page) -> None:
    at = datetime.now(UTC) + timedelta(days=365)
    page.evaluate(
        "at => document.getElementById('main').insertAdjacentHTML('beforeend',"
        " `<time id='far' data-as='day' datetime='${at}'></time>`)",
        at.isoformat(),
    )
    expect(page.locator("#far")).to_contain_text(str(at.year))


@pytest.mark.parametrize("clipboard", [True, False], ids=["clipboard", "plain HTTP under another name"])
def test_a_drawer_copies_its_own_text_and_says_so_in_sight(served: Served, browser: Browser, clipboard: bool) -> None:
    context = browser.new_context()
    if not clipboard:
        context.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{served.url}/fake/login?next=/activity%3Fwhat=decision")
    links = page.locator("#stream a[href^='/decisions/']")
    here, other = (link.get_attribute("href") or "" for link in (links.first, links.last))
    page.goto(f"{served.url}{here}")
    page.evaluate(
        "href => { const link = Object.assign(document.createElement('a'), {href, textContent: 'on', id: 'on'});"
        " link.dataset.drawer = ''; document.getElementById('main').append(link); }",
        other,
    )
    page.locator("#on").click()
    drawer = page.locator("#drawer")
    wanted = drawer.locator("#again-command").inner_text()
    drawer.locator("[data-copy]").click()
    expect(drawer.locator("#said")).to_contain_text("Copied")
    page.keyboard.press("Escape")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<textarea id=into></textarea>')")
    page.locator("#into").focus()
    page.keyboard.press("Control+V")

    assert wanted != page.locator("#again-command").inner_text()
    expect(page.locator("#into")).to_have_value(wanted)
    context.close()


def test_back_from_an_event_that_was_loaded_anew_leads_to_the_stream(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/activity?what=event")
    page.locator("#stream a[data-drawer][href^='/activity?event=']").first.click()
    expect(page.locator("#drawer")).to_be_visible()
    page.reload()
    expect(page.locator("#stream")).to_have_count(0)
    page.go_back()
    expect(page).to_have_url(f"{served.url}/activity?what=event")
    expect(page.locator("#stream")).to_be_visible()


def test_the_other_language_shows_the_same(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/activity?what=decision")
    page.evaluate("history.replaceState(null, '', '/activity?what=decision&severity=warning')")  # as scripts do
    page.locator("header .tools a[hreflang]").first.click()
    expect(page).to_have_url(re.compile(r"/activity\?what=decision&severity=warning$"))
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))


def test_what_is_read_in_a_live_timeline_stays_in_place(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/pools/{served.fleet.policies[6].pool}")
    page.locator("#timeline-happened > summary").click()
    page.locator("#timeline-list a").first.focus()
    page.evaluate(
        "() => { window.link = document.activeElement; window.mark = document.querySelector('#timeline-marks .mark'); }"
    )
    for _ in range(2):
        with page.expect_response(re.compile("/timeline")):
            pass
    assert page.evaluate("document.activeElement === link")
    assert page.evaluate("mark.isConnected")


def test_the_keys_go_through_what_the_timeline_shows(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/pools/{served.fleet.policies[6].pool}?range=6h")
    charts = page.locator("#timeline-charts")
    expect(page.locator("#timeline-body")).to_be_visible()
    charts.focus()
    read = page.locator("#timeline-read")
    said = []
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        said.append(read.inner_text())
    shown = page.locator("#timeline-at").inner_text()

    assert len(set(said[:3])) == 3
    assert said[1] == said[3]
    assert shown.split()[-1] in said[3], "what is told is what is shown"


def test_a_slider_does_not_fill_the_history(served: Served, page: Page) -> None:
    page.goto(f"{served.url}/simulator")
    page.evaluate(
        "() => { window.told = 0; const real = history.replaceState.bind(history);"
        " history.replaceState = (...all) => { window.told += 1; real(...all); }; }"
    )
    page.evaluate(
        "() => { const slide = document.querySelector('.knob .slide');"
        " for (let at = 0; at < 300; at += 1) slide.dispatchEvent(new Event('input', {bubbles: true}), slide.stepUp());"
        " slide.dispatchEvent(new Event('change', {bubbles: true})); }"
    )
    assert page.evaluate("window.told") == 1
    expect(page.locator(".knob[data-changed]")).to_have_count(1)


def test_a_simulation_is_begun_once_and_outlives_an_answer_that_does_not_come(served: Served, slow: Page) -> None:
    slow.goto(f"{served.url}/simulator")
    hold(slow, "POST")
    go = slow.locator("#simulation [type=submit]")
    go.click()
    slow.evaluate("document.getElementById('simulation').requestSubmit()")
    assert begun(slow) == 1
    lost = [0]

    def lose(route: Route) -> None:
        lost[0] += 1
        if lost[0] == 1:
            route.abort()
        elif lost[0] == 2:  # of a proxy, while the controller is restarted
            route.fulfill(status=502, body="")
        else:
            route.continue_()

    slow.route("**/api/v1/simulations/*", lose)
    slow.evaluate("window.holding = null; letGo()")
    expect(slow.locator("#result h2").first).to_be_visible(timeout=60_000)
    assert lost[0] > 2
    expect(slow.locator("#wrong")).to_have_text("")
    assert "run=" in slow.url


def test_a_page_of_another_version_is_loaded_with_its_scripts(served: Served, page: Page) -> None:
    page.route("**/", lambda route: route.fulfill(body=old_scripts(route), content_type="text/html"))
    page.reload()
    page.unroute("**/")
    page.evaluate("window.here = true")
    with page.expect_navigation():
        page.evaluate(f"import({MODULE}).then(live => void live.refetch())")
    assert page.evaluate("window.here") is None
    page.evaluate("window.here = true")
    page.evaluate(f"import({MODULE}).then(live => live.refetch())")
    assert page.evaluate("window.here")


def old_scripts(route: Route) -> str:
    """The page with another address of its script, under which the same one lies."""
    return re.sub(r'(src="[^"]*/js/shell\.js)"', r'\1?before"', route.fetch().text())
