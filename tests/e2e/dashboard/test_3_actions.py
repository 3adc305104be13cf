"""Everything that can be done on the pages: through its dialog, with a reason, and what then is so by the API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.dashboard.site import ADMIN, HEAL_S, OPERATOR, POOL, VIEWER, Site, confirm, csrf_of, submit
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


def orders(site: Site) -> list[tuple[str, str, str]]:
    found = site.stack.api("/api/v1/orders")
    return [(order["kind"], order["subject"], order["why"]) for order in found]


def act_on(page: Page, replica: str, kind: str, why: str) -> None:
    page.get_by_role("button", name=f"Act on {replica}").click()
    submit(page, "replica-do", kind=kind, why=why)


def key(site: Site, name: str) -> dict[str, Any]:
    found = [key for key in site.stack.api("/api/v1/keys") if key["name"] == name]
    return dict(found[0])


def test_a_pool_is_paused_and_resumed(site: Site) -> None:
    page = site.open(OPERATOR, f"/pools/{POOL}")
    page.get_by_role("button", name="Pause").click()
    submit(page, "pause", for_s="3600", why="the network is being rewired")
    expect(page.locator("#pool-state")).to_contain_text(f"Paused by {OPERATOR}")
    expect(page.locator("#pool-state")).to_contain_text("the network is being rewired")
    paused = site.pool()["override"]["pause"]
    assert (paused["by"], paused["why"]) == (OPERATOR, "the network is being rewired")

    page.get_by_role("button", name="Resume").click()
    confirm(page, "it is rewired")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert not (site.pool()["override"] or {}).get("pause")


def test_a_replica_is_restarted(site: Site) -> None:
    site.quiet()
    page = site.open(OPERATOR, f"/pools/{POOL}")
    replica = site.stack.ready()[0]
    act_on(page, replica, "restart", "a new driver")
    wait_for(lambda: replica not in site.stack.ready(), HEAL_S, "its successor to take over")
    why = [item["reasons"] for item in site.stack.decisions() if item["replica"] == replica]
    assert "a new driver" in str(why)
    expect(page.locator(f"#replica-{replica}")).to_have_count(0, timeout=1000 * HEAL_S)


def test_bounds_bring_a_replica_that_the_page_shows_by_itself_and_are_cleared_again(site: Site) -> None:
    site.quiet()
    page = site.open(OPERATOR, f"/pools/{POOL}")
    watcher = site.open(VIEWER, f"/pools/{POOL}")
    watcher.evaluate("window.same = true")
    page.get_by_role("button", name="Bounds").click()
    dialog = page.locator("dialog#bounds")
    dialog.locator("[name=floor]").fill("9")
    dialog.locator("[name=ceiling]").fill("8")
    dialog.locator("[name=why]").fill("a launch")
    dialog.locator("button[type=submit]").click()
    expect(dialog.locator(".wrong")).to_contain_text("floor")  # the sentence of the API, where one types
    submit(page, "bounds", floor="4", ceiling="5", why="a launch")
    expect(page.locator("#pool-state")).to_contain_text(f"{OPERATOR} has set the bounds to 4 to 5")
    expect(watcher.locator("#replicas tr")).to_have_count(4, timeout=1000 * HEAL_S)
    site.quiet(4)
    expect(watcher.locator("#replicas")).not_to_contain_text("starting", timeout=10_000)
    assert watcher.evaluate("window.same"), "it was not loaded again"

    page.get_by_role("button", name="Clear bounds").click()
    confirm(page, "the launch is over")
    wait_for(lambda: (site.pool()["floor"], site.pool()["ceiling"]) == (3, 5), 10, "the bounds of the file")


def test_a_replica_is_drained_and_that_is_withdrawn(site: Site) -> None:
    page = site.open(OPERATOR, f"/pools/{POOL}")
    replica = site.stack.ready()[-1]
    act_on(page, replica, "drain", "its host is to go")
    assert ("drain", f"replica/{replica}", "its host is to go") in orders(site)
    expect(page.locator(f"#replica-{replica}")).to_contain_text("to be drained")
    act_on(page, replica, "release", "its host stays")
    assert orders(site) == []


def test_a_node_is_cordoned_and_released_and_the_last_one_is_not_drained(site: Site) -> None:
    page = site.open(OPERATOR, "/nodes/local")
    page.get_by_role("button", name="Cordon").first.click()
    confirm(page, "a disk is changed")
    expect(page.locator("#node-head")).to_contain_text("cordoned")
    assert ("cordon", "node/local", "a disk is changed") in orders(site)
    page.locator("#node-head").get_by_role("button", name="Drain").click()
    dialog = page.locator("#confirm")
    dialog.locator("textarea").fill("all of it")
    dialog.locator("button[type=submit]").click()
    expect(dialog.locator(".wrong")).to_contain_text("no other node could take the replicas of local")
    dialog.get_by_role("button", name="Cancel").click()
    page.locator("#node-head").get_by_role("button", name="Release").click()
    confirm(page, "it is changed")
    expect(page.locator("#node-head")).not_to_contain_text("cordoned")
    assert orders(site) == []


def test_older_settings_of_the_gateway_are_brought_back_and_that_is_undone(site: Site) -> None:
    before = site.stack.api("/api/v1/gateway")["revision"]
    site.stack.config.write_text(site.stack.config.read_text() + "gateway: {read_timeout: 299s}\n")
    applied = site.stack.stoker("apply", "--config", str(site.stack.config))
    assert applied.returncode == 0, applied.stderr
    wait_for(lambda: site.stack.api("/api/v1/gateway")["revision"] > before, 20, "nginx to take it")
    page = site.open(OPERATOR, f"/gateway/revisions/{before}")
    page.get_by_role("button", name="Revert to this").click()
    confirm(page, "the new ones are wrong")
    wait_for(lambda: site.stack.api("/api/v1/gateway")["reverted_to"] == before, 10, "the revert")
    page.goto(f"{site.url}/gateway")
    expect(page.locator("#gateway-standing")).to_contain_text("the new ones are wrong")
    page.get_by_role("button", name="Undo the revert").click()
    confirm(page, "they are mended")
    expect(page.locator("#gateway-standing")).to_contain_text("runs what it should")
    assert site.stack.api("/api/v1/gateway")["reverted_to"] is None


def test_a_key_is_made_shown_once_rotated_and_revoked(site: Site) -> None:
    page = site.open(OPERATOR, "/keys")
    page.get_by_role("button", name="New key").click()
    submit(page, "key-create", name="checkout", plan="gold", why="the shop")
    secret = page.locator("#key-secret").inner_text()
    assert len(secret) > 20
    page.locator("dialog#key-made").get_by_role("button", name="I have it").click()
    expect(page.locator("#keys")).to_contain_text("checkout")
    assert secret not in page.content()
    assert secret not in page.url
    first = key(site, "checkout")
    assert (first["plan"], first["state"]) == ("gold", "usable")

    page.locator("tr", has_text="checkout").get_by_role("button", name="Rotate").click()
    submit(page, "key-rotate", grace_s="3600", why="once a year")
    page.locator("dialog#key-made").get_by_role("button", name="I have it").click()
    wait_for(lambda: len([one for one in site.stack.api("/api/v1/keys") if one["name"] == "checkout"]) == 2, 5, "both")
    newest = key(site, "checkout")
    page.locator("tr", has_text=newest["id"]).first.get_by_role("button", name="Revoke").click()
    confirm(page, "the shop is closed")
    wait_for(lambda: key(site, "checkout")["state"] == "revoked", 5, "its end")


def test_tokens_and_other_sessions_are_made_and_ended(site: Site) -> None:
    page = site.open(OPERATOR, "/account")
    page.get_by_role("button", name="Make a token").click()
    submit(page, "make-token", name="ci")
    token = page.locator("#token-text").inner_text()
    shown = {"Authorization": f"Bearer {token}"}
    assert site.ask("GET", "/api/v1/caller", headers=shown)[1]["name"] == OPERATOR
    page.locator("tr", has_text="ci").get_by_role("button", name="Remove").click()
    confirm(page, "it has moved")
    expect(page.locator("#new-token")).to_be_hidden()
    wait_for(lambda: site.ask("GET", "/api/v1/caller", headers=shown)[0] == 401, 5, "the token's end")

    other = site.new_context()
    elsewhere = site.log_in(other, OPERATOR).page
    elsewhere.wait_for_url(f"{site.url}/")
    page.reload()
    page.get_by_role("button", name="End all others").click()
    # Its live page notices by itself, and shows nothing more.
    elsewhere.wait_for_url(f"{site.url}/login**")
    assert site.ask("GET", "/api/v1/caller", headers={"Cookie": site.cookie_of(other)})[0] == 401
    other.close()


def test_a_role_is_changed_and_somebody_removed_at_once(site: Site) -> None:
    said = site.stack.stoker("users", "invite", "passing", "--role", "operator", "--json")
    tab = site.join(json.loads(said.stdout)["link"], "passing")
    tab.page.locator("form.card button").click()
    tab.page.wait_for_url(f"{site.url}/")
    csrf, cookie = csrf_of(tab.page), site.cookie_of(site.contexts["passing"])
    page = site.open(ADMIN, "/users")
    page.locator("tr", has_text="passing").get_by_role("button", name="Remove").click()
    confirm(page, "has left")
    tab.page.wait_for_url(f"{site.url}/login**")
    shown = {"Cookie": cookie, "X-CSRF-Token": csrf}
    assert site.ask("POST", f"/api/v1/pools/{POOL}/pause", {"why": "revenge"}, shown)[0] == 401
    assert "passing" not in {row["name"] for row in site.stack.api("/api/v1/users")}
    site.contexts.pop("passing").close()


def test_two_policies_are_compared_on_a_trace(site: Site) -> None:
    page = site.open(VIEWER, "/simulator")
    page.get_by_role("button", name="Compare").click()
    result = page.locator("#result, #simulation-result, [data-result]").first
    expect(result).to_be_visible(timeout=60_000)
    site.picture(page, "simulator-result")


def test_everything_that_was_done_is_in_the_audit_log_with_its_reason(site: Site) -> None:
    page = site.open(ADMIN, "/audit")
    for why in ("the network is being rewired", "a launch", "a new driver", "a disk is changed", "the shop is closed"):
        page.goto(f"{site.url}/audit?q={why.replace(' ', '+')}")
        expect(page.locator("tbody tr").first).to_contain_text(why)
        expect(page.locator("tbody tr").first).to_contain_text(OPERATOR)
    site.picture(page, "audit")


def test_a_viewer_is_offered_nothing_and_is_refused_what_he_asks_for_all_the_same(site: Site) -> None:
    page = site.open(VIEWER, f"/pools/{POOL}")
    for name in ("Pause", "Bounds", "Restart all", "Drill", "Act on"):
        assert not [one for one in page.get_by_role("button", name=name).all() if one.is_visible()]
    page.goto(f"{site.url}/nodes/local")
    assert not [one for one in page.get_by_role("button", name="Cordon").all() if one.is_visible()]
    shown = {"Cookie": site.cookie_of(site.contexts[VIEWER]), "X-CSRF-Token": csrf_of(page)}
    for method, path, body in (
        ("POST", f"/api/v1/pools/{POOL}/pause", {"why": "x"}),
        ("PUT", f"/api/v1/pools/{POOL}/bounds", {"floor": 1, "ceiling": 1, "why": "x"}),
        ("POST", "/api/v1/orders", {"kind": "cordon", "subject": "node/local", "why": "x"}),
        ("POST", "/api/v1/gateway/revert", {"undo": True, "why": "x"}),
        ("POST", "/api/v1/keys", {"name": "x", "why": "x"}),
        ("POST", "/api/v1/drills", {"fault": "kill", "pool": POOL, "why": "x"}),
        ("POST", "/api/v1/invitations", {"name": "friend", "role": "admin"}),
    ):
        status, told = site.ask(method, path, body, shown)
        assert status == 403, (path, told)
        assert f"{VIEWER} is viewer" in told["detail"]
    assert (orders(site), site.pool()["floor"]) == ([], 3)
