"""What people want: standing orders for nodes, replicas and pools, and when one is fulfilled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.core.model import (
    SERVING,
    Node,
    Order,
    OrderKind,
    PoolMemory,
    PoolName,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
)
from controller.core.placement import why_not
from controller.core.reason import Reason, ReasonCode

_UP = (ReplicaState.STARTING, *SERVING)
NODE, GPU, REPLICA, POOL = "node/", "gpu/", "replica/", "pool/"


def kept(orders: Iterable[Order]) -> Mapping[ReplicaId, str]:
    """The replicas that are kept as they are, and why."""
    found = [order for order in orders if order.kind is OrderKind.QUARANTINE]
    return {ReplicaId(order.subject.removeprefix(REPLICA)): order.why or "it was ordered" for order in found}


def cordoned(node: Node, orders: Iterable[Order]) -> bool:
    """Whether nothing new is to start on the node."""
    subject, kinds = f"{NODE}{node.name}", (OrderKind.CORDON, OrderKind.DRAIN)
    return any(order.kind in kinds and order.subject == subject for order in orders)


def bars_gpu(order: Order) -> bool:
    """Whether nothing new is to start on its GPU."""
    return order.kind in (OrderKind.CORDON, OrderKind.DRAIN) and order.subject.startswith(GPU)


def released_gpus(orders: Iterable[Order]) -> frozenset[str]:
    """Those that a person says are well."""
    found = [order.subject for order in orders if order.kind is OrderKind.RELEASE and order.subject.startswith(GPU)]
    return frozenset(subject.removeprefix(GPU) for subject in found)


def release(memory: PoolMemory, orders: Iterable[Order]) -> PoolMemory:
    """The pool's memory without what keeps it from healing, where a person has released it."""
    subject = f"{POOL}{memory.pool}"
    if not any(order.kind is OrderKind.RELEASE and order.subject == subject for order in orders):
        return memory
    return memory.but(
        fuse_since=None,
        remediations=(),
        quarantined_since=None,
        start_failures=0,
        last_start_failure_at=None,
        refused_spec="",
        why_refused="",
    )


def wish(
    orders: Iterable[Order], mine: Sequence[ReplicaMemory], nodes: Sequence[Node]
) -> tuple[ReplicaMemory, Reason] | None:
    """The next replica that is to be replaced because it was ordered; oldest order first."""
    up = [known for known in mine if known.state in _UP and known.retiring_since is None]
    for order in orders:
        found = [known for known in up if _meant(order, known, nodes)]
        if found:
            chosen = min(found, key=lambda known: (known.created_at, known.replica))
            why = f": {order.why}" if order.why else ""
            return chosen, Reason(ReasonCode.ORDERED, f"{order.kind} of {order.subject} was ordered{why}")
    return None


def _meant(order: Order, known: ReplicaMemory, nodes: Sequence[Node]) -> bool:
    if order.kind not in (OrderKind.RESTART, OrderKind.DRAIN):
        return False
    if order.subject.startswith(NODE):
        elsewhere = any(why_not(node) is None and node.name != known.node for node in nodes)
        return order.subject == f"{NODE}{known.node}" and elsewhere
    if order.subject.startswith(GPU):
        return order.subject == f"{GPU}{known.gpu}"
    if order.subject.startswith(POOL):
        return order.subject == f"{POOL}{known.pool}" and known.older_than(order.at)
    return order.subject == f"{REPLICA}{known.replica}"


def fulfilled(
    orders: Iterable[Order], memories: Mapping[ReplicaId, ReplicaMemory], pools: Iterable[PoolName]
) -> tuple[Order, ...]:
    """The orders that hold no longer. One for a node or a GPU stands until it is withdrawn."""
    known_pools = frozenset(pools)
    return tuple(order for order in orders if _is_done(order, memories, known_pools))


def _is_done(order: Order, memories: Mapping[ReplicaId, ReplicaMemory], pools: frozenset[PoolName]) -> bool:
    if order.subject.startswith(NODE):
        return False
    if order.subject.startswith(GPU):
        return order.kind is OrderKind.RELEASE
    if order.subject.startswith(REPLICA):
        known = memories.get(ReplicaId(order.subject.removeprefix(REPLICA)))
        return known is None or (order.kind is not OrderKind.QUARANTINE and known.state not in _UP)
    pool = PoolName(order.subject.removeprefix(POOL))
    older = [known for known in memories.values() if known.pool == pool and known.older_than(order.at)]
    return order.kind is OrderKind.RELEASE or pool not in pools or not any(known.state in _UP for known in older)
