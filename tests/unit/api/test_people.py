"""Coming in and going out, who may use the controller, and what is written down of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi import HTTPException
from fastapi.testclient import TestClient
from httpx import Response

from controller.api.access_passwords import Passwords
from controller.core.audit import is_own
from controller.core.people import AuditEntry, Role, User, csrf_of, digest_of
from controller.core.throttle import Who
from tests.fakes.clock import START
from tests.unit.api.callers import as_admin, as_role, logged_in
from tests.unit.api.people_world import PASSWORD, World
from tests.waiting import wait_for

NEW = "another long password"


@pytest.fixture
def world() -> World:
    made = World()
    made.add(User("ada", Role.OPERATOR, START))
    return made


def log_in(client: TestClient, name: str = "ada", password: str = PASSWORD, **headers: str) -> Response:
    return client.post("/api/v1/sessions", json={"name": name, "password": password}, headers=headers)


def test_logging_in_makes_a_session_of_which_only_a_digest_is_kept(world: World, client: TestClient) -> None:
    answer = log_in(client, "ADA")

    assert (answer.status_code, answer.json()["role"]) == (201, "operator")
    secret = client.cookies["stoker_session"]
    assert answer.json()["csrf"] == csrf_of(secret)
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=604800"):
        assert part in cookie
    assert "Secure" not in cookie
    assert list(world.people.rows.sessions) == [digest_of(secret)]
    assert client.get("/api/v1/caller").json()["name"] == "ada"
    (noted,) = world.noted("login")
    assert (noted.name, noted.role, noted.how, noted.address) == ("ada", "operator", "password", "testclient")
    assert answer.headers["cache-control"] == "no-store"


def test_over_tls_the_cookie_is_of_this_host_alone(world: World) -> None:
    client = world.secure()
    answer = log_in(client)

    assert answer.headers["set-cookie"].startswith("__Host-stoker_session_8443=")
    assert "Secure" in answer.headers["set-cookie"]
    assert client.get("/api/v1/caller").status_code == 200
    assert client.delete("/api/v1/sessions/current", headers={"X-CSRF-Token": answer.json()["csrf"]}).json() == {
        "ended": 1
    }
    assert client.get("/api/v1/caller").status_code == 401


def test_a_login_rotates_the_session(world: World, client: TestClient) -> None:
    log_in(client)
    first = client.cookies["stoker_session"]
    log_in(client)

    assert client.cookies["stoker_session"] != first
    assert list(world.people.rows.sessions) == [digest_of(client.cookies["stoker_session"])]


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong password"), ("bob", PASSWORD), ("<b>", PASSWORD)])
def test_a_wrong_login_says_nothing_of_what_was_wrong(
    world: World, client: TestClient, name: str, password: str
) -> None:
    answer = log_in(client, name, password)

    assert (answer.status_code, answer.json()["detail"]) == (401, "the name or the password is wrong")
    assert "set-cookie" not in answer.headers
    (noted,) = world.noted()
    assert (noted.refused, noted.subject) == (True, "login")


def test_an_oidc_user_has_no_password(world: World, client: TestClient) -> None:
    world.people.rows.users["eve"] = User("eve", Role.ADMIN, START, source="oidc")

    assert log_in(client, "eve", "").status_code == 401


def test_who_fails_too_often_waits(world: World, client: TestClient) -> None:
    for _ in range(5):
        assert log_in(client, password="wrong").status_code == 401

    answer = log_in(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["detail"] == "too many logins failed; try again in 1 s"
    assert log_in(world.another("192.0.2.9")).status_code == 201
    world.clock.advance(1)
    assert log_in(client).status_code == 201


def test_guesses_from_everywhere_keep_nobody_out_of_a_browser_that_was_in(world: World) -> None:
    known, new = world.another("192.0.2.1"), world.another("192.0.2.2")
    log_in(known)
    for number in range(30):
        world.door.begin(Who("ada", f"198.51.100.{number}"), world.clock.now())
    known.cookies.delete("stoker_session")

    assert log_in(new).status_code == 429
    assert log_in(known, password="wrong").status_code == 401
    assert log_in(known).status_code == 201
    assert log_in(known, "bob").status_code == 401, "it is known for one person only"


def test_a_known_browser_is_one_of_nobody_else_and_ends_with_the_password(world: World, client: TestClient) -> None:
    answer = log_in(client)
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("stoker_session_known="))
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=15552000"):
        assert part in cookie
    thief = world.another("192.0.2.66")
    thief.cookies.set("stoker_session_known", client.cookies["stoker_session_known"])
    for number in range(30):
        world.door.begin(Who("ada", f"198.51.100.{number}"), world.clock.now())

    tried = [log_in(thief, password="wrong").status_code for _ in range(7)]
    assert tried == [401] * 5 + [429] * 2
    world.people.rows.users["ada"] = replace(world.people.rows.users["ada"], password="of another")
    assert "stoker_session_known" in thief.cookies
    assert log_in(thief, password="wrong").status_code == 429, "it is worth nothing now"


def test_a_login_that_was_not_looked_at_counts_for_nothing(world: World, client: TestClient) -> None:
    world.people.database.gone = True
    for _ in range(8):
        assert log_in(client).status_code == 503
    world.people.database.gone = False

    assert log_in(client).status_code == 201


def test_the_old_password_lets_nobody_in_who_was_being_looked_at_when_it_changed(world: World) -> None:
    """The check of a password takes a while, and others wait for it."""
    thief, owner = world.another(), world.another()
    csrf = {"X-CSRF-Token": log_in(owner).json()["csrf"]}
    fits = world.door.passwords.fits

    def slow(password: str, kept: str, place: str, *, known: bool) -> bool:
        found = fits(password, kept, place, known=known)
        world.door.passwords.fits = fits  # type: ignore[method-assign]
        changed = owner.post("/api/v1/password", json={"old": PASSWORD, "new": NEW}, headers=csrf)
        assert changed.status_code == 204
        return found

    world.door.passwords.fits = slow  # type: ignore[method-assign]
    answer = log_in(thief)

    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "changed in this very moment" in answer.json()["detail"]
    assert [session.digest for session in world.people.sessions("ada")] == [digest_of(owner.cookies["stoker_session"])]


def test_a_page_of_another_site_logs_nobody_in(client: TestClient) -> None:
    assert log_in(client, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert log_in(client, Origin="http://elsewhere.example").status_code == 403
    assert client.post("/api/v1/sessions", data={"name": "ada", "password": PASSWORD}).status_code == 422


def test_who_stands_by_lets_nobody_in(world: World, client: TestClient) -> None:
    world.lead = "stands by; other:8000 leads"

    answer = log_in(client)
    assert (answer.status_code, "other:8000 leads" in answer.json()["detail"]) == (503, True)
    assert client.post("/api/v1/joins", json={"code": "x", "password": NEW}).status_code == 503


def test_a_password_made_with_old_parameters_is_made_anew(world: World, client: TestClient) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    world.people.rows.users["ada"] = User("ada", Role.VIEWER, START, old)

    assert log_in(client).status_code == 201
    kept = world.people.rows.users["ada"].password
    assert kept != old
    assert not world.door.passwords.outdated(kept)
    assert log_in(client).status_code == 201


def test_only_so_many_wait_for_their_password_to_be_looked_at() -> None:
    passwords = Passwords()
    kept = passwords.make(PASSWORD, "here")
    refused, fits = [], []

    def ask(place: str) -> None:
        try:
            fits.append(passwords.fits(PASSWORD, kept, place))
        except HTTPException as error:
            refused.append(error.status_code)

    threads = [threading.Thread(target=ask, args=(f"place {number}",)) for number in range(12)]
    with passwords._turn:  # somebody's takes long
        for thread in threads:
            thread.start()
        while len(refused) < 7:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()

    assert (refused, fits) == ([503] * 7, [True] * 5)
    assert passwords._waiting == {False: {}, True: {}}


def test_one_place_does_not_fill_the_queue() -> None:
    passwords = Passwords(PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    kept = passwords.make(PASSWORD, "here")
    with ThreadPoolExecutor() as pool, passwords._one("here", False):
        second = pool.submit(passwords.fits, PASSWORD, kept, "here")
        wait_for(lambda: passwords._waiting[False]["here"] == 2, 10, "it waits")
        with pytest.raises(HTTPException, match="503"):
            passwords.fits(PASSWORD, kept, "here")
        other = pool.submit(passwords.fits, PASSWORD, kept, "there")
        wait_for(lambda: passwords._waiting[False]["there"] == 1, 10, "it waits, too")

    assert second.result()
    assert other.result()


def test_strangers_keep_nobody_out_who_is_known(world: World) -> None:
    passwords, browser, invited = world.door.passwords, world.another("192.0.2.1"), world.another("192.0.2.2")
    assert log_in(browser).status_code == 201
    code = invite(as_admin(world.another())).json()["code"]
    with ThreadPoolExecutor(max_workers=9) as pool:
        with passwords._turn:  # somebody's takes long
            guesses = [
                pool.submit(log_in, world.another(f"198.51.100.{number // 2}"), f"x{number}", "wrong")
                for number in range(5)
            ]
            wait_for(lambda: passwords._waiting[False].total() == 5, 10, "they fill the queue")
            assert log_in(world.another("192.0.2.3")).status_code == 503
            known = [pool.submit(log_in, browser), pool.submit(join, invited, code)]
            wait_for(lambda: passwords._waiting[True].total() == 2, 10, "they wait, too")
        assert [one.result().status_code for one in known] == [201, 201]
        assert [one.result().status_code for one in guesses] == [401] * 5


def test_nobody_fills_the_queue_of_those_who_are_known() -> None:
    passwords = Passwords(PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    kept = passwords.make(PASSWORD, "here")
    with ThreadPoolExecutor() as pool:
        with passwords._turn:
            asked = [pool.submit(passwords.fits, PASSWORD, kept, "here", known=True) for _ in range(3)]
            wait_for(lambda: passwords._waiting == {True: {"here": 1}, False: {"here": 2}}, 10, "the others wait, too")
            other = pool.submit(passwords.fits, PASSWORD, kept, "there", known=True)
            wait_for(lambda: passwords._waiting[True]["there"] == 1, 10, "there is a place")
        assert all(one.result() for one in (*asked, other))
    assert passwords._waiting == {False: {}, True: {}}


def invite(client: TestClient, name: str = "bob", **wanted: Any) -> Response:
    return client.post("/api/v1/invitations", json={"name": name, **wanted})


def join(client: TestClient, code: str, password: str = NEW) -> Response:
    return client.post("/api/v1/joins", json={"code": code, "password": password})


def test_an_invitation_makes_a_user_once(world: World, client: TestClient) -> None:
    answer = invite(as_admin(client), "Bob", role="admin", why="on call")
    told = answer.json()
    assert (answer.status_code, told["name"], told["role"]) == (201, "bob", "admin")
    assert told["link"] == f"http://testserver/join#{told['code']}"
    assert told["code"] not in str(world.noted())
    (noted,) = world.noted("user invite")
    assert (noted.name, noted.how, noted.subject, noted.why) == (
        "state-directory", "file", "user/bob", "As admin. on call"
    )  # fmt: skip

    browser = world.another()
    assert join(browser, told["code"], "short").status_code == 422
    assert join(browser, told["code"]).json()["role"] == "admin"
    assert browser.get("/api/v1/users").status_code == 200
    assert join(world.another(), told["code"], "a third password").status_code == 404
    assert log_in(world.another(), "bob", NEW).status_code == 201


def test_an_invitation_ends_after_a_day(world: World, client: TestClient) -> None:
    code = invite(as_admin(client)).json()["code"]
    world.clock.advance(timedelta(days=1).total_seconds())

    assert join(world.another(), code).status_code == 404
    assert "bob" not in world.people.rows.users


def test_a_forgotten_password_is_replaced_and_ends_what_ran(world: World, client: TestClient) -> None:
    browser = world.another()
    log_in(browser)
    told = invite(as_admin(client), "ada").json()
    assert told["role"] == "operator"
    assert log_in(world.another()).status_code == 201  # until it is accepted

    assert join(world.another(), told["code"]).status_code == 201
    assert browser.get("/api/v1/caller").status_code == 401
    assert log_in(world.another()).status_code == 401
    assert log_in(world.another(), password=NEW).status_code == 201
    assert world.people.rows.users["ada"].role is Role.OPERATOR


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [
        ({"name": "ada", "role": "admin"}, 409, "ada is operator already"),
        ({"name": "eve"}, 409, "eve logs in by oidc"),
        ({"name": "<script>"}, 422, "a name is 1 to 64"),
        ({"name": "state-directory"}, 422, "choose another one"),
        ({"name": "x", "role": "root"}, 422, ""),
    ],
)
def test_whom_nobody_can_invite(
    world: World, client: TestClient, wanted: dict[str, str], status: int, said: str
) -> None:
    world.people.rows.users["eve"] = User("eve", Role.ADMIN, START, source="oidc")

    answer = as_admin(client).post("/api/v1/invitations", json=wanted)
    assert answer.status_code == status
    assert said in str(answer.json()["detail"])
    assert world.people.rows.invitations == {}


def test_invitations_are_seen_and_withdrawn(world: World, client: TestClient) -> None:
    code = invite(as_admin(client), "Bob", role="operator").json()["code"]
    invite(client, "eve")
    world.clock.advance(3600)
    told = client.get("/api/v1/invitations").json()

    assert [(one["name"], one["role"], one["by"]) for one in told] == [
        ("bob", "operator", "state-directory"), ("eve", "viewer", "state-directory")
    ]  # fmt: skip
    assert code not in str(told)
    page = client.get("/users").text
    assert all(f"/api/v1/invitations/{name}?why=" in page for name in ("bob", "eve"))
    assert client.delete("/api/v1/invitations/BOB?why=mistyped").status_code == 204
    assert client.delete("/api/v1/invitations/bob").status_code == 404
    assert join(world.another(), code).status_code == 404
    (noted,) = world.noted("invitation withdraw")
    assert (noted.subject, noted.why) == ("user/bob", "mistyped")
    world.clock.advance(24 * 3600)
    assert client.get("/api/v1/invitations").json() == []


def test_who_was_removed_comes_back_by_no_invitation_of_their_own(world: World, client: TestClient) -> None:
    world.add(User("eve", Role.ADMIN, START))
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.ADMIN, "eve")}
    made = client.post("/api/v1/invitations", json={"name": "eve2", "role": "admin"}, headers=csrf).json()
    client.cookies.clear()
    world.people.rows.users["ada"] = replace(world.people.rows.users["ada"], role=Role.ADMIN)
    assert as_admin(client).delete("/api/v1/users/eve").status_code == 204

    assert join(world.another(), made["code"]).status_code == 404


@pytest.mark.parametrize("removed", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/invitations", {"name": "again", "role": "admin"}),
        ("PUT", "/api/v1/users/bob/role", {"role": "admin"}),
        ("DELETE", "/api/v1/users/bob", None),
    ],
)
def test_who_is_no_admin_any_more_when_it_is_written_changes_nothing(
    world: World, client: TestClient, method: str, path: str, body: Any, removed: bool
) -> None:
    world.add(User("bob", Role.VIEWER, START))
    world.add(User("root", Role.ADMIN, START))
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.ADMIN, "eve")}
    write = world.people.write_audit

    def then_another_comes_first(entries: Sequence[AuditEntry]) -> None:
        write(entries)
        if removed:
            world.people.remove_user("eve")
        else:
            world.people.change_user("eve", lambda now: replace(now, role=Role.OPERATOR))
        world.people.write_audit = write  # type: ignore[method-assign]

    world.people.write_audit = then_another_comes_first  # type: ignore[method-assign]
    answer = client.request(method, path, json=body, headers=csrf)

    assert (answer.status_code, answer.json()["detail"]) == (409, "eve is no admin any more, so nothing was changed")
    assert (world.people.rows.users["bob"].role, world.people.rows.invitations) == (Role.VIEWER, {})


def test_another_role_ends_the_sessions(world: World, client: TestClient) -> None:
    browser = world.another()
    log_in(browser)

    answer = as_admin(client).put("/api/v1/users/Ada/role", json={"role": "viewer", "why": "left the team"})
    assert answer.json()["role"] == "viewer"
    assert browser.get("/api/v1/caller").status_code == 401
    (noted,) = world.noted("user role")
    assert noted.why == "From operator to viewer. left the team"
    client.put("/api/v1/users/ada/role", json={"role": "viewer"})
    assert len(world.noted("user role")) == 1


def test_who_is_removed_is_out_at_once(world: World, client: TestClient) -> None:
    browser = world.another()
    log_in(browser)
    csrf = {"X-CSRF-Token": csrf_of(browser.cookies["stoker_session"])}
    token = browser.post("/api/v1/tokens", json={"name": "ci"}, headers=csrf).json()["token"]
    assert as_admin(world.another(), token).get("/api/v1/pools").status_code == 200

    assert as_admin(client).delete("/api/v1/users/ada?why=left").status_code == 204
    assert browser.get("/api/v1/caller").status_code == 401
    assert as_admin(world.another(), token).get("/api/v1/pools").status_code == 401
    assert as_admin(client).delete("/api/v1/users/ada").status_code == 404


@pytest.mark.parametrize("name", ["%00", "%ED%A0%80", "<b>", "a" * 65, "%2e%2e"])
def test_what_is_no_name_is_nobody(world: World, client: TestClient, name: str) -> None:
    as_admin(client)

    assert client.delete(f"/api/v1/users/{name}").status_code == 404
    assert client.get(f"/api/v1/sessions?of={name}").json() == []
    assert client.get(f"/api/v1/tokens?of={name}").json() == []
    assert client.get(f"/api/v1/audit?name={name}&q={name}&action={name}").json() == []


def test_the_last_admin_stays(world: World, client: TestClient) -> None:
    world.people.rows.users["grace"] = User("grace", Role.ADMIN, START)
    as_admin(client)

    assert client.delete("/api/v1/users/grace").status_code == 409
    assert client.put("/api/v1/users/grace/role", json={"role": "viewer"}).status_code == 409
    client.put("/api/v1/users/ada/role", json={"role": "admin"})
    assert client.delete("/api/v1/users/grace").status_code == 204


def test_ones_own_sessions(world: World) -> None:
    here, there, third = world.another("192.0.2.1"), world.another("192.0.2.2"), world.another("192.0.2.3")
    for browser in (there, third, here):
        csrf = {"X-CSRF-Token": log_in(browser, **{"User-Agent": "a browser"}).json()["csrf"]}
        world.clock.advance(1)

    found = here.get("/api/v1/sessions").json()
    assert [(one["address"], one["current"]) for one in found] == [
        ("192.0.2.1", True), ("192.0.2.3", False), ("192.0.2.2", False)
    ]  # fmt: skip
    assert found[0]["agent"] == "a browser"
    assert here.delete(f"/api/v1/sessions/{found[1]['id']}", headers=csrf).json() == {"ended": 1}
    assert third.get("/api/v1/caller").status_code == 401
    assert here.delete(f"/api/v1/sessions/{found[1]['id']}", headers=csrf).status_code == 404
    assert here.delete("/api/v1/sessions", headers=csrf).json() == {"ended": 1}
    assert (there.get("/api/v1/caller").status_code, here.get("/api/v1/caller").status_code) == (401, 200)


def test_where_no_session_ends_nothing_is_written_down(world: World, client: TestClient) -> None:
    csrf = {"X-CSRF-Token": log_in(client).json()["csrf"]}
    written = len(world.noted())

    assert client.delete("/api/v1/sessions", headers=csrf).json() == {"ended": 0}
    client.cookies.clear()
    assert as_admin(client).delete("/api/v1/sessions?of=nobody").json() == {"ended": 0}
    assert len(world.noted()) == written
    assert client.delete("/api/v1/sessions?of=ada").json() == {"ended": 1}
    assert [is_own(entry) for entry in world.noted("session end")] == [False]


def test_the_sessions_of_others_are_for_admins(world: World, client: TestClient) -> None:
    log_in(world.another())
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR, "bob")}

    assert client.get("/api/v1/sessions?of=ada").status_code == 403
    assert client.delete("/api/v1/sessions?of=ada", headers=csrf).status_code == 403
    client.cookies.clear()
    assert as_admin(client).delete("/api/v1/sessions?of=ada").json() == {"ended": 1}


def test_a_changed_password_ends_the_other_sessions(world: World, client: TestClient) -> None:
    other = world.another()
    log_in(other)
    csrf = {"X-CSRF-Token": log_in(client).json()["csrf"]}

    def change(old: str, new: str) -> int:
        return client.post("/api/v1/password", json={"old": old, "new": new}, headers=csrf).status_code

    assert change("wrong", NEW) == 403
    assert change(PASSWORD, "short") == 422
    assert change(PASSWORD, NEW) == 204
    assert (client.get("/api/v1/caller").status_code, other.get("/api/v1/caller").status_code) == (200, 401)
    assert log_in(other, password=NEW).status_code == 201
    for _ in range(5):
        change("wrong", PASSWORD)
    assert change(NEW, PASSWORD) == 429
    assert [entry.action for entry in world.noted() if not entry.refused].count("password change") == 1


def test_a_token_changes_no_password_and_logs_nobody_out(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.ADMIN)

    assert client.post("/api/v1/password", json={"old": PASSWORD, "new": NEW}).status_code == 403
    assert client.delete("/api/v1/sessions/current").status_code == 409


def test_tokens_are_shown_once(world: World, client: TestClient) -> None:
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR)}
    wanted = {"name": "CI", "role": "operator", "expires_in_s": 60}
    made = client.post("/api/v1/tokens", json=wanted, headers=csrf).json()

    text = made.pop("token")
    assert text.startswith(made["prefix"])
    assert len(text) == 46
    assert client.get("/api/v1/tokens").json() == [made]
    assert (made["name"], made["owner"], made["role"], made["state"]) == ("ci", "ada", "operator", "usable")
    assert [token.digest for token in world.people.rows.tokens.values()] == [digest_of(text)]
    program = as_admin(world.another(), text)
    assert program.post("/api/v1/keys", json={"name": "x"}).status_code == 201
    (noted,) = world.noted("key create")
    assert (noted.name, noted.how) == ("ada", "token ci")
    world.clock.advance(60)
    assert program.get("/api/v1/pools").status_code == 401
    assert client.get("/api/v1/tokens").json()[0]["state"] == "expired"
    assert client.delete(f"/api/v1/tokens/{made['id']}", headers=csrf).status_code == 204
    assert client.delete(f"/api/v1/tokens/{made['id']}", headers=csrf).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "status"),
    [({"name": "ci", "role": "admin"}, 403), ({"name": "<i>"}, 422), ({"name": "ci", "expires_in_s": 0}, 422)],
)
def test_tokens_that_nobody_makes(world: World, client: TestClient, wanted: dict[str, Any], status: int) -> None:
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR)}

    assert client.post("/api/v1/tokens", json=wanted, headers=csrf).status_code == status
    assert world.people.rows.tokens == {}


def test_a_token_makes_no_tokens(world: World, client: TestClient) -> None:
    assert as_role(client, world.people, Role.ADMIN).post("/api/v1/tokens", json={"name": "x"}).status_code == 403


def test_the_tokens_of_others_are_for_admins(world: World, client: TestClient) -> None:
    as_role(world.another(), world.people, Role.VIEWER, "bob")
    csrf = {"X-CSRF-Token": logged_in(client, world.people, Role.OPERATOR)}

    assert client.get("/api/v1/tokens").json() == []
    assert client.get("/api/v1/tokens?of=bob").status_code == 403
    assert client.delete("/api/v1/tokens/tok_bob", headers=csrf).status_code == 404
    as_admin(client)
    assert [token["id"] for token in client.get("/api/v1/tokens?of=bob").json()] == ["tok_bob"]
    assert client.delete("/api/v1/tokens/tok_bob").status_code == 204
    (noted,) = world.noted("token remove")
    assert (noted.subject, is_own(noted)) == ("user/bob/token/tok_bob", False)


def test_there_is_a_last_token(world: World, client: TestClient) -> None:
    as_admin(client)
    for number in range(100):
        assert client.post("/api/v1/tokens", json={"name": f"t{number}"}).status_code == 201

    assert client.post("/api/v1/tokens", json={"name": "more"}).status_code == 409


def test_the_audit_log_is_read_page_by_page(world: World, client: TestClient) -> None:
    as_admin(client)
    for number in range(5):
        client.post("/api/v1/keys", json={"name": f"k{number}", "why": "=HYPERLINK()" if number == 4 else "because"})
        world.clock.advance(60)
    first = client.get("/api/v1/audit?limit=2&action=key+create").json()
    second = client.get(f"/api/v1/audit?limit=9&action=key+create&before={first[-1]['id']}").json()

    assert [len(first), len(second)] == [2, 3]
    assert first[0]["id"] > first[1]["id"] > second[0]["id"]
    assert {(entry["name"], entry["role"], entry["how"], entry["outcome"]) for entry in first + second} == {
        ("state-directory", "admin", "file", "done")
    }
    since = (START + timedelta(minutes=3)).isoformat().replace("+00:00", "Z")
    assert len(client.get(f"/api/v1/audit?since={since}").json()) == 2
    assert len(client.get("/api/v1/audit?q=K2&refused=false&name=").json()) == 1
    table = client.get("/api/v1/audit.csv?limit=1")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.text.splitlines()[0].startswith("at,name,role,how,address,action,subject,why")
    assert len(table.text.splitlines()) == 2


def test_a_spreadsheet_takes_nothing_for_a_formula(world: World, client: TestClient) -> None:
    as_admin(client)
    client.post("/api/v1/orders", json={"kind": "drain", "subject": "@x"})
    world.people.write_audit([AuditEntry(START, "ada", "admin", "file", "", "x", "s", why="=cmd()")])

    assert ",'=cmd()," in client.get("/api/v1/audit.csv").text


def test_operators_read_the_audit_log_and_admins_take_it_away(world: World, client: TestClient) -> None:
    as_role(client, world.people, Role.OPERATOR)

    assert client.get("/api/v1/audit").status_code == 200
    assert client.get("/api/v1/audit.csv").status_code == 403
    assert as_role(client, world.people, Role.VIEWER).get("/api/v1/audit").status_code == 403
