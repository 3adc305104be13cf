"""A small world in memory: containers that start, serve, hang and die, and the probes and metrics that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
)
from controller.ports import Clock, ReplicaSpec, Sample


@dataclass
class FakeReplica:
    """A replica in the fake runtime. `cold_start_s` after its start it is ready."""

    container: Container
    started_at: datetime
    cold_start_s: float
    hung: bool = False
    terminated: bool = False
    in_flight: int = 0


class FakeRuntime:
    """See `ContainerRuntime`. A terminated replica exits once it has nothing in flight."""

    def __init__(self, clock: Clock, cold_start_s: float = 2.0) -> None:
        self.clock, self.cold_start_s = clock, cold_start_s
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
            node=NodeName("local"),
            spec_hash=spec.spec_hash,
            state=ContainerState.RUNNING,
            created_at=self.clock.now(),
            engine=Address("127.0.0.1", self._port),
            launcher=Address("127.0.0.1", self._port + 1),
        )
        self.replicas[spec.replica] = FakeReplica(container, self.clock.now(), self.cold_start_s)
        self.started.append(spec.replica)
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

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime
        self._known: dict[ReplicaId, ProbeHistory] = {}

    def probe(self, targets: Sequence[ProbeTarget]) -> Mapping[ReplicaId, ProbeHistory]:
        now = self._runtime.clock.now()
        fresh: dict[ReplicaId, ProbeHistory] = {}
        for target in targets:
            before = self._known.get(target.replica)
            entry = self._runtime.replicas.get(target.replica)
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
            fresh[target.replica] = ProbeHistory(now, ok, in_a_row, detail, phase, in_flight, waiting)
        self._known = fresh
        return fresh

    def close(self) -> None:
        self._known = {}


class FakeMetrics:
    """See `MetricSource`: what the gateway and the replicas hold, as Prometheus would tell it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.down = False
        self.gateway: dict[PoolName, float] = {}
        self.replicas: dict[tuple[PoolName, ReplicaId], float] = {}
        self.age_s = 1.0

    def query(self, promql: str) -> tuple[Sample, ...]:
        if self.down:
            raise MetricsUnavailable("Prometheus gave no answer")
        now = self._clock.now()
        measured = now.timestamp() - self.age_s
        samples = []
        for pool, value in self.gateway.items():
            samples.append(Sample({"signal": "value:gateway", "pool": pool}, value, now))
            samples.append(Sample({"signal": "time:gateway", "pool": pool}, measured, now))
        for (pool, replica), value in self.replicas.items():
            labels = {"pool": pool, "replica": replica}
            samples.append(Sample({"signal": "value:replica", **labels}, value, now))
            samples.append(Sample({"signal": "time:replica", **labels}, measured, now))
        return tuple(samples)
