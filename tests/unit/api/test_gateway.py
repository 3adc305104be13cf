"""The API of the gateway's history, and of the nginx of other machines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Sources
from controller.api.unopened_gateway import UnopenedDesk, UnopenedGateways
from controller.core.errors import GatewayRejected, GatewayUnavailable, LostLease
from controller.core.gateways import GatewayReport
from controller.core.revision import Configuration, Moment, Reverted, Revision, Standing, revise
from controller.reconcile.gateways import MOST, Gateways
from controller.settings import PoolSettings, Settings
from controller.settings.front import front_of, written
from tests.fakes.clock import START, FakeClock
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin
from tests.unit.core.test_revision import routes

OURS = version("stoker")
SETTINGS = Settings(pools=(PoolSettings(name="llama", model="llama", checkpoint="m.gguf"),))
FIRST = revise(None, Configuration("aa", "one", routes(llama_1=1), {"gateway": {}}), {}, Moment(START, 3, 1))
SECOND = revise(
    FIRST, replace(FIRST.configuration, generation="bb", text="two", reverted_to=1), {}, Moment(START, 4, 1)
)


@dataclass
class FakeDesk:
    """See `Desk`. `fault` is what a revert raises."""

    kept: list[Revision] = field(default_factory=lambda: [SECOND, FIRST])
    asked: list[object] = field(default_factory=list)
    fault: Exception | None = None
    changes: bool = True

    def standing(self) -> Standing:
        return Standing(2, "bb", 1, START, "slow", "", START - timedelta(minutes=1))

    def revisions(self) -> Sequence[Revision]:
        return self.kept

    def revision(self, number: int) -> Revision | None:
        return next((revision for revision in self.kept if revision.number == number), None)

    def revert(self, number: int, why: str, usable_keys: int) -> Reverted:
        self.asked.append((number, why, usable_keys))
        if self.fault is not None:
            raise self.fault
        return Reverted(self.changes, f"back to {number}")

    def undo(self) -> Reverted:
        self.asked.append("undo")
        if self.fault is not None:
            raise self.fault
        return Reverted(self.changes, "undone")


@dataclass
class Given:
    """What the sources say."""

    desk: FakeDesk = field(default_factory=FakeDesk)
    gateways: Gateways = field(default_factory=Gateways)
    clock: FakeClock = field(default_factory=FakeClock)
    lead: str = "leads"
    woken: list[bool] = field(default_factory=list)

    def sources(self) -> Sources:
        return Sources(
            policies=(),
            nodes=(),
            store=FakeStore(),
            latest=lambda: None,
            healthy=lambda: True,
            metrics=lambda: b"",
            now=self.clock.now,
            lead=lambda: self.lead,
            wake=lambda: self.woken.append(True),
            token="secret",
            desk=self.desk,
            gateways=self.gateways,
            gateway_token="other secret",
        )


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(given.sources())) as made:
        yield as_admin(made)


def test_how_it_stands(client: TestClient) -> None:
    assert client.get("/api/v1/gateway").json() == {
        "revision": 2,
        "generation": "bb",
        "reverted_to": 1,
        "reverted_at": "2026-01-05T12:00:00Z",
        "why": "slow",
        "refused": "",
        "taken_at": "2026-01-05T11:59:00Z",
        "certificate_ends": None,
    }


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("after=2", (1, 2, ["-one", "+two"])),
        ("after=1&before=2", (2, 1, ["-two", "+one"])),
        ("after=2&before=2", (2, 2, [])),
        ("after=1", (1, 1, [])),  # the oldest one has none before it
    ],
)
def test_the_difference_of_two(client: TestClient, asked: str, told: tuple[int, int, list[str]]) -> None:
    answer = client.get(f"/api/v1/gateway/diff?{asked}").json()
    changed = [line for line in answer["lines"] if line[:3] not in ("+++", "---") and line[0] in "+-"]
    assert (answer["before"], answer["after"], changed) == told


@pytest.mark.parametrize(("asked", "missing"), [("after=7", 7), ("after=2&before=9", 9)])
def test_a_difference_to_one_that_is_not_kept(client: TestClient, asked: str, missing: int) -> None:
    answer = client.get(f"/api/v1/gateway/diff?{asked}")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(f"there is no revision {missing};")


def test_the_history(client: TestClient) -> None:
    newest, oldest = client.get("/api/v1/gateway/history").json()
    assert (newest["number"], newest["generation"], newest["reverted_to"]) == (2, "bb", 1)
    assert oldest["causes"][-1] == {"code": "RoutesChanged", "text": "llama-1 in"}
    assert (oldest["servers"], oldest["entered"], oldest["tick"]) == ({"llama": ["llama-1"]}, ["llama-1"], 3)
    assert "text" not in oldest
    assert len(client.get("/api/v1/gateway/history?limit=1").json()) == 1

    whole = client.get("/api/v1/gateway/history/1").json()
    assert (whole["text"], whole["settings"]) == ("one", {"gateway": {}})
    missing = client.get("/api/v1/gateway/history/9")
    assert (missing.status_code, "no revision 9" in missing.json()["detail"]) == (404, True)


def revert(client: TestClient, body: object, token: str = "secret") -> httpx.Response:
    return client.post("/api/v1/gateway/revert", json=body, headers={"Authorization": f"Bearer {token}"})


def test_going_back_wakes_a_tick(client: TestClient, given: Given) -> None:
    done = revert(client, {"number": 1, "why": "slow"})
    assert (done.status_code, done.json()) == (200, {"changed": True, "text": "back to 1"})
    assert revert(client, {"undo": True}).json()["text"] == "undone"
    assert (given.desk.asked, given.woken) == ([(1, "slow", 0), "undo"], [True, True])

    given.desk.changes = False
    assert revert(client, {"number": 1}).json()["changed"] is False
    assert len(given.woken) == 2


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (KeyError(1), 404, "there is no revision 1"),
        (
            GatewayRejected("unknown directive"),
            409,
            "settings of 1 cannot be used: unknown directive; nothing is changed",
        ),
        (GatewayUnavailable("no verdict"), 503, "no verdict"),
        (LostLease("stands by"), 409, "stands by"),
    ],
)
def test_what_may_go_wrong(client: TestClient, given: Given, fault: Exception, status: int, words: str) -> None:
    given.desk.fault = fault
    answer = revert(client, {"number": 1})

    assert (answer.status_code, words in answer.json()["detail"], given.woken) == (status, True, [])


@pytest.mark.parametrize("token", ["", "wrong", "other secret"])
def test_only_who_may_give_orders_may_go_back(client: TestClient, given: Given, token: str) -> None:
    assert revert(client, {"number": 1}, token).status_code == 401
    assert given.desk.asked == []


@pytest.mark.parametrize(
    "body", [{}, {"number": 1, "undo": True}, {"number": 0}, {"number": 1, "whi": "x"}, {"number": 1, "why": "x" * 501}]
)
def test_what_is_not_clear_is_refused(client: TestClient, body: object) -> None:
    assert revert(client, body).status_code == 422


def ask(client: TestClient, token: str = "other secret", name: str = "second", **said: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return client.post(f"/api/v1/gateways/{name}", json={"version": OURS, **said}, headers=headers)


def test_a_gateway_is_told_what_it_lacks(client: TestClient, given: Given) -> None:
    assert ask(client).status_code == 503
    given.gateways.want(routes(llama_1=7), SETTINGS, START)
    given.gateways.want_keys({"a" * 64: "key_000000000001 - 0 *"}, {})
    first = ask(client).json()
    assert first["settings"] == json.loads(json.dumps(written(front_of(SETTINGS))))
    assert first["plan"]["pools"][0]["servers"] == [{"replica": "llama-1", "host": "10.0.0.1", "port": 7}]
    assert first["keys"]["records"] == {"a" * 64: "key_000000000001 - 0 *"}

    has = {"plan_version": first["version"], "keys_version": first["keys"]["version"]}
    assert ask(client, **has).json() == {"version": first["version"]}
    given.gateways.want_keys({}, {})
    keys = ask(client, **has).json()["keys"]
    assert (keys["base"], keys["set"], keys["delete"], keys["blocks"]) == (
        has["keys_version"].partition(".")[0],
        {},
        ["a" * 64],
        {},
    )


def test_what_is_large_comes_packed_to_who_can_unpack_it(client: TestClient, given: Given) -> None:
    given.gateways.want(routes(llama_1=7), SETTINGS, START)
    given.gateways.want_keys({f"{number:064x}": "key_000000000001 - 0 *" for number in range(1000)}, {})
    headers = {"Authorization": "Bearer other secret"}
    body = {"version": OURS}

    with client.stream(
        "POST", "/api/v1/gateways/a", json=body, headers={**headers, "Accept-Encoding": "gzip"}
    ) as packed:
        raw = b"".join(packed.iter_raw())
    plain = client.post("/api/v1/gateways/b", json=body, headers={**headers, "Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert json.loads(gzip.decompress(raw)) == plain.json()
    assert len(raw) < len(plain.content) / 2
    assert plain.headers["cache-control"] == "no-store"


def test_what_is_known_of_it(client: TestClient, given: Given) -> None:
    given.gateways.want(routes(llama_1=7), SETTINGS, START)
    ask(client, applied="cc", error="nginx is not running", metrics="10.0.0.2:9401")
    given.clock.advance(12)

    (row,) = client.get("/api/v1/gateways").json()
    assert row == {
        "name": "second",
        "version": OURS,
        "applied": "cc",
        "plan_version": "",
        "keys_version": "",
        "heard_at": "2026-01-05T12:00:00Z",
        "lag_s": 12.0,
        "lags": True,
        "error": "nginx is not running",
        "metrics": "10.0.0.2:9401",
    }


@pytest.mark.parametrize("token", ["", "wrong", "secret"])
def test_the_token_for_orders_is_none_for_gateways(client: TestClient, given: Given, token: str) -> None:
    answer = ask(client, token)

    assert (answer.status_code, "gateway.token" in answer.json()["detail"]) == (401, True)
    assert given.gateways.known(START) == ()


def test_another_version_gets_nothing_and_is_known(client: TestClient, given: Given) -> None:
    given.gateways.want(routes(llama_1=7), SETTINGS, START)
    answer = ask(client, version="0.0.1")
    sentence = f"this gateway has stoker 0.0.1; install stoker=={OURS}, as the controller has"

    assert (answer.status_code, answer.json()) == (412, {"detail": sentence})
    (status,) = given.gateways.known(START)
    assert status.report.error == sentence


def test_a_controller_that_stands_by_sends_it_on_whatever_its_token(client: TestClient, given: Given) -> None:
    given.lead = "stands by; 10.0.0.1:8000 leads"

    answer = ask(client, "of another controller")
    assert (answer.status_code, "ask the one that leads" in answer.json()["detail"]) == (409, True)


def test_more_than_there_is_room_for_are_told(client: TestClient, given: Given) -> None:
    for number in range(MOST):
        given.gateways.hear(GatewayReport(f"g-{number}", OURS), START)

    answer = ask(client)
    assert (answer.status_code, "forgotten after an hour" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("name", ["UPPER", "a b", "-a", "x" * 41])
def test_a_name_that_is_none_is_refused(client: TestClient, name: str) -> None:
    assert ask(client, name=name).status_code == 422


@pytest.mark.parametrize(
    "said",
    [
        {"metrics": "10.0.0.2"},
        {"metrics": "10.0.0.2:9401/metrics"},
        {"metrics": '10.0.0.2:9401"}'},
        {"plan_version": "a b"},
        {"error": "x" * 2001},
        {"later": 1},
    ],
    ids=str,
)
def test_what_is_not_as_it_should_be_is_refused(client: TestClient, said: dict[str, Any]) -> None:
    assert ask(client, **said).status_code == 422


def test_a_controller_that_stands_by_has_nothing_to_tell() -> None:
    desk, gateways = UnopenedDesk(), UnopenedGateways()
    assert (desk.standing(), desk.revisions(), desk.revision(1), gateways.known(START)) == (Standing(), (), None, ())
    report = GatewayReport("a", OURS)
    for work in (
        lambda: desk.revert(1, "", 0),
        desk.undo,
        lambda: gateways.hear(report, START),
        lambda: gateways.refuse(report, START),
    ):
        with pytest.raises(LostLease, match="stands by"):
            work()
