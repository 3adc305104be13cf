"""The API of the keys: what it makes, what it refuses, and that no secret is shown twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from controller.api.app import create_app
from controller.api.deps import Offer, Sources
from controller.core.access import SECRET, ApiKey, KeyId, digest_of
from controller.core.event import Event
from controller.core.quota import Block, DayUsage, KeyUsage, QuotaKind, QuotaMemory, TokenLimits
from controller.ports import AccessState
from tests.fakes.clock import START, FakeClock
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeKeys, FakeStore

TOKEN = {"Authorization": "Bearer secret"}
OFFER = Offer(
    plans={"gold": TokenLimits(100, 1000), "free": TokenLimits()},
    models={"llama-70b": "llama-70b", "llama": "llama-70b", "small": "small"},
    most_keys=3,
)


@dataclass
class Given:
    """What the sources say, and what they were told."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStore = field(default_factory=FakeStore)
    state: AccessState = field(default_factory=AccessState)
    told: list[Event] = field(default_factory=list)
    woken: int = 0
    leads: bool = True

    def __post_init__(self) -> None:
        self.keys = FakeKeys(self.store)

    def wake(self) -> None:
        self.woken += 1

    def key(self, name: str) -> ApiKey:
        (found,) = [key for key in self.keys.list_keys() if key.id == name]
        return found


@pytest.fixture
def given() -> Given:
    return Given()


def sources(given: Given, token: str = "secret") -> Sources:
    made = Sources(
        policies=(),
        nodes=(),
        store=given.store,
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=given.clock.now,
        wake=given.wake,
        token=token,
        offer=OFFER,
        access=lambda: given.state,
        tell=given.told.extend,
    )
    return replace(made, keys=given.keys) if given.leads else made


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(sources(given)), headers=TOKEN) as made:
        yield made


def create(client: TestClient, **wanted: Any) -> Response:
    return client.post("/api/v1/keys", json={"name": "ci", **wanted})


def test_a_key_is_made_and_shown_once(client: TestClient, given: Given) -> None:
    answer = create(client, plan="gold", models=["small", "llama"], expires_in_s=3600.5, why="a test")

    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    told = answer.json()
    secret = told.pop("key")
    assert SECRET.fullmatch(secret)
    assert told == {
        "id": told["id"],
        "name": "ci",
        "plan": "gold",
        "models": ["llama-70b", "small"],
        "created_at": "2026-01-05T12:00:00Z",
        "expires_at": "2026-01-05T13:00:00Z",
        "revoked_at": None,
        "replaced_by": None,
        "state": "usable",
        "blocked_until": None,
        "blocked_by": None,
        "tokens_today": None,
        "tokens_per_minute": 100,
        "tokens_per_day": 1000,
    }
    assert given.key(told["id"]).digest == digest_of(secret)
    assert given.woken == 1
    assert client.get("/api/v1/keys").json() == [told]
    assert secret not in client.get("/api/v1/keys").text + str(given.told) + str(given.store.database)


def test_what_happened_is_told_and_kept(client: TestClient, given: Given) -> None:
    made = create(client, plan="gold", why="for the pipeline").json()
    rotated = client.post(f"/api/v1/keys/{made['id']}/rotate", json={"grace_s": 60}).json()
    client.post(f"/api/v1/keys/{made['id']}/revoke", json={"why": "lost"})

    lines = [(event.event, event.subject, event.reason, event.message) for event in given.told]
    assert lines == [
        ("key_created", f"key/{made['id']}", "Ordered", "Was made with plan gold."),
        ("key_rotated", f"key/{made['id']}", "Ordered", f"{rotated['id']} takes its place with plan gold."),
        ("key_revoked", f"key/{made['id']}", "Ordered", "Was revoked; it had plan gold."),
    ]
    assert given.store.events(limit=9) == tuple(reversed(given.told))


