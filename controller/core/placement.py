"""Which replica goes when a pool shrinks."""

from __future__ import annotations

from collections.abc import Sequence

from controller.core.model import Replica, ReplicaMemory, ReplicaState


def choose_victim(candidates: Sequence[tuple[Replica, ReplicaMemory]]) -> tuple[ReplicaMemory, str]:
    """The replica to drain, and why it rather than the others.

    One that still starts goes first (it serves nobody), then the one with the least in flight, then the youngest,
    whose cache is the coldest. An unknown count stands for many. `candidates` must not be empty.
    """

    def cost(item: tuple[Replica, ReplicaMemory]) -> tuple[bool, float, float]:
        replica, memory = item
        return memory.state is not ReplicaState.STARTING, in_flight(replica), -memory.created_at.timestamp()

    replica, memory = min(candidates, key=cost)
    if memory.state is ReplicaState.STARTING:
        return memory, "it still starts and serves nobody"
    held = in_flight(replica)
    return memory, "nobody's count is known and it is the youngest" if held == float(
        "inf"
    ) else f"it has {held:g} in flight"


def in_flight(replica: Replica) -> float:
    """Requests that the replica holds, computed and waiting; infinity where it did not say."""
    probe = replica.probe
    if probe is None or probe.in_flight is None:
        return float("inf")
    return probe.in_flight + (probe.waiting or 0)
