"""Short ways to write down the facts of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from controller.core.model import (
    SERVING,
    UNKNOWN,
    Address,
    Container,
    ContainerState,
    Gpu,
    GpuReport,
    LauncherPhase,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolName,
    PoolReadings,
    ProbeHistory,
    Reading,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Signal,
)
from controller.core.policy import (
    ErrorsPolicy,
    LatencyPolicy,
    MemoryPolicy,
    ScalingPolicy,
    TargetPolicy,
    UtilizationPolicy,
)
from controller.core.votes import PoolView
from tests.fakes.clock import START

POOL = PoolName("llama")
LONG_AGO = START - timedelta(hours=1)
_NONE: Mapping[Signal, Sequence[float | None]] = MappingProxyType({})
PORTS = {f"llama-{number}": 20000 + number for number in range(1, 400)}


def container(name: str, state: ContainerState = ContainerState.RUNNING, **more: object) -> Container:
    """A container of the pool `llama`, made at START."""
    port = PORTS.get(name, 30000)
    known: dict[str, object] = {
        "replica": ReplicaId(name),
        "pool": POOL,
        "node": NodeName("local"),
        "spec_hash": "abc",
        "state": state,
        "created_at": START,
        "engine": Address("127.0.0.1", port),
        "launcher": Address("127.0.0.1", port + 1),
    }
    if state is ContainerState.EXITED:
        known |= {"detail": "Exited (137)", "exit_code": 137}
    return Container(**(known | more))  # type: ignore[arg-type]


def memory(name: str, state: ReplicaState, since: datetime = START, **more: object) -> ReplicaMemory:
    """A remembered replica, made at START; one that is past STARTING was ready two seconds later."""
    ready_at = None if state is ReplicaState.STARTING else START + timedelta(seconds=2)
    values = {"pool": POOL, "created_at": START, "ready_at": ready_at, "spec_hash": "abc"} | more
    return ReplicaMemory(ReplicaId(name), state=state, since=since, **values)  # type: ignore[arg-type]


def probe(ok: bool, in_a_row: int = 1, at: datetime = START, **more: object) -> ProbeHistory:
    """A probe's result; a pass comes from a ready launcher."""
    known: dict[str, object] = (
        {"phase": LauncherPhase.READY, "in_flight": 0, "waiting": 0} if ok else {"detail": "no answer"}
    )
    return ProbeHistory(at, ok, in_a_row, **(known | more))  # type: ignore[arg-type]


def replica(
    name: str,
    state: ReplicaState | None = ReplicaState.READY,
    result: ProbeHistory | None = None,
    *,
    runs: ContainerState = ContainerState.RUNNING,
    routed: bool | None = None,
    box: Mapping[str, object] = MappingProxyType({}),
    **more: object,
) -> Replica:
    """A replica as a tick sees it. `state` is the remembered one (None: never seen before).

    `box` is what is special about its container; where it is, of what and since when is remembered, too.
    """
    same = {key: value for key, value in box.items() if key in ("node", "spec_hash", "created_at")}
    known = None if state is None else memory(name, state, **(same | more))
    serves = state in SERVING if routed is None else routed
    return Replica(container(name, runs, **box), result, known, serves)


def reading(value: float, age_s: float = 1.0, now: datetime = START) -> Reading:
    """A number measured `age_s` before `now`."""
    return Reading.of(value, now - timedelta(seconds=age_s))


_SIGNALS: dict[Signal, tuple[str, object]] = {
    Signal.IN_FLIGHT: ("in_flight", TargetPolicy(4.0)),
    Signal.UTILIZATION: ("utilization", UtilizationPolicy()),
    Signal.KV_CACHE: ("kv_cache", TargetPolicy(0.8)),
    Signal.TOKENS: ("tokens", TargetPolicy(1000.0)),
    Signal.LATENCY: ("latency", LatencyPolicy()),
    Signal.ERRORS: ("errors", ErrorsPolicy()),
    Signal.MEMORY: ("memory", MemoryPolicy()),
}


def only(*signals: Signal, **more: object) -> ScalingPolicy:
    """A policy of the defaults in which these signals are on and no other."""
    known = {
        name: replace(policy, enabled=signal in signals)  # type: ignore[type-var]
        for signal, (name, policy) in _SIGNALS.items()
    }
    return ScalingPolicy(**(known | more))  # type: ignore[arg-type]


def names(count: int) -> tuple[ReplicaId, ...]:
    """The first so many replicas of the pool."""
    return tuple(ReplicaId(f"llama-{number}") for number in range(1, count + 1))


def readings(
    pool: Mapping[Signal, float | None] | None = None,
    each: Mapping[Signal, Sequence[float | None]] = _NONE,
    *,
    last_s: float | None = None,
    now: datetime = START,
) -> PoolReadings:
    """Numbers of the pool and of its replicas in their order, a second old; what is None is not there.

    `last_s`: so many seconds ago the newest request came.
    """
    whole = {signal: reading(value, now=now) for signal, value in (pool or {}).items() if value is not None}
    parts = {
        signal: {
            name: reading(value, now=now)
            for name, value in zip(names(len(values)), values, strict=True)
            if value is not None
        }
        for signal, values in each.items()
    }
    last = UNKNOWN if last_s is None else reading((now - timedelta(seconds=last_s)).timestamp(), now=now)
    return PoolReadings(whole, parts, last)


def view(
    desired: int,
    seen: PoolReadings | None = None,
    *,
    ready: int | None = None,
    starting: int = 0,
    draining: int = 0,
    gpus: tuple[Gpu, ...] = (),
    **memory: object,
) -> PoolView:
    """A pool that has been watched for long, with all that it wants ready unless said."""
    known = PoolMemory(POOL, desired, **({"history_since": LONG_AGO} | memory))  # type: ignore[arg-type]
    serving = names(desired if ready is None else ready)
    return PoolView(known, serving, starting, draining, seen or PoolReadings(), gpus)


def node(name: str, silent_s: float | None = None, *, cordoned: bool = False, now: datetime = START) -> Node:
    """A node, whose engine has been silent for so long at `now` (None: it answers)."""
    since = None if silent_s is None else now - timedelta(seconds=silent_s)
    return Node(NodeName(name), since, cordoned=cordoned)


def order(kind: OrderKind, subject: str, at: datetime = START, why: str = "") -> Order:
    """What a person wants."""
    return Order(kind, subject, at, why)


def gpu(number: int, free_gib: float | None, now: datetime = START, node: str = "local", **more: object) -> Gpu:
    """A GPU with so much free memory; None: nobody knows."""
    free = UNKNOWN if free_gib is None else reading(free_gib * 1024**3, now=now)
    return Gpu(NodeName(node), f"GPU-{number}", free, **more)  # type: ignore[arg-type]


def report(number: int, now: datetime = START, node: str = "local", **more: object) -> GpuReport:
    """What the exporter of such a GPU said a second ago: all is well, unless said."""
    well: dict[str, object] = {"double_bit": 0, "remap_failed": False, "remap_pending": False}
    told = well | {"lost": False, "throttled": False} | more
    at = now - timedelta(seconds=1)
    return GpuReport(NodeName(node), f"GPU-{number}", at, **told)  # type: ignore[arg-type]
