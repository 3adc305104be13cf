"""What a plan says of the GPUs, as the controller's own metrics have it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from controller.core.decision import Plan
from controller.core.gpus import cordons
from controller.core.model import Snapshot
from controller.ports import TickReport


def with_gpus(report: TickReport, snapshot: Snapshot, plan: Plan) -> TickReport:
    """The report with the GPUs that are cordoned, each with its node and why, and with how many each pool holds."""
    found = cordons(plan.memory.gpus, snapshot.orders)
    nodes = {uuid: known.node for uuid, known in plan.memory.gpus.items()}
    cordoned = frozenset((nodes.get(uuid, ""), uuid, cordon.code) for uuid, cordon in found.items())
    held = {(item.container.pool, item.container.gpu) for item in snapshot.replicas if item.container.gpu}
    return replace(report, cordoned=cordoned, gpus=Counter(pool for pool, _ in held))
