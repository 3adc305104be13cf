"""On which node and GPU a replica starts, and which replica goes when a pool shrinks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.core import capacity
from controller.core.health import PASSIVE
from controller.core.model import Gpu, Known, Node, NodeName, PoolName, Replica, ReplicaMemory, ReplicaState
from controller.core.reason import Reason, ReasonCode

_GONE = (ReplicaState.STOPPED,)
_ANY_NUMBER = 1_000_000  # on a GPU of whose memory nothing is known


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a replica starts. `gpu` is a UUID; empty: none is named."""

    node: NodeName
    gpu: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """The nodes, and how many replicas each has: of every pool, and of each; and the same of the GPUs."""

    nodes: tuple[Node, ...]
    held: Counter[NodeName]
    of_pool: Counter[tuple[PoolName, NodeName]]
    gpus: tuple[Gpu, ...] = ()
    on_gpu: Counter[tuple[PoolName, str]] = field(default_factory=Counter)

    @staticmethod
    def of(nodes: tuple[Node, ...], memories: Iterable[ReplicaMemory], gpus: tuple[Gpu, ...] = ()) -> Places:
        """Those that stand there now."""
        there = [known for known in memories if known.state not in _GONE]
        held, of_pool = Counter(known.node for known in there), Counter((known.pool, known.node) for known in there)
        on_gpu = Counter((known.pool, known.gpu) for known in there if known.gpu) if gpus else Counter()
        return Places(nodes, held, of_pool, gpus, on_gpu)

    def closed(self) -> bool:
        """Whether no node at all can take a replica."""
        return all(why_not(node) is not None for node in self.nodes)


def taken(places: Places, pool: PoolName, spots: Collection[Spot], needed_bytes: int = 0) -> Places:
    """With one more of the pool on each of these, and its memory promised."""
    held = places.held + Counter(spot.node for spot in spots)
    of_pool = places.of_pool + Counter((pool, spot.node) for spot in spots)
    if not places.gpus:
        return Places(places.nodes, held, of_pool)
    more = Counter(spot.gpu for spot in spots)
    gpus = tuple(
        replace(gpu, promised_bytes=gpu.promised_bytes + count * needed_bytes) if (count := more[gpu.uuid]) else gpu
        for gpu in places.gpus
    )
    return Places(places.nodes, held, of_pool, gpus, places.on_gpu + Counter((pool, spot.gpu) for spot in spots))


def choose_spots(places: Places, pool: PoolName, count: int, needed_bytes: int = 0) -> tuple[Spot, ...]:
    """A node and a GPU for each of so many replicas; fewer or none where none can take one.

    Nodes as in `choose_nodes`. On a node the GPU with the fewest of the pool, then with the fewest in all, then with
    the most memory free. Where no GPU is needed, or none is known at all, none is named.
    """
    if not needed_bytes or not places.gpus:
        return tuple(Spot(node) for node in choose_nodes(places, pool, count))
    left = _left(places.gpus, needed_bytes)
    found: list[Spot] = []
    for _ in range(count):
        able = [gpu for gpu in places.gpus if left[gpu.uuid] > 0]
        if not able:
            break
        gpu = min(able, key=lambda gpu: _crowd(places, pool, gpu))
        left[gpu.uuid] -= 1
        found.append(Spot(gpu.node, gpu.uuid))
        places = taken(places, pool, found[-1:], needed_bytes)
    return tuple(found)


def _left(gpus: Sequence[Gpu], needed_bytes: int) -> dict[str, int]:
    """How many each takes. Where nobody tells of any memory now, each that may takes some: its engine will say."""
    if any(gpu.free_bytes.known is not Known.UNKNOWN for gpu in gpus):
        return {gpu.uuid: capacity.holds(gpu, needed_bytes) for gpu in gpus}
    return {gpu.uuid: 0 if gpu.barred else _ANY_NUMBER for gpu in gpus}


def _crowd(places: Places, pool: PoolName, gpu: Gpu) -> tuple[int, int, NodeName, int, int, float, str]:
    """The least is chosen."""
    in_all = sum(count for (_, uuid), count in places.on_gpu.items() if uuid == gpu.uuid)
    of_node = (places.of_pool[pool, gpu.node], places.held[gpu.node], gpu.node)
    return *of_node, places.on_gpu[pool, gpu.uuid], in_all, gpu.promised_bytes - gpu.free_bytes.value, gpu.uuid


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


def choose_victim(
    candidates: Sequence[tuple[Replica, ReplicaMemory]], spec: str = "", gpus: Sequence[Gpu] = ()
) -> tuple[ReplicaMemory, str]:
    """The replica to drain, and why it rather than the others.

    One of another spec than the wanted one goes first, then one on a GPU that takes no more, then one that serves
    nobody (it still starts, or is suspect and has left nginx). Of several nodes then the youngest on the one with the
    most, so that one that was lost and is back keeps its share. Of one node the one with the least in flight, then the
    youngest, whose cache is the coldest. An unknown count stands for many. `candidates` must not be empty.
    """
    crowds = Counter(memory.node for _, memory in candidates)
    barred = {gpu.uuid for gpu in gpus if gpu.barred}

    def cost(item: tuple[Replica, ReplicaMemory]) -> tuple[bool, bool, bool, int, float, float]:
        replica, memory = item
        outdated = bool(spec) and memory.spec_hash != spec
        idle = memory.state is ReplicaState.STARTING or _ejected(memory)
        held, age = in_flight(replica), -memory.created_at.timestamp()
        last = (held, age) if len(crowds) == 1 else (age, held)
        return not outdated, memory.gpu not in barred, not idle, -crowds[memory.node], *last

    replica, memory = min(candidates, key=cost)
    if memory.gpu in barred and not (spec and memory.spec_hash != spec):
        return memory, "its GPU takes no more"
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
