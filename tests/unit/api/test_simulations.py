"""The API of the simulator, over a desk that plays nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.routes import simulations
from controller.api.simulation_schemas import MOST_UPLOAD_BYTES, SimulationIn
from controller.api.simulations import SimulationRefused, TooManySimulations, UnopenedSimulations
from controller.core.errors import LostLease
from tests.fakes.simulations import ASKED, YAML, FakeSimulations, sources_of


@pytest.fixture
def desk() -> FakeSimulations:
    return FakeSimulations()


@pytest.fixture
def client(desk: FakeSimulations) -> Iterator[TestClient]:
    with TestClient(create_app(sources_of(desk)), headers={"Authorization": "Bearer secret"}) as made:
        yield made


def test_one_is_asked_for_and_looked_at(client: TestClient, desk: FakeSimulations) -> None:
    begun = client.post("/api/v1/simulations", json=ASKED)
    assert (begun.status_code, begun.json()["id"], begun.json()["asked"]["changes"]["floor"]) == (202, "one", 2)
    assert desk.asked[0].trace.rps == 3.0

    assert client.get("/api/v1/simulations/one").json()["state"] == "waiting"
    copied = client.get("/api/v1/simulations/one/yaml")
    assert (copied.text, copied.headers["content-type"]) == (YAML, "text/plain; charset=utf-8")
    assert [known["id"] for known in client.get("/api/v1/simulations").json()] == ["one"]
    assert client.delete("/api/v1/simulations/one").status_code == 200
    assert desk.asked[-1] == "cancel one"
    assert client.get("/api/v1/simulations/options?pool=small").json()["suggested_rps"] == 3
    assert client.get("/api/v1/simulations/traffic?pool=small&hours=2").json()["rates"] == [1.0, None]
    assert desk.asked[-1] == ("small", 2.0)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (KeyError("there is no pool 'x'"), 404, "there is no pool 'x'"),
        (SimulationRefused("it cannot"), 422, "it cannot"),
        (TooManySimulations("4 wait"), 429, "4 wait"),
        (LostLease("stands by"), 409, "stands by"),
    ],
)
def test_what_may_go_wrong(
    client: TestClient, desk: FakeSimulations, fault: Exception, status: int, words: str
) -> None:
    desk.fault = fault
    answer = client.post("/api/v1/simulations", json=ASKED)

    assert (answer.status_code, words in answer.json()["detail"]) == (status, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/one"), ("GET", "/one/yaml"), ("DELETE", "/one"), ("GET", "/options?pool=x"), ("GET", "/traffic?pool=x")],
)
def test_what_is_not_there(client: TestClient, desk: FakeSimulations, method: str, path: str) -> None:
    desk.fault = KeyError("there is no such one")
    answer = client.request(method, f"/api/v1/simulations{path}")

    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no such one")


@pytest.mark.parametrize(
    "change",
    [
        {"pool": "x" * 65},
        {"trace": {"source": "synthetic", "kind": "wave"}},
        {"trace": {"source": "file", "path": "/etc/passwd"}},
        {"trace": {"source": "synthetic", "kind": "flat", "hours": 49}},
        {"trace": {"source": "synthetic", "kind": "flat", "rps": 0}},
        {"changes": {"floor": -1}},
        {"changes": {"flor": 1}},
        {"changes": {"tolerance": 1}},
        {"compare": ["nobody"]},
        {"compare": ["hpa"] * 7},
        {"cold_start_s": -1},
        {"engine": {"slots": 0}},
        {"slo_first_token_s": 0},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(client: TestClient, desk: FakeSimulations, change: dict[str, Any]) -> None:
    assert client.post("/api/v1/simulations", json={**ASKED, **change}).status_code == 422
    assert desk.asked == []


def test_an_upload_is_the_body(client: TestClient, desk: FakeSimulations) -> None:
    answer = client.post("/api/v1/simulations/traces?name=day.csv", content=b"a" * 1000)

    assert (answer.status_code, answer.json()["id"], desk.asked) == (201, "up", [("day.csv", 1000)])


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_an_upload_that_is_too_large_is_not_taken(client: TestClient, desk: FakeSimulations, told: bool) -> None:
    content = b"a" * (MOST_UPLOAD_BYTES + 1)
    answer = client.post("/api/v1/simulations/traces", content=content if told else iter([content]))

    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "a trace may have 20 MiB; cut it, or use `stoker simulate`",
    )
    assert desk.asked == []


async def stalled(desk: FakeSimulations, *parts: bytes) -> tuple[int, str]:
    """What becomes of an upload that sends these parts, and then nothing."""
    left = list(parts)
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    async def send(message: Any) -> None:
        told.append(message)

    headers = [(b"authorization", b"Bearer secret"), (b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/simulations/traces", "query_string": b"", "state": {}}
    connection = {"scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1), "headers": headers}
    await create_app(sources_of(desk))({**scope, **connection}, receive, send)  # type: ignore[arg-type]
    return told[0]["status"], json.loads(told[1]["body"])["detail"]


def test_an_upload_that_stalls_gives_its_place_back(
    client: TestClient, desk: FakeSimulations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "_UPLOAD_S", 0.1)
    monkeypatch.setattr(simulations, "_receiving", asyncio.Semaphore(2))

    async def both() -> list[tuple[int, str]]:
        return await asyncio.gather(stalled(desk), stalled(desk, b"a", b"b"))

    for status, detail in asyncio.run(both()):
        assert (status, detail.startswith("the trace was not here within 60 s; send a smaller one")) == (408, True)
    assert client.post("/api/v1/simulations/traces", content=b"a").status_code == 201


def test_an_upload_that_cannot_be_played(client: TestClient, desk: FakeSimulations) -> None:
    desk.fault = SimulationRefused("<b>.csv, line 3: the time goes back")
    answer = client.post("/api/v1/simulations/traces?name=<b>.csv", content=b"x")

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert answer.json()["detail"] == "<b>.csv, line 3: the time goes back"


def test_nobody_without_a_role_simulates(client: TestClient) -> None:
    client.headers.pop("Authorization")
    for method, path in (("POST", ""), ("GET", ""), ("GET", "/one"), ("DELETE", "/one"), ("POST", "/traces")):
        assert client.request(method, f"/api/v1/simulations{path}", json=ASKED).status_code == 401


def test_a_controller_that_stands_by_plays_nothing() -> None:
    desk = UnopenedSimulations()
    assert desk.recent() == ()
    asked = SimulationIn.model_validate(ASKED)
    for work in (
        lambda: desk.options("a"),
        lambda: desk.traffic("a", 1.0),
        lambda: desk.start(asked),
        lambda: desk.find("a"),
        lambda: desk.cancel("a"),
        lambda: desk.upload("a", b""),
    ):
        with pytest.raises(LostLease, match="stands by"):
            work()
