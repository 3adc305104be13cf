"""Logins by OpenID Connect, with a provider that speaks HTTP and signs: who comes in, and who does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from joserfc.jwk import OctKey

from controller.adapters.openid import OpenIdProvider
from controller.api.app import create_app
from controller.api.deps import LEADS, Sources
from controller.api.oidc import Attempt, SingleSignOn
from controller.core.people import Role, Session, User, csrf_of
from controller.settings.access import OidcSettings
from tests.fakes.clock import START, FakeClock
from tests.fakes.openid import CLIENT, SECRET, FakeProvider, key_of
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeStore

ROLES = {"sre": "operator", "boss": "admin"}


@dataclass
class World:
    provider: FakeProvider
    secret_file: Path
    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStore = field(default_factory=FakeStore)
    lead: str = LEADS

    def __post_init__(self) -> None:
        self.people = FakePeople(self.store)

    def client(self, public_url: str = "", **settings: Any) -> TestClient:
        own = OidcSettings(
            **{
                "issuer": self.provider.issuer,
                "client_id": CLIENT,
                "client_secret_file": str(self.secret_file),
                "label": "Example",
                "roles": ROLES,
                **settings,
            }
        )
        made = Sources(
            policies=(),
            nodes=(),
            store=self.store,
            latest=lambda: None,
            healthy=lambda: True,
            metrics=lambda: b"",
            now=self.clock.now,
            lead=lambda: self.lead,
            people=self.people,
            oidc=SingleSignOn(OpenIdProvider(own, self.clock), own),
            public_url=public_url,
        )
        return TestClient(create_app(made), follow_redirects=False, headers={"Accept": "application/json"})

    def users(self) -> list[tuple[str, Role]]:
        return [(user.name, user.role) for user in self.people.users()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    provider = FakeProvider(int(START.timestamp()))
    yield World(provider, file)
    provider.close()


def log_in(world: World, client: TestClient, wanted: str = "/") -> Response:
    begun = client.get("/login/oidc", params={"next": wanted})
    assert begun.status_code == 303
    return client.get("/login/oidc/back", params=world.provider.agree(begun.headers["location"]))


def refused(world: World, client: TestClient) -> str:
    """Why, where nobody was let in."""
    answer = log_in(world, client)
    assert answer.status_code == 403
    assert (world.users(), world.people.rows.sessions, "set-cookie" in answer.headers) == ([], {}, False)
    assert [entry.refused for entry in world.people.rows.audit] == [True]
    return str(answer.json()["detail"])


def test_whoever_the_provider_knows_is_let_in_with_the_role_of_the_group(world: World) -> None:
    client = world.client()
    answer = log_in(world, client, "/pools/small?range=1h")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pools/small?range=1h")
    assert client.get("/api/v1/caller").json() == {"name": "ada", "role": "operator", "how": "session", "token": ""}
    made, entry = world.people.rows.audit
    assert (made.action, made.why) == ("user role", "From nobody to operator, by the groups there.")
    assert (entry.name, entry.how, entry.action, entry.refused) == ("ada", "oidc", "login", False)
    assert "stoker_oidc" not in client.cookies


def test_the_browser_is_sent_with_all_that_keeps_a_login_to_itself(world: World) -> None:
    client = world.client(public_url="https://stoker.example.org")
    url = urlsplit(client.get("/login/oidc").headers["location"])
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{world.provider.issuer}/auth"
    assert asked["redirect_uri"] == "https://stoker.example.org/login/oidc/back"
    assert (asked["response_type"], asked["scope"]) == ("code", "openid profile")
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert min(len(asked["state"]), len(asked["nonce"])) == 43
    assert SECRET not in url.query


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"nonce": "another"}, "cannot be believed: Invalid claim: 'nonce'"),
        ({"nonce": None}, "cannot be believed: Missing claim: 'nonce'"),
        ({"aud": "somebody-else"}, "cannot be believed: Invalid claim: 'aud'"),
        ({"aud": [CLIENT, "b"], "azp": "b"}, "cannot be believed: Invalid claim: 'azp'"),
        ({"iss": "https://another.example"}, "cannot be believed: Invalid claim: 'iss'"),
        ({"exp": int(START.timestamp()) - 61}, "has expired; are both clocks right?"),
        ({"exp": None}, "cannot be believed: Missing claim: 'exp'"),
        ({"sub": None}, "cannot be believed: Missing claim: 'sub'"),
        ({"groups": ["other"]}, "ada is in no group that may do anything here"),
        ({"groups": None}, "ada is in no group"),
        ({"groups": {"sre": True}}, "ada is in no group"),
        ({"preferred_username": "<b>ada</b>"}, "which is no name here: a name is 1 to 64 of"),
        ({"preferred_username": None}, "says 'None' as preferred_username, which is no name here"),
        ({"preferred_username": "state-directory"}, "which is no name here"),
    ],
)
def test_what_the_provider_says_must_be_for_this_login(world: World, over: dict[str, Any], said: str) -> None:
    world.provider.says.over = over
    assert said in refused(world, world.client())


@pytest.mark.parametrize("forged", ["stranger", "none", "shared secret"])
def test_only_the_keys_of_the_provider_sign(world: World, forged: str) -> None:
    says = world.provider.says
    if forged == "none":
        says.header = {"alg": "none"}
        world.provider._token = lambda begun: "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."  # type: ignore[method-assign]
    elif forged == "shared secret":
        says.signs_with = OctKey.import_key(SECRET * 6, {"kid": "first"})  # type: ignore[assignment]
        says.header = {"alg": "HS256"}
    else:
        says.signs_with = key_of("first", "a stranger")
    assert "cannot be believed" in refused(world, world.client())


@pytest.mark.parametrize("state", ["", "another"])
def test_a_login_ends_in_the_browser_in_which_it_began(world: World, state: str) -> None:
    client = world.client()
    back = world.provider.agree(client.get("/login/oidc").headers["location"])
    assert client.get("/login/oidc/back", params={**back, "state": state}).status_code == 400
    client.cookies.clear()
    answer = client.get("/login/oidc/back", params=back)
    assert (answer.status_code, world.users()) == (400, [])
    assert "was not begun in this browser" in answer.json()["detail"]


def test_a_code_is_good_for_who_began_and_once(world: World) -> None:
    client, other = world.client(), world.client()
    back = world.provider.agree(client.get("/login/oidc").headers["location"])
    state = parse_qs(urlsplit(other.get("/login/oidc").headers["location"]).query)["state"][0]
    stolen = other.get("/login/oidc/back", params={"code": back["code"], "state": state})
    assert "Example does not take this login: invalid_grant" in stolen.json()["detail"]
    assert client.get("/login/oidc/back", params=back).status_code == 403  # the code is used up


def test_who_says_no_there_is_not_let_in_here(world: World) -> None:
    client = world.client()
    state = world.provider.agree(client.get("/login/oidc").headers["location"])["state"]
    answer = client.get("/login/oidc/back", params={"error": "access_denied", "state": state})
    assert (answer.status_code, answer.json()["detail"]) == (403, "Example let nobody in: access_denied")


def test_the_role_is_that_of_the_last_login_and_what_began_with_another_is_over(world: World) -> None:
    first, second = world.client(), world.client()
    log_in(world, first)
    world.provider.says.claims["groups"] = ["sre", "boss"]
    log_in(world, second)
    assert world.users() == [("ada", Role.ADMIN)]
    assert (first.get("/api/v1/caller").status_code, second.get("/api/v1/caller").status_code) == (401, 200)
    log_in(world, first)
    assert second.get("/api/v1/caller").status_code == 200  # the role is the same: both go on
    world.provider.says.claims["groups"] = []
    assert log_in(world, world.client()).status_code == 403


def test_who_is_in_no_group_any_more_loses_what_was_begun(world: World) -> None:
    world.people.rows.users["root"] = User("root", Role.ADMIN, START)
    world.provider.says.claims["groups"] = ["boss"]
    client = world.client()
    log_in(world, client)
    csrf = {"X-CSRF-Token": csrf_of(client.cookies["stoker_session"])}
    token = client.post("/api/v1/tokens", json={"name": "t", "role": "admin"}, headers=csrf).json()["token"]
    client.post("/api/v1/invitations", json={"name": "eve", "role": "admin"}, headers=csrf)
    bearer = {"Authorization": f"Bearer {token}"}
    assert world.client().get("/api/v1/users", headers=bearer).status_code == 200

    world.provider.says.claims |= {"groups": [], "preferred_username": "ada2"}  # by another name now, too
    for _ in range(2):
        assert log_in(world, world.client()).status_code == 403
    world.clock.advance(6)  # each client is let in by a process of its own

    assert client.get("/api/v1/caller").status_code == 401
    assert world.client().get("/api/v1/users", headers=bearer).status_code == 401
    assert (world.people.rows.tokens, world.people.rows.invitations) == ({}, {})
    ended = [entry for entry in world.people.rows.audit if entry.action == "access end"]
    assert [(entry.name, entry.subject, entry.refused) for entry in ended] == [("ada", "user/ada", False)]


def test_another_identity_that_is_refused_ends_nothing_of_that_name(world: World) -> None:
    world.people.rows.users["ada"] = User("ada", Role.ADMIN, START, source="oidc 1")
    world.people.rows.sessions["1"] = Session("1", "ada", START, START)
    world.provider.says.claims["groups"] = []

    assert log_in(world, world.client()).status_code == 403
    assert list(world.people.rows.sessions) == ["1"]


@pytest.mark.parametrize("found_out_late", [False, True])
def test_the_last_admin_does_not_go_by_a_change_of_groups(world: World, found_out_late: bool) -> None:
    world.provider.says.claims["groups"] = ["boss"]
    client = world.client()
    log_in(world, client)
    world.provider.says.claims["groups"] = ["sre"]
    if found_out_late:
        known = world.people.users()
        world.people.users = lambda: (*known, User("root", Role.ADMIN, START))  # type: ignore[method-assign]
    answer = log_in(world, world.client())

    said = "the groups there make ada operator, but ada is the last admin; make somebody else one first"
    assert (answer.status_code, answer.json()["detail"]) == (403, said)
    assert world.people.rows.users["ada"].role is Role.ADMIN
    assert client.get("/api/v1/caller").status_code == 401, "what the groups gave is over"
    world.people.rows.users["grace"] = User("grace", Role.ADMIN, START)
    assert log_in(world, world.client()).status_code == 303
    assert world.people.rows.users["ada"].role is Role.OPERATOR


def test_a_name_that_is_taken_meanwhile_stays_with_who_took_it(world: World) -> None:
    taken = User("ada", Role.ADMIN, START, "argon2")
    look = world.people.user

    def looking(name: str) -> User | None:
        found = look(name)
        world.people.rows.users.setdefault("ada", taken)  # an invitation is accepted in this very moment
        return found

    world.people.user = looking  # type: ignore[method-assign]

    answer = log_in(world, world.client())
    assert (answer.status_code, "who has a password here" in answer.json()["detail"]) == (403, True)
    assert (world.people.rows.users, world.people.rows.sessions) == ({"ada": taken}, {})


@pytest.mark.parametrize(
    ("source", "said"),
    [("password", "there is already a user ada, who has a password here"), ("oidc 1", "another identity")],
)
def test_nobody_takes_the_name_of_somebody_else(world: World, source: str, said: str) -> None:
    known = User("ada", Role.ADMIN, START, "argon2", source=source)
    world.people.rows.users["ada"] = known
    answer = log_in(world, world.client())
    assert (answer.status_code, world.people.rows.users["ada"]) == (403, known)
    assert said in answer.json()["detail"]


def test_claims_may_stand_deeper_or_on_the_page_about_people(world: World) -> None:
    says = world.provider.says
    says.claims = {"realm_access": {"roles": ["boss"]}}
    says.about = {"userinfo_endpoint": f"{world.provider.issuer}/people"}
    says.people = {"sub": "1001", "email": "ada@example.org", "realm_access": {"roles": []}}
    client = world.client(name_claim="email", role_claim="realm_access.roles")
    assert log_in(world, client).status_code == 303
    assert world.users() == [("ada@example.org", Role.ADMIN)]
    says.people["sub"] = "another"
    assert log_in(world, world.client(name_claim="email", role_claim="realm_access.roles")).status_code == 403


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic", "client_secret_post"]])
def test_the_client_shows_its_secret_as_the_provider_wants_it(world: World, methods: list[str]) -> None:
    world.provider.says.about = {"token_endpoint_auth_methods_supported": methods}
    assert log_in(world, world.client()).status_code == 303


def test_a_public_client_has_no_secret_and_a_wrong_one_is_refused(world: World) -> None:
    assert log_in(world, world.client(client_secret_file=None)).status_code == 303
    world.secret_file.write_text("wrong")
    answer = log_in(world, world.client())
    assert answer.json()["detail"] == "Example does not take this login: invalid_client"
    world.secret_file.chmod(0o644)
    answer = log_in(world, world.client())
    assert (answer.status_code, "others than its owner may use it" in answer.json()["detail"]) == (503, True)


def test_a_provider_that_is_down_keeps_nobody_out_who_is_in(world: World) -> None:
    client = world.client()
    assert not world.provider.asked  # nothing before somebody logs in
    log_in(world, client)
    world.provider.says.broken = True
    again = world.client()
    answer = again.get("/login/oidc")
    assert (answer.status_code, "Example gives no answer" in answer.json()["detail"]) == (503, True)
    assert client.get("/api/v1/caller").status_code == 200
    world.provider.says.broken = False
    assert log_in(world, again).status_code == 303


def test_a_provider_that_is_gone_or_another_one(world: World) -> None:
    world.provider.says.about = {"issuer": "https://another.example"}
    assert "calls itself 'https://another.example'" in world.client().get("/login/oidc").json()["detail"]
    world.provider.says.about = {"token_endpoint": "http://another.example/token"}
    assert "no https:// URL as its token_endpoint" in world.client().get("/login/oidc").json()["detail"]
    world.provider.says.about = {"userinfo_endpoint": "http://another.example/people"}
    assert "no https:// URL as its userinfo_endpoint" in world.client().get("/login/oidc").json()["detail"]
    world.provider.close()
    assert world.client().get("/login/oidc").status_code == 503


def test_keys_are_kept_and_asked_for_anew_when_they_are_others(world: World) -> None:
    client = world.client()
    log_in(world, client)
    log_in(world, client)
    assert world.provider.asked.count("/keys") == 1
    world.provider.rotate("second")
    assert log_in(world, client).status_code == 403  # who sends wrong signatures does not make us ask each time
    world.clock.advance(31)
    assert log_in(world, client).status_code == 303
    world.clock.advance(timedelta(hours=2).total_seconds())
    world.provider.now = int(world.clock.now().timestamp())
    assert log_in(world, client).status_code == 303
    assert world.provider.asked.count("/keys") == 3


def test_who_stands_by_or_has_no_provider_says_so(world: World) -> None:
    client = world.client()
    world.lead = "stands by; gpu-1:8000 leads"
    assert "log in at the one that leads" in client.get("/login/oidc").json()["detail"]
    alone = TestClient(create_app(Sources((), (), world.store, lambda: None, lambda: True, bytes, world.clock.now)))
    assert alone.get("/login/oidc", headers={"Accept": "application/json"}).status_code == 404


@pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "", "/a\nb", "x" * 9])
def test_afterwards_one_is_on_a_page_of_ours(wanted: str) -> None:
    attempt = Attempt.new(wanted)
    assert (attempt.next, Attempt.read(attempt.cookie())) == ("/", attempt)
    assert Attempt.read(Attempt("a", "b", "c", wanted).cookie()) == Attempt("a", "b", "c", "/")


@pytest.mark.parametrize("cookie", ["", "a.b.c", "a.b.c.d.e", "a.b.c.A", "..."])
def test_what_is_no_attempt(cookie: str) -> None:
    assert Attempt.read(cookie) is None
