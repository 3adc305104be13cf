"""What the controller may decide: the closed union of decisions, and `Plan`.

Every decision carries its reasons in the order in which they moved it, each with the numbers behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from controller.core.evaluation import Evaluation
from controller.core.model import (
    GatewayPlan,
    GpuMemory,
    NodeName,
    Order,
    PoolMemory,
    PoolName,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
)
from controller.core.reason import Reason as Reason
from controller.core.reason import ReasonCode as ReasonCode


@dataclass(frozen=True, slots=True)
class ScalePool:
    """The pool is to have `desired` replicas: a target, not a step."""

    kind: ClassVar[str] = "scale_pool"
    pool: PoolName
    current: int
    desired: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start this replica on this node and GPU, as this spec says; it joins nginx when it is ready."""

    kind: ClassVar[str] = "start_replica"
    pool: PoolName
    replica: ReplicaId
    reasons: tuple[Reason, ...]
    node: NodeName = NodeName("local")
    spec_hash: str = ""
    gpu: str = ""  # the UUID of the one that it gets; empty: none is named


@dataclass(frozen=True, slots=True)
class RecycleReplica:
    """A successor starts; once it serves, this one drains."""

    kind: ClassVar[str] = "recycle_replica"
    pool: PoolName
    replica: ReplicaId
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class DrainReplica:
    """Take it out of nginx; what it has in flight goes on."""

    kind: ClassVar[str] = "drain_replica"
    pool: PoolName
    replica: ReplicaId
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class TerminateReplica:
    """SIGTERM: it finishes what is in flight and exits."""

    kind: ClassVar[str] = "terminate_replica"
    pool: PoolName
    replica: ReplicaId
    reasons: tuple[Reason, ...]
    node: NodeName = NodeName("local")


@dataclass(frozen=True, slots=True)
class RemoveReplica:
    """Kill it if it still runs, and remove every trace. A request that waits for its first byte is tried elsewhere."""

    kind: ClassVar[str] = "remove_replica"
    pool: PoolName
    replica: ReplicaId
    reasons: tuple[Reason, ...]
    node: NodeName = NodeName("local")


Decision: TypeAlias = ScalePool | StartReplica | RecycleReplica | DrainReplica | TerminateReplica | RemoveReplica


@dataclass(frozen=True, slots=True)
class StateChange:
    """A replica went from one state to another. `was` is None for one that was not known before."""

    replica: ReplicaId
    pool: PoolName
    was: ReplicaState | None
    now: ReplicaState
    reason: Reason


@dataclass(frozen=True, slots=True)
class GpuChange:
    """A GPU was cordoned or released, or something about it wants watching."""

    uuid: str
    node: NodeName
    event: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Memory:
    """What is carried from tick to tick. GPUs go by their UUIDs."""

    pools: Mapping[PoolName, PoolMemory] = field(default_factory=dict)
    replicas: Mapping[ReplicaId, ReplicaMemory] = field(default_factory=dict)
    gpus: Mapping[str, GpuMemory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one tick wants. `gateway` is what nginx is to run.

    `standing` is why each pool has the count that it has, also in a tick that changes nothing; `evaluations` is how
    that came about, and has nothing of a pool that could not be evaluated. `fulfilled` are orders that hold no longer.
    """

    decisions: tuple[Decision, ...]
    gateway: GatewayPlan
    memory: Memory
    changes: tuple[StateChange, ...]
    standing: Mapping[PoolName, tuple[Reason, ...]] = field(default_factory=dict)
    fulfilled: tuple[Order, ...] = ()
    evaluations: Mapping[PoolName, Evaluation] = field(default_factory=dict)
    gpu_changes: tuple[GpuChange, ...] = ()
