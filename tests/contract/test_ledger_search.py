"""The ledger, searched: the same answers from memory, from SQLite and from PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controller.api.activity import Reading, Wanted
from controller.core.decision import Decision, Memory, Plan, Reason, ReasonCode, RemoveReplica, ScalePool, StartReplica
from controller.core.event import Event
from controller.core.model import GatewayPlan, NodeName, PoolName, ReplicaId
from controller.ports import DecisionQuery, EventQuery
from tests.contract.databases import Database, Store
from tests.fakes.clock import START

SMALL, SMALL_2 = PoolName("small"), PoolName("small-2")
BUSY = (Reason(ReasonCode.ABOVE_TARGET, "20 in flight, target 4: müde", {"in_flight": 20.0}),)
GONE = (Reason(ReasonCode.CONTAINER_EXITED, 'it wrote "100 %_done" 汉字/\N{GRINNING FACE}'),)
DECISIONS: tuple[Decision, ...] = (
    ScalePool(SMALL, 3, 5, BUSY),
    StartReplica(SMALL, ReplicaId("small-4"), BUSY, NodeName("east")),
    RemoveReplica(SMALL, ReplicaId("small-1"), GONE),
    ScalePool(SMALL_2, 1, 2, BUSY),
)
MINUTE = timedelta(minutes=1)


def event(minute: int, name: str, subject: str, message: str = "It is over.") -> Event:
    return Event(START + minute * MINUTE, name, subject, "Reason", message)


EVENTS = (
    event(0, "pool_scaled", "pool/small", "Went from 3 to 5."),
    event(1, "replica_ready", "replica/small-1"),
    event(2, "replica_ready", "replica/small-2-1"),
    event(3, "pool_scaled", "pool/small-2", "Went from 1 to 2."),
    event(4, "source_lost", "source/metrics", "Gave no answer: Größe 汉."),
)


@pytest.fixture
def store(database: Database) -> Store:
    """Each decision and event a minute after the one before; the third decision was carried out."""
    opened: Store = database.store()
    term = opened.take_term()
    for number, decision in enumerate(DECISIONS):
        plan = Plan((decision,), GatewayPlan(()), Memory(), ())
        (row,) = opened.save(plan, tick=number, term=term, at=START + number * MINUTE)
        if number == 2:
            opened.finish({row: "Done with WORDS"}, Memory(), term=term)
    opened.append(EVENTS)
    return opened


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({}, [3, 2, 1, 0], id="all, newest first"),
        pytest.param({"limit": 2}, [3, 2], id="the newest two"),
        pytest.param({"pool": SMALL}, [2, 1, 0], id="of a pool"),
        pytest.param({"kinds": ("scale_pool",)}, [3, 0], id="of a kind"),
        pytest.param({"kinds": ("scale_pool", "start_replica"), "pool": SMALL}, [1, 0], id="of two kinds and a pool"),
        pytest.param({"since": START + MINUTE, "until": START + 2 * MINUTE}, [2, 1], id="both ends belong to it"),
        pytest.param({"text": "TARGET 4"}, [3, 1, 0], id="a reason's words"),
        pytest.param({"text": "abovetarget", "pool": SMALL_2}, [3], id="a reason's code"),
        pytest.param({"text": "müde"}, [3, 1, 0], id="letters that JSON escapes"),
        pytest.param({"text": "MÜDE"}, [3, 1, 0], id="their capital letters"),
        pytest.param({"text": "汉字/\N{GRINNING FACE}"}, [2], id="letters without a case, and more than letters"),
        pytest.param({"text": "汉子"}, [], id="another word"),
        pytest.param({"text": '"100'}, [2], id="a quotation mark"),
        pytest.param({"text": "0 %_d"}, [2], id="signs that mean something to a database"),
        pytest.param({"text": "100_%"}, [], id="and that stand for themselves only"),
        pytest.param({"text": "with words"}, [2], id="the outcome"),
        pytest.param({"text": "small-4"}, [1], id="a replica"),
        pytest.param({"text": "EAST"}, [1], id="a node"),
        pytest.param({"text": "nowhere"}, [], id="nothing"),
        pytest.param({"text": "\0"}, [], id="what no text has"),
        pytest.param({"text": "target\0"}, [], id="nor one that begins well"),
    ],
)
def test_decisions_that_fit(store: Store, query: dict[str, Any], found: list[int]) -> None:
    rows = store.find_decisions(DecisionQuery(**query))

    assert [row.decision for row in rows] == [DECISIONS[number] for number in found]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param({}, [4, 3, 2, 1, 0], id="all, newest first"),
        pytest.param({"pool": SMALL}, [1, 0], id="of a pool and its replicas, and of no pool called alike"),
        pytest.param({"pool": SMALL_2}, [3, 2], id="of that one"),
        pytest.param({"subject": "replica/"}, [2, 1], id="how subjects begin"),
        pytest.param({"subject": "source_"}, [], id="a sign that means something to a database"),
        pytest.param({"kinds": ("source_lost", "replica_ready")}, [4, 2, 1], id="of two kinds"),
        pytest.param({"text": "WENT from"}, [3, 0], id="a message's words"),
        pytest.param({"text": "metrics"}, [4], id="a subject's"),
        pytest.param({"text": "GRÖß"}, [4], id="letters that few databases know the case of"),
        pytest.param({"text": "e 汉."}, [4], id="letters without one"),
        pytest.param({"text": "\0"}, [], id="what no text has"),
        pytest.param({"text": "reason", "limit": 1}, [4], id="a reason's"),
        pytest.param({"since": START + MINUTE, "until": START + 3 * MINUTE}, [3, 2, 1], id="both ends belong to it"),
    ],
)
def test_events_that_fit(store: Store, query: dict[str, Any], found: list[int]) -> None:
    rows = store.find_events(EventQuery(**query))

    assert [row.event for row in rows] == [EVENTS[number] for number in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[(text, []) for text in ("text", "numbers", "code", "{", '": "', "in_flight", "6c49", "u6c49", "\\u", "xÉ")],
        ("汉", [("event", 4), ("decision", 2)]),
        ("müd", [("decision", number) for number in (3, 1, 0)]),
        ("mäd", []),
        ("größ", [("event", 4)]),
        ("grüß", []),
        ("small-4", [("decision", 1)]),
    ],
)
def test_what_is_only_in_how_it_is_stored_is_not_told(store: Store, text: str, found: list[tuple[str, int]]) -> None:
    """Nor what the database takes for the same."""
    lines = Reading(store, Wanted(text=text), most=100)

    assert [(line.what, line.id - 1) for line in lines] == found


def test_pages_follow_each_other(store: Store) -> None:
    """Also where a clock was set back: what came last is not the newest then."""
    store.append([event(2, "late", "pool/small")])
    told = [*EVENTS[:3], event(2, "late", "pool/small"), *EVENTS[3:]]
    seen: list[Event] = []
    before = None
    while rows := store.find_events(EventQuery(before_id=before, limit=2)):
        seen += [row.event for row in rows]
        before = rows[-1].id

    assert seen == told[::-1]
    first = store.find_decisions(DecisionQuery(limit=1))
    assert len(store.find_decisions(DecisionQuery(before_id=first[0].id))) == 3
    assert store.find_decisions(DecisionQuery(before_id=10**9)) == (), "nothing follows on what is not there"


def test_one_is_found_by_its_number(store: Store) -> None:
    event, decision = store.find_events(EventQuery(limit=2))[1], store.find_decisions(DecisionQuery(limit=2))[1]
    assert store.find_events(EventQuery(id=event.id)) == (event,)
    assert store.find_decisions(DecisionQuery(id=decision.id)) == (decision,)
    assert store.find_decisions(DecisionQuery(id=10**9)) == ()
