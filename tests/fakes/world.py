"""A small world in memory: containers that start, serve, hang and die, and the probes and metrics that tell of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.core.errors import MetricsUnavailable, RuntimeRejected, RuntimeUnavailable
from controller.core.model import (
    Address,
    Container,
    ContainerState,
    LauncherPhase,
    NodeName,
    PoolName,
    ProbeHistory,
    ProbeTarget,
    ReplicaId,
    Signal,
)
from controller.core.policy import Measure
from controller.ports import Clock, ReplicaSpec, Sample
from controller.reconcile.queries import (
    EDGE,
    ENGINE,
    GPU,
    GPU_FREE,
    GPU_FREE_AT,
    GPU_TOLD_AT,
    IN_FLIGHT,
    IN_FLIGHT_AT,
    LAST_REQUEST,
    LAUNCHER,
    NUMBERS,
    POOL_REQUESTS,
    REPLICA_ERRORS,
    REPLICA_REQUESTS,
    REPLICA_TOKENS,
)

LOCAL = NodeName("local")


@dataclass
class FakeReplica:
    """A replica in the fake runtime. `cold_start_s` after its start it is ready."""

    container: Container
    started_at: datetime
    cold_start_s: float
    hung: bool = False
    wedged: bool = False
    terminated: bool = False
    in_flight: int = 0
    last_token_at: datetime | None = None
    words: str = ""


class FakeRuntime:
    """See `ContainerRuntime`. A terminated replica exits once it has nothing in flight.

    Replicas of a spec in `broken` exit as soon as they are started.
    """

    def __init__(self, clock: Clock, cold_start_s: float = 2.0, node: NodeName = LOCAL) -> None:
        self.clock, self.cold_start_s, self.node = clock, cold_start_s, node
        self.broken: set[str] = set()
        self.specs: dict[ReplicaId, str] = {}  # of every one that was ever started
        self.replicas: dict[ReplicaId, FakeReplica] = {}
        self.down = False
        self.reject: str | None = None
        self.started: list[ReplicaId] = []
        self.removed: list[ReplicaId] = []
        self._on_event: Callable[[], None] | None = None
        self._port = 20000

    def list_replicas(self) -> tuple[Container, ...]:
        self._answer()
        return tuple(self._look(entry) for entry in self.replicas.values())

    def start_replica(self, spec: ReplicaSpec) -> None:
        self._answer()
        if self.reject is not None:
            raise RuntimeRejected(self.reject)
        known = self.replicas.get(spec.replica)
        if known is not None and self._look(known).state is ContainerState.RUNNING:
            return
        self._port += 2
        container = Container(
            replica=spec.replica,
            pool=spec.pool,
            node=self.node,
            spec_hash=spec.spec_hash,
            state=ContainerState.RUNNING,
            created_at=self.clock.now(),
            engine=Address("127.0.0.1", self._port),
            launcher=Address("127.0.0.1", self._port + 1),
            gpu=spec.gpu,
        )
        self.replicas[spec.replica] = FakeReplica(container, self.clock.now(), self.cold_start_s)
        self.started.append(spec.replica)
        self.specs[spec.replica] = spec.spec_hash
        if spec.spec_hash in self.broken:
            self.kill(spec.replica, 1)
        self._tell()

    def terminate_replica(self, replica: ReplicaId) -> None:
        self._answer()
        if replica in self.replicas:
            self.replicas[replica].terminated = True
            self._tell()

    def remove_replica(self, replica: ReplicaId) -> None:
        self._answer()
        if self.replicas.pop(replica, None) is not None:
            self.removed.append(replica)
            self._tell()

    def last_words(self, replica: ReplicaId) -> str:
        self._answer()
        return self.replicas[replica].words if replica in self.replicas else ""

    def watch(self, on_event: Callable[[], None]) -> None:
        self._on_event = on_event

    def close(self) -> None:
        self._on_event = None

    def kill(self, replica: ReplicaId, code: int = 137) -> None:
        """What `docker kill` does."""
        entry = self.replicas[replica]
        entry.container = replace(
            entry.container,
            state=ContainerState.EXITED,
            exit_code=code,
            detail=f"Exited ({code})",
            engine=None,
            launcher=None,
        )
        self._tell()

    def wedge(self, replica: ReplicaId) -> None:
        """It answers, has a request, and makes no token any more."""
        self.replicas[replica].wedged, self.replicas[replica].in_flight = True, 1

    def pause(self, replica: ReplicaId) -> None:
        """What `docker pause` does."""
        self.replicas[replica].hung = True

    def phase(self, entry: FakeReplica) -> LauncherPhase:
        """What its launcher would say."""
        if entry.terminated:
            return LauncherPhase.DRAINING
        age = (self.clock.now() - entry.started_at).total_seconds()
        return LauncherPhase.READY if age >= entry.cold_start_s else LauncherPhase.LOADING

    def _look(self, entry: FakeReplica) -> Container:
        if entry.terminated and not entry.hung and entry.in_flight == 0 and entry.container.exit_code is None:
            entry.container = replace(
                entry.container,
                state=ContainerState.EXITED,
                exit_code=0,
                detail="Exited (0)",
                engine=None,
                launcher=None,
            )
        return entry.container

    def _answer(self) -> None:
        if self.down:
            raise RuntimeUnavailable("the engine gave no answer")

    def _tell(self) -> None:
        if self._on_event is not None:
            self._on_event()


class FakeProber:
    """See `Prober`: one probe of each target for every second that passed, over the fake runtime."""

    def __init__(self, *runtimes: FakeRuntime) -> None:
        self._runtime, self._runtimes = runtimes[0], runtimes
        self._known: dict[ReplicaId, ProbeHistory] = {}

    def probe(self, targets: Sequence[ProbeTarget]) -> Mapping[ReplicaId, ProbeHistory]:
        now = self._runtime.clock.now()
        fresh: dict[ReplicaId, ProbeHistory] = {}
        for target in targets:
            before = self._known.get(target.replica)
            entry = self._find(target.replica)
            phase = self._runtime.phase(entry) if entry and not entry.hung else None
            ok = phase is LauncherPhase.READY
            passed = 1 if before is None else int((now - before.at).total_seconds() // target.interval_s)
            if before is not None and passed == 0:
                fresh[target.replica] = before
                continue
            in_a_row = before.in_a_row + passed if before is not None and before.ok == ok else max(passed, 1)
            in_flight = entry.in_flight if entry and phase else None
            detail = "" if ok else "no answer within 1 s" if phase is None else f"the launcher is {phase.value}"
            waiting = None if in_flight is None else 0
            token_at = _token_at(entry, now) if entry and phase is LauncherPhase.READY else None
            fresh[target.replica] = ProbeHistory(now, ok, in_a_row, detail, phase, in_flight, waiting, token_at)
        self._known = fresh
        return fresh

    def _find(self, replica: ReplicaId) -> FakeReplica | None:
        found = (runtime.replicas.get(replica) for runtime in self._runtimes)
        return next((entry for entry in found if entry is not None), None)

    def close(self) -> None:
        self._known = {}


def _token_at(entry: FakeReplica, now: datetime) -> datetime:
    """The newest token: the first one of its start, and one a moment ago while it works."""
    works = entry.in_flight > 0 and not entry.wedged
    entry.last_token_at = now if works or entry.last_token_at is None else entry.last_token_at
    return entry.last_token_at


_STATISTICS = ("mean", "p50", "p90", "p95", "p99")
_MANY_REQUESTS = 100.0  # of a replica whose errors are set
_POOL_NUMBERS = {"errors": Signal.ERRORS, "latency": Signal.LATENCY}
_REPLICA_NUMBERS = {
    "replica_in_flight": Signal.IN_FLIGHT,
    "utilization_cpu": Signal.UTILIZATION,
    "utilization_gpu": Signal.UTILIZATION,
    "kv_cache": Signal.KV_CACHE,
    "tokens": Signal.TOKENS,
    REPLICA_ERRORS: Signal.ERRORS,
    "memory_container": Signal.MEMORY,
    "memory_gpu": Signal.MEMORY,
    "memory_host": Signal.MEMORY,
}
_Numbers = Iterator[tuple[dict[str, str], float | None]]


class FakeMetrics:
    """See `MetricSource`: what Prometheus would answer to a `question`, and nothing that was not asked.

    What is not set is idle: the errors and the latency of every pool, and every signal, the requests and the tokens of
    the replicas that are ready in the runtime. What is set to None is unknown, as is a gateway or a last request that
    is not set. A replica whose errors are set has had requests enough to judge it by, and `tokens` follow the signal,
    unless they are set. `age_s` is how old everything is.
    """

    def __init__(self, clock: Clock, runtime: FakeRuntime | None = None) -> None:
        self._clock, self._runtime = clock, runtime
        self.down = False
        self.age_s = 1.0
        self.gateway: dict[PoolName, float] = {}  # requests that it holds open
        self.replicas: dict[tuple[PoolName, ReplicaId], float] = {}  # requests in flight and waiting
        self.pool: dict[tuple[PoolName, Signal], float | None] = {}
        self.replica: dict[tuple[PoolName, ReplicaId, Signal], float | None] = {}
        self.requests: dict[tuple[PoolName, ReplicaId], float | None] = {}  # that it was sent in the errors' window
        self.tokens: dict[tuple[PoolName, ReplicaId], float | None] = {}  # per second
        self.sent: dict[PoolName, float | None] = {}  # requests of a pool in that window
        self.last_request: dict[PoolName, datetime | None] = {}
        self.gpus: dict[tuple[NodeName, str], float] = {}  # free bytes by node and UUID
        self.signs: dict[tuple[NodeName, str], dict[str, float]] = {}  # what else is told of a GPU; "xid" is that event

    def query(self, promql: str) -> tuple[Sample, ...]:
        if self.down:
            raise MetricsUnavailable("Prometheus gave no answer")
        asked = set(re.findall(r"stoker[:_][\w:]+|DCGM_\w+", promql))
        found = [*self._direct(), *self._ages(), *self._recorded()]
        now = self._clock.now()
        return tuple(
            Sample(labels, value, now)
            for labels, value in found
            if value is not None and (labels.get("__name__", "") in asked or "signal" in labels)
        )

    def _direct(self) -> _Numbers:
        measured = self._clock.now().timestamp() - self.age_s
        for pool in self._pools():
            yield {"signal": IN_FLIGHT, "pool": pool}, self.pool.get((pool, Signal.IN_FLIGHT), self.gateway.get(pool))
            yield {"signal": IN_FLIGHT_AT, "pool": pool}, measured
        for (node, uuid), free_bytes in self.gpus.items():
            yield {"signal": GPU_FREE, "node": node, "UUID": uuid}, free_bytes / 1024**2
            yield {"signal": GPU_FREE_AT, "node": node, "UUID": uuid}, measured
        for (node, uuid), told in self.signs.items():
            yield {"signal": GPU_TOLD_AT, "node": node, "UUID": uuid}, measured
            for name, value in told.items():
                named = {"xid": name.removeprefix("xid")} if name.startswith("xid") else {}
                series = "stoker_gpu_xid_events_total" if named else name
                yield {"__name__": series, "node": node, "UUID": uuid, "modelName": "NVIDIA H200", **named}, value

    def _ages(self) -> _Numbers:
        measured = self._clock.now().timestamp() - self.age_s
        yield {"__name__": EDGE}, measured
        for pool, replica in self._living():
            for source in (ENGINE, LAUNCHER, GPU):
                yield {"__name__": source, "pool": pool, "replica": replica}, measured

    def _recorded(self) -> _Numbers:
        for name, number in NUMBERS.items():
            first, *others = number.series
            for labels, value in self._number(name):
                yield {"__name__": first, **labels}, value
                for other in others:
                    yield {"__name__": other, **labels}, 0.0

    def _number(self, name: str) -> _Numbers:
        """None is unknown."""
        if name == LAST_REQUEST:
            for pool, at in self.last_request.items():
                yield {"pool": pool}, at.timestamp() if at else None
        elif name == POOL_REQUESTS:
            for pool in self._pools():
                failing = self.pool.get((pool, Signal.ERRORS))
                yield {"pool": pool}, self.sent.get(pool, _MANY_REQUESTS if failing else 0.0)
        elif name in (REPLICA_REQUESTS, REPLICA_TOKENS):
            for pool, replica in self._living():
                told = self._requests if name == REPLICA_REQUESTS else self._tokens
                yield {"pool": pool, "replica": replica}, told(pool, replica)
        elif signal := _REPLICA_NUMBERS.get(name):
            for pool, replica in self._living():
                idle = self.replicas.get((pool, replica), 0.0) if signal is Signal.IN_FLIGHT else 0.0
                yield {"pool": pool, "replica": replica}, self.replica.get((pool, replica, signal), idle)
        else:
            yield from self._of_pools(_POOL_NUMBERS[name])

    def _requests(self, pool: PoolName, replica: ReplicaId) -> float | None:
        failing = self.replica.get((pool, replica, Signal.ERRORS))
        return self.requests.get((pool, replica), _MANY_REQUESTS if failing else 0.0)

    def _tokens(self, pool: PoolName, replica: ReplicaId) -> float | None:
        return self.tokens.get((pool, replica), self.replica.get((pool, replica, Signal.TOKENS), 0.0))

    def _of_pools(self, signal: Signal) -> _Numbers:
        kinds: list[dict[str, str]] = [{}]
        if signal is Signal.LATENCY:
            kinds = [{"measure": measure.value, "statistic": name} for measure in Measure for name in _STATISTICS]
        for pool in self._pools():
            for kind in kinds:
                yield {"pool": pool, **kind}, self.pool.get((pool, signal), 0.0)

    def _pools(self) -> list[PoolName]:
        set_for = [*self.gateway, *self.last_request, *(pool for pool, _ in self.pool)]
        return sorted({*set_for, *(pool for pool, _ in self._living())})

    def _living(self) -> list[tuple[PoolName, ReplicaId]]:
        """Those that can be scraped: ready in the runtime, or told of by the test."""
        told = {*self.replicas, *self.requests, *self.tokens, *((pool, replica) for pool, replica, _ in self.replica)}
        if self._runtime is not None:
            entries = self._runtime.replicas.items()
            told |= {(entry.container.pool, name) for name, entry in entries if self._ready(entry)}
        return sorted(told)

    def _ready(self, entry: FakeReplica) -> bool:
        assert self._runtime is not None
        running = entry.container.state is ContainerState.RUNNING
        return running and not entry.hung and self._runtime.phase(entry) is LauncherPhase.READY
