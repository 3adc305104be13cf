"""What holds whatever comes: of one evaluation, and of whole plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import orders
from controller.core.decision import (
    Decision,
    DrainReplica,
    Plan,
    RecycleReplica,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.evaluation import Evaluation
from controller.core.failover import has_failed
from controller.core.limits import scheduled_floor
from controller.core.model import (
    SERVING,
    ContainerState,
    Known,
    NodeName,
    OrderKind,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import HealthPolicy, Mode, PoolPolicy, ScalingPolicy
from controller.core.reason import ReasonCode
from controller.core.scaling import decide_scale
from controller.core.votes import PoolView
from tests.fakes.clock import START
from tests.unit.core import strategies as some
from tests.unit.core.build import POOL, container
from tests.unit.core.play import Play, policy_of

modes = st.sampled_from(Mode)


def decided(view: PoolView, policy: ScalingPolicy, mode: Mode = Mode.ACTIVE) -> Evaluation:
    return decide_scale(view, policy, START, mode)[0]


# --- one evaluation


@given(some.views(), some.policies(), modes)
def test_floor_and_ceiling_always_hold(view: PoolView, policy: ScalingPolicy, mode: Mode) -> None:
    assert policy.floor <= decided(view, policy, mode).desired <= policy.ceiling


@given(some.views(), some.policies(), modes)
def test_a_signal_that_is_unknown_never_lets_a_pool_shrink(view: PoolView, policy: ScalingPolicy, mode: Mode) -> None:
    found = decided(view, policy, mode)

    if any(vote.known is Known.UNKNOWN for vote in found.votes):
        assert found.desired >= min(found.current, policy.ceiling)


@given(some.views(), some.policies(), st.sampled_from(some.LOAD))
def test_to_lose_a_signal_is_no_reason_to_shrink(view: PoolView, policy: ScalingPolicy, lost: Signal) -> None:
    readings = view.readings
    pool = {signal: one for signal, one in readings.pool.items() if signal is not lost}
    each = {signal: of for signal, of in readings.replicas.items() if signal is not lost}
    without = decided(replace(view, readings=PoolReadings(pool, each, readings.last_request)), policy)

    if lost in {vote.signal for vote in without.votes}:
        assert without.desired >= min(without.current, policy.ceiling)


@given(some.views(), some.policies(), modes)
def test_without_any_reading_the_count_is_held_within_its_bounds(
    view: PoolView, policy: ScalingPolicy, mode: Mode
) -> None:
    plain = replace(policy, forecast=replace(policy.forecast, enabled=False))
    found = decided(replace(view, readings=PoolReadings(), gpus=()), plain, mode)
    at_least = max(found.current, 0 if mode is Mode.PAUSED else scheduled_floor(policy, START))

    assert found.desired == min(max(at_least, policy.floor), policy.ceiling)


@given(some.views(), some.policies(), modes)
def test_every_move_has_a_reason_and_leads_on_from_the_one_before(
    view: PoolView, policy: ScalingPolicy, mode: Mode
) -> None:
    found = decided(view, policy, mode)

    assert found.moves, "the first says what the signals ask for"
    assert [move.before for move in found.moves[1:]] == [move.after for move in found.moves[:-1]]
    assert all(move.before != move.after for move in found.moves[1:])
    assert (found.moves[0].before, found.moves[-1].after) == (found.current, found.desired)
    assert all(move.reason.text for move in found.moves)


@given(
    some.views(),
    some.policies(),
    st.sampled_from(some.LOAD),
    st.dictionaries(st.sampled_from(some.NAMES), st.floats(0, 5)),
    st.floats(1, 4),
)
def test_more_load_never_means_fewer(
    view: PoolView, policy: ScalingPolicy, signal: Signal, more: dict[ReplicaId, float], factor: float
) -> None:
    raised = replace(view, readings=some.raised(view.readings, signal, more, factor))

    assert decided(raised, policy).desired >= decided(view, policy).desired


# --- whole plans


def planned(snapshot: Snapshot, policy: PoolPolicy) -> Plan:
    return plan(snapshot, (policy,))


def blind(snapshot: Snapshot) -> bool:
    """No engine answers: nothing is decided at all."""
    return "runtime" in snapshot.unknown or all(node.silent_since is not None for node in snapshot.nodes)


def of(made: Plan, *kinds: type) -> list[Any]:
    """The decisions of these kinds."""
    return [item for item in made.decisions if isinstance(item, kinds)]


def silent(snapshot: Snapshot) -> set[NodeName]:
    return {node.name for node in snapshot.nodes if node.silent_since is not None}


def carried_out(snapshot: Snapshot, made: Plan) -> Snapshot:
    """The snapshot after the plan, in the same moment: nginx runs its routes, and what is to go or to start does."""
    gone = {item.replica for item in of(made, RemoveReplica) if item.reasons[0].code is not ReasonCode.DUPLICATE}
    memory, routed = made.memory.replicas, made.gateway.replicas()
    stayed = [
        replace(item, memory=memory[item.container.replica], routed=item.container.replica in routed)
        for item in snapshot.replicas
        if item.container.replica not in gone
    ]
    started = [
        Replica(container(item.replica, node=item.node, spec_hash=item.spec_hash), None, None, False)
        for item in of(made, StartReplica)
    ]
    return replace(
        snapshot,
        tick=snapshot.tick + 1,
        replicas=(*stayed, *started),
        pools=made.memory.pools,
        duplicates=tuple(item for item in snapshot.duplicates if item.node in silent(snapshot)),
        orders=tuple(item for item in snapshot.orders if item not in made.fulfilled),
    )


@given(some.snapshots(), some.pool_policies())
def test_once_a_plan_is_carried_out_the_next_tick_asks_for_no_other_count(
    snapshot: Snapshot, policy: PoolPolicy
) -> None:
    first = planned(snapshot, policy)
    second = planned(carried_out(snapshot, first), policy)

    assert [item for item in second.decisions if isinstance(item, ScalePool)] == []


@given(some.snapshots(), some.pool_policies())
def test_the_same_snapshot_gives_the_same_plan(snapshot: Snapshot, policy: PoolPolicy) -> None:
    assert planned(snapshot, policy) == planned(snapshot, policy) == planned(_other_way_round(snapshot), policy)


def _other_way_round(snapshot: Snapshot) -> Snapshot:
    """Equal to the snapshot, with every mapping filled in the opposite order."""
    readings = {
        pool: PoolReadings(
            dict(reversed(found.pool.items())),
            {signal: dict(reversed(of.items())) for signal, of in reversed(found.replicas.items())},
            found.last_request,
        )
        for pool, found in snapshot.readings.items()
    }
    pools = {
        name: replace(known, over_since=dict(reversed(known.over_since.items())))
        for name, known in snapshot.pools.items()
    }
    return replace(snapshot, readings=readings, pools=pools)


@given(some.snapshots(), some.pool_policies())
def test_the_bounds_of_every_plan(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    if blind(snapshot):
        assert made.decisions == ()
        assert made.memory.pools == snapshot.pools
        return
    evaluation, memory = made.evaluations[POOL], made.memory.pools[POOL]
    starts = of(made, StartReplica)
    known = made.memory.replicas.values()
    here = [one for one in known if one.node not in silent(snapshot)]
    count = sum(1 for one in here if one.state in (ReplicaState.STARTING, *SERVING) and not one.retiring_since)

    assert policy.scaling.floor <= memory.desired == evaluation.desired <= policy.scaling.ceiling
    assert not starts or count + len(starts) <= memory.desired
    assert len({item.replica for item in starts}) == len(starts)
    recycled = of(made, RecycleReplica)
    assert len(recycled) <= 1
    retiring = [one for one in known if one.retiring_since and one.state in (ReplicaState.STARTING, *SERVING)]
    assert not recycled or [one.replica for one in retiring] == [recycled[0].replica]
    assert len(of(made, ScalePool)) <= 1
    assert all(item.reasons for item in made.decisions)


@given(some.snapshots(), some.pool_policies())
def test_nothing_goes_while_nginx_may_send_it_requests(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    routed = {item.container.replica for item in snapshot.replicas if item.routed}
    going = {item.replica for item in of(made, RemoveReplica, TerminateReplica) if not _twin(item)}

    assert not going & routed
    assert len(of(made, DrainReplica)) <= 1


def _twin(decision: Decision) -> bool:
    return decision.reasons[0].code is ReasonCode.DUPLICATE


CERTAIN = ("LauncherFailed", "OutOfMemory", "ColdStartDeadline")
PASSIVE = ("ErrorsStandOut", "SpeedStandsOut")


@given(some.snapshots(), some.pool_policies())
def test_who_is_in_nginx(snapshot: Snapshot, policy: PoolPolicy) -> None:
    """Those that serve; of those that look bad the ones that it has already, where most of all do."""
    made = planned(snapshot, policy)
    known = made.memory.replicas
    good = {name for name, one in known.items() if one.state in SERVING and one.code not in PASSIVE}
    good |= {name for name, one in known.items() if one.state is ReplicaState.READY}
    seen = {item.container.replica: item for item in snapshot.replicas}
    bad = {
        name
        for name, one in known.items()
        if (one.state is ReplicaState.SUSPECT and one.code in PASSIVE)
        or (
            one.state is ReplicaState.UNREADY
            and one.code not in CERTAIN
            and seen[name].container.state is ContainerState.RUNNING
        )
    }

    assert good <= made.gateway.replicas() <= good | bad
    kept = made.gateway.replicas() - good
    assert all(seen[name].routed for name in kept)
    most_look_bad = len(bad) > policy.health.panic_threshold * (len(bad) + len(good))
    assert kept == ({name for name in bad if seen[name].routed} if most_look_bad else set())


@given(some.snapshots(), some.pool_policies())
def test_nothing_is_decided_of_a_node_that_gives_no_answer(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    where = {item.container.replica: item.container.node for item in snapshot.replicas}
    cordoned = {node.name for node in snapshot.nodes if node.cordoned}

    assert not {item.node for item in of(made, StartReplica)} & (silent(snapshot) | cordoned)
    assert not {item.node for item in of(made, TerminateReplica, RemoveReplica)} & silent(snapshot)
    moved = of(made, TerminateReplica, DrainReplica, RecycleReplica)
    assert not {where[item.replica] for item in moved} & silent(snapshot)


@given(some.snapshots(), some.pool_policies())
def test_no_more_is_healed_than_the_budget_allows(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    if blind(snapshot):
        return
    after, health = made.memory.replicas, policy.health
    before = snapshot.pools.get(POOL)
    released = any(order.kind is OrderKind.RELEASE for order in snapshot.orders)
    spent = (
        0 if before is None or released else sum(1 for at in before.remediations if START - at < health.budget_window)
    )
    was_paid = {item.container.replica for item in snapshot.replicas if item.memory and item.memory.paid}
    paid = {name for name, one in after.items() if one.paid} - was_paid
    alive = any(one.state in (ReplicaState.STARTING, *SERVING) for one in after.values())

    assert len(paid) <= max(health.budget_actions - spent, 0) or (not alive and len(paid) == 1)
    for item in of(made, RemoveReplica):
        one = after[item.replica]
        failed = one.state is ReplicaState.UNREADY or (one.state is ReplicaState.STOPPED and one.terminated_at is None)
        assert _twin(item) or not failed or one.ready_at is None or one.paid, (
            "what had served goes only where it is paid"
        )


@given(some.snapshots(), some.pool_policies())
def test_what_a_person_wants_kept_is_left_alone(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    kept = {name for name, one in made.memory.replicas.items() if one.state is ReplicaState.QUARANTINED}
    stopped = {item.container.replica for item in snapshot.replicas if item.memory and _gone(item.memory.state)}

    assert {name for name in orders.kept(snapshot.orders) if name in made.memory.replicas} - stopped <= kept
    assert not kept & made.gateway.replicas()
    moved = of(made, TerminateReplica, RemoveReplica, DrainReplica, RecycleReplica)
    assert not kept & {item.replica for item in moved if not _twin(item)}


def _gone(state: ReplicaState) -> bool:
    return state is ReplicaState.STOPPED


@given(some.snapshots(), some.pool_policies())
def test_no_serving_one_is_drained_while_fewer_than_desired_serve(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    if blind(snapshot):
        return
    served = {item.container.replica for item in snapshot.replicas if item.memory and item.memory.state in SERVING}
    for item in of(made, DrainReplica):
        left = [one for one in made.memory.replicas.values() if one.state in SERVING]
        assert item.replica not in served or len(left) >= made.memory.pools[POOL].desired


_EVENTS = st.lists(
    st.tuples(st.sampled_from(["kill", "hang", "hang", "free", "wait", "spec", "hush", "wake"]), st.integers(0, 9)),
    min_size=5,
    max_size=25,
)


@settings(max_examples=50)
@given(_EVENTS, st.integers(1, 3))
def test_the_budget_over_time(events: list[tuple[str, int]], actions: int) -> None:
    """In no window are more of those that had served replaced for having failed, while anything lives."""
    health = HealthPolicy(budget_actions=actions, budget_window=timedelta(seconds=120))
    play = Play(policy_of(3, spec="v1", health=health), nodes=("a", "b"))
    play.run(8)
    paid: list[float] = []
    for number, (event, which) in enumerate(events):
        _happens(play, event, which, number)
        for _ in range(1 + which):
            before = {name for name, one in play.memory.replicas.items() if one.paid}
            play.tick()
            now = play.made.memory.replicas
            new = {name for name, one in now.items() if one.paid} - before
            alive = any(one.state in (ReplicaState.STARTING, *SERVING) for one in now.values())
            paid += [(play.now - START).total_seconds()] * len(new) if alive else []
            gone = [now[item.replica] for item in of(play.made, RemoveReplica)]
            assert all(one.paid for one in gone if has_failed(one) and one.ready_at is not None)
    for at in paid:
        assert sum(1 for other in paid if at <= other < at + 120) <= actions


def _happens(play: Play, event: str, which: int, number: int) -> None:
    names = sorted(play.containers)
    name = names[which % len(names)] if names else ""
    if event == "kill" and name:
        play.kill(name)
    elif event == "hang":
        play.hung.add(name)
    elif event == "free":
        play.hung.discard(name)
    elif event == "spec":
        play.policy = replace(play.policy, spec_hash=f"v{number}")
    elif event == "hush" and "a" not in play.silent:
        play.hush("a")
    elif event == "wake" and "a" in play.silent:
        play.wake("a")


@given(some.snapshots(), some.policies(), some.policies())
def test_a_shadow_changes_nothing(snapshot: Snapshot, live: ScalingPolicy, shadow: ScalingPolicy) -> None:
    alone = planned(snapshot, PoolPolicy(POOL, "llama", live))
    beside = planned(snapshot, PoolPolicy(POOL, "llama", live, mode=Mode.SHADOW, shadow=shadow))

    assert beside.decisions == alone.decisions
    assert beside.gateway == alone.gateway
    assert beside.memory.replicas == alone.memory.replicas


@given(some.snapshots(), some.pool_policies())
def test_a_paused_pool_keeps_its_count_and_still_heals(snapshot: Snapshot, policy: PoolPolicy) -> None:
    if blind(snapshot):
        return
    made = planned(snapshot, replace(policy, mode=Mode.PAUSED, shadow=None))
    evaluation = made.evaluations[POOL]
    scaling = policy.scaling

    assert evaluation.desired == min(max(evaluation.current, scaling.floor), scaling.ceiling)
