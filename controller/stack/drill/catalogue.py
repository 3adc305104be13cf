"""Which fault is which."""

from __future__ import annotations

from collections.abc import Mapping

from controller.stack.drill.facts import Fault
from controller.stack.drill.injuries import ExitOnStart, Freeze, Kill, Oom, Slow, Wedge
from controller.stack.drill.injuries_parts import DiskFull, EngineDown, HideMetrics, LostNode
from controller.stack.drill.injury import Injury

INJURIES: Mapping[Fault, type[Injury]] = {
    Fault.KILL: Kill,
    Fault.FREEZE: Freeze,
    Fault.SLOW: Slow,
    Fault.WEDGE: Wedge,
    Fault.OOM: Oom,
    Fault.EXIT_ON_START: ExitOnStart,
    Fault.HIDE_METRICS: HideMetrics,
    Fault.ENGINE_DOWN: EngineDown,
    Fault.DISK_FULL: DiskFull,
    Fault.LOST_NODE: LostNode,
}