def test_whose_a_key_is_and_why_is_for_the_audit_log_only(given: Given) -> None:
    people = FakePeople(given.store)
    client = TestClient(create_app(replace(sources(given), people=people)), headers=TOKEN)
    made = create(client, name="Acme Corp, contract 4711", why="they asked").json()
    client.post(f"/api/v1/keys/{made['id']}/rotate", json={"why": "a laptop was lost"})
    client.post(f"/api/v1/keys/{made['id']}/revoke", json={"why": "they left"})

    told = str(given.told) + client.get("/api/v1/events").text
    assert "Was made with no plan." in told
    assert not any(words in told for words in ("Acme", "asked", "laptop", "left"))
    assert [(entry.action, entry.why) for entry in people.rows.audit] == [
        ("key create", "For 'Acme Corp, contract 4711', no plan: they asked."),
        ("key rotate", "Is for 'Acme Corp, contract 4711', no plan: a laptop was lost."),
        ("key revoke", "Was for 'Acme Corp, contract 4711', no plan: they left."),
    ]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("", ["Bob", "tim 2", "Tim"]),
        ("?text=tim", ["tim 2", "Tim"]),  # no word that an id could have in it
        ("?text=tim&limit=1", ["tim 2"]),
        ("?plan=gold", ["Tim"]),
        ("?state=usable", ["Bob", "Tim"]),
        ("?state=blocked", ["Tim"]),
        ("?key=Bob", ["Bob"]),
    ],
)
def test_keys_are_found(client: TestClient, given: Given, asked: str, names: list[str]) -> None:
    given.state, first = AccessState(), create(client, name="Tim", plan="gold").json()["id"]
    given.clock.advance(1)
    second = create(client, name="tim 2").json()["id"]
    given.clock.advance(1)
    create(client, name="Bob")
    client.post(f"/api/v1/keys/{second}/revoke")
    until = given.clock.now() + timedelta(minutes=1)
    blocks = {KeyId(key): Block(until, QuotaKind.MINUTE) for key in (first, second)}  # one that is revoked is no more
    given.state = AccessState(quota=QuotaMemory(blocks=blocks))

    assert [key["name"] for key in client.get(f"/api/v1/keys{asked}").json()] == names


def test_the_next_page_of_keys(client: TestClient, given: Given) -> None:
    made = []
    for _ in range(3):
        given.clock.advance(1)
        made.append(create(client).json()["id"])
    assert [key["id"] for key in client.get(f"/api/v1/keys?before={made[2]}").json()] == [made[1], made[0]]
    assert client.get(f"/api/v1/keys?before={made[0]}").json() == []


def test_two_keys_have_nothing_in_common(client: TestClient) -> None:
    first, second = create(client).json(), create(client).json()
    assert first["id"] != second["id"]
    assert first["key"] != second["key"]
    assert (first["plan"], first["models"], first["expires_at"]) == (None, [], None)


@pytest.mark.parametrize(
    ("expires", "at"),
    [
        ("2026-01-05T12:00:01Z", "2026-01-05T12:00:01Z"),
        ("2026-02-01T00:00:00.9+02:00", "2026-01-31T22:00:00Z"),
    ],
)
def test_an_end_as_a_time(client: TestClient, expires: str, at: str) -> None:
    assert create(client, expires_at=expires).json()["expires_at"] == at


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"plan": "silver"}, "there is no plan 'silver'; there is free, gold"),
        ({"models": ["small", "gpt"]}, "there is no model 'gpt'; there is llama, llama-70b, small"),
        ({"name": ""}, "the name must be 1 to 64 printable characters, without a space at its ends"),
        ({"name": "x" * 65}, "the name must be 1 to 64 printable characters, without a space at its ends"),
        ({"name": "a\tb"}, "the name must be 1 to 64 printable characters, without a space at its ends"),
        (
            {"expires_at": "2026-01-05T12:00:00.5Z"},
            "the key would have expired already; give a time that is still to come",
        ),
        (
            {"expires_at": "9999-01-01T00:00:00Z"},
            "that is more than a hundred years from now; leave it out for a key without an end",
        ),
        (
            {"expires_at": "2027-01-01T00:00:00Z", "expires_in_s": 5},
            "expires_at and expires_in_s are both given; give one of them",
        ),
    ],
)
def test_what_can_never_be_is_refused_in_a_sentence(
    client: TestClient, given: Given, wanted: dict[str, Any], said: str
) -> None:
    answer = create(client, **wanted)

    assert (answer.status_code, answer.json()["detail"]) == (422, said)
    assert (given.keys.list_keys(), given.told, given.woken) == ((), [], 0)


