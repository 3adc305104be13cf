"""Who gets in, and how: the first admin by the link of `stoker up`, the others by invitations, all by a password."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import serious
from tests.e2e.dashboard.site import ADMIN, OPERATOR, PASSWORD, VIEWER, Site, link_in, submit

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


def test_the_first_admin_comes_in_by_the_link_that_up_printed_and_nobody_by_it_again(site: Site) -> None:
    link = link_in(site.said)
    tab = site.join(link, ADMIN)
    code = link.partition("#")[2]
    expect(tab.page.locator("#code")).to_have_value(code)
    assert code not in tab.page.url
    assert serious(tab.page) == []
    site.picture(tab.page, "join")
    tab.page.locator("form.card button").click()
    tab.page.wait_for_url(f"{site.url}/")
    expect(tab.page.locator("header")).to_contain_text(ADMIN)

    again = site.watched(site.new_context()).page
    again.goto(link)
    again.locator("#password").fill(PASSWORD)
    again.locator("#again").fill(PASSWORD)
    again.locator("form.card button").click()
    expect(again.locator("#main .wrong")).to_contain_text("was used")
    assert site.sessions(again.context) == []


def test_the_cookie_is_for_requests_of_our_own_pages_only(site: Site) -> None:
    (cookie,) = site.sessions(site.contexts[ADMIN])

    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")


def test_an_admin_invites_by_the_page_and_by_the_command(site: Site) -> None:
    page = site.open(ADMIN, "/users")
    page.get_by_role("button", name="Invite").first.click()
    submit(page, "invite", name=OPERATOR, role="operator", why="on call")
    link = link_in(page.locator("#main").inner_text())
    said = site.stack.stoker("users", "invite", VIEWER, "--role", "viewer", "--json")
    assert said.returncode == 0, said.stderr

    for name, invitation in ((OPERATOR, link), (VIEWER, json.loads(said.stdout)["link"])):
        tab = site.join(invitation, name)
        tab.page.locator("form.card button").click()
        tab.page.wait_for_url(f"{site.url}/")
    rows = {row["name"]: row["role"] for row in site.stack.api("/api/v1/users")}
    assert rows == {ADMIN: "admin", OPERATOR: "operator", VIEWER: "viewer"}


def test_whoever_is_nobody_is_led_to_the_login_and_back_to_where_he_wanted(site: Site) -> None:
    context = site.new_context()
    wrong = site.log_in(context, VIEWER, "another password", "/login?next=/nodes").page
    expect(wrong.locator("#main .wrong")).to_have_text("The name or the password is wrong.")
    assert serious(wrong) == []
    site.picture(wrong, "login")

    page = site.log_in(context, VIEWER, path="/pools/smollm2?range=6h").page
    page.wait_for_url(f"{site.url}/pools/smollm2?range=6h")
    before = site.cookie_of(context)
    page.get_by_role("button", name="Log out").first.click()
    page.wait_for_url(f"{site.url}/login**")
    assert site.ask("GET", "/api/v1/caller", headers={"Cookie": before})[0] == 401
    page.goto(f"{site.url}/nodes")
    assert "/login" in page.url
    context.close()


def test_a_password_that_is_guessed_at_is_slowed_down(site: Site) -> None:
    answers = [
        site.ask("POST", "/api/v1/sessions", {"name": "mallory", "password": f"{PASSWORD}{n}"}, headers={})
        for n in range(8)
    ]

    assert [status for status, _ in answers[:5]] == [401] * 5
    assert 429 in [status for status, _ in answers]
