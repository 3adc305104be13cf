"""A runtime, an nginx and replicas that do what each plan says: for timelines over many ticks.

It also keeps the promises that no plan may break, whatever the timeline is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controller.core.decision import (
    Decision,
    DrainReplica,
    Memory,
    Plan,
    RecycleReplica,
    RemoveReplica,
    ScalePool,
    StartReplica,
    TerminateReplica,
)
from controller.core.model import (
    Container,
    ContainerState,
    Node,
    NodeName,
    Order,
    OrderKind,
    PoolMemory,
    PoolReadings,
    ProbeHistory,
    Replica,
    ReplicaId,
    ReplicaState,
    Signal,
    Snapshot,
)
from controller.core.planner import plan
from controller.core.policy import HealthPolicy, PoolPolicy, RolloutPolicy
from controller.core.reason import ReasonCode
from tests.fakes.clock import FakeClock
from tests.unit.core.build import POOL, container, only, probe, reading

START_S = 3.0  # from the container to its first passed probe
_SHORT = {
    StartReplica: "+",
    DrainReplica: "drain ",
    RecycleReplica: "retire ",
    TerminateReplica: "term ",
    RemoveReplica: "-",
}


def policy_of(
    count: int, *, spec: str = "", health: HealthPolicy | None = None, rollout: RolloutPolicy | None = None
) -> PoolPolicy:
    """So many replicas, neither more nor fewer."""
    scaling = only(Signal.IN_FLIGHT, floor=count, ceiling=count)
    return PoolPolicy(
        POOL, "llama", scaling, health or HealthPolicy(), rollout=rollout or RolloutPolicy(), spec_hash=spec
    )


@dataclass
class Play:
    """The world. Each set names replicas, nodes or specs that are special.

    hung: their probes fail. broken: specs of which every start exits. silent: nodes whose engine gives no answer, since
    when; back: those that answer again. dead: nodes that are gone altogether. sticky: replicas that a removal does not
    get rid of. errors: the share of failed requests by spec. full: those whose memory is.
    """

    policy: PoolPolicy
    nodes: Sequence[str] = ("local",)
    clock: FakeClock = field(default_factory=FakeClock)
    hung: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    silent: dict[str, datetime] = field(default_factory=dict)
    back: dict[str, datetime] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    cordoned: set[str] = field(default_factory=set)
    sticky: set[str] = field(default_factory=set)
    errors: dict[str, float] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    orders: list[Order] = field(default_factory=list)
    duplicates: list[Container] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.probes: dict[str, ProbeHistory] = {}
        self.routed: frozenset[ReplicaId] = frozenset()
        self.made = Plan((), plan(self._snapshot(), ()).gateway, self.memory, ())

    @property
    def now(self) -> datetime:
        """The time of the last tick."""
        return self.clock.now()

    @property
    def pool(self) -> PoolMemory:
        """What is remembered of the pool."""
        return self.memory.pools[POOL]

    @property
    def up(self) -> list[str]:
        """Every replica that is in nginx."""
        return sorted(self.routed, key=lambda name: int(name.rpartition("-")[2]))

    def specs(self) -> list[str]:
        """Those of what is in nginx, by the replicas' numbers."""
        return [self.containers[name].spec_hash for name in self.up]

    def states(self) -> dict[str, ReplicaState]:
        """By name."""
        return {name: known.state for name, known in self.memory.replicas.items()}

    def standing(self) -> list[ReasonCode]:
        """What is said of the pool."""
        return [reason.code for reason in self.made.standing.get(POOL, ())]

    def said(self, code: ReasonCode) -> str:
        """The sentence of that code, or nothing."""
        return next((reason.text for reason in self.made.standing.get(POOL, ()) if reason.code is code), "")

    def reasons(self, prefix: str) -> list[ReasonCode]:
        """Why the decisions of that kind (in short) were taken in the last tick."""
        return [item.reasons[0].code for item in self.made.decisions if short(item).startswith(prefix)]

    def serving(self) -> Play:
        """It has come up; the first line of nearly every timeline."""
        self.until(lambda: len(self.up) == self.policy.scaling.floor)
        self.tick(60)
        return self

    def give(self, kind: OrderKind, subject: str, why: str = "") -> None:
        """An order of now."""
        self.orders.append(Order(kind, subject, self.now, why))

    def hush(self, *names: str) -> None:
        """The engines of these nodes give no answer from now on."""
        self.silent |= dict.fromkeys(names, self.now)

    def wake(self, *names: str) -> None:
        """They answer again, and what runs on them serves."""
        for name in names:
            del self.silent[name]
            self.back[name] = self.now
            self.dead.discard(name)

    def kill(self, name: str, exit_code: int = 137) -> None:
        """Its container stops."""
        known = self.containers[name]
        detail = f"Exited ({exit_code})"
        self.containers[known.replica] = replace(known, state=ContainerState.EXITED, exit_code=exit_code, detail=detail)

    def new_controller(self) -> None:
        """It knows what was written down, and nothing else."""
        watched = {
            "history_since": None,
            "recommended": (),
            "counts": (),
            "over_since": {},
            "panic_until": None,
            "demand": (),
            "shadow": None,
        }
        pools = {name: known.but(**watched) for name, known in self.memory.pools.items()}
        replicas = {name: replace(known, holds=None, busy=None) for name, known in self.memory.replicas.items()}
        self.memory = Memory(pools, replicas)

    def tick(self, seconds: float = 1.0) -> list[str]:
        """One tick, that many seconds after the last one; what it decided, in short."""
        self.clock.advance(seconds)
        self._probe()
        seen = self._snapshot()
        self.made = plan(seen, (self.policy,))
        self._check(seen)
        for decision in self.made.decisions:
            self._do(decision)
        gone = [name for name in self.made.memory.replicas if name not in self.containers]
        kept = {name: known for name, known in self.made.memory.replicas.items() if name not in gone}
        self.memory = Memory(self.made.memory.pools, kept)
        self.routed = self.made.gateway.replicas()
        self.orders = [order for order in self.orders if order not in self.made.fulfilled]
        return [short(item) for item in self.made.decisions if not isinstance(item, ScalePool)]

    def run(self, seconds: int, at_least: int | None = None) -> list[str]:
        """A tick each second; all that was decided, one string for each tick that decided anything.

        `at_least` replicas are in nginx at the end of each tick.
        """
        told: list[str] = []
        for _ in range(seconds):
            decided = self.tick()
            if decided:
                told.append(", ".join(decided))
            if at_least is not None:
                assert len(self.up) >= at_least, (self.up, told)
        return told

    def until(self, done: Callable[[], bool], most: int = 600) -> list[str]:
        """Ticks until `done()`; all that was decided meanwhile."""
        told: list[str] = []
        for _ in range(most):
            told += self.run(1)
            if done():
                return told
        raise AssertionError(f"it never came to that; {self.states()}, {told}")

    def _probe(self) -> None:
        for name, known in self.containers.items():
            if known.state is not ContainerState.RUNNING:
                self.probes.pop(name, None)
                continue
            young = (self.now - known.created_at).total_seconds() < START_S
            if known.spec_hash in self.broken and not young:
                self.kill(name, 1)
                self.probes.pop(name, None)
                continue
            ok = not young and name not in self.hung and known.node not in self.dead
            before = self.probes.get(name)
            in_a_row = before.in_a_row + 1 if before is not None and before.ok == ok else 1
            self.probes[name] = probe(ok, in_a_row, self.now)

    def _snapshot(self) -> Snapshot:
        replicas = [
            Replica(known, self.probes.get(name), self.memory.replicas.get(name), name in self.routed)
            for name, known in self.containers.items()
        ]
        each = {
            name: self.errors.get(known.spec_hash, 0.0)
            for name, known in self.containers.items()
            if name in self.routed
        }
        errors = {name: reading(value, now=self.now) for name, value in each.items()}
        full = {
            known.replica: reading(0.95, now=self.now) for name, known in self.containers.items() if name in self.full
        }
        each_of = {Signal.ERRORS: errors, Signal.MEMORY: full}
        seen = PoolReadings({Signal.IN_FLIGHT: reading(1, now=self.now)}, each_of)
        nodes = tuple(
            Node(NodeName(name), self.silent.get(name), self.back.get(name), name in self.cordoned)
            for name in self.nodes
        )
        return Snapshot(
            self.now,
            1,
            tuple(replicas),
            self.memory.pools,
            {POOL: seen},
            nodes=nodes,
            duplicates=tuple(self.duplicates),
            orders=tuple(self.orders),
        )

    def _check(self, seen: Snapshot) -> None:
        """What holds of every plan."""
        nodes = {known.name: known for known in seen.nodes}
        where = {item.container.replica: item.container.node for item in seen.replicas}
        for item in self.made.decisions:
            assert item.reasons
            if isinstance(item, ScalePool):
                continue
            target = nodes[where[item.replica] if not isinstance(item, StartReplica) else item.node]
            if not (isinstance(item, RemoveReplica) and item.reasons[0].code is ReasonCode.DUPLICATE):
                assert target.silent_since is None, f"{short(item)} on {target.name}, which gives no answer"
            if isinstance(item, StartReplica):
                assert not target.cordoned
            if isinstance(item, RemoveReplica | TerminateReplica) and item.reasons[0].code is not ReasonCode.DUPLICATE:
                assert item.replica not in self.routed, f"{short(item)} while it is in nginx"

    def _do(self, decision: Decision) -> None:
        if isinstance(decision, StartReplica):
            spec = decision.spec_hash or "abc"
            self.containers[decision.replica] = container(
                decision.replica, node=decision.node, spec_hash=spec, created_at=self.now
            )
        elif isinstance(decision, TerminateReplica):
            self.kill(decision.replica, 0)
        elif isinstance(decision, RemoveReplica) and decision.reasons[0].code is ReasonCode.DUPLICATE:
            self.duplicates = [known for known in self.duplicates if known.replica != decision.replica]
        elif isinstance(decision, RemoveReplica) and decision.replica not in self.sticky:
            del self.containers[decision.replica]
            self.probes.pop(decision.replica, None)


def short(decision: Decision) -> str:
    """A sign and the replica's number: +4 starts, -4 is removed."""
    if isinstance(decision, ScalePool):
        return f"scale {decision.current}->{decision.desired}"
    number = decision.replica.rpartition("-")[2]
    where = f"@{decision.node}" if isinstance(decision, StartReplica) and decision.node != NodeName("local") else ""
    return f"{_SHORT[type(decision)]}{number}{where}"


def after(seconds: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=seconds)
