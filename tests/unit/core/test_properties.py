"""What holds whatever comes: of one evaluation, and of whole plans."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.core.decision import (
    DrainReplica,
    Plan,
    RecycleReplica,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.evaluation import Evaluation
from controller.core.limits import scheduled_floor
from controller.core.model import (
    Known,
    PoolReadings,
    Replica,
    ReplicaId,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import Mode, PoolPolicy, ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.votes import PoolView
from tests.fakes.clock import START
from tests.unit.core import strategies as some
from tests.unit.core.build import POOL, container

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


def carried_out(snapshot: Snapshot, made: Plan) -> Snapshot:
    """The snapshot after the plan, in the same moment: nginx runs its routes, and what is to go or to start does."""
    gone = {item.replica for item in made.decisions if isinstance(item, RemoveReplica)}
    memory, routed = made.memory.replicas, made.gateway.replicas()
    stayed = [
        replace(item, memory=memory[item.container.replica], routed=item.container.replica in routed)
        for item in snapshot.replicas
        if item.container.replica not in gone
    ]
    started = [
        Replica(container(item.replica), None, None, False) for item in made.decisions if isinstance(item, StartReplica)
    ]
    return replace(snapshot, tick=snapshot.tick + 1, replicas=(*stayed, *started), pools=made.memory.pools)


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
    if "runtime" in snapshot.unknown:
        assert made.decisions == ()
        assert made.memory.pools == snapshot.pools
        return
    evaluation, memory = made.evaluations[POOL], made.memory.pools[POOL]
    starts = [item for item in made.decisions if isinstance(item, StartReplica)]
    known = made.memory.replicas.values()
    count = sum(
        1 for one in known if one.state in (ReplicaState.STARTING, ReplicaState.READY) and not one.retiring_since
    )

    assert policy.scaling.floor <= memory.desired == evaluation.desired <= policy.scaling.ceiling
    assert not starts or count + len(starts) <= memory.desired
    assert len({item.replica for item in starts}) == len(starts)
    recycled = [item for item in made.decisions if isinstance(item, RecycleReplica)]
    assert len(recycled) <= 1
    assert sum(1 for item in snapshot.replicas if item.memory and item.memory.retiring_since) == 0 or not recycled
    scaled = [item for item in made.decisions if isinstance(item, ScalePool)]
    assert len(scaled) <= 1
    assert all(item.reasons for item in made.decisions)


@given(some.snapshots(), some.pool_policies())
def test_nothing_goes_while_nginx_may_send_it_requests(snapshot: Snapshot, policy: PoolPolicy) -> None:
    made = planned(snapshot, policy)
    routed = {item.container.replica for item in snapshot.replicas if item.routed}
    going = {item.replica for item in made.decisions if isinstance(item, RemoveReplica | TerminateReplica)}
    serving = {name for name, known in made.memory.replicas.items() if known.state is ReplicaState.READY}

    assert not going & routed
    assert made.gateway.replicas() == serving
    assert sum(isinstance(item, DrainReplica) for item in made.decisions) <= 1


@given(some.snapshots(), some.policies(), some.policies())
def test_a_shadow_changes_nothing(snapshot: Snapshot, live: ScalingPolicy, shadow: ScalingPolicy) -> None:
    alone = planned(snapshot, PoolPolicy(POOL, "llama", live))
    beside = planned(snapshot, PoolPolicy(POOL, "llama", live, mode=Mode.SHADOW, shadow=shadow))

    assert beside.decisions == alone.decisions
    assert beside.gateway == alone.gateway
    assert beside.memory.replicas == alone.memory.replicas


@given(some.snapshots(), some.pool_policies())
def test_a_paused_pool_keeps_its_count_and_still_heals(snapshot: Snapshot, policy: PoolPolicy) -> None:
    if "runtime" in snapshot.unknown:
        return
    made = planned(snapshot, replace(policy, mode=Mode.PAUSED, shadow=None))
    evaluation = made.evaluations[POOL]
    scaling = policy.scaling

    assert evaluation.desired == min(max(evaluation.current, scaling.floor), scaling.ceiling)
