"""What the controller may decide, and why: the closed union of decisions, `Reason`, and `Plan`.

Every decision carries its reasons in the order in which they moved it, each with the numbers behind it. The same
code labels the log line, the metric, the ledger's row and the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, TypeAlias

from controller.core.model import (
    GatewayPlan,
    PoolMemory,
    PoolName,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
)


class ReasonCode(StrEnum):
    """Every reason there is."""

    # the count of a pool
    ON_TARGET = "OnTarget"
    ABOVE_TARGET = "AboveTarget"
    BELOW_TARGET = "BelowTarget"
    NO_DATA = "NoData"
    PARTIAL_DATA = "PartialData"
    WARMING_UP = "WarmingUp"
    STABILIZED = "ScaleDownStabilized"
    ONE_AT_A_TIME = "OneAtATime"
    AT_FLOOR = "AtFloor"
    AT_CEILING = "AtCeiling"
    ADOPTED = "Adopted"
    # a replica that is missing or too many
    BELOW_DESIRED = "BelowDesired"
    ABOVE_DESIRED = "AboveDesired"
    POOL_UNKNOWN = "PoolUnknown"
    RUNTIME_SILENT = "RuntimeSilent"
    SURGE_LIMITED = "SurgeLimited"
    BACKOFF = "CrashLoopBackoff"
    # a replica's state
    PROBE_PASSED = "ProbePassed"
    PROBES_FAILED = "ProbesFailed"
    ADDRESS_LOST = "AddressLost"
    LAUNCHER_FAILED = "LauncherFailed"
    LAUNCHER_DRAINING = "LauncherDraining"
    COLD_START_DEADLINE = "ColdStartDeadline"
    CONTAINER_EXITED = "ContainerExited"
    CONTAINER_STARTED = "ContainerStarted"
    NEVER_STARTED = "NeverStarted"
    # the way out
    LEFT_GATEWAY = "LeftGateway"
    DRAINED = "Drained"
    DRAIN_DEADLINE = "DrainDeadline"


@dataclass(frozen=True, slots=True)
class Reason:
    """One step of the why: a code, a sentence, and the numbers in it by name (units in the names)."""

    code: ReasonCode
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


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
    """Start this replica; it joins nginx when it is ready."""

    kind: ClassVar[str] = "start_replica"
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


@dataclass(frozen=True, slots=True)
class RemoveReplica:
    """Kill it if it still runs, and remove every trace. A request that waits for its first byte is tried elsewhere."""

    kind: ClassVar[str] = "remove_replica"
    pool: PoolName
    replica: ReplicaId
    reasons: tuple[Reason, ...]


Decision: TypeAlias = ScalePool | StartReplica | DrainReplica | TerminateReplica | RemoveReplica


@dataclass(frozen=True, slots=True)
class StateChange:
    """A replica went from one state to another. `was` is None for one that was not known before."""

    replica: ReplicaId
    pool: PoolName
    was: ReplicaState | None
    now: ReplicaState
    reason: Reason


@dataclass(frozen=True, slots=True)
class Memory:
    """What is carried from tick to tick."""

    pools: Mapping[PoolName, PoolMemory] = field(default_factory=dict)
    replicas: Mapping[ReplicaId, ReplicaMemory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one tick wants. `gateway` is what nginx is to run.

    `standing` is why each pool has the count that it has, also in a tick that changes nothing.
    """

    decisions: tuple[Decision, ...]
    gateway: GatewayPlan
    memory: Memory
    changes: tuple[StateChange, ...]
    standing: Mapping[PoolName, tuple[Reason, ...]] = field(default_factory=dict)
