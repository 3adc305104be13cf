"""The API of alerts: what Alertmanager may say, who may say it, and what followed on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from controller.api.app import create_app
from controller.api.deps import Sources
from controller.core.alerts import HeardAlerts
from controller.core.decision import Decision, Memory, Plan, Reason, ReasonCode, RemoveReplica, ScalePool, StartReplica
from controller.core.event import Event
from controller.core.model import GatewayPlan, NodeName, PoolName, ReplicaId
from controller.reconcile.alerts import MOST, Alerts
from tests.fakes.clock import START, FakeClock
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin

TOKEN = {"Authorization": "Bearer for-alerts"}
PATH = "/api/v1/alerts"
LLAMA = PoolName("llama")
WHY = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight", {"in_flight": 20.0}),)


@dataclass
class Given:
    """What the sources say, and what they were told."""

    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStore = field(default_factory=FakeStore)
    lead: str = "leads"
    woken: int = 0
    counted: list[HeardAlerts] = field(default_factory=list)

    def wake(self) -> None:
        self.woken += 1

    def decide(self, *decisions: Decision) -> None:
        term = self.store.take_term()
        self.store.save(Plan(decisions, GatewayPlan(), Memory(), ()), tick=4, term=term, at=self.clock.now())


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    sources = Sources(
        policies=(),
        nodes=(),
        store=given.store,
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: b"",
        now=given.clock.now,
        lead=lambda: given.lead,
        wake=given.wake,
        token="for-orders",
        gateway_token="for-gateways",
        alerts=Alerts(given.counted.append),
        alerts_token="for-alerts",
    )
    with TestClient(create_app(sources)) as made:
        yield as_admin(made, "for-orders")


def alert(number: int = 1, status: str = "firing", start: float = 0, **labels: str) -> dict[str, Any]:
    """As Alertmanager says it."""
    begun = START + timedelta(seconds=start)
    return {
        "status": status,
        "labels": {"alertname": "StokerLatencyHigh", "severity": "warning", "pool": "llama", **labels},
        "annotations": {"summary": "llama is slow", "description": "0.9 s"},
        "startsAt": begun.strftime("%Y-%m-%dT%H:%M:%S.123456789Z"),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": f"{number:016x}",
    }


def message(*alerts: Any, **changes: Any) -> dict[str, Any]:
    """As Alertmanager posts it."""
    told = {"receiver": "controller", "status": "firing", "alerts": list(alerts), "groupLabels": {}}
    return {**told, "version": "4", "groupKey": "{}", "truncatedAlerts": 0, **changes}


def post(client: TestClient, *alerts: Any, **changes: Any) -> Response:
    return client.post(PATH, json=message(*alerts, **changes), headers=TOKEN)


def test_an_alert_wakes_the_tick_and_is_listed(client: TestClient, given: Given) -> None:
    given.clock.advance(seconds=2)
    said = post(client, alert())
    (listed,) = client.get(PATH).json()

    assert (said.status_code, said.json()) == (200, {"news": 1, "repeated": 0, "left_out": 0})
    assert given.woken == 1
    assert listed == {
        "fingerprint": "0000000000000001",
        "status": "firing",
        "alert": "StokerLatencyHigh",
        "severity": "warning",
        "pool": "llama",
        "since": "2026-01-05T12:00:00.123456Z",
        "came_at": "2026-01-05T12:00:02Z",
        "resolved_at": None,
        "heard_at": "2026-01-05T12:00:02Z",
        "summary": "llama is slow",
        "labels": {"alertname": "StokerLatencyHigh", "severity": "warning", "pool": "llama"},
        "annotations": {"summary": "llama is slow", "description": "0.9 s"},
        "followed": None,
    }


def test_its_end_wakes_the_tick_too(client: TestClient, given: Given) -> None:
    post(client, alert())
    given.clock.advance(seconds=30)
    post(client, alert(status="resolved"), status="resolved")
    (listed,) = client.get(PATH).json()

    assert (listed["status"], listed["resolved_at"], given.woken) == ("resolved", "2026-01-05T12:00:30Z", 2)


def test_a_replay_changes_nothing_and_wakes_nobody(client: TestClient, given: Given) -> None:
    first = message(alert(1), alert(2))
    client.post(PATH, json=first, headers=TOKEN)
    post(client, alert(1, status="resolved"))
    known = client.get(PATH).json()
    again = client.post(PATH, json=first, headers=TOKEN)

    assert again.json() == {"news": 0, "repeated": 2, "left_out": 0}
    assert client.get(PATH).json() == known
    assert given.woken == 2


def test_ten_thousand_at_once_wake_one_tick_and_no_more_than_a_thousand_are_kept(
    client: TestClient, given: Given
) -> None:
    said = post(client, *[alert(number) for number in range(10_000)], truncatedAlerts=3)

    assert (said.status_code, said.json()) == (200, {"news": MOST, "repeated": 0, "left_out": 10_003 - MOST})
    assert (given.woken, len(client.get(PATH).json())) == (1, MOST)
    assert given.counted == [HeardAlerts(firing=MOST, resolved=0, news=MOST, repeated=0, left_out=10_003 - MOST)]


WITHOUT_FINGERPRINT = {name: value for name, value in alert().items() if name != "fingerprint"}
BAD = [
    pytest.param(b"", "this is no JSON", id="nothing"),
    pytest.param(b"{", "this is no JSON", id="half of it"),
    pytest.param(b"\xff\xfe", "this is no JSON", id="no UTF-8"),
    pytest.param(b"[" * 100_000, "this is no JSON", id="deep"),
    pytest.param(b"[]", "all of it: Input should be an object", id="a list"),
    pytest.param(message(version="5"), "version 4 is understood here", id="another version"),
    pytest.param(message(version=4), "version: Input should be a valid string", id="a version that is a number"),
    pytest.param({"version": "4"}, "alerts: Field required", id="no alerts"),
    pytest.param(message(alerts={}), "alerts: Input should be a valid list", id="alerts that are no list"),
    pytest.param(message(truncatedAlerts=-1), "truncatedAlerts: ", id="fewer than none"),
    pytest.param(message(alert(), 7), "alerts.1: Input should be an object", id="an alert that is a number"),
    pytest.param(message({**alert(), "status": "on"}), "alerts.0.status: ", id="another status"),
    pytest.param(message({**alert(), "labels": {"pool": 7}}), "alerts.0.labels.pool: ", id="a label that is a number"),
    pytest.param(message({**alert(), "labels": ["a"]}), "alerts.0.labels: ", id="labels that are a list"),
    pytest.param(message({**alert(), "annotations": None}), "alerts.0.annotations: ", id="null"),
    pytest.param(message({**alert(), "fingerprint": "<b>"}), "alerts.0.fingerprint: ", id="no fingerprint of theirs"),
    pytest.param(message(WITHOUT_FINGERPRINT), "alerts.0.fingerprint: Field required", id="no fingerprint"),
    pytest.param(message({**alert(), "startsAt": 1767614400}), "alerts.0.startsAt: ", id="a time that is a number"),
    pytest.param(message({**alert(), "startsAt": "NaN"}), "alerts.0.startsAt: ", id="a time that is not"),
    pytest.param(message({**alert(), "startsAt": "2026-01-05T12:00:00"}), "alerts.0.startsAt: ", id="no time zone"),
    pytest.param(message({**alert(), "startsAt": "2026-13-05T12:00:00Z"}), "the startsAt of", id="a month too many"),
    pytest.param(
        message({**alert(), "startsAt": "0001-01-01T00:00:00+14:00"}), "the startsAt of", id="before the year 1"
    ),
    pytest.param(b'{"version": "4", "alerts": [{"startsAt": NaN}]}', "this is no JSON", id="NaN"),
]


@pytest.mark.parametrize(("body", "said"), BAD)
def test_what_is_no_such_message_is_refused_in_a_sentence(
    client: TestClient, given: Given, body: bytes | dict[str, Any], said: str
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(PATH, content=raw, headers=TOKEN)

    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert (given.woken, given.counted, client.get(PATH).json()) == (0, [], [])


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_start_that_cannot_be_meant_is_when_it_was_heard(client: TestClient, given: Given, start: str) -> None:
    for status, news in (("firing", 1), ("firing", 0), ("resolved", 1), ("resolved", 0)):
        assert post(client, {**alert(1, status, pool="llama"), "startsAt": start}).json()["news"] == news
        (known,) = client.get("/api/v1/alerts").json()
        assert known["since"] == known["came_at"] == "2026-01-05T12:00:00Z"
        assert client.get("/alerts", headers={"Accept": "text/html"}).status_code == 200
        given.clock.advance(seconds=60)


def test_what_is_too_large_is_refused_announced_or_not(client: TestClient, given: Given) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(12):
            yield b" " * 1024 * 1024

    for content in (b" " * (10 * 1024 * 1024 + 1), endless()):
        answer = client.post(PATH, content=content, headers=TOKEN)

        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("the message is larger than 10 MiB")
    assert given.woken == 0


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer for-alert", "Bearer for-orders", "Bearer for-gateways", "é"])
def test_without_its_own_token_nothing_is_heard(client: TestClient, given: Given, token: str) -> None:
    answer = client.post(PATH, json=message(alert()), headers={"Authorization": token.encode()})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "alerts.token" in answer.json()["detail"]
    assert (given.woken, client.get(PATH).json()) == (0, [])


def test_the_token_for_alerts_gives_no_orders(client: TestClient) -> None:
    order = {"kind": "cordon", "subject": "node/local"}

    assert client.post("/api/v1/orders", json=order, headers=TOKEN).status_code == 401
    assert client.get("/api/v1/keys", headers=TOKEN).status_code == 401


def test_who_stands_by_says_who_leads_and_keeps_nothing(client: TestClient, given: Given) -> None:
    given.lead = "stands by; box:8000 leads"
    answer = post(client, alert())

    assert (answer.status_code, given.woken, given.counted) == (503, 0, [])
    assert answer.json()["detail"] == "this controller stands by; box:8000 leads; it takes alerts once it leads"


def test_what_followed_is_the_first_decision_about_its_pool_while_it_fired(client: TestClient, given: Given) -> None:
    given.decide(ScalePool(LLAMA, 2, 3, WHY))  # before
    given.clock.advance(seconds=10)
    post(client, alert(start=5), alert(2, start=5, pool="other"))
    given.clock.advance(seconds=1)
    given.decide(ScalePool(PoolName("third"), 1, 2, WHY), ScalePool(LLAMA, 3, 4, WHY))
    given.clock.advance(seconds=1)
    given.decide(ScalePool(LLAMA, 4, 5, WHY))
    found = {item["pool"]: item["followed"] for item in client.get(PATH).json()}

    assert found == {
        "llama": {
            "at": "2026-01-05T12:00:11Z",
            "kind": "scale_pool",
            "subject": "pool/llama",
            "text": "from 3 to 4: 20 in flight",
            "before": False,
        },
        "other": None,
    }


@pytest.mark.parametrize(
    ("decided_at", "ended_at", "found"),
    [
        pytest.param((-61,), None, None, id="long before"),
        pytest.param((-50, -2), None, (-2, True), id="just before it fired"),
        pytest.param((-2, 3, 5), None, (3, False), id="before and while it fires"),
        pytest.param((-2, 40), 30, (-2, True), id="before, and after its end"),
        pytest.param((40,), 30, None, id="after its end"),
        pytest.param((20, 40), 30, (20, False), id="while it fired"),
    ],
)
def test_what_followed_by_time(
    client: TestClient, given: Given, decided_at: tuple[int, ...], ended_at: int | None, found: tuple[int, bool] | None
) -> None:
    """The alert fires at second 100."""
    post(client, alert(start=100))
    for at in sorted([*decided_at, *([ended_at] if ended_at else [])]):
        given.clock.advance(seconds=100 + at - (given.clock.now() - START).total_seconds())
        if at in decided_at:
            given.decide(ScalePool(LLAMA, 3, 4, WHY), StartReplica(LLAMA, ReplicaId("llama-4"), WHY))
        else:
            post(client, alert(status="resolved", start=100))
    (listed,) = client.get(PATH).json()
    followed = listed["followed"]

    if found is None:
        assert followed is None
    else:
        when = START + timedelta(seconds=100 + found[0])
        assert (followed["at"], followed["before"]) == (when.strftime("%Y-%m-%dT%H:%M:%SZ"), found[1])
        assert followed["kind"] == "scale_pool", "the first one of its tick"


def test_of_a_node_it_is_what_was_decided_on_that_node_and_else_what_happened(client: TestClient, given: Given) -> None:
    labels = {"alertname": "StokerNodeDown", "pool": ""}
    post(client, alert(1, node="a", **labels), alert(2, node="b", **labels), alert(3, node="c", **labels))
    given.clock.advance(seconds=1)
    given.decide(RemoveReplica(LLAMA, ReplicaId("llama-1"), WHY, NodeName("a")))
    given.store.append([Event(given.clock.now(), "node_lost", "node/b", "NoAnswer", "Gave no answer.")])
    found = {item["labels"]["node"]: item["followed"] for item in client.get(PATH).json()}

    assert found["a"] == {
        "at": "2026-01-05T12:00:01Z",
        "kind": "remove_replica",
        "subject": "replica/llama-1",
        "text": "20 in flight",
        "before": False,
    }
    assert (found["b"]["kind"], found["b"]["subject"], found["b"]["text"]) == ("node_lost", "node/b", "Gave no answer.")
    assert found["c"] is None


def test_what_comes_from_outside_is_cut_printable_and_escaped(client: TestClient) -> None:
    many = {f"label{number}": "x" for number in range(100)}
    evil = "<script>alert(1)</script>\x1b[31m\u202e\n" + "x" * 5000
    noisy = alert(1, pool="<b>", alertname="<i>", severity="'\"><u>", **many)
    noisy["annotations"] = {"summary": evil, "y" * 500: "z"}
    post(client, noisy)
    (listed,) = client.get(PATH).json()
    page = client.get("/alerts").text

    assert len(listed["labels"]) == 32
    assert len(listed["summary"]) == 1024
    assert listed["summary"].isprintable()
    assert max(map(len, listed["annotations"])) == 128
    assert not any(tag in page for tag in ("<script>alert", "<b>", "<i>", "<u>"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_page_shows_those_that_fire_and_what_followed(client: TestClient, given: Given) -> None:
    assert "Nothing fires" in client.get("/alerts").text

    post(client, alert(1), alert(2, status="resolved", alertname="StokerErrorsHigh"))
    before = client.get("/alerts").text
    given.clock.advance(seconds=1)
    given.decide(ScalePool(LLAMA, 3, 4, WHY))
    after = client.get("/alerts").text

    firing, _, ended = before.partition('id="alerts-ended"')
    assert "StokerLatencyHigh" in firing
    assert "llama is slow" in firing
    assert "It decided nothing about this" in firing
    assert "StokerErrorsHigh" not in firing
    assert "StokerErrorsHigh" in ended
    assert '<a href="/decisions/1" data-drawer>llama: from 3 to 4 replicas</a>' in after


def test_the_message_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"][PATH]["post"]

    assert described["requestBody"]["content"]["application/json"]["schema"]["required"] == ["version", "alerts"]
