"""Events and decisions in one stream: what fits, page after page, and as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from controller.api.activity import Cursor, Line, Reading, Wanted, severity_of
from controller.api.activity_export import COLUMNS, plain
from controller.api.activity_schemas import LineOut
from controller.api.app import create_app
from controller.api.deps import Sources
from controller.core.decision import Decision, Memory, Plan, Reason, ReasonCode, RemoveReplica, ScalePool, StartReplica
from controller.core.event import Event
from controller.core.model import GatewayPlan, NodeName, PoolName, ReplicaId
from controller.core.policy import PoolPolicy
from tests.fakes.clock import START
from tests.fakes.people import FakePeople
from tests.fakes.store import FakeStore
from tests.unit.api.callers import as_admin

LLAMA, PHI = PoolName("llama"), PoolName("phi")
BUSY = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight"), Reason(ReasonCode.RATE_LIMITED, "4 more", {"more": 4.0}))
PATH = "/api/v1/activity"


@dataclass
class Given:
    """A ledger, written a second apart unless told otherwise."""

    store: FakeStore = field(default_factory=FakeStore)
    at: datetime = START

    def __post_init__(self) -> None:
        self.term = self.store.take_term()

    def decide(self, *decisions: Decision, outcome: str | None = "done") -> None:
        plan = Plan(decisions, GatewayPlan(()), Memory(), ())
        rows = self.store.save(plan, tick=7, term=self.term, at=self.at)
        if outcome is not None:
            self.store.finish(dict.fromkeys(rows, outcome), Memory(), term=self.term)
        self.at += timedelta(seconds=1)

    def tell(self, name: str, subject: str, reason: str = "Because", message: str = "It is so.") -> None:
        self.store.append([Event(self.at, name, subject, reason, message, {"n": 1.5}, 7, 1)])
        self.at += timedelta(seconds=1)

    def sources(self) -> Sources:
        policies = [PoolPolicy(pool, str(pool)) for pool in (LLAMA, PHI)]
        return Sources(
            policies, (NodeName("a"),), self.store, lambda: None, lambda: True, lambda: b"", lambda: self.at,
            token="secret", people=FakePeople(self.store),
        )  # fmt: skip

    def find(self, wanted: Wanted) -> list[str]:
        return [known(line) for line in Reading(self.store, wanted, most=1000)]


def known(line: Line) -> str:
    return f"{line.kind} {line.subject}"


@pytest.fixture
def given() -> Given:
    made = Given()
    made.decide(ScalePool(LLAMA, 3, 5, BUSY))
    made.tell("pool_scaled", "pool/llama", "RateLimited", "Went from 3 to 5: 20 in flight; 4 more.")
    made.decide(StartReplica(LLAMA, ReplicaId("llama-4"), BUSY, NodeName("a")))
    made.tell("replica_unready", "replica/llama-1", "ProbesFailed")
    made.tell("replica_stopped", "replica/llama-10", "ContainerExited", "Was draining, is stopped: it did.")
    made.decide(RemoveReplica(PHI, ReplicaId("phi-2"), BUSY[:1], NodeName("b")), outcome="no answer of b")
    made.tell("fuse_blown", "pool/phi", "FuseBlown", "5 failed.")
    made.tell("source_lost", "source/metrics", "NoAnswer", "Gave no answer.")
    return made


@pytest.fixture
def client(given: Given) -> Iterator[TestClient]:
    with TestClient(create_app(given.sources())) as made:
        yield as_admin(made)


ALL = [
    "source_lost source/metrics",
    "fuse_blown pool/phi",
    "remove_replica replica/phi-2",
    "replica_stopped replica/llama-10",
    "replica_unready replica/llama-1",
    "start_replica replica/llama-4",
    "scale_pool pool/llama",
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), ALL),
        (Wanted(what="event", pool="llama"), [ALL[3], ALL[4], "pool_scaled pool/llama"]),
        (Wanted(what="decision"), [ALL[2], ALL[5], ALL[6]]),
        (Wanted(pool="phi"), [ALL[1], ALL[2]]),
        (Wanted(kinds=("pool_scaled", "scale_pool")), ["pool_scaled pool/llama", ALL[6]]),
        (Wanted(kinds=("fuse_blown",), what="decision"), []),
        (Wanted(kinds=("scale_pool",), severity="warning"), []),
        (Wanted(severity="warning"), [ALL[0], ALL[1], ALL[4]]),
        (Wanted(severity="critical"), [ALL[1]]),
        (Wanted(severity="critical", what="decision"), [ALL[1]]),
        (Wanted(reason="AboveTarget"), [ALL[2], ALL[5], ALL[6]]),
        (Wanted(reason="RateLimited", text="20 IN flight"), [ALL[5], ALL[6]]),
        (Wanted(subject="replica/llama-1"), [ALL[4]]),
        (Wanted(subject="node/b"), [ALL[2]]),
        (Wanted(subject="source/metrics"), [ALL[0]]),
        (Wanted(text="no answer"), [ALL[0], ALL[2]]),
        (Wanted(text="100 %"), []),
        (Wanted(text="llama-4"), [ALL[5]]),
        (Wanted(since=START + timedelta(seconds=6)), [ALL[0], ALL[1]]),
        (Wanted(until=START), [ALL[6]]),
    ],
)
def test_what_fits(given: Given, wanted: Wanted, found: list[str]) -> None:
    assert given.find(wanted) == found


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("apart", [True, False])
def test_pages_have_each_line_once(size: int, apart: bool) -> None:
    given = Given()
    for number in range(6):
        for _ in range(2):
            given.tell("source_lost", f"source/{number}")
        given.decide(ScalePool(LLAMA, number, 9, BUSY))
        if not apart:
            given.at = START  # all of the same moment
    whole = list(Reading(given.store, Wanted(), most=1000))
    assert len(whole) == 18

    found, before = list[Line](), None
    for _ in range(20):
        read = Reading(given.store, Wanted(), before, most=size)
        found += read
        given.tell("source_back", "source/later") if apart else None  # what comes meanwhile is on no later page
        if read.older is None:
            break
        before = Cursor.read(str(read.older))
    assert found == whole


def test_a_page_looks_at_so_many_rows_and_says_where_to_go_on(given: Given) -> None:
    read = Reading(given.store, Wanted(what="event", reason="ProbesFailed", text="it"), most=9, looks=1)
    assert list(read) == []
    assert read.older is not None
    following = Reading(given.store, Wanted(what="event", reason="ProbesFailed", text="it"), read.older, most=9)
    assert [known(line) for line in following] == [ALL[4]]
    assert following.older is None


def test_more_than_one_read_of_the_store() -> None:
    given = Given()
    for number in range(1500):
        given.tell("source_lost", f"source/{number}")
    assert given.find(Wanted())[-1] != given.find(Wanted())[0]
    assert len(list(Reading(given.store, Wanted(), most=10_000))) == 1500


@pytest.mark.parametrize(
    ("name", "message", "severity"),
    [
        ("fuse_blown", "", "critical"),
        ("start_replica_failed", "", "warning"),
        ("replica_stopped", "Was ready, is stopped: it exited.", "warning"),
        ("replica_stopped", "Was draining, is stopped: it did.", "info"),
        ("something_new", "", "info"),
    ],
)
def test_how_bad_it_is(name: str, message: str, severity: str) -> None:
    assert severity_of(Event(START, name, "x", "y", message)) == severity


def test_as_json(client: TestClient) -> None:
    first = client.get(PATH, params={"limit": 3}).json()
    assert [line["kind"] for line in first["lines"]] == ["source_lost", "fuse_blown", "remove_replica"]
    removed = first["lines"][2]
    assert (removed["outcome"], removed["severity"], removed["node"]) == ("no answer of b", "warning", "b")
    assert LineOut.model_validate(removed).at == START + timedelta(seconds=5)
    rest = client.get(PATH, params={"before": first["older"]}).json()
    assert ([f"{line['kind']} {line['subject']}" for line in rest["lines"]], rest["older"]) == (ALL[3:], None)
    assert client.get(PATH, params={"pool": "other"}).json() == {"lines": [], "older": None}
    assert [*LineOut.model_fields] == [*json.loads(client.get(PATH).text)["lines"][0]]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_number_that_is_none_is_left_out(client: TestClient, given: Given, form: str) -> None:
    """JSON has no word for it, and an answer that breaks off is none."""
    numbers = {"out_s": float("nan"), "whole_s": float("inf"), "failed": 0.0}
    given.store.append([Event(given.at, "drill_ended", "pool/llama", "kill", "It is so.", numbers, 7, 1)])
    told = client.get(PATH, params={"format": form, "kind": "drill_ended"}).text
    assert "NaN" not in told
    assert "Infinity" not in told
    assert ('"failed": 0.0' in told) or ('""failed"": 0.0' in told)


def test_as_csv(client: TestClient, given: Given) -> None:
    given.tell("gateway_failed", "gateway", "Evil", '=HYPERLINK("http://x","y"),\r\n"second" line')
    answer = client.get(PATH, params={"format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="activity.csv"' in answer.headers["content-disposition"]
    lines = answer.text.split("\r\n")
    assert (lines[0], lines[-1]) == (",".join(COLUMNS), "")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(rows) == 8
    assert rows[0]["text"] == '\'=HYPERLINK("http://x","y"),\r\n"second" line'
    assert (rows[1]["outcome"], rows[1]["numbers"]) == ("", '{"n": 1.5}')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_nothing_is_a_formula(text: str) -> None:
    assert plain(text) == f"'{text}"


def test_other_texts_stay_as_they_are() -> None:
    assert [plain(text) for text in ("a=1", "", "1-2", "'x")] == ["a=1", "", "1-2", "'x"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("before=1", "this is no place to go on from"),
        ("from=2026-01-05T12:00:00", "timezone"),
        ("kind=%3Cb%3E", "pattern"),
        ("severity=info", "warning"),
        ("limit=100001", "100000"),
        ("format=xml", "csv"),
        *[(f"{name}=a%00", "pattern") for name in ("q", "pool", "reason", "subject")],
    ],
)
def test_what_makes_no_sense_is_refused(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"{PATH}?{query}")
    assert answer.status_code == 422
    assert said in answer.text


def test_a_database_that_is_away_is_no_broken_answer(client: TestClient, given: Given) -> None:
    given.store.database.gone = True
    for form in ("json", "csv"):
        assert client.get(PATH, params={"format": form}).status_code == 503


def test_nobody_reads_without_a_role(client: TestClient) -> None:
    del client.headers["Authorization"]
    assert client.get(PATH).status_code == 401
