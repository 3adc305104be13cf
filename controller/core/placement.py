"""On which node a replica starts, and which replica goes when a pool shrinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.core.health import PASSIVE
from controller.core.model import Node, NodeName, PoolName, Replica, ReplicaMemory, ReplicaState
from controller.core.reason import Reason, ReasonCode

_GONE = (ReplicaState.STOPPED,)


@dataclass(frozen=True, slots=True)
class Places:
    """The nodes, and how many replicas each has: of every pool, and of each."""

    nodes: tuple[Node, ...]
    held: Counter[NodeName]
    of_pool: Counter[tuple[PoolName, NodeName]]

    @staticmethod
    def of(nodes: tuple[Node, ...], memories: Iterable[ReplicaMemory]) -> Places:
        """Those that stand there now."""
        there = [known for known in memories if known.state not in _GONE]
        held = Counter(known.node for known in there)
        return Places(nodes, held, Counter((known.pool, known.node) for known in there))


def taken(places: Places, pool: PoolName, nodes: Iterable[NodeName]) -> Places:
    """With one more of the pool on each of these."""
    added = list(nodes)
    held, mine = places.held + Counter(added), places.of_pool + Counter((pool, node) for node in added)
    return Places(places.nodes, held, mine)


def choose_nodes(places: Places, pool: PoolName, count: int) -> tuple[NodeName, ...]:
    """A node for each of so many replicas; fewer or none where no node can take one.

    The node with the fewest of the pool, so that the loss of one takes the fewest; then the one with the fewest in all.
    """
    usable = [node.name for node in places.nodes if why_not(node) is None]
    if not usable:
        return ()
    mine, all_of = Counter(places.of_pool), Counter(places.held)
    found: list[NodeName] = []
    for _ in range(count):
        name = min(usable, key=lambda node: (mine[pool, node], all_of[node], node))
        mine[pool, name] += 1
        all_of[name] += 1
        found.append(name)
    return tuple(found)


def why_not(node: Node) -> str | None:
    """Why nothing starts on it; None: it may."""
    if node.silent_since is not None:
        return f"the engine of {node.name} gives no answer"
    return f"{node.name} is cordoned" if node.cordoned else None


def nowhere(places: Places, now: datetime) -> Reason:
    """No node can take a replica, and why each cannot."""
    text = "; ".join(text for node in places.nodes if (text := why_not(node)))
    silent = [node.silent_since for node in places.nodes if node.silent_since is not None]
    numbers = {"nodes": float(len(places.nodes))}
    if silent:
        numbers["silent_s"] = round((now - min(silent)).total_seconds(), 3)
    return Reason(ReasonCode.NO_NODE, f"no node can take a replica: {text}", numbers)


def choose_victim(candidates: Sequence[tuple[Replica, ReplicaMemory]], spec: str = "") -> tuple[ReplicaMemory, str]:
    """The replica to drain, and why it rather than the others.

    One of another spec than the wanted one goes first, then one that serves nobody (it still starts, or is suspect and
    has left nginx). Of several nodes then the youngest on the one with the most, so that one that was lost and is back
    keeps its share. Of one node the one with the least in flight, then the youngest, whose cache is the coldest. An
    unknown count stands for many. `candidates` must not be empty.
    """
    crowds = Counter(memory.node for _, memory in candidates)

    def cost(item: tuple[Replica, ReplicaMemory]) -> tuple[bool, bool, int, float, float]:
        replica, memory = item
        outdated = bool(spec) and memory.spec_hash != spec
        idle = memory.state is ReplicaState.STARTING or _ejected(memory)
        held, age = in_flight(replica), -memory.created_at.timestamp()
        last = (held, age) if len(crowds) == 1 else (age, held)
        return not outdated, not idle, -crowds[memory.node], *last

    replica, memory = min(candidates, key=cost)
    return memory, _because(replica, memory, spec, crowds)


def _because(replica: Replica, memory: ReplicaMemory, spec: str, crowds: Counter[NodeName]) -> str:
    if spec and memory.spec_hash != spec:
        return "its spec is not the wanted one"
    if memory.state is ReplicaState.STARTING:
        return "it still starts and serves nobody"
    if _ejected(memory):
        return "it is suspect and gets no requests"
    if len(crowds) > 1:
        return f"{memory.node} has {crowds[memory.node]} of them, and it is the youngest there"
    held = in_flight(replica)
    return "nobody's count is known and it is the youngest" if held == float("inf") else f"it has {held:g} in flight"


def _ejected(memory: ReplicaMemory) -> bool:
    return memory.state is ReplicaState.SUSPECT and memory.code in PASSIVE


def in_flight(replica: Replica) -> float:
    """Requests that the replica holds, computed and waiting; infinity where it did not say."""
    probe = replica.probe
    if probe is None or probe.in_flight is None:
        return float("inf")
    return probe.in_flight + (probe.waiting or 0)
