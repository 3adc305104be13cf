"""plan(): whole ticks in one table each: starts, surge, back-off, replacement, drain, orphans, a silent runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.core.decision import (
    Decision,
    DrainReplica,
    Plan,
    ReasonCode,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.failover import backoff
from controller.core.model import (
    SERVING,
    Busy,
    Container,
    ContainerState,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolName,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.planner import RUNTIME, after_failures, plan
from controller.core.policy import HealthPolicy, PoolPolicy
from tests.fakes.clock import START
from tests.unit.core.build import POOL, only, probe, reading, replica

S = ReplicaState
POLICY = PoolPolicy(POOL, "llama", only(Signal.IN_FLIGHT, scale_down_window=timedelta(seconds=60), surge=2))
NOW = START + timedelta(seconds=10)
LONG_AGO = START - timedelta(hours=1)


def remembered(desired: int, **more: object) -> PoolMemory:
    values = {"next_ordinal": 50, "history_since": LONG_AGO} | more
    return PoolMemory(POOL, desired, **values)  # type: ignore[arg-type]


def planned(
    replicas: Sequence[Replica],
    pool: PoolMemory | None = None,
    *,
    load: float | None = 0,
    unknown: tuple[str, ...] = (),
    at: datetime = NOW,
) -> Plan:
    readings = {} if load is None else {POOL: PoolReadings({Signal.IN_FLIGHT: reading(load, now=at)})}
    pools = {} if pool is None else {POOL: pool}
    return plan(Snapshot(at, 1, tuple(replicas), pools, readings, unknown), (POLICY,))


def told(decisions: Sequence[Decision]) -> list[str]:
    """Decisions in short: what, and of whom."""
    return [
        f"scale {item.current}->{item.desired}" if isinstance(item, ScalePool) else f"{item.kind} {item.replica}"
        for item in decisions
    ]


def ready(*numbers: int) -> list[Replica]:
    return [replica(f"llama-{number}", S.READY, probe(True, 5)) for number in numbers]


def test_an_empty_world_gets_its_floor_two_at_a_time() -> None:
    made = planned([])

    assert told(made.decisions) == ["scale 0->3", "start_replica llama-1", "start_replica llama-2"]
    assert made.memory.pools[POOL].next_ordinal == 3
    assert ReasonCode.SURGE_LIMITED in [reason.code for reason in made.standing[POOL]]
    assert [routes.servers for routes in made.gateway.pools] == [()]


def test_a_pool_on_target_is_left_alone() -> None:
    made = planned(ready(1, 2, 3), remembered(3))

    assert made.decisions == ()
    assert sorted(made.gateway.replicas()) == ["llama-1", "llama-2", "llama-3"]


def test_a_lost_database_adopts_what_runs_and_starts_none() -> None:
    seen = [replica(f"llama-{number}", None, probe(True)) for number in (2, 3, 7)]

    made = planned(seen)

    assert made.decisions == ()
    assert made.memory.pools[POOL].desired == 3
    assert made.memory.pools[POOL].next_ordinal == 8


def test_a_hung_replica_leaves_nginx_and_its_successor_starts_in_the_same_tick() -> None:
    made = planned([*ready(1, 2), replica("llama-3", S.READY, probe(False, 3))], remembered(3))

    assert told(made.decisions) == ["start_replica llama-50"]
    assert sorted(made.gateway.replicas()) == ["llama-1", "llama-2"]


def test_it_is_removed_once_nginx_has_let_go_of_it() -> None:
    why = {"why": "3 probes in a row failed", "code": "ProbesFailed"}
    hung = replica("llama-3", S.UNREADY, probe(False, 4), routed=False, **why)
    starting = replica("llama-50", S.STARTING, probe(False, 1))

    made = planned([*ready(1, 2), hung, starting], remembered(3))

    assert told(made.decisions) == ["remove_replica llama-3"]
    (reason,) = made.decisions[0].reasons
    assert (reason.code, reason.text) == (ReasonCode.PROBES_FAILED, "3 probes in a row failed")


def test_a_killed_one_is_replaced_and_removed() -> None:
    dead = replica("llama-3", S.READY, probe(True), runs=ContainerState.EXITED)
    first = planned([*ready(1, 2), dead], remembered(3))
    assert told(first.decisions) == ["start_replica llama-50"]

    gone = replica("llama-3", S.STOPPED, runs=ContainerState.EXITED, routed=False, why="the container exited")
    starting = replica("llama-50", S.STARTING, probe(False, 1))
    assert told(planned([*ready(1, 2), gone, starting], remembered(3)).decisions) == ["remove_replica llama-3"]


def test_more_load_starts_more_at_once_within_the_surge() -> None:
    made = planned(ready(1, 2, 3), remembered(3), load=24)

    assert told(made.decisions) == ["scale 3->6", "start_replica llama-50", "start_replica llama-51"]


def test_a_pool_that_is_overrun_starts_all_that_it_misses_at_once() -> None:
    nine, ten = NOW - timedelta(seconds=9), NOW - timedelta(seconds=10)
    starts = ["start_replica llama-50", "start_replica llama-51", "start_replica llama-52"]

    early = planned(ready(1, 2, 3), remembered(3, over_since={"panic": nine}), load=24)
    assert told(early.decisions) == ["scale 3->6", *starts[:2]]
    late = planned(ready(1, 2, 3), remembered(3, over_since={"panic": ten}), load=24)
    assert told(late.decisions) == ["scale 3->6", *starts]


def test_the_panic_that_a_controller_begins_in_lifts_no_surge() -> None:
    new = remembered(3, history_since=None)

    assert len(planned(ready(1, 2, 3), new, load=24).decisions) == 3


def test_starting_replicas_count_so_that_nothing_cascades() -> None:
    starting = [replica(f"llama-{number}", S.STARTING, probe(False, 2)) for number in (4, 5)]

    assert planned([*ready(1, 2, 3), *starting], remembered(5), load=20).decisions == ()


def test_less_load_drains_the_one_with_the_least_in_flight() -> None:
    busy = [replica(f"llama-{number}", S.READY, probe(True, 5, in_flight=2)) for number in (1, 2, 3)]
    free = replica("llama-4", S.READY, probe(True, 5, in_flight=0))

    made = planned([*busy, free], remembered(4), load=6)

    assert told(made.decisions) == ["scale 4->3", "drain_replica llama-4"]
    assert made.memory.replicas[free.container.replica].state is S.DRAINING
    assert "llama-4" not in made.gateway.replicas()


def test_a_draining_one_gets_sigterm_only_after_it_left_nginx() -> None:
    still = replica("llama-4", S.DRAINING, probe(True), routed=True)
    assert planned([*ready(1, 2, 3), still], remembered(3)).decisions == ()

    out = replica("llama-4", S.DRAINING, probe(True), routed=False)
    made = planned([*ready(1, 2, 3), out], remembered(3))
    assert told(made.decisions) == ["terminate_replica llama-4"]
    assert made.memory.replicas[out.container.replica].terminated_at == NOW


def test_a_sigterm_that_could_not_be_sent_was_not_sent() -> None:
    out = replica("llama-4", S.DRAINING, probe(True), routed=False)
    made = planned([*ready(1, 2, 3), out], remembered(3))
    after = after_failures(made.memory, made.decisions, NOW)

    assert after.replicas[out.container.replica].terminated_at is None


def test_a_sigterm_that_nobody_heard_of_is_sent_again() -> None:
    out = replica("llama-4", S.DRAINING, probe(True), routed=False, terminated_at=START)

    assert planned([*ready(1, 2, 3), out], remembered(3), at=START + timedelta(seconds=5)).decisions == ()
    again = planned([*ready(1, 2, 3), out], remembered(3), at=START + timedelta(seconds=6))
    assert told(again.decisions) == ["terminate_replica llama-4"]


def test_a_draining_one_is_left_in_peace_until_its_deadline() -> None:
    out = replica("llama-4", S.DRAINING, probe(False, 3), routed=False, terminated_at=START)
    deadline = POLICY.health.drain_timeout + timedelta(seconds=10)

    assert planned([*ready(1, 2, 3), out], remembered(3), at=START + deadline).decisions == ()
    late = planned([*ready(1, 2, 3), out], remembered(3), at=START + deadline + timedelta(seconds=1))
    assert told(late.decisions) == ["remove_replica llama-4"]
    assert late.decisions[0].reasons[0].code is ReasonCode.DRAIN_DEADLINE


def test_a_serving_one_is_not_drained_while_its_successor_still_starts() -> None:
    starting = replica("llama-4", S.STARTING, probe(False, 1))

    made = planned([*ready(1, 2, 3), starting], remembered(3))

    assert told(made.decisions) == ["drain_replica llama-4"]


def test_failed_starts_wait_longer_each_time() -> None:
    failing = replica("llama-4", S.STARTING, runs=ContainerState.EXITED, routed=False)
    first = planned([*ready(1, 2), failing], remembered(3))
    assert first.memory.pools[POOL].start_failures == 1
    assert told(first.decisions) == ["remove_replica llama-4"]
    assert first.standing[POOL][-1].code is ReasonCode.BACKOFF

    waiting = first.memory.pools[POOL]
    assert planned(ready(1, 2), waiting, at=NOW + timedelta(seconds=9.9)).decisions == ()
    again = planned(ready(1, 2), waiting, at=NOW + timedelta(seconds=10.1))
    assert told(again.decisions) == ["start_replica llama-50"]


def test_a_start_that_gets_ready_ends_the_row_of_failures() -> None:
    fresh = replica("llama-4", S.STARTING, probe(True), routed=False)
    failed = remembered(3, start_failures=4, last_start_failure_at=START)

    assert planned([*ready(1, 2), fresh], failed).memory.pools[POOL].start_failures == 0


def test_a_suspect_serves_on() -> None:
    made = planned([*ready(1, 2), replica("llama-3", S.READY, probe(False, 1))], remembered(3))

    assert made.decisions == ()
    assert sorted(made.gateway.replicas()) == ["llama-1", "llama-2", "llama-3"]
    assert [(change.was, change.now) for change in made.changes] == [(S.READY, S.SUSPECT)]


def test_what_fails_more_than_its_peers_leaves_nginx_and_is_not_replaced() -> None:
    errors = {Signal.ERRORS: {ReplicaId(f"llama-{number}"): reading(number == 1, now=NOW) for number in (1, 2, 3)}}
    seen = PoolReadings({Signal.IN_FLIGHT: reading(0, now=NOW)}, errors)

    made = plan(Snapshot(NOW, 1, tuple(ready(1, 2, 3)), {POOL: remembered(3)}, {POOL: seen}), (POLICY,))

    assert made.decisions == ()
    assert sorted(made.gateway.replicas()) == ["llama-2", "llama-3"]
    assert [change.reason.code for change in made.changes] == [ReasonCode.ERRORS_STAND_OUT]


def test_what_is_slower_than_its_peers_for_twenty_seconds_is_replaced() -> None:
    busy = Busy(START, slow_since=NOW - timedelta(seconds=20))
    work = {"in_flight": 1, "last_token_at": NOW}
    seen = [replica(f"llama-{number}", S.READY, probe(True, 5, **work), busy=busy) for number in (1, 2, 3)]
    tokens = {item.container.replica: reading(1 if number == 0 else 30, now=NOW) for number, item in enumerate(seen)}
    told_of = PoolReadings({Signal.IN_FLIGHT: reading(3, now=NOW)}, tokens=tokens)

    made = plan(Snapshot(NOW, 1, tuple(seen), {POOL: remembered(3)}, {POOL: told_of}), (POLICY,))
    assert sorted(made.gateway.replicas()) == ["llama-2", "llama-3"]
    assert told(made.decisions) == ["recycle_replica llama-1", "start_replica llama-50"]
    assert made.decisions[0].reasons[0].code is ReasonCode.SPEED_STANDS_OUT


def test_a_node_that_has_just_come_back_gets_time_for_its_probes() -> None:
    def after(seconds: float) -> list[str]:
        node = Node(NodeName("local"), None, NOW - timedelta(seconds=seconds))
        hung = replica("llama-3", S.UNREADY, probe(False, 9), routed=False, paid=True)
        seen = (*ready(1, 2), hung, replica("llama-4", S.READY, probe(True, 5)))
        flight = {POOL: PoolReadings({Signal.IN_FLIGHT: reading(0, now=NOW)})}
        return told(plan(Snapshot(NOW, 1, seen, {POOL: remembered(3)}, flight, nodes=(node,)), (POLICY,)).decisions)

    assert after(4.9) == []
    assert after(5) == ["remove_replica llama-3"]


def test_what_drains_has_its_receipt() -> None:
    """Four when it left nginx, two when it was last seen, and it exits with 3."""
    busy = [replica(f"llama-{number}", S.READY, probe(True, 5, in_flight=9)) for number in (1, 2, 3)]
    seen = replica("llama-4", S.READY, probe(True, 5, in_flight=3, waiting=1))
    made = planned([*busy, seen], remembered(3))
    assert told(made.decisions) == ["drain_replica llama-4"]
    assert made.memory.replicas[seen.container.replica].held == 4

    known = {"held": 4, "holds": 2, "terminated_at": START, "since": NOW, "why": "the container exited"}
    gone = replica("llama-4", S.STOPPED, runs=ContainerState.EXITED, routed=False, box={"exit_code": 3}, **known)
    (removal,) = planned([*ready(1, 2, 3), gone], remembered(3)).decisions
    assert removal.reasons[0].code is ReasonCode.DRAINED
    assert removal.reasons[0].numbers == {"took_s": 10.0, "in_flight": 4.0, "cut": 2.0}


def test_what_a_person_keeps_of_a_pool_that_is_gone_stays() -> None:
    kept = replica("old-1", S.QUARANTINED, probe(True), routed=False)
    kept = Replica(_of_pool(kept, "old"), kept.probe, _remembered_in(kept, "old"), False)
    order = Order(OrderKind.QUARANTINE, "replica/old-1", START)
    flight = {POOL: PoolReadings({Signal.IN_FLIGHT: reading(0, now=NOW)})}
    seen = Snapshot(NOW, 1, (*ready(1, 2, 3), kept), {POOL: remembered(3)}, flight, orders=(order,))

    assert plan(seen, (POLICY,)).decisions == ()


def test_a_start_that_the_runtime_refused_counts_as_failed() -> None:
    made = planned([], None)
    after = after_failures(made.memory, made.decisions, NOW).pools[POOL]

    assert (after.start_failures, after.last_start_failure_at) == (1, NOW)


def test_backoff_doubles_up_to_its_cap() -> None:
    policy = HealthPolicy()
    seconds = [backoff(failures, policy).total_seconds() for failures in (0, 1, 2, 3, 5, 6, 7, 100_000)]

    assert seconds == [0, 10, 20, 40, 160, 300, 300, 300]


def test_replicas_of_a_pool_that_is_gone_drain_and_go() -> None:
    stranger = replica("old-1", S.READY, probe(True), routed=True)
    stranger = Replica(_of_pool(stranger, "old"), stranger.probe, _remembered_in(stranger, "old"), True)

    made = planned([*ready(1, 2, 3), stranger], remembered(3))

    assert told(made.decisions) == ["drain_replica old-1"]
    assert made.decisions[0].reasons[0].code is ReasonCode.POOL_UNKNOWN


def test_a_silent_runtime_starts_and_stops_nothing_but_nginx_still_loses_the_hung() -> None:
    hung = replica("llama-3", S.READY, probe(False, 3))

    made = planned([*ready(1, 2), hung], remembered(3), load=50, unknown=(RUNTIME,))

    assert made.decisions == ()
    assert sorted(made.gateway.replicas()) == ["llama-1", "llama-2"]
    assert made.memory.pools[POOL].desired == 3


def test_no_metrics_at_all_still_keeps_the_floor() -> None:
    assert told(planned(ready(1), remembered(1), load=None).decisions) == [
        "scale 1->3",
        "start_replica llama-50",
        "start_replica llama-51",
    ]


def _of_pool(seen: Replica, pool: str) -> Container:
    return replace(seen.container, pool=PoolName(pool))


def _remembered_in(seen: Replica, pool: str) -> ReplicaMemory:
    assert seen.memory is not None
    return replace(seen.memory, pool=PoolName(pool))


states = st.sampled_from([None, *S])
probes = st.one_of(st.none(), st.builds(probe, st.booleans(), st.integers(1, 5)))
worlds = st.lists(st.tuples(states, probes, st.sampled_from(ContainerState), st.booleans()), max_size=8)


@given(worlds, st.integers(0, 8), st.one_of(st.none(), st.floats(0, 100)))
def test_invariants_of_every_plan(world: list[tuple], desired: int, load: float | None) -> None:  # type: ignore[type-arg]
    seen = [
        replica(f"llama-{number}", state, result, runs=runs, routed=routed)
        for number, (state, result, runs, routed) in enumerate(world, 1)
    ]
    made = planned(seen, remembered(desired), load=load)
    routed_now = {item.container.replica for item in seen if item.routed}

    for decision in made.decisions:
        assert decision.reasons, "no reason, no change"
        if isinstance(decision, RemoveReplica | TerminateReplica):
            assert decision.replica not in routed_now, "nothing goes while nginx may send it requests"
        if isinstance(decision, StartReplica):
            assert decision.replica not in {item.container.replica for item in seen}
    known = made.memory.replicas
    serve = {name for name, item in known.items() if item.state in SERVING}
    assert serve <= made.gateway.replicas(), "none of these is suspect for more than a failed probe"
    stay = made.gateway.replicas() - serve
    assert stay <= routed_now
    assert all(known[name].state is S.UNREADY for name in stay)
    assert not stay or len(serve) < sum(1 for item in known.values() if item.state is S.UNREADY)
    assert POLICY.scaling.floor <= made.memory.pools[POOL].desired <= POLICY.scaling.ceiling
    drains = [item for item in made.decisions if isinstance(item, DrainReplica)]
    assert len(drains) <= 1
    if any(known[item.replica].ready_at is not None for item in drains):
        ready = sum(1 for item in known.values() if item.state in SERVING)
        assert ready >= made.memory.pools[POOL].desired, "a serving one goes only while the others are enough"
