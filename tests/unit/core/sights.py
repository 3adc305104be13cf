"""What a tick sees and wants, made up for the alarms: a pool whose three replicas serve, and what differs from that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controller.core.alarm import Alarm, Severity, Standing
from controller.core.alarms import Board, Sight, watch
from controller.core.decision import Memory, Plan, Reason, ReasonCode
from controller.core.evaluation import Evaluation
from controller.core.gateways import GatewayReport, GatewayStatus
from controller.core.model import (
    Cordon,
    GatewayPlan,
    GpuMemory,
    Known,
    Node,
    NodeName,
    PoolMemory,
    PoolReadings,
    ReplicaMemory,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.policy import Mode, PoolPolicy, ScalingPolicy
from controller.core.votes import PoolView, Vote
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, readings

POLICY = PoolPolicy(POOL, "llama", ScalingPolicy(floor=3, ceiling=6))
READY = ReplicaState.READY


@dataclass(frozen=True)
class Look:
    """One tick. What is not said is well: three replicas serve, idle, and everything is known."""

    states: Sequence[ReplicaState] = (READY, READY, READY)
    pool: dict[Signal, float | None] = field(default_factory=dict)
    each: dict[Signal, Sequence[float | None]] = field(default_factory=dict)
    sent: float | None = 100.0
    reasons: Sequence[ReasonCode] = ()
    wanted: int = 3
    desired: int = 3
    silent: Sequence[str] = ()  # of the nodes one and two
    metrics: bool = True
    age_s: float = 0.0  # of what starts
    evaluated: bool = True
    cordoned: bool = False
    refused: bool = False
    lag_s: float = 0.0
    certificate_s: float | None = None

    def at(self, now: datetime) -> Sight:
        """As it is then."""
        known = {item.replica: item for item in self._replicas(now)}
        nodes = tuple(Node(NodeName(name), now if name in self.silent else None) for name in ("one", "two"))
        unknown = () if self.metrics else ("metrics",)
        seen = {POOL: self._readings(now)} if self.metrics else {}
        gpus = (
            {"GPU-1": GpuMemory("GPU-1", NodeName("one"), Cordon(now, "GpuFault", "XID 79"))} if self.cordoned else {}
        )
        plan = Plan(
            (),
            GatewayPlan(),
            Memory({POOL: PoolMemory(POOL, self.desired, cold_start_s=12)}, known, gpus),
            (),
            {POOL: tuple(Reason(code, "because") for code in self.reasons)},
            evaluations={POOL: self._evaluation(now)} if self.evaluated else {},
        )
        snapshot = Snapshot(now, 1, (), {}, seen, unknown, nodes=nodes)
        ends = {"gateway": now + timedelta(seconds=self.certificate_s)} if self.certificate_s is not None else {}
        other = GatewayStatus(GatewayReport("edge-2", "1"), now, now - timedelta(seconds=self.lag_s))
        return Sight(snapshot, plan, self.refused, ends, (other,))

    def _replicas(self, now: datetime) -> list[ReplicaMemory]:
        made = now - timedelta(seconds=self.age_s)
        return [
            memory(f"llama-{number}", state, now, node=NodeName("one" if number < 3 else "two"), created_at=made)
            for number, state in enumerate(self.states, start=1)
        ]

    def _readings(self, now: datetime) -> PoolReadings:
        count = len(self.states)
        pool = {Signal.IN_FLIGHT: 0.0, Signal.LATENCY: 0.1, Signal.ERRORS: 0.0} | self.pool
        each = {signal: [0.0] * count for signal in (Signal.IN_FLIGHT, Signal.UTILIZATION, Signal.MEMORY)} | self.each
        sent = readings({Signal.ERRORS: self.sent}, now=now).pool
        found = readings(pool, each, now=now)
        return replace(found, sent=sent[Signal.ERRORS]) if sent else found

    def _evaluation(self, now: datetime) -> Evaluation:
        votes = (
            Vote(Signal.IN_FLIGHT, Known.VALUE, 4.0, wanted=self.wanted),
            Vote(Signal.LATENCY, Known.UNKNOWN, 0.5),
        )
        view = PoolView(PoolMemory(POOL, self.desired))
        return Evaluation(POOL, now, view, POLICY.scaling, Mode.ACTIVE, votes, (), self.desired)


WELL = Look()


class Timeline:
    """Ticks a second apart; what stands is kept, as the controller keeps it."""

    def __init__(self, policy: PoolPolicy = POLICY) -> None:
        self.now, self.board, self._policy = START, Board(), policy

    def see(self, look: Look | Callable[[datetime], Sight], seconds: float = 0, every_s: float = 1.0) -> Timeline:
        """A tick now, and then for so long."""
        make = look.at if isinstance(look, Look) else look
        self.board = watch(self.board, make(self.now), [self._policy])
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(self.now + timedelta(seconds=every_s), end)
            self.board = watch(self.board, make(self.now), [self._policy])
        return self

    def later(self, seconds: float) -> Timeline:
        """Nothing is looked at meanwhile."""
        self.now += timedelta(seconds=seconds)
        return self

    def restart(self) -> Timeline:
        """A new controller: it knows of what fires, and of nothing that is pending."""
        kept = {key: alarm for key, alarm in self.board.alarms.items() if alarm.standing is Standing.FIRING}
        self.board = Board(kept)
        return self

    def of(self, name: str) -> list[Alarm]:
        """Those of that name, however they stand."""
        return [alarm for alarm in self.board.alarms.values() if alarm.finding.name == name]

    def firing(self, name: str | None = None) -> list[Alarm]:
        """Those that fire."""
        fire = [alarm for alarm in self.board.alarms.values() if alarm.standing is Standing.FIRING]
        return [alarm for alarm in fire if name in (None, alarm.finding.name)]


@dataclass(frozen=True)
class Case:
    """An alert: how it comes about and how it nearly does, and what it is then. `blind`: nobody can tell."""

    name: str
    on: Look
    near: Look
    labels: dict[str, str]
    lasts_s: float = 0
    keeps_s: float = 0
    severity: Severity = Severity.WARNING
    blind: Look | None = None
