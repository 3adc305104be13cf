"""The real core on the simulated fleet: each tick a Snapshot, a Plan, and the plan carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from controller.core.decision import Memory, Plan, RemoveReplica, StartReplica, TerminateReplica
from controller.core.model import (
    UNKNOWN,
    Address,
    Container,
    ContainerState,
    LauncherPhase,
    NodeName,
    PoolMemory,
    PoolName,
    PoolReadings,
    ProbeHistory,
    Reading,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.model import Replica as SeenReplica
from controller.core.planner import plan
from controller.core.policy import Measure, PoolPolicy, ScalingPolicy
from controller.simulate.fleet import Fleet, Replica, State
from controller.simulate.metrics import Latency, Numbers
from controller.simulate.scaler import Look
from controller.simulate.setup import Setup

TICK_S = 2.0
POOL = PoolName("sim")
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday's midnight, for schedules
_LONG_AGO = START - timedelta(days=1)
_AT_ONCE = 5  # ticks in a row: one that has moved something is followed by another at once
_METRICS = "metrics"  # in Snapshot.unknown
_PROBE_AGE_S = 0.5  # probes come once a second
_MEMORY_SHARE = 0.5  # replicas here neither leak nor fill up
_PHASES = {
    State.STARTING: LauncherPhase.LOADING,
    State.READY: LauncherPhase.READY,
    State.DRAINING: LauncherPhase.DRAINING,
}


class Stoker:
    """Runs `controller.core.planner.plan` as the controller does: probes once a second, a tick every 2 s.

    A replica is routed from the tick on that sees it ready, and a drained one is stopped in the tick after it left
    nginx. It begins as a controller that has run for a day. `on_plan` is told every plan: one step may make several.
    """

    name = "stoker"
    interval_s = TICK_S

    def __init__(self, setup: Setup, on_plan: Callable[[Plan], None] | None = None) -> None:
        self._setup, self._on_plan = setup, on_plan
        # There are no GPUs here that could be too few: the ceiling says how many replicas fit.
        self._policies = (PoolPolicy(POOL, "sim", replace(setup.policy, gpu_memory_bytes=0), setup.health),)
        self._pool = PoolMemory(POOL, setup.policy.floor, setup.policy.floor + 1, history_since=_LONG_AGO)
        self._memory = Memory({POOL: self._pool})
        self._containers: dict[str, Container] = {}
        self._port = 20000
        self._tick = 0
        self.last: Plan | None = None  # the newest plan, for those who want its reasons

    @property
    def desired(self) -> int:
        return self._memory.pools[POOL].desired

    def begin(self, fleet: Fleet) -> None:
        fleet.follows = False
        replicas = {}
        for number in range(1, self._pool.desired + 1):
            name = ReplicaId(f"{POOL}-{number}")
            fleet.start(name, warm=True)
            replicas[name] = ReplicaMemory(
                name, POOL, ReplicaState.READY, START, START, ready_at=START, why="a probe passed"
            )
        fleet.route(replicas)
        self._memory = Memory({POOL: self._pool}, replicas)

    def step(self, fleet: Fleet, look: Look) -> None:
        numbers = look().numbers
        readings = _readings(numbers, self._setup.policy)
        for _ in range(_AT_ONCE):
            self._tick += 1
            snapshot = self._snapshot(fleet, readings, numbers is None)
            self.last = plan(snapshot, self._policies)
            self._memory = self.last.memory
            if self._on_plan is not None:
                self._on_plan(self.last)
            if not self._carry_out(fleet, self.last):
                return

    def on_death(self, fleet: Fleet, look: Look) -> None:
        self.step(fleet, look)

    def _snapshot(self, fleet: Fleet, readings: PoolReadings, blind: bool) -> Snapshot:
        now = fleet.now_s
        replicas = tuple(self._see(known, now) for known in fleet.replicas.values())
        unknown = (_METRICS,) if blind else ()
        return Snapshot(_at(now), self._tick, replicas, self._memory.pools, {POOL: readings}, unknown)

    def _see(self, replica: Replica, now: float) -> SeenReplica:
        name = ReplicaId(replica.name)
        container = self._containers.get(name) or self._appear(replica)
        if replica.state is State.EXITED and container.state is not ContainerState.EXITED:
            code = 137 if replica.died else 0
            container = replace(
                container,
                state=ContainerState.EXITED,
                exit_code=code,
                detail=f"Exited ({code})",
                engine=None,
                launcher=None,
            )
            self._containers[name] = container
        return SeenReplica(container, _probe(replica, now), self._memory.replicas.get(name), replica.routed)

    def _appear(self, replica: Replica) -> Container:
        self._port += 2
        container = Container(
            ReplicaId(replica.name),
            POOL,
            NodeName("local"),
            "sim",
            ContainerState.RUNNING,
            _at(replica.created_s),
            Address("127.0.0.1", self._port),
            Address("127.0.0.1", self._port + 1),
        )
        self._containers[replica.name] = container
        return container

    def _carry_out(self, fleet: Fleet, wanted: Plan) -> bool:
        """Routes first, as in production; whether anything was done."""
        moved = fleet.route(wanted.gateway.replicas())
        for decision in wanted.decisions:
            moved = True
            if isinstance(decision, StartReplica):
                fleet.start(decision.replica)
            elif isinstance(decision, TerminateReplica):
                fleet.drain(decision.replica)
            elif isinstance(decision, RemoveReplica):
                fleet.remove(decision.replica)
                self._containers.pop(decision.replica, None)
        return moved


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _probe(replica: Replica, now: float) -> ProbeHistory | None:
    """What the launcher has said last; nobody asks one that has exited."""
    phase = _PHASES.get(replica.state)
    if phase is None:
        return None
    engine, ready_s = replica.engine, replica.ready_s
    if phase is LauncherPhase.READY and ready_s is not None and replica.created_s < ready_s > now - _PROBE_AGE_S:
        phase = LauncherPhase.LOADING  # when it was asked
    last = engine.last_token_s(now)
    return ProbeHistory(
        _at(now - _PROBE_AGE_S),
        phase is LauncherPhase.READY,
        1 + int(now - (replica.created_s if ready_s is None else ready_s)),
        "" if phase is LauncherPhase.READY else f"the launcher is {phase.value}",
        phase,
        engine.in_flight - engine.waiting,
        engine.waiting,
        None if last is None else _at(last),
    )


def _readings(numbers: Numbers | None, policy: ScalingPolicy) -> PoolReadings:
    """Every signal that the policy may want, as of the last scrape."""
    if numbers is None:
        return PoolReadings()
    at = _at(numbers.measured_at_s)
    names = [(ReplicaId(name), usage) for name, usage in numbers.of_replica.items()]
    pool = {
        Signal.IN_FLIGHT: Reading.of(numbers.in_flight, at),
        Signal.LATENCY: _latency(numbers, policy, at),
        Signal.ERRORS: Reading.of(numbers.error_share, at),
    }
    replicas = {
        Signal.IN_FLIGHT: {name: Reading.of(usage.in_flight, at) for name, usage in names},
        Signal.UTILIZATION: {name: Reading.of(numbers.utilization[name], at) for name, _ in names},
        Signal.KV_CACHE: {name: Reading.of(usage.kv_share, at) for name, usage in names},
        Signal.TOKENS: {name: Reading.of(numbers.tokens_per_s[name], at) for name, _ in names},
        Signal.MEMORY: {name: Reading.of(_MEMORY_SHARE, at) for name, _ in names},
    }
    last = numbers.last_request_s
    newest = UNKNOWN if last is None else Reading.of(_at(last).timestamp(), at)
    return PoolReadings(pool, replicas, newest)


def _latency(numbers: Numbers, policy: ScalingPolicy, at: datetime) -> Reading:
    """As the recording rules have it: idle with nothing in flight, unknown where nothing of it has ended yet."""
    known: Latency = numbers.first_byte if policy.latency.measure is Measure.FIRST_BYTE else numbers.duration
    if not known.count and numbers.in_flight:
        return UNKNOWN
    quantile = policy.latency.quantile
    return Reading.of(known.mean() if quantile is None else known.quantile(quantile), at)
