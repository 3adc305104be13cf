"""Why: every reason there is. The same code labels the log line, the metric, the ledger's row and the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ReasonCode(StrEnum):
    """Every reason there is."""

    # the count of a pool
    ON_TARGET = "OnTarget"
    ABOVE_TARGET = "AboveTarget"
    BELOW_TARGET = "BelowTarget"
    NO_DATA = "NoData"
    UTILIZATION_ALONE = "UtilizationAlone"
    FORECAST = "Forecast"
    PENDING = "PendingReplicas"
    PANIC = "Panic"
    WARMING_UP = "WarmingUp"
    UP_STABILIZED = "ScaleUpStabilized"
    STABILIZED = "ScaleDownStabilized"
    RATE_LIMITED = "RateLimited"
    ONE_AT_A_TIME = "OneAtATime"
    SURVIVORS = "SurvivorsOverTarget"
    SIGNAL_UNKNOWN = "SignalUnknown"
    RECENTLY_USED = "RecentlyUsed"
    FIRST_REQUEST = "FirstRequest"
    SCHEDULED_FLOOR = "ScheduledFloor"
    NO_GPU_FITS = "NoGpuFits"
    AT_FLOOR = "AtFloor"
    AT_CEILING = "AtCeiling"
    PAUSED = "Paused"
    PAUSE_SET = "PauseSet"
    BOUNDS_SET = "BoundsSet"
    BOUNDS_REFUSED = "BoundsRefused"
    ADOPTED = "Adopted"
    # a replica that is recycled
    MEMORY_HIGH = "MemoryHigh"
    ERRORS_STAND_OUT = "ErrorsStandOut"
    ERRORS_EVERYWHERE = "ErrorsEverywhere"
    RECYCLE_HELD = "RecycleHeld"
    SUCCESSOR_READY = "SuccessorReady"
    SPEED_STANDS_OUT = "SpeedStandsOut"
    SPEC_CHANGED = "SpecChanged"
    ROLLED_BACK = "RolledBack"
    ORDERED = "Ordered"
    # a replica that is missing or too many
    BELOW_DESIRED = "BelowDesired"
    ABOVE_DESIRED = "AboveDesired"
    POOL_UNKNOWN = "PoolUnknown"
    RUNTIME_SILENT = "RuntimeSilent"
    SURGE_LIMITED = "SurgeLimited"
    BACKOFF = "CrashLoopBackoff"
    CRASH_LOOP = "CrashLoopQuarantine"
    FUSE_BLOWN = "FuseBlown"
    NO_NODE = "NoNode"
    GPU_PANIC = "GpuPanic"
    DUPLICATE = "Duplicate"
    # a replica's state
    PROBE_PASSED = "ProbePassed"
    PROBES_FAILED = "ProbesFailed"
    PROBE_FAILED = "ProbeFailed"
    STALLED = "Stalled"
    OUT_OF_MEMORY = "OutOfMemory"
    PANIC_THRESHOLD = "PanicThreshold"
    QUARANTINED = "Quarantined"
    ADDRESS_LOST = "AddressLost"
    LAUNCHER_FAILED = "LauncherFailed"
    LAUNCHER_DRAINING = "LauncherDraining"
    COLD_START_DEADLINE = "ColdStartDeadline"
    CONTAINER_EXITED = "ContainerExited"
    CONTAINER_STARTED = "ContainerStarted"
    NEVER_STARTED = "NeverStarted"
    # a GPU, and what it means for its replicas
    GPU_LOST = "GpuLost"
    GPU_FAULT = "GpuFault"
    GPU_HOT = "GpuHot"
    GPU_WATCHED = "GpuWatched"
    GPU_COOL = "GpuCool"
    GPU_CORDONED = "GpuCordoned"
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