@pytest.mark.parametrize(
    "wanted",
    [
        {"expires_in_s": 0},
        {"expires_in_s": -1},
        {"expires_in_s": 1e300},
        {"expires_at": "2027-01-01T00:00:00"},
        {"model": "small"},
        {"models": "small"},
        {"name": 7},
    ],
)
def test_what_is_no_request_is_refused(client: TestClient, given: Given, wanted: dict[str, Any]) -> None:
    assert create(client, **wanted).status_code == 422
    assert given.keys.list_keys() == ()


def test_too_many_models_for_one_record(given: Given) -> None:
    names = [f"m{number}" for number in range(51)]
    many = replace(sources(given), offer=replace(OFFER, models={name: name for name in names}))
    with TestClient(create_app(many), headers=TOKEN) as client:
        assert create(client, models=names).json()["detail"].startswith("a key is for 50 models at most")
        assert create(client, models=names[:50]).status_code == 201


def test_more_keys_than_nginx_has_room_for(client: TestClient, given: Given) -> None:
    given.state = AccessState(usable=3)
    answer = create(client)

    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "there are 3 usable keys already; raise gateway.max_keys, or revoke some",
    )


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer secre", "Bearer secret2", "Basic secret"])
def test_without_the_token_nothing_is_told_or_done(client: TestClient, given: Given, method: str, token: str) -> None:
    made = create(client).json()
    for path in ("", f"/{made['id']}/revoke", f"/{made['id']}/rotate"):
        if method == "get" and path:
            continue
        answer = client.request(method, f"/api/v1/keys{path}", headers={"Authorization": token})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert made["id"] not in answer.text
    assert given.key(made["id"]).usable(START)


def test_an_empty_token_lets_nobody_in(given: Given) -> None:
    with TestClient(create_app(sources(given, token=""))) as client:
        assert client.get("/api/v1/keys", headers={"Authorization": "Bearer "}).status_code == 401


def test_a_revoked_key_is_good_for_nothing_and_stays_so(client: TestClient, given: Given) -> None:
    made = create(client).json()
    answer = client.post(f"/api/v1/keys/{made['id']}/revoke")
    given.clock.advance(60)
    again = client.post(f"/api/v1/keys/{made['id']}/revoke", json={"why": "once more"})

    assert (answer.status_code, again.status_code, again.json()) == (200, 200, answer.json())
    assert (answer.json()["state"], answer.json()["revoked_at"]) == ("revoked", "2026-01-05T12:00:00Z")
    assert not given.key(made["id"]).usable(START)
    assert [event.event for event in given.told] == ["key_created", "key_revoked"]


def test_a_rotated_key_is_good_until_the_grace_is_over(client: TestClient, given: Given) -> None:
    made = create(client, plan="gold", models=["small"], expires_in_s=86400).json()
    answer = client.post(f"/api/v1/keys/{made['id']}/rotate", json={"grace_s": 3600})
    new = answer.json()

    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert SECRET.fullmatch(new["key"])
    assert new["key"] != made["key"]
    assert (new["replaces"], new["replaced_expires_at"]) == (made["id"], "2026-01-05T13:00:00Z")
    for same in ("name", "plan", "models", "expires_at"):
        assert new[same] == made[same]
    old = given.key(made["id"])
    assert (old.replaced_by, old.usable(START)) == (new["id"], True)
    given.clock.advance(3600)
    rows = {row["id"]: row["state"] for row in client.get("/api/v1/keys").json()}
    assert rows == {made["id"]: "expired", new["id"]: "usable"}


def test_without_a_grace_the_old_key_ends_at_once(client: TestClient, given: Given) -> None:
    made = create(client).json()
    assert client.post(f"/api/v1/keys/{made['id']}/rotate").status_code == 201
    assert not given.key(made["id"]).usable(START)


def test_what_is_no_longer_good_is_not_rotated(client: TestClient, given: Given) -> None:
    made = [create(client, expires_in_s=60).json()["id"] for _ in range(3)]
    client.post(f"/api/v1/keys/{made[0]}/revoke")
    successor = client.post(f"/api/v1/keys/{made[1]}/rotate", json={"grace_s": 30}).json()["id"]
    given.clock.advance(1)
    assert (
        client.post(f"/api/v1/keys/{made[1]}/rotate")
        .json()["detail"]
        .startswith(f"{made[1]} was rotated to {successor}; rotate another one")
    )
    given.clock.advance(59)
    for key, was in ((made[0], "is revoked"), (made[2], "has expired")):
        answer = client.post(f"/api/v1/keys/{key}/rotate")
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            f"{key} {was}; rotate another one, or make a new one",
        )
    assert len(given.keys.list_keys()) == 4


