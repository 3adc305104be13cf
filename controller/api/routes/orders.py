"""/api/v1/orders: what people want of nodes, GPUs, replicas and pools."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from controller.api.access import OPERATOR, VIEWER, CallerDep
from controller.api.deps import Sources, SourcesDep
from controller.api.doing import doing
from controller.api.schemas import OrderIn, OrderOut
from controller.core.gpus import held
from controller.core.model import Order, OrderKind
from controller.core.orders import GPU, NODE, POOL, REPLICA
from controller.core.placement import why_not

router = APIRouter(prefix="/api/v1/orders")

_OF = {
    OrderKind.CORDON: (NODE, GPU),
    OrderKind.DRAIN: (NODE, GPU, REPLICA),
    OrderKind.RESTART: (REPLICA, POOL),
    OrderKind.QUARANTINE: (REPLICA,),
    OrderKind.RELEASE: (NODE, GPU, REPLICA, POOL),
}


@router.get("", dependencies=[VIEWER])
def orders(sources: SourcesDep) -> list[OrderOut]:
    """Those that hold, oldest first."""
    return [order_of(order) for order in sources.store.orders()]


@router.post("", status_code=202, dependencies=[OPERATOR])
def give(wanted: OrderIn, sources: SourcesDep, who: CallerDep) -> OrderOut:
    """Give one. It holds until it is fulfilled or withdrawn, and the next tick sees it.

    `release` withdraws what holds of a node, a GPU or a replica; of a GPU it also says that it is well; of a pool it
    closes the fuse, ends the quarantine of its starts, and lets a refused spec be tried again. 404 for what is not
    there, 409 for what cannot be done now, 422 for what cannot be ordered of it.
    """
    kind, subject = OrderKind(wanted.kind), wanted.subject
    _require_known(kind, subject, sources)
    order = Order(kind, subject, sources.now(), wanted.why)
    standing: list[Order] = []
    holds = True
    if kind is OrderKind.RELEASE and not subject.startswith(POOL):
        standing = [known for known in sources.store.orders() if known.subject == subject]
        holds = subject.startswith(GPU) and _is_faulty(subject.removeprefix(GPU), sources)
        if not standing and not holds:
            raise HTTPException(409, f"nothing is ordered of {subject}, so there is nothing to release it from")
    with doing(sources, who, f"order {kind}", subject, wanted.why):
        if standing:
            sources.store.drop_orders(standing)
        if holds:
            sources.store.give_order(order)
    sources.wake()
    return order_of(order)


def order_of(order: Order) -> OrderOut:
    """As the API tells it."""
    return OrderOut(kind=order.kind.value, subject=order.subject, at=order.at, why=order.why)


def _is_faulty(uuid: str, sources: Sources) -> bool:
    """Whether it is cordoned for a fault, or would be if not most GPUs were."""
    seen = sources.latest()
    if seen is None or uuid not in seen.plan.memory.gpus:
        return False
    return seen.plan.memory.gpus[uuid].cordon is not None or held(seen.plan)


def _require_known(kind: OrderKind, subject: str, sources: Sources) -> None:
    prefix = next((prefix for prefix in (NODE, GPU, REPLICA, POOL) if subject.startswith(prefix)), None)
    if prefix is None:
        raise HTTPException(422, f"{subject!r} is no subject; write node/NAME, gpu/UUID, replica/NAME or pool/NAME")
    if prefix not in _OF[kind]:
        allowed = " or ".join(f"{name}UUID" if name == GPU else f"{name}NAME" for name in _OF[kind])
        raise HTTPException(422, f"{kind} is no order for {subject}; it is one for {allowed}")
    seen, name = sources.latest(), subject.removeprefix(prefix)
    if seen is None:
        raise HTTPException(409, "the controller has not looked yet, or stands by; ask again in a moment")
    known: dict[str, list[str]] = {
        NODE: [str(node.name) for node in seen.snapshot.nodes],
        GPU: [*seen.plan.memory.gpus],
        REPLICA: [str(replica) for replica in seen.plan.memory.replicas],
        POOL: [str(policy.pool) for policy in sources.policies],
    }
    names = known[prefix]
    if name not in names:
        raise HTTPException(404, f"there is no {subject}; there is {', '.join(sorted(names)) or 'none'}")
    others = [node for node in seen.snapshot.nodes if node.name != name and why_not(node) is None]
    if kind is OrderKind.DRAIN and prefix == NODE and not others:
        raise HTTPException(409, f"no other node could take the replicas of {name}; add one, or restart its pools")
