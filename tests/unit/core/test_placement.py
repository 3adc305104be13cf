"""On which node a replica starts, and which one goes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from controller.core.model import Node, NodeName, PoolName, ReplicaMemory, ReplicaState
from controller.core.placement import Places, Spot, choose_nodes, choose_victim, nowhere, taken, why_not
from controller.core.reason import ReasonCode
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, node, probe, replica

S = ReplicaState
A, B, C = node("a"), node("b"), node("c")
CORDONED, SILENT = node("b", cordoned=True), node("b", 5)


def there(*names: str, state: S = S.READY, pool: PoolName = POOL) -> list[ReplicaMemory]:
    """A replica on each of these nodes."""
    found = [memory(f"{pool}-{number}", state, node=NodeName(name)) for number, name in enumerate(names, 1)]
    return [known if known.pool == pool else _of(known, pool) for known in found]


def _of(known: ReplicaMemory, pool: PoolName) -> ReplicaMemory:
    return ReplicaMemory(known.replica, pool, known.state, known.since, known.created_at, node=known.node)


OTHERS = there("a", "a", "b", pool=PoolName("other"))
CASES = [
    # nodes, what stands there, how many, where
    pytest.param((A,), [], 2, "aa", id="one node takes all"),
    pytest.param((A, B, C), [], 3, "abc", id="spread over all"),
    pytest.param((C, B, A), [], 4, "abca", id="the order of the nodes does not matter"),
    pytest.param((A, B, C), there("a"), 2, "bc", id="where there are none"),
    pytest.param((A, B), there("a", "a"), 3, "bba", id="until they are even"),
    pytest.param((A, B, C), OTHERS, 3, "cba", id="then where there are fewest in all"),
    pytest.param((A, B, C), [*there("c"), *OTHERS], 2, "ba", id="of one's own pool first"),
    pytest.param((A, CORDONED, C), [], 3, "aca", id="not on a cordoned one"),
    pytest.param((A, SILENT, C), [], 3, "aca", id="not on a silent one"),
    pytest.param((CORDONED,), [], 1, "", id="nowhere"),
    pytest.param((A, B), there("a", state=S.STOPPED), 1, "a", id="what stopped takes no place"),
    pytest.param((A, B), there("a", state=S.UNREADY), 1, "b", id="what hangs does"),
    pytest.param((A, B), there("a", state=S.QUARANTINED), 1, "b", id="what is kept does"),
    pytest.param((A, B), there("a", state=S.DRAINING), 1, "b", id="what drains does"),
    pytest.param((A, B), [], 0, "", id="none"),
]


@pytest.mark.parametrize(("nodes", "standing", "count", "want"), CASES)
def test_choose_nodes(nodes: tuple[Node, ...], standing: Sequence[ReplicaMemory], count: int, want: str) -> None:
    places = Places.of(nodes, standing)

    assert "".join(choose_nodes(places, POOL, count)) == want
    assert "".join(choose_nodes(places, POOL, count)) == want, "to ask changes nothing"


def test_why_a_node_takes_none() -> None:
    assert why_not(A) is None
    assert why_not(CORDONED) == "b is cordoned"
    assert why_not(SILENT) == "the engine of b gives no answer"
    assert why_not(node("b", 5, cordoned=True)) == "the engine of b gives no answer"


def test_the_sentence_of_nowhere() -> None:
    reason = nowhere(Places.of((node("a", 12.3456), CORDONED, node("c", 3)), []), START)

    assert reason.code is ReasonCode.NO_NODE
    assert reason.text == (
        "no node can take a replica: the engine of a gives no answer; b is cordoned; the engine of c gives no answer"
    )
    assert reason.numbers == {"nodes": 3, "silent_s": 12.346}
    assert nowhere(Places.of((CORDONED,), []), START).numbers == {"nodes": 1}


OLD, NEW = {"spec_hash": "v1"}, {"spec_hash": "v2"}
VICTIMS = [
    # (state, in flight, what is remembered) of each, the wanted spec, who goes, because
    pytest.param([(S.READY, 2, {}), (S.READY, 1, {})], "", 2, "it has 1 in flight", id="the least in flight"),
    pytest.param([(S.READY, 0, {}), (S.STARTING, 9, {})], "", 2, "it still starts and serves nobody", id="starts"),
    pytest.param([(S.READY, 9, OLD), (S.STARTING, 0, NEW)], "v2", 1, "its spec is not the wanted one", id="outdated"),
    pytest.param([(S.READY, 1, OLD), (S.READY, 0, OLD)], "v2", 2, "its spec is not the wanted one", id="of outdated"),
    pytest.param([(S.READY, 0, OLD), (S.STARTING, 0, OLD)], "v2", 2, "its spec is not the wanted one", id="both"),
    pytest.param([(S.READY, 0, OLD), (S.STARTING, 0, NEW)], "", 2, "it still starts and serves nobody", id="no spec"),
    pytest.param([(S.READY, 3, NEW), (S.READY, 4, NEW)], "v2", 1, "it has 3 in flight", id="all are of the spec"),
    pytest.param([(S.READY, None, {}), (S.READY, 7, {})], "", 2, "it has 7 in flight", id="not known stands for many"),
    pytest.param(
        [(S.READY, None, {}), (S.READY, None, {"age_s": 5})],
        "",
        2,
        "nobody's count is known and it is the youngest",
        id="the youngest",
    ),
    pytest.param([(S.READY, 1, {}), (S.SUSPECT, 0, {})], "", 2, "it has 0 in flight", id="a suspect is like another"),
]


@pytest.mark.parametrize(("states", "spec", "want", "because"), VICTIMS)
def test_choose_victim(
    states: Sequence[tuple[S, int | None, dict[str, object]]], spec: str, want: int, because: str
) -> None:
    candidates = []
    for number, (state, in_flight, known) in enumerate(states, 1):
        age = timedelta(seconds=float(known.pop("age_s", 10 - number)))  # type: ignore[arg-type]
        box = {"created_at": START - age, **known}
        seen = replica(f"llama-{number}", state, probe(True, in_flight=in_flight), box=box)
        assert seen.memory is not None
        young = ReplicaMemory(seen.memory.replica, POOL, state, START, START - age, spec_hash=seen.container.spec_hash)
        candidates.append((seen, young))

    victim, why = choose_victim(candidates, spec)

    assert (victim.replica, why) == (f"llama-{want}", because)


def test_what_starts_for_one_pool_is_there_for_the_next() -> None:
    places = taken(Places.of((A, B), []), POOL, (Spot(A.name), Spot(A.name)))

    assert choose_nodes(places, PoolName("other"), 2) == (B.name, A.name)
    assert choose_nodes(places, POOL, 1) == (B.name,)


def test_a_suspect_that_left_nginx_goes_before_one_that_serves() -> None:
    states = [("llama-1", S.READY, ""), ("llama-2", S.SUSPECT, "ErrorsStandOut"), ("llama-3", S.SUSPECT, "ProbeFailed")]
    candidates = [
        (replica(name, state, probe(True, in_flight=0)), memory(name, state, code=code)) for name, state, code in states
    ]

    victim, because = choose_victim(candidates)
    assert (victim.replica, because) == ("llama-2", "it is suspect and gets no requests")


def test_of_several_nodes_the_youngest_on_the_fullest_goes() -> None:
    """The one on `a` is back from a loss, the youngest of all, and has nothing to do yet."""
    ages = [("llama-1", "a", 10.0, 0), ("llama-2", "b", 30.0, 0), ("llama-3", "b", 20.0, 5)]
    candidates = []
    for name, place, age_s, in_flight in ages:
        known = memory(name, S.READY, node=NodeName(place), created_at=START - timedelta(seconds=age_s))
        candidates.append((replica(name, S.READY, probe(True, in_flight=in_flight)), known))

    victim, because = choose_victim(candidates)
    assert (victim.replica, because) == ("llama-3", "b has 2 of them, and it is the youngest there")