@pytest.mark.parametrize("path", ["key_ffffffffffff/revoke", "key_ffffffffffff/rotate", "no%20key/revoke"])
def test_a_key_that_is_not_there(client: TestClient, given: Given, path: str) -> None:
    answer = client.post(f"/api/v1/keys/{path}", json={})

    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is no key ")
    assert (given.told, given.woken) == ([], 0)


@pytest.mark.parametrize("grace", [-1, 1e300, "an hour"])
def test_what_is_no_grace(client: TestClient, grace: object) -> None:
    made = create(client).json()
    assert client.post(f"/api/v1/keys/{made['id']}/rotate", json={"grace_s": grace}).status_code == 422


def test_keys_by_name_or_id(client: TestClient) -> None:
    first, second = create(client).json()["id"], create(client, name="web").json()["id"]

    def found(of: str) -> list[str]:
        return [row["id"] for row in client.get("/api/v1/keys", params={"key": of}).json()]

    assert (found("ci"), found(second), found("nobody")) == ([first], [second], [])


def used(key: str, day: date, tokens: float) -> KeyUsage:
    return KeyUsage(DayUsage(KeyId(key), day, tokens, tokens, START))


def state(usage: dict[str, KeyUsage], blocks: dict[str, datetime], why: QuotaKind = QuotaKind.DAY) -> AccessState:
    known = {KeyId(key): known for key, known in usage.items()}
    blocked = {KeyId(key): Block(until, why) for key, until in blocks.items()}
    return AccessState(0, QuotaMemory(known, blocked, START), counted=True)


def test_what_keys_used_and_until_when_they_are_blocked(client: TestClient, given: Given) -> None:
    today = START.date()
    gold, idle, old = (create(client, plan=plan).json()["id"] for plan in ("gold", "free", "gold"))
    midnight, minute = START + timedelta(hours=12), START - timedelta(seconds=1)
    usage = {gold: used(gold, today, 1234.4), old: used(old, today - timedelta(days=1), 99)}
    given.state = state(usage, {gold: midnight, old: minute})

    rows = {row["id"]: row for row in client.get("/api/v1/keys").json()}
    assert [rows[key]["tokens_today"] for key in (gold, idle, old)] == [1234, 0, 0]
    assert (rows[gold]["state"], rows[gold]["blocked_until"], rows[gold]["blocked_by"]) == (
        "blocked",
        "2026-01-06T00:00:00Z",
        "day",
    )
    assert (rows[old]["state"], rows[old]["blocked_until"]) == ("usable", None), "its block is over"
    client.post(f"/api/v1/keys/{gold}/revoke")
    row = client.get("/api/v1/keys", params={"key": gold}).json()[0]
    assert (row["state"], row["blocked_until"]) == ("revoked", None)


def test_a_controller_that_stands_by_sends_elsewhere(given: Given) -> None:
    given.leads = False
    with TestClient(create_app(sources(given)), headers=TOKEN) as client:
        for answer in (create(client), client.get("/api/v1/keys"), client.post("/api/v1/keys/key_1/revoke")):
            said = "this controller stands by; ask the one that leads"
            assert (answer.status_code, answer.json()["detail"]) == (409, said)


@contextmanager
def away(given: Given) -> Iterator[None]:
    given.store.database.gone = True
    yield
    given.store.database.gone = False


def test_a_database_that_is_away(client: TestClient, given: Given) -> None:
    with away(given):
        for answer in (create(client), client.get("/api/v1/keys")):
            assert (answer.status_code, answer.json()["detail"]) == (503, "the database is gone")
    assert (given.keys.list_keys(), given.told) == ((), [])


def test_a_key_that_was_made_is_shown_though_its_event_is_lost(
    client: TestClient, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = given.keys.add_key

    def add_and_go(key: ApiKey) -> None:
        add(key)
        given.store.database.gone = True

    monkeypatch.setattr(given.keys, "add_key", add_and_go)
    answer = create(client)

    assert answer.status_code == 201
    assert [event.event for event in given.told] == ["key_created", "event_write_failed"]
