"""Why a replica of a pool finds a place, or none: every GPU or node, and what speaks against it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, Field

from controller.api.deps import Seen
from controller.api.evaluations import reason_of
from controller.api.schemas import ReasonOut
from controller.core import capacity
from controller.core.model import Gpu, Known, Node, NodeName, PoolName
from controller.core.placement import why_not
from controller.core.policy import PoolPolicy
from controller.core.reason import ReasonCode
from controller.core.stock import stock_left

NO_PLACE = (ReasonCode.NO_GPU_FITS, ReasonCode.NO_NODE)
SILENT, NODE_CORDONED, CORDONED, MEMORY, UNTOLD = "node_silent", "node_cordoned", "cordoned", "memory", "unknown"


class PlaceOut(BaseModel):
    """A GPU, or a node where no GPU is needed, and whether a replica could start there now."""

    node: str
    gpu: str | None
    fits: int | None = Field(description="Replicas that it still takes; None where no memory is counted.")
    lacks: str = Field(
        description="node_silent, node_cordoned, cordoned, memory, unknown (its free memory); empty: it takes one."
    )
    text: str = Field(description="The same as a sentence.")
    free_bytes: int | None
    promised_bytes: int = Field(description="Of what is free: replicas that start on it will take that.")


class PlacementOut(BaseModel):
    """Where a replica of the pool could start now, and why nowhere else."""

    pool: str
    needed_bytes: int = Field(description="Memory of one GPU; 0: it needs none.")
    fits: int | None = Field(description="Replicas that fit in all; None where no memory is counted.")
    reasons: list[ReasonOut] = Field(description="What the last tick said of it, where it found no place.")
    places: list[PlaceOut]


def has_no_place(seen: Seen, pool: PoolName) -> bool:
    """Whether something of the pool found no place in the last tick."""
    return any(reason.code in NO_PLACE for reason in seen.plan.standing.get(pool, ()))


def placement_of(seen: Seen, policy: PoolPolicy) -> PlacementOut:
    """As the last tick left it."""
    needed = policy.scaling.gpu_memory_bytes
    nodes = {node.name: node for node in seen.snapshot.nodes}
    gpus = stock_left(seen.snapshot, seen.policies or (policy,), seen.plan) if needed else ()
    places = list(_of_gpus(gpus, nodes, needed) if gpus else map(_of_node, seen.snapshot.nodes))
    counts = [place.fits for place in places if place.fits is not None]
    standing = seen.plan.standing.get(policy.pool, ())
    return PlacementOut(
        pool=policy.pool,
        needed_bytes=needed,
        fits=sum(counts) if counts else None,
        reasons=[reason_of(reason) for reason in standing if reason.code in NO_PLACE],
        places=places,
    )


def _of_gpus(gpus: tuple[Gpu, ...], nodes: Mapping[NodeName, Node], needed: int) -> Iterator[PlaceOut]:
    for gpu in sorted(gpus, key=lambda gpu: (gpu.node, gpu.uuid)):
        known = gpu.free_bytes.known is not Known.UNKNOWN
        lacks, text = _lack(gpu, nodes[gpu.node], needed)
        yield PlaceOut(
            node=gpu.node,
            gpu=gpu.uuid,
            fits=capacity.holds(gpu, needed) if known else None,
            lacks=lacks,
            text=text,
            free_bytes=int(gpu.free_bytes.value) if known else None,
            promised_bytes=gpu.promised_bytes,
        )


def _lack(gpu: Gpu, node: Node, needed: int) -> tuple[str, str]:
    of_node, name = why_not(node), f"{capacity.short(gpu.uuid)} of {gpu.node}"
    if of_node is not None:
        return _code(node), of_node
    if gpu.barred:
        return CORDONED, f"{name} {gpu.barred}"
    if gpu.free_bytes.known is Known.UNKNOWN:
        return UNTOLD, f"the free memory of {name} is not known"
    if capacity.holds(gpu, needed):
        return "", f"{name} takes one"
    free = f"{name} has {capacity.gib(gpu.free_bytes.value)} free"
    promised = f", of which {capacity.gib(gpu.promised_bytes)} are promised" if gpu.promised_bytes else ""
    return MEMORY, f"{free}{promised}; {capacity.gib(needed)} are needed"


def _of_node(node: Node) -> PlaceOut:
    found = why_not(node)
    lacks = "" if found is None else _code(node)
    text = found or f"{node.name} takes one"
    return PlaceOut(node=node.name, gpu=None, fits=None, lacks=lacks, text=text, free_bytes=None, promised_bytes=0)


def _code(node: Node) -> str:
    return SILENT if node.silent_since is not None else NODE_CORDONED
