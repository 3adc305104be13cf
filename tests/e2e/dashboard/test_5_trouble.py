"""What the pages say while something is broken: each is told of by itself, and each of them heals without a reload."""

from __future__ import annotations

import signal
import time

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import serious
from tests.e2e.dashboard.site import ADMIN, HEAL_S, OPERATOR, POOL, VIEWER, Site, submit
from tests.e2e.stack import free_ports
from tests.e2e.test_failover import readyz, standing_by
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
NOTICED_MS = 15_000


def remember(page: Page) -> None:
    """That a reload would be noticed."""
    page.evaluate("window.same = true")


def same(page: Page) -> bool:
    return bool(page.evaluate("window.same === true"))


def test_a_killed_replica_is_on_every_open_page_within_seconds(site: Site) -> None:
    site.quiet()
    fleet, pool = site.open(VIEWER, "/"), site.open(VIEWER, f"/pools/{POOL}")
    victim = site.stack.ready()[0]
    calm = fleet.locator("#state").inner_text()
    for page in (fleet, pool):
        remember(page)
    began = time.monotonic()
    site.kill(victim)
    expect(pool.locator(f"#replica-{victim}")).to_have_count(0, timeout=NOTICED_MS)
    print(f"killed to gone from the page: {time.monotonic() - began:.2f} s")
    expect(fleet.locator("#state")).not_to_have_text(calm, timeout=NOTICED_MS)
    site.picture(fleet, "fleet-killed")
    expect(fleet.locator("#state")).to_have_text(calm, timeout=1000 * HEAL_S)
    expect(pool.locator("#pool-words")).to_contain_text(victim)
    assert same(fleet)
    assert same(pool)


def test_a_drill_is_followed_from_the_page_alone(site: Site) -> None:
    site.quiet()
    page = site.open(OPERATOR, f"/pools/{POOL}")
    page.get_by_role("button", name="Drill").click()
    expect(page.locator("#drill-fault option", has_text="kill").first).to_be_attached()
    submit(page, "drill", fault="kill", why="every Friday <b>bold</b>")
    page.wait_for_url(f"{site.url}/drills**")
    ended = wait_for(
        lambda: next((one for one in site.stack.api("/api/v1/drills") if one["ended_at"]), None), 2 * HEAL_S, "its end"
    )
    assert ended["state"] in ("passed", "failed"), ended  # a busy machine may keep a promise too late
    page.goto(f"{site.url}/drills/{ended['id']}")
    main = page.locator("#main")
    expect(main).to_contain_text(ended["victims"][0])  # what failed
    expect(main).to_contain_text("Full strength again")  # and when it was over
    expect(main).to_contain_text("every Friday <b>bold</b>")
    decided = main.locator("a[href^='/decisions/']").first  # what the controller did, and why
    assert serious(page) == []
    site.picture(page, "drill")
    decided.click()
    expect(page.locator("#drawer-body, #main").last).to_contain_text(POOL)
    timeline = site.open(VIEWER, f"/pools/{POOL}?range=15m")
    timeline.locator("#timeline-happened-title").click()
    expect(timeline.locator("#timeline-list")).to_contain_text("drill", ignore_case=True)
    site.picture(timeline, "pool-after-drill")


def test_without_prometheus_the_page_says_since_when_its_numbers_are_old(site: Site) -> None:
    page, pool = site.open(VIEWER, "/"), site.open(VIEWER, f"/pools/{POOL}")
    remember(page)
    prometheus = site.stack.process("prometheus --config.file")
    prometheus.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("#state")).to_contain_text("Numbers are old since", timeout=NOTICED_MS)
        expect(page.locator("#state time")).to_have_count(1)
        expect(pool.locator("#replicas tr").first).to_be_visible()
        assert serious(page) == []
        site.picture(page, "prometheus-gone")
    finally:
        prometheus.send_signal(signal.SIGCONT)
    expect(page.locator("#state")).not_to_contain_text("Numbers are old", timeout=1000 * HEAL_S)
    assert same(page)


def test_a_controller_that_stands_by_says_who_leads(site: Site, tmp_path: object) -> None:
    (port,) = free_ports(1)
    with standing_by(site.stack, port, site.pictures / "standby.log"):
        wait_for(lambda: readyz(port).startswith("stands by"), HEAL_S, "it to stand by")
        context = site.new_context(extra_http_headers={"Authorization": f"Bearer {site.stack.token()}"})
        page = site.watched(context).page
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page.locator("body")).to_contain_text("stands by")
        assert serious(page) == []
        site.picture(page, "standby")
        context.close()


def test_a_lost_connection_is_said_and_heals_by_itself(site: Site) -> None:
    page = site.open(ADMIN, "/")
    expect(page.locator("#link")).to_be_hidden()
    remember(page)
    supervisor, controller = site.stack.process("supervisord"), site.stack.process("controller.main")
    supervisor.suspend()  # else it is back too soon to be seen
    try:
        controller.kill()
        expect(page.locator("#link")).to_contain_text("Connection to the controller lost", timeout=NOTICED_MS)
        site.picture(page, "connection-lost")
    finally:
        supervisor.resume()
    began = time.monotonic()
    expect(page.locator("#link")).to_be_hidden(timeout=1000 * HEAL_S)
    print(f"supervisor back to page healed: {time.monotonic() - began:.2f} s")
    expect(page.locator("#main")).to_contain_text(POOL)
    assert same(page)
    wait_for(lambda: len(site.stack.ready()) == 3, HEAL_S, "the replicas as they were")
