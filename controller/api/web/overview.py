"""How it stands with each pool and with all of them: what the frame of every page and the fleet page say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

from controller.api.deps import Seen, Sources
from controller.core.alerts import KnownAlert
from controller.core.decision import ReasonCode
from controller.core.errors import TransientError
from controller.core.model import (
    SERVING,
    UNKNOWN,
    Known,
    PoolName,
    PoolReadings,
    Reading,
    ReplicaState,
    Signal,
)
from controller.core.policy import Mode, PoolPolicy, ScalingPolicy

ACT, BUSY, CALM = "act", "busy", "calm"  # a person must act; the controller deals with it; nothing
UNTOLD = "unknown"  # nobody can say
_NO_WAY_UP = (ReasonCode.AT_CEILING, ReasonCode.NO_GPU_FITS, ReasonCode.NO_NODE)  # to more replicas
_STUCK = (*_NO_WAY_UP, ReasonCode.PAUSED)
_NOTHING: tuple[KnownAlert, ...] = ()
_LEVELS = {ReplicaState.READY: CALM, ReplicaState.DRAINING: CALM, ReplicaState.QUARANTINED: "paused"}


def level_of(replica: ReplicaState) -> str:
    """How bad that state of a replica is."""
    return _LEVELS.get(replica, BUSY)


@dataclass(frozen=True, slots=True)
class Stand:
    """How bad it is, and the word for it: a key of the section `stand`."""

    level: str
    word: str


@dataclass(frozen=True)
class PoolFacts:
    """What is known of a pool now. None is what is not known; `slow` and `failing`: above the threshold; `idle`: there
    were no requests whose times could be told; `fuse` and `quarantined`: nothing is healed, or started, any more;
    `drill`: the id of the one that runs on it. Equal ones look alike.

    What is asked again and again while a page is made is worked out once.
    """

    name: PoolName
    model: str
    mode: Mode
    scaling: ScalingPolicy
    desired: int
    counts: Mapping[ReplicaState, int] = field(default_factory=dict)
    in_flight: float | None = None
    latency: float | None = None
    errors: float | None = None
    codes: tuple[ReasonCode, ...] = ()
    fuse: bool = False
    quarantined: bool = False
    start_failures: int = 0  # in a row
    alerts: tuple[KnownAlert, ...] = ()
    idle: bool = False
    drill: str = ""

    @cached_property
    def stand(self) -> Stand:
        """The first of these that is so, the worst first."""
        return _stand(self)

    @cached_property
    def serving(self) -> int:
        """Replicas that get requests."""
        return sum(self.counts.get(state, 0) for state in SERVING)

    @property
    def starting(self) -> int:
        """Replicas that do not serve yet."""
        return self.counts.get(ReplicaState.STARTING, 0)

    @property
    def draining(self) -> int:
        """Replicas that finish what they have."""
        return self.counts.get(ReplicaState.DRAINING, 0)

    @property
    def trouble(self) -> int:
        """Replicas that do not do what they should."""
        return self.counts.get(ReplicaState.UNREADY, 0) + self.counts.get(ReplicaState.SUSPECT, 0)

    @property
    def slow(self) -> bool:
        """Users wait for longer than they should."""
        policy = self.scaling.latency
        return policy.enabled and self.latency is not None and self.latency > policy.threshold

    @property
    def failing(self) -> bool:
        """More requests fail than may."""
        policy = self.scaling.errors
        return policy.enabled and self.errors is not None and self.errors > policy.threshold

    @property
    def down(self) -> bool:
        """Somebody should be served, and nobody serves."""
        return self.desired > 0 and self.serving == 0

    @property
    def critical(self) -> bool:
        """An alert says that a person is needed now."""
        return any(known.alert.labels.get("severity") == "critical" for known in self.alerts)


def facts_of(sources: Sources, alerts: Iterable[KnownAlert] = (), *, drills: bool = True) -> list[PoolFacts]:
    """Of every configured pool, also before the first tick.

    `drills`: also which of them is hurt on purpose; while a drill runs the store is asked for that, once.
    """
    seen = sources.latest()
    policies = (seen.policies if seen else ()) or sources.policies
    firing: dict[str, tuple[KnownAlert, ...]] = {}
    for known in alerts:
        if known.alert.firing and known.alert.pool:
            firing[known.alert.pool] = (*firing.get(known.alert.pool, ()), known)
    counts: dict[PoolName, dict[ReplicaState, int]] = {}
    for replica in seen.plan.memory.replicas.values() if seen else ():
        mine = counts.setdefault(replica.pool, {})
        mine[replica.state] = mine.get(replica.state, 0) + 1
    found = [
        _facts(seen, policy, counts.get(policy.pool, {}), firing.get(policy.pool, _NOTHING)) for policy in policies
    ]
    pool, drill = _drilled(sources) if drills else ("", "")
    return [replace(one, drill=drill) if one.name == pool else one for one in found]


def _drilled(sources: Sources) -> tuple[str, str]:
    """The pool on which a drill runs, and the drill's id; empty: none, or the database, which knows the pool, is
    away."""
    running = sources.drill_desk.running()
    with suppress(TransientError):
        found = sources.drills.drill(running) if running is not None else None
        if found is not None and found[0].running:
            return found[0].pool, found[0].id
    return "", ""


def _facts(
    seen: Seen | None, policy: PoolPolicy, counts: Mapping[ReplicaState, int], alerts: tuple[KnownAlert, ...]
) -> PoolFacts:
    pool = policy.pool
    if seen is None:
        return PoolFacts(pool, policy.model, policy.mode, policy.scaling, policy.scaling.floor, alerts=alerts)
    memory, evaluation = seen.plan.memory.pools.get(pool), seen.plan.evaluations.get(pool)
    readings = seen.snapshot.readings.get(pool, PoolReadings()).pool
    return PoolFacts(
        name=pool,
        model=policy.model,
        mode=evaluation.mode if evaluation else policy.mode,
        scaling=evaluation.policy if evaluation else policy.scaling,
        desired=memory.desired if memory else policy.scaling.floor,
        counts=counts,
        in_flight=_value(readings.get(Signal.IN_FLIGHT, UNKNOWN)),
        latency=_value(readings.get(Signal.LATENCY, UNKNOWN)),
        errors=_value(readings.get(Signal.ERRORS, UNKNOWN)),
        codes=tuple(reason.code for reason in seen.plan.standing.get(pool, ())),
        fuse=memory is not None and memory.fuse_since is not None,
        quarantined=memory is not None and memory.quarantined_since is not None,
        start_failures=memory.start_failures if memory else 0,
        alerts=alerts,
        idle=readings.get(Signal.LATENCY, UNKNOWN).known is Known.IDLE,
    )


def _value(reading: Reading) -> float | None:
    return None if reading.known is Known.UNKNOWN else reading.value


def _stand(pool: PoolFacts) -> Stand:
    stuck = any(code in _STUCK for code in pool.codes)
    if pool.quarantined:
        return Stand(ACT, "quarantined")
    if pool.fuse:
        return Stand(ACT, "fuse")
    if pool.down:
        return Stand(BUSY, "first_start") if pool.starting and not pool.critical else Stand(ACT, "down")
    if pool.failing:
        return Stand(ACT if stuck or pool.critical else BUSY, "failing")
    if pool.slow:
        return Stand(ACT if stuck or pool.critical else BUSY, "slow")
    if pool.critical:
        return Stand(ACT, "alert")
    if pool.alerts and any(code in _NO_WAY_UP for code in pool.codes):
        # Red, although no user is hurt as yet: the controller has nothing left that it may do, so that only a person
        # can help, and an alert says that this is no matter of a moment.
        return Stand(ACT, "stuck")
    return _calm(pool)


def _calm(pool: PoolFacts) -> Stand:
    """Of a pool whose users are all right, as far as is known: what is not known is told before any alert of it."""
    living = pool.serving + pool.starting
    if pool.trouble:
        return Stand(BUSY, "replacing")
    if pool.serving < pool.desired:
        return Stand(BUSY, "growing" if pool.mode is not Mode.PAUSED else "short")
    if living > pool.desired or pool.draining:
        return Stand(BUSY, "shrinking")
    if pool.serving and pool.in_flight is None and pool.latency is None:
        return Stand(UNTOLD, "unknown")
    if pool.alerts:
        return Stand(BUSY, "warned")
    return Stand(CALM, "calm")
