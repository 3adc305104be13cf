"""Who is in nginx: those that serve, and where most look bad at once those that are in it already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from controller.core.model import ContainerState, GatewayPlan, PoolName, PoolRoutes, Replica, ReplicaMemory, Server
from controller.core.model import ReplicaState as S
from controller.core.policy import HealthPolicy, PoolPolicy
from controller.core.reason import ReasonCode
from controller.core.routing import only_remove, plan_routes
from tests.unit.core.build import POOL, replica

POLICY = PoolPolicy(POOL, "llama")

# One replica each: state, code, in nginx now.
GOOD = (S.READY, "ProbePassed", True)
FRESH = (S.READY, "ProbePassed", False)
UNSURE = (S.SUSPECT, "ProbeFailed", True)
FAILS = (S.SUSPECT, "ErrorsStandOut", True)
SLOW = (S.SUSPECT, "SpeedStandsOut", True)
HUNG = (S.UNREADY, "ProbesFailed", True)
STALLED = (S.UNREADY, "Stalled", True)
LEFT = (S.UNREADY, "ProbesFailed", False)
FAILED = (S.UNREADY, "LauncherFailed", True)
KILLED = (S.UNREADY, "OutOfMemory", True)
LATE = (S.UNREADY, "ColdStartDeadline", True)
GONE = (S.STOPPED, "ContainerExited", True)
DRAINS = (S.DRAINING, "", True)
KEPT = (S.QUARANTINED, "Quarantined", True)
STARTS = (S.STARTING, "", False)
Seen = tuple[S, str, bool]


def judged(states: Sequence[Seen], pool: PoolName = POOL) -> list[tuple[Replica, ReplicaMemory]]:
    found = []
    for number, (state, code, routed) in enumerate(states, 1):
        runs = ContainerState.EXITED if state is S.STOPPED else ContainerState.RUNNING
        seen = replica(f"llama-{number}", state, runs=runs, routed=routed, code=code, pool=pool)
        assert seen.memory is not None
        found.append((seen, seen.memory))
    return found


@dataclass(frozen=True)
class Case:
    """`want` are the numbers of those in nginx; `held`: how many look bad, of how many."""

    name: str
    states: Sequence[Seen]
    want: list[int]
    held: tuple[int, int] | None = None
    threshold: float = 0.5


CASES = [
    Case("all serve", [GOOD, GOOD, FRESH], [1, 2, 3]),
    Case("a failed probe is no reason", [GOOD, UNSURE, UNSURE], [1, 2, 3]),
    Case("what starts, drains, is kept or stopped is not in it", [GOOD, STARTS, DRAINS, KEPT, GONE], [1]),
    Case("one of three hangs", [GOOD, GOOD, HUNG], [1, 2]),
    Case("one of three fails more than its peers", [GOOD, GOOD, FAILS], [1, 2]),
    Case("one of three is slow", [GOOD, SLOW, GOOD], [1, 3]),
    Case("two of three hang", [GOOD, HUNG, HUNG], [1, 2, 3], (2, 3)),
    Case("two of three hang, and one has left already", [GOOD, LEFT, HUNG], [1, 3], (2, 3)),
    Case("two of three hang, and both have left", [GOOD, LEFT, LEFT], [1]),
    Case("one hangs and one is slow", [GOOD, HUNG, SLOW], [1, 2, 3], (2, 3)),
    Case("half of them", [GOOD, GOOD, HUNG, STALLED], [1, 2]),
    Case("a successor makes it half of them", [GOOD, HUNG, HUNG, FRESH], [1, 4]),
    Case("one stopped and one hangs", [GOOD, HUNG, GONE], [1]),
    Case("its launcher says that it failed", [FAILED, KILLED, LATE], []),
    Case("that is no question of looks", [GOOD, HUNG, FAILED, KILLED], [1]),
    Case("all hang", [HUNG, STALLED, HUNG], [1, 2, 3], (3, 3)),
    Case("a single one hangs", [HUNG], [1], (1, 1)),
    Case("until its successor serves", [HUNG, FRESH], [2]),
    Case("a suspect is a good one", [UNSURE, HUNG], [1]),
    Case("a strict threshold", [GOOD, GOOD, HUNG], [1, 2, 3], (1, 3), 0.3),
    Case("a generous one", [GOOD, HUNG, HUNG, HUNG], [1], None, 0.75),
    Case("nobody at all", [], []),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plan_routes(case: Case) -> None:
    policy = PoolPolicy(POOL, "llama", health=HealthPolicy(panic_threshold=case.threshold))
    found = plan_routes((policy,), judged(case.states))

    assert found.plan.replicas() == {f"llama-{number}" for number in case.want}
    numbers = found.held[POOL].numbers if POOL in found.held else None
    doubtful, all_of = case.held or (0, 0)
    want = {"doubtful": doubtful, "good": all_of - doubtful, "threshold": case.threshold} if case.held else None
    assert numbers == want


def test_the_sentence_of_a_panic() -> None:
    found = plan_routes((POLICY,), judged([GOOD, HUNG, HUNG]))

    assert found.held[POOL].code is ReasonCode.PANIC_THRESHOLD
    assert found.held[POOL].text == ("2 of 3 replicas look bad at once, more than 50%: llama-2, llama-3 stay in nginx")


def test_nobody_is_there_without_an_address() -> None:
    (seen, known), good = judged([HUNG])[0], judged([GOOD, GOOD])[1]
    lost = (Replica(replica("llama-1", box={"engine": None}).container, seen.probe, known, True), known)

    found = plan_routes((POLICY,), [lost, good])

    assert (found.plan.replicas(), dict(found.held)) == ({"llama-2"}, {})


def test_each_pool_has_its_own_share() -> None:
    other = PoolPolicy(PoolName("other"), "other")
    mixed = [*judged([HUNG]), *judged([HUNG, GOOD, GOOD], other.pool)[1:]]

    found = plan_routes((other, POLICY), mixed)

    assert [routes.pool for routes in found.plan.pools] == [POOL, other.pool]
    assert found.held.keys() == {POOL}
    assert found.plan.replicas() == {"llama-1", "llama-2", "llama-3"}


def test_a_pool_that_is_not_configured_gets_nothing() -> None:
    assert plan_routes((), judged([GOOD])).plan == GatewayPlan()


def test_while_nothing_can_be_recorded_replicas_only_leave() -> None:
    def routes(*numbers: int) -> GatewayPlan:
        servers = tuple(
            Server(seen.container.replica, seen.container.engine)  # type: ignore[arg-type]
            for seen in (replica(f"llama-{number}") for number in numbers)
        )
        return GatewayPlan((PoolRoutes(POOL, "llama", servers),))

    assert only_remove(routes(1, 3), routes(1, 2)) == routes(1)
