"""What a plan says of the GPUs, as the controller's own metrics have it."""

from __future__ import annotations

from dataclasses import replace

from controller.core.decision import Plan
from controller.core.gpus import cordons
from controller.core.model import Snapshot
from controller.ports import TickReport


def with_gpus(report: TickReport, snapshot: Snapshot, plan: Plan) -> TickReport:
    """The report with the GPUs that are cordoned, each with its node and why."""
    found = cordons(plan.memory.gpus, snapshot.orders)
    nodes = {uuid: known.node for uuid, known in plan.memory.gpus.items()}
    cordoned = frozenset((nodes.get(uuid, ""), uuid, cordon.code) for uuid, cordon in found.items())
    return replace(report, cordoned=cordoned)
