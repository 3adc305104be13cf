"""Random policies, pools and snapshots, for what is to hold whatever comes.

Most values are drawn as one small number each, which is many times as fast as a strategy for every part of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from hypothesis import strategies as st

from controller.core.capacity import GIB
from controller.core.cron import FloorWindow
from controller.core.model import (
    SERVING,
    UNKNOWN,
    Busy,
    ContainerState,
    Gpu,
    LauncherPhase,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolReadings,
    ProbeHistory,
    Reading,
    Recommendation,
    Replica,
    ReplicaId,
    ReplicaState,
    Shadow,
    Signal,
    Snapshot,
)
from controller.core.policy import (
    ErrorsPolicy,
    ForecastPolicy,
    HealthPolicy,
    LatencyPolicy,
    MemoryPolicy,
    Mode,
    PanicPolicy,
    PoolPolicy,
    RateLimit,
    ScalingPolicy,
    TargetPolicy,
    UtilizationPolicy,
)
from controller.core.votes import PoolView
from tests.fakes.clock import START
from tests.unit.core.build import POOL, probe, replica

NAMES = tuple(ReplicaId(f"llama-{number}") for number in range(1, 9))
LOAD = (Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.KV_CACHE, Signal.TOKENS, Signal.LATENCY)
T = TypeVar("T")


def s(seconds: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=seconds)


def ago(seconds: float) -> datetime:
    """A time before START."""
    return START - s(seconds)


def _of(choices: Sequence[T]) -> st.SearchStrategy[T]:
    return st.sampled_from(choices)


_FLAGS = st.integers(0, 1023)
_WINDOWS = _of([s(0), s(1), s(10), s(15), s(60), s(300), s(900)])
_DURATIONS = _of([s(1), s(15), s(60)])
_PANICS = _of([PanicPolicy(), PanicPolicy(1.5, s(1), s(15))])
_OPEN, _SHUT = FloorWindow("* * * * *", s(120), 2), FloorWindow("0 0 1 1 *", s(60), 4)
_SCHEDULES = _of([(), (), (_OPEN,), (_SHUT,), (_OPEN, _SHUT)])
_LIMITS = _of([RateLimit(1, 0, s(15)), RateLimit(2, 50, s(1)), RateLimit(4, 100, s(15)), RateLimit(1, 100, s(60))])
_SHARES = _of([1.0, 0.5, 1.3])


@st.composite
def policies(draw: st.DrawFn) -> ScalingPolicy:
    """Any that can be configured, with the signals on that it happens to have on, and one at least."""
    floor, flags, duration = draw(st.integers(0, 4)), draw(_FLAGS), draw(_DURATIONS)
    on = [bool(flags >> bit & 1) for bit in range(8)]
    on[0] = on[0] or not any(on[:5])
    share = draw(_SHARES)
    return ScalingPolicy(
        floor=floor,
        ceiling=draw(st.integers(4, 10)),
        in_flight=TargetPolicy(4.0 * share, on[0]),
        utilization=UtilizationPolicy(duration=duration, enabled=on[1]),
        kv_cache=TargetPolicy(0.7 * share, on[2]),
        tokens=TargetPolicy(1000.0, on[3]),
        latency=LatencyPolicy(duration=duration, enabled=on[4]),
        errors=ErrorsPolicy(enabled=on[5]),
        memory=MemoryPolicy(enabled=on[6]),
        tolerance=draw(_of([0.0, 0.1, 0.3])),
        scale_up_window=draw(_WINDOWS),
        scale_down_window=draw(_WINDOWS),
        surge=draw(st.integers(1, 4)),
        rate_up=draw(_LIMITS),
        rate_down=draw(_LIMITS),
        panic=draw(_PANICS),
        forecast=ForecastPolicy(enabled=on[7]),
        schedule=draw(_SCHEDULES),
        zero_after=draw(_WINDOWS),
        gpu_memory_bytes=draw(_of([0, 0, 18 * GIB])),
    )


_USUAL = {Signal.IN_FLIGHT: 4.0, Signal.TOKENS: 1000.0, Signal.LATENCY: 0.5, Signal.ERRORS: 0.01}
_AGES = (0.0, 1.0, 3.0, 4.0)
_NUMBERS = st.integers(0, 29)
_MANY_NUMBERS = st.lists(st.integers(0, 159), min_size=len(NAMES), max_size=len(NAMES))


def _reading(signal: Signal, number: int) -> Reading:
    """Measured within the last seconds, or too old, or not at all; idle every now and then; up to thrice the usual."""
    kind, tenths = divmod(number, 32)
    usual = _USUAL.get(signal, 0.7)
    return UNKNOWN if kind == 4 else Reading.of(usual * max(tenths - 2, 0) / 10, ago(_AGES[kind]))


_POOL_NUMBERS = st.lists(st.integers(0, 159), min_size=3, max_size=3)
_WHOLE = (Signal.IN_FLIGHT, Signal.LATENCY, Signal.ERRORS)
_EACH = tuple(signal for signal in Signal if signal is not Signal.LATENCY)


@st.composite
def readings(draw: st.DrawFn, names: tuple[ReplicaId, ...] = NAMES, whole: bool = False) -> PoolReadings:
    """Of the pool and of each replica, every one of them missing at times unless they are to be `whole`."""
    flags, numbers = 1023 if whole else draw(_FLAGS), draw(_POOL_NUMBERS)
    most = 64 if whole else 160
    pool = {
        signal: _reading(signal, number % most)
        for bit, (signal, number) in enumerate(zip(_WHOLE, numbers, strict=True))
        if flags >> bit & 1
    }
    each = {}
    for bit, signal in enumerate(_EACH, len(_WHOLE)):
        if flags >> bit & 1:
            found = draw(_MANY_NUMBERS)
            each[signal] = {name: _reading(signal, number % most) for name, number in zip(names, found, strict=False)}
    last_s = draw(st.integers(-1, 1000))
    return PoolReadings(pool, each, UNKNOWN if last_s < 0 else Reading.of(ago(last_s).timestamp(), START))


_PAST = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10)), max_size=3, unique_by=lambda item: item[0])


def _history(past: Sequence[tuple[int, int]], last: int | None = None) -> tuple[Recommendation, ...]:
    """Counts of the past, in order; the newest is `last`."""
    entries = [Recommendation(ago(seconds), count) for seconds, count in sorted(past, reverse=True)]
    if entries and last is not None:
        entries[-1] = replace(entries[-1], replicas=last)
    return tuple(entries)


def _demand(kind: int) -> tuple[tuple[datetime, float], ...]:
    """None, few or enough samples of a demand that falls, stays or rises."""
    count, slope = (0, 5, 20)[kind % 3], (-0.1, 0.0, 0.05, 0.3)[kind // 3 % 4]
    return tuple((ago(2 * (count - number)), 15 + slope * 2 * number) for number in range(count))


_OVER = [Signal.LATENCY.value, Signal.UTILIZATION.value, "panic"]
_OVER += [f"{signal}/{name}" for signal in (Signal.MEMORY, Signal.ERRORS) for name in NAMES[:2]]
_CROSSED = st.lists(st.integers(-1, 90), min_size=len(_OVER), max_size=len(_OVER))


@st.composite
def memories(draw: st.DrawFn, desired: int, calm: bool = False) -> PoolMemory:
    """Of a controller that has just begun, or that has watched for a while; nothing holds one that is `calm`."""
    since_s, panic_s, kind = draw(st.integers(-1, 2000)), draw(st.integers(-60, 60)), draw(st.integers(0, 23))
    since_s, panic_s = (2000, 0) if calm else (since_s, panic_s)
    over = {name: ago(seconds) for name, seconds in zip(_OVER, draw(_CROSSED), strict=True) if seconds >= 0}
    failed, healed = draw(st.integers(0, 6)), draw(st.integers(0, 2**9 - 1))
    good, refused = SPECS[healed & 3] if healed & 4 else "", "v2" if healed & 24 == 24 else ""
    return PoolMemory(
        POOL,
        desired,
        next_ordinal=50,
        start_failures=failed,
        last_start_failure_at=ago(15) if failed else None,
        cold_start_s=(None, 40.0)[kind // 12],
        last_recycle_at=(None, ago(100))[kind % 2],
        zero_since=ago(kind * 20) if desired == 0 else None,
        remediations=tuple(ago(500 - 100 * number) for number in range(healed >> 5 & 3)),
        fuse_since=ago(30) if healed >> 5 == 15 else None,
        quarantined_since=ago(30) if failed >= 5 else None,
        good_spec=good,
        refused_spec=refused if good else "",
        tried_spec=SPECS[healed >> 7],
        history_since=None if since_s < 0 else ago(since_s),
        recommended=() if calm else _history(draw(_PAST)),
        counts=() if calm else _history(draw(_PAST), desired),
        over_since=over,
        panic_until=None if panic_s == 0 or since_s < 0 else START + s(panic_s),
        demand=_demand(kind),
    )


def _gpus(numbers: Sequence[int]) -> tuple[Gpu, ...]:
    """A few, with room for none to two replicas each, or with nothing known of them."""
    free = [UNKNOWN if gib < 0 else Reading.of(gib * GIB, START) for gib in numbers]
    return tuple(Gpu(NodeName("local"), f"GPU-{number}", one) for number, one in enumerate(free))


GPUS = st.lists(st.integers(-10, 40), max_size=3).map(_gpus)
_MOVING = _of([(0, 0), (0, 0), (1, 0), (0, 1), (2, 1)])


@st.composite
def views(draw: st.DrawFn) -> PoolView:
    """A pool as scaling sees it, more often than not with as many ready as it wants, and with nothing that holds it."""
    desired, other, calm = draw(st.integers(0, 8)), draw(st.integers(0, 24)), draw(st.booleans())
    names = NAMES[: desired if other > 8 else other]
    starting, draining = (0, 0) if calm else draw(_MOVING)
    memory, found = draw(memories(desired, calm)), draw(readings(names, calm))
    return PoolView(memory, names, starting, draining, found, draw(GPUS))


_TOKEN, _OLD_TOKEN = {"last_token_at": ago(1)}, {"last_token_at": ago(40)}
_PROBES = (
    None,
    probe(True, 3),
    probe(True, 3, in_flight=2, **_TOKEN),
    probe(True, 3, in_flight=2, **_OLD_TOKEN),
    probe(False, 1),
    probe(False, 4),
    probe(False, 4, **_TOKEN),
    probe(False, 1, phase=LauncherPhase.FAILED),
    probe(False, 1, phase=LauncherPhase.DRAINING),
)
_STATES = (None, *ReplicaState, *[ReplicaState.READY] * 4)
_REPLICAS = [
    (state, result, runs, routed, retiring)
    for state in _STATES
    for result in _PROBES
    for runs in (*[ContainerState.RUNNING] * 3, *ContainerState)
    for routed in ((True,) if state is ReplicaState.READY else (True, False))
    for retiring in (False, False, False, True)
]
_KINDS = st.lists(st.tuples(_of(_REPLICAS), st.integers(0, 2**12 - 1)), max_size=7)
_CODES = {
    ReplicaState.SUSPECT: ("ProbeFailed", "ErrorsStandOut", "SpeedStandsOut", "ProbeFailed"),
    ReplicaState.UNREADY: ("ProbesFailed", "Stalled", "LauncherFailed", "OutOfMemory"),
}
SPECS = ("v1", "v2", "v3", "v2")


@st.composite
def replicas(draw: st.DrawFn, nodes: tuple[Node, ...] = (Node(NodeName("local")),)) -> tuple[Replica, ...]:
    """Up to seven in any state, on any of the nodes, of any spec, with probes that agree with it or do not."""
    return tuple(_replica(name, *kind, nodes) for name, kind in zip(NAMES, draw(_KINDS), strict=False))


_Kind = tuple[ReplicaState | None, ProbeHistory | None, ContainerState, bool, bool]


def _replica(name: ReplicaId, kind: _Kind, bits: int, nodes: tuple[Node, ...]) -> Replica:
    """`bits` are all that is drawn as one small number."""
    state, result, runs, routed, retiring = kind
    known: dict[str, object] = {"code": _CODES.get(state, ("",) * 4)[bits & 3]} if state else {}  # type: ignore[call-overload]
    since = ago(bits >> 2 & 63)
    if retiring and state in SERVING:
        known["retiring_since"] = ago(5)
    if state is ReplicaState.DRAINING and bits & 256:
        known["terminated_at"] = ago(7)
    if state in (ReplicaState.UNREADY, ReplicaState.STOPPED):
        known |= {"paid": bool(bits & 256), **({"ready_at": None} if bits & 512 else {})}
    if state is ReplicaState.READY and bits & 512:
        known["busy"] = Busy(ago(31))
    box = {"node": nodes[(bits >> 10) % len(nodes)].name, "spec_hash": SPECS[bits & 3], "created_at": ago(100)}
    if state is not None:
        known |= {"since": since, "ready_at": known.get("ready_at", ago(90) if bits & 64 else ago(5))}
    if state is ReplicaState.STARTING:
        known["ready_at"] = None
    return replica(name, state, result, runs=runs, routed=routed, box=box, **known)


_A, _B, _C = (NodeName(name) for name in "abc")
NODES = _of(
    [
        (Node(NodeName("local")),),
        (Node(NodeName("local")),),
        (Node(_A), Node(_B)),
        (Node(_A), Node(_B), Node(_C)),
        (Node(_A, ago(5)), Node(_B)),
        (Node(_A, ago(60)), Node(_B)),
        (Node(_A, ago(60)), Node(_B), Node(_C, cordoned=True)),
        (Node(_A, ago(60)), Node(_B, cordoned=True)),
        (Node(_A, None, ago(2)), Node(_B)),
        (Node(_A, cordoned=True), Node(_B)),
        (Node(_A, ago(60)), Node(_B, ago(5))),
    ]
)
_LATER = START + s(1)
ORDERS = _of(
    [
        (),
        (),
        (),
        (
            Order(OrderKind.QUARANTINE, "replica/llama-1", ago(9)),
            Order(OrderKind.QUARANTINE, "replica/llama-3", ago(9)),
        ),
        (Order(OrderKind.RESTART, "pool/llama", ago(9)),),
        (Order(OrderKind.RESTART, "replica/llama-2", ago(9)), Order(OrderKind.RESTART, "pool/llama", _LATER)),
        (Order(OrderKind.DRAIN, "node/a", ago(9)), Order(OrderKind.DRAIN, "replica/llama-4", ago(9))),
        (Order(OrderKind.RELEASE, "pool/llama", ago(9)),),
    ]
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """One pool, known or not, with anything in it."""
    desired, kind = draw(st.integers(-1, 8)), draw(st.integers(0, 9))
    pools = {}
    if desired >= 0:
        known = draw(memories(desired))
        pools = {POOL: replace(known, shadow=Shadow(known, ago(60), ago(2))) if kind % 2 else known}
    unknown = {0: ("runtime",), 1: ("metrics",)}.get(kind, ())
    found = {} if "metrics" in unknown else {POOL: draw(readings())}
    nodes = draw(NODES)
    seen = draw(replicas(nodes))
    twins = [replace(item.container, created_at=ago(1), node=nodes[-1].name) for item in seen[: kind // 9]]
    given = draw(ORDERS)
    return Snapshot(START, 1, seen, pools, found, unknown, draw(GPUS), nodes, tuple(twins), given)


_ACTIONS = st.integers(1, 4)


@st.composite
def pool_policies(draw: st.DrawFn) -> PoolPolicy:
    """In any mode."""
    mode, live, spec, actions = draw(_of(list(Mode))), draw(policies()), draw(_of(["", "v1", "v2"])), draw(_ACTIONS)
    shadow = draw(policies()) if mode is Mode.SHADOW else None
    return PoolPolicy(POOL, "llama", live, HealthPolicy(budget_actions=actions), mode, shadow, spec_hash=spec)


def raised(found: PoolReadings, signal: Signal, more: Mapping[ReplicaId, float], factor: float) -> PoolReadings:
    """The readings with every known one of a signal times `factor`, and that of a replica raised by its share."""

    def up(reading: Reading, by: float) -> Reading:
        return reading if reading.at is None else Reading.of(reading.value * factor + by, reading.at)

    pool = {key: up(one, sum(more.values())) if key is signal else one for key, one in found.pool.items()}
    each = {
        key: {name: up(one, more.get(name, 0.0)) for name, one in of.items()} if key is signal else of
        for key, of in found.replicas.items()
    }
    return PoolReadings(pool, each, found.last_request)
