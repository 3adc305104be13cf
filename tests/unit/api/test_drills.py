"""Drills over the API: begun, told of, stopped, remembered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from controller.api.app import create_app
from controller.api.deps import Sources
from controller.api.drill_ends import gone
from controller.api.drills import DrillRefused, Possible, UnknownFault, Wish
from controller.core.drilled import Drilled
from controller.core.errors import TransientError
from controller.core.model import NodeName, PoolName
from controller.core.people import Role
from controller.core.policy import PoolPolicy, ScalingPolicy
from tests.fakes.clock import START
from tests.fakes.overrides import FakeDrills
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin, as_role
from tests.unit.core.build import POOL
from tests.unit.stack.drill_samples import drilled

KILL = Possible(
    "kill", "Its main process is killed.", 1, promises={"failed": (0, "nginx tries another")}, patience_s=75
)
OOM = Possible("oom", "The kernel kills its engine.", 1, why_not="a local process has no memory limit of its own")
WISH = {"fault": "kill", "why": "Friday"}
REPORT = {"fault": "kill", "pool": "llama"}
RESULT: dict[str, Any] = json.loads(json.dumps(drilled().as_dict()))


@dataclass
class FakeDesk:
    """See `DrillDesk`."""

    begun: list[tuple[str, Wish]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    lives: str | None = None
    refuses: DrillRefused | None = None
    fails: DrillRefused | None = None  # when all that is asked before is well

    def possible(self, pool: str, clients: int) -> Sequence[Possible]:
        return [KILL, OOM]

    def start(self, name: str, wish: Wish, begins: Callable[[], None]) -> None:
        if self.refuses is not None:
            raise self.refuses
        begins()
        if self.fails is not None:
            raise self.fails
        self.begun.append((name, wish))
        self.lives = name

    def running(self) -> str | None:
        return self.lives

    def stop(self, name: str) -> bool:
        self.stopped.append(name)
        return self.lives == name

    def follow(self, gone: Callable[[str, str], None]) -> None: ...

    def close(self) -> None: ...


@dataclass
class Given:
    """What the sources say."""

    store: FakeStore = field(default_factory=FakeStore)
    desk: FakeDesk = field(default_factory=FakeDesk)
    now: datetime = START
    pools: tuple[str, ...] = (POOL,)

    def __post_init__(self) -> None:
        self.people = FakePeople(self.store)
        self.drills: FakeDrills = FakeDrills(self.store)

    def sources(self) -> Sources:
        return Sources(
            policies=[PoolPolicy(PoolName(pool), pool, ScalingPolicy()) for pool in self.pools],
            nodes=(NodeName("local"),),
            store=self.store,
            latest=lambda: None,
            healthy=lambda: True,
            metrics=lambda: b"",
            now=lambda: self.now,
            token="secret",
            people=self.people,
            drills=self.drills,
            drill_desk=self.desk,
        )

    def events(self) -> list[str]:
        return [event.event for event in reversed(self.store.events(limit=99))]


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(given.sources())) as made:
        yield as_admin(made)


def begin(client: TestClient) -> str:
    answer = client.post("/api/v1/drills", json=WISH)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def test_the_catalogue_says_what_can_be_hurt_and_what_not(client: TestClient) -> None:
    found = client.get("/api/v1/drills/catalogue").json()
    kill, oom = found["faults"]
    assert (found["pool"], found["needs"], found["force_needs"], found["running"]) == (
        "llama",
        "operator",
        "admin",
        None,
    )
    assert (kill["possible"], kill["promises"]) == (
        True,
        [{"figure": "failed", "limit": 0, "why": "nginx tries another"}],
    )
    assert (oom["possible"], oom["why_not"]) == (False, "a local process has no memory limit of its own")


def test_a_drill_from_its_beginning_to_its_result(client: TestClient, given: Given) -> None:
    as_role(client, given.people, Role.OPERATOR, "alice")
    name = begin(client)
    assert given.desk.begun == [(name, Wish("kill", "llama", 8, False))]
    as_admin(client)
    path = f"/api/v1/drills/{name}"
    client.put(path, json={**REPORT, "line": "load"})
    given.now += timedelta(seconds=8)
    client.put(path, json={**REPORT, "line": "kill of llama-1"})
    running = client.get(path).json()
    assert (running["state"], running["by"], running["result"]) == ("running", "alice", None)
    assert [line["text"] for line in running["lines"]] == ["load", "kill of llama-1"]

    figures = {"out_s": 2.8, "failed": 0, "retried": None}
    end = {**REPORT, "state": "passed", "victims": ["llama-1"], "figures": figures, "result": RESULT}
    client.put(path, json=end)
    client.put(path, json={**end, "state": "failed"})  # the first end counts
    ended = client.get(path).json()
    assert (ended["state"], ended["victims"], ended["figures"]) == ("passed", ["llama-1"], figures)
    assert ended["result"] == RESULT
    ended_event, began_event = given.store.events(limit=9)
    assert (began_event.event, began_event.subject, began_event.reason) == ("drill_started", "pool/llama", "kill")
    assert began_event.message == f"Drill {name} by alice: Friday."
    assert (ended_event.event, ended_event.numbers) == ("drill_ended", {"out_s": 2.8, "failed": 0})
    assert ended_event.message == f"Drill {name}, kill of llama-1, passed."
    assert [drill["id"] for drill in client.get("/api/v1/drills").json()] == [name]


def test_a_drill_of_a_terminal_is_known_from_its_first_word(client: TestClient, given: Given) -> None:
    client.put("/api/v1/drills/cafe", json={**REPORT, "line": "it begins", "why": "a look"})
    (drill,) = client.get("/api/v1/drills").json()
    assert (drill["by"], drill["why"], drill["state"]) == ("state-directory", "a look", "running")
    assert given.events() == ["drill_started"]
    client.put("/api/v1/drills/cafe", json={**REPORT, "line": "load"})
    client.put("/api/v1/drills/cafe", json={**REPORT, "state": "passed"})
    (noted,) = given.people.rows.audit
    assert (noted.name, noted.how, noted.action, noted.subject) == (
        "state-directory", "file", "drill begin", "pool/llama"
    )  # fmt: skip
    assert noted.why == "kill, in a terminal: a look"


def test_a_drill_that_was_asked_for_is_noted_once(client: TestClient, given: Given) -> None:
    name = begin(client)
    client.put(f"/api/v1/drills/{name}", json={**REPORT, "line": "it begins"})
    assert [entry.why for entry in given.people.rows.audit] == ["kill: Friday"]


def test_an_end_whose_beginning_the_controller_missed_is_a_drill_all_the_same(client: TestClient, given: Given) -> None:
    client.put("/api/v1/drills/cafe", json={**REPORT, "state": "failed", "figures": {"failed": 3}})
    assert client.get("/api/v1/drills/cafe").json()["state"] == "failed"
    assert given.events() == ["drill_started", "drill_ended"]


def test_one_that_is_stopped_says_who_stopped_it(client: TestClient, given: Given) -> None:
    name = begin(client)
    as_role(client, given.people, Role.OPERATOR, "bob")
    assert client.delete(f"/api/v1/drills/{name}?why=enough").status_code == 202
    assert given.desk.stopped == [name]
    as_admin(client)
    client.put(f"/api/v1/drills/{name}", json={**REPORT, "state": "ended", "told": "it was interrupted"})
    ended = client.get(f"/api/v1/drills/{name}").json()
    assert (ended["state"], ended["told"]) == ("ended", "stopped by bob: enough")
    again = client.delete(f"/api/v1/drills/{name}")
    assert (again.status_code, again.json()["detail"]) == (409, f"the drill {name} has ended")


def test_one_whose_process_is_gone_has_ended_once(client: TestClient, given: Given) -> None:
    name = begin(client)
    gone(name, "its process ended (-9): it said nothing", given.sources())
    gone(name, "once more", given.sources())
    found = client.get(f"/api/v1/drills/{name}").json()
    assert (found["state"], found["told"]) == ("ended", "its process ended (-9): it said nothing")
    assert given.events() == ["drill_started", "drill_ended"]


def test_one_that_nobody_hears_of_any_more_has_ended_unless_its_process_lives(client: TestClient, given: Given) -> None:
    name = begin(client)
    given.now += timedelta(minutes=10)
    assert client.get("/api/v1/drills").json()[0]["state"] == "running"
    given.desk.lives = None
    (drill,) = client.get("/api/v1/drills").json()
    assert (drill["id"], drill["state"], drill["told"]) == (name, "ended", "nothing more was heard of it")


def test_one_runs_at_a_time(client: TestClient, given: Given) -> None:
    name = begin(client)
    answer = client.post("/api/v1/drills", json=WISH)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        f"the drill {name} runs; wait for its end, or stop it",
    )
    assert len(given.desk.begun) == 1
    client.put(f"/api/v1/drills/{name}", json={**REPORT, "state": "passed"})
    assert begin(client) != name  # its process is still about to go, for which the desk waits


@pytest.mark.parametrize(
    ("error", "status"), [(DrillRefused("llama is not whole"), 409), (UnknownFault("there is no fault 'x'"), 422)]
)
def test_what_cannot_be_done_is_refused_in_a_sentence_and_no_drill_began(
    client: TestClient, given: Given, error: DrillRefused, status: int
) -> None:
    given.desk.refuses = error
    answer = client.post("/api/v1/drills", json=WISH)
    assert (answer.status_code, answer.json()["detail"]) == (status, str(error))
    assert (given.events(), given.drills.rows) == ([], {})
    (noted,) = given.people.rows.audit
    assert (noted.action, noted.subject, noted.outcome, noted.refused) == (
        "refused", "drill begin", f"kill of pool/llama: {error}", True
    )  # fmt: skip


def test_a_drill_that_cannot_be_written_down_did_not_begin(client: TestClient, given: Given) -> None:
    def away(*_: object) -> None:
        raise TransientError("the database is gone")

    given.drills.change_drill = away  # type: ignore[assignment, method-assign]
    assert client.post("/api/v1/drills", json=WISH).status_code == 503
    assert client.put("/api/v1/drills/of-a-terminal", json=REPORT).status_code == 503
    assert given.desk.begun == []
    assert [entry.outcome for entry in given.people.rows.audit] == ["done", "failed: the database is gone"] * 2


def test_no_number_of_misspelt_faults_pushes_a_drill_out(client: TestClient, given: Given) -> None:
    begin(client)
    given.desk.lives, given.desk.refuses = None, UnknownFault("there is no fault 'kil'")
    for name in given.drills.rows:
        client.put(f"/api/v1/drills/{name}", json={**REPORT, "state": "passed"})
    for _ in range(101):
        assert client.post("/api/v1/drills", json={**WISH, "fault": "kil"}).status_code == 422
    assert [drill["fault"] for drill in client.get("/api/v1/drills").json()] == ["kill"]
    assert [entry.outcome for entry in given.people.rows.audit if not entry.refused] == ["done"]


def test_one_whose_process_cannot_be_started_is_noted_as_failed(client: TestClient, given: Given) -> None:
    given.desk.fails = DrillRefused("no process could be started for it")
    assert client.post("/api/v1/drills", json=WISH).status_code == 409
    assert given.events() == []
    outcomes = [entry.outcome for entry in given.people.rows.audit if not entry.refused]
    assert outcomes == ["done", "failed: no process could be started for it"]
    (drill,) = client.get("/api/v1/drills").json()
    assert (drill["state"], drill["told"]) == ("ended", "no process could be started for it")


class NoRoom(FakeDrills):
    """Can be read, and not written."""

    full = False

    def change_drill(self, name: str, change: Callable[[Drilled | None], Drilled], result: str = "") -> Drilled:
        if self.full:
            raise TransientError("the disk is full")
        return super().change_drill(name, change, result)


def test_one_is_stopped_while_nothing_can_be_written(given: Given) -> None:
    """That may be what it hurts."""
    given.drills = drills = NoRoom(given.store)
    with TestClient(create_app(given.sources())) as client:
        name = begin(as_admin(client))
        drills.full = True
        assert client.delete(f"/api/v1/drills/{name}").status_code == 202
    assert given.desk.stopped == [name]
    assert drills.rows[name][0].stopped == ""


def test_one_is_stopped_while_nothing_can_be_read(client: TestClient, given: Given) -> None:
    name = begin(client)
    given.store.database.gone = True
    answer = client.delete(f"/api/v1/drills/{name}")
    assert (answer.status_code, given.desk.stopped) == (503, [name])
    assert answer.json()["detail"].startswith(f"the drill {name} was told to end; how it stands cannot be read: ")
    assert client.delete("/api/v1/drills/beef").json()["detail"] == "the database is gone"


def test_one_that_is_out_of_reach_is_not_called_over_while_it_may_go_on(client: TestClient, given: Given) -> None:
    name = begin(client)
    given.desk.lives = None  # it runs beside another controller
    answer = client.delete(f"/api/v1/drills/{name}")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        f"the drill {name} was heard of lately, and has no process here; end it on the machine where it runs, or ask "
        "again in some minutes",
    )
    client.put(f"/api/v1/drills/{name}", json={**REPORT, "state": "passed"})
    assert client.get(f"/api/v1/drills/{name}").json()["state"] == "passed"


def test_one_that_nobody_hears_of_any_more_can_be_ended(client: TestClient, given: Given) -> None:
    name = begin(client)
    given.desk.lives = None
    given.now += timedelta(minutes=4)
    ended = client.delete(f"/api/v1/drills/{name}?why=gone").json()
    assert (ended["state"], ended["told"]) == ("ended", "stopped by state-directory: gone")


BAD_RESULTS = [
    pytest.param({"promises": 5}, id="no list"),
    pytest.param({"promises": [{"name": 1}]}, id="a promise of nothing"),
    pytest.param({"timeline": [1, 2]}, id="a timeline of numbers"),
    pytest.param({"timeline": [{"at_s": 1e300, "event": "fault_over", "subject": "", "text": ""}]}, id="no time"),
    pytest.param({"at": "nope"}, id="no moment"),
    pytest.param({"at": "0001-01-01T00:00:00+00:00"}, id="nothing lies before it"),
    pytest.param({"at": "2026-01-05T12:00:00"}, id="of no time zone"),
    pytest.param({"at": None}, id="figures of no moment"),
    pytest.param({"measured": {"out_s": "x"}}, id="a figure that is none"),
    pytest.param({"replicas": [{"replica": "llama-1", "spans": [{"from_s": 0}]}]}, id="half a span"),
    pytest.param({"seconds": [{"from_s": 0, "ok": -1, "failed": 0, "cut": 0}]}, id="fewer than none"),
    pytest.param({"victims": ["x"] * 1001}, id="too many"),
]


@pytest.mark.parametrize("changes", BAD_RESULTS)
def test_a_result_that_nobody_could_show_is_refused(
    client: TestClient, given: Given, changes: dict[str, object]
) -> None:
    end = {**REPORT, "state": "passed", "result": {**RESULT, **changes}}
    assert client.put("/api/v1/drills/cafe", json=end).status_code == 422
    assert given.drills.rows == {}


@pytest.mark.parametrize("figures", ['{"out_s": NaN}', '{"out_s": 1e400}', '{"\\ud800": 1}'])
def test_figures_are_numbers_with_names(client: TestClient, given: Given, figures: str) -> None:
    said = f'{{"fault": "kill", "pool": "llama", "state": "passed", "figures": {figures}}}'
    answer = client.put("/api/v1/drills/cafe", content=said, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert given.drills.rows == {}


def test_what_cannot_be_sent_to_anybody_is_left_out_of_what_is_told(client: TestClient) -> None:
    result = '{"fault": "kill", "outcome": "passed", "why": "a\\ud800b", "more": "\\ud800"}'
    words = '"told": "\\ud800", "why": "\\u0000"'
    said = f'{{"fault": "kill", "pool": "llama", "state": "passed", {words}, "result": {result}}}'
    client.put("/api/v1/drills/cafe", content=said, headers={"content-type": "application/json"})
    assert client.get("/drills/cafe", headers={"accept": "text/html"}).status_code == 200
    found = client.get("/api/v1/drills/cafe").json()
    assert (found["why"], found["told"]) == (" ", " ")
    assert found["result"] == {"fault": "kill", "outcome": "passed", "why": "a b"}


@pytest.mark.parametrize(
    ("role", "method", "path", "body", "status"),
    [
        (Role.VIEWER, "POST", "", WISH, 403),
        (Role.OPERATOR, "POST", "", {**WISH, "force": True}, 403),
        (Role.OPERATOR, "PUT", "/cafe", REPORT, 403),
        (Role.VIEWER, "DELETE", "/cafe", None, 403),
        (Role.ADMIN, "DELETE", "/cafe", None, 404),
        (Role.VIEWER, "GET", "/cafe", None, 404),
        (Role.ADMIN, "POST", "", {"fault": "kill", "why": ""}, 422),
    ],
)
def test_who_may(
    client: TestClient, given: Given, role: Role, method: str, path: str, body: object, status: int
) -> None:
    as_role(client, given.people, role)
    assert client.request(method, f"/api/v1/drills{path}", json=body).status_code == status
    assert (given.desk.begun, given.drills.rows) == ([], {})


def test_of_several_pools_one_is_named(given: Given) -> None:
    given.pools = ("a", "b")
    with TestClient(create_app(given.sources())) as client:
        as_admin(client)
        assert client.post("/api/v1/drills", json=WISH).json()["detail"] == "there are several pools; name one: a, b"
        assert client.post("/api/v1/drills", json={**WISH, "pool": "c"}).status_code == 404
