"""/api/v1: what is, and what was decided."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from controller.api import views
from controller.api.access import VIEWER
from controller.api.deps import SourcesDep, policy_of
from controller.api.evaluations import evaluation_of, recorded
from controller.api.gpus import GpuOut, gauges_of, gpus_of
from controller.api.inputs import Moment
from controller.api.placement import PlacementOut, placement_of
from controller.api.schemas import (
    DecisionOut,
    EvaluationOut,
    EventOut,
    LastWordsOut,
    NodeOut,
    PoolOut,
    ReceiptOut,
    ReplicaOut,
)
from controller.core.decision import RemoveReplica
from controller.core.model import PoolName
from controller.core.sensitivity import with_flip

router = APIRouter(prefix="/api/v1", dependencies=[VIEWER])
_LOOKED_THROUGH = 2000  # decisions, of which some are removals
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most, the newest first.")]


@router.get("/pools")
def pools(sources: SourcesDep) -> list[PoolOut]:
    """Every configured pool."""
    return views.pools_of(sources.latest(), sources.policies)


@router.get("/replicas")
def replicas(sources: SourcesDep) -> list[ReplicaOut]:
    """Every replica that exists."""
    return views.replicas_of(sources.latest())


@router.get("/nodes")
def nodes(sources: SourcesDep) -> list[NodeOut]:
    """Every node."""
    return views.nodes_of(sources.latest(), sources.nodes)


@router.get("/gpus")
def gpus(sources: SourcesDep) -> list[GpuOut]:
    """Every GPU that is told of or remembered."""
    seen = sources.latest()
    return gpus_of(seen, gauges_of(sources)) if seen is not None and seen.plan.memory.gpus else gpus_of(seen)


@router.get("/pools/{pool}/placement")
def placement(pool: str, sources: SourcesDep) -> PlacementOut:
    """Where a replica of the pool could start now, and what speaks against each other place.

    404 for a pool that is not configured, 409 before the first tick.
    """
    policy = policy_of(sources, pool)
    seen = sources.latest()
    if seen is None:
        raise HTTPException(409, "the controller has not looked yet, or stands by; ask again in a moment")
    return placement_of(seen, policy)


@router.get("/decisions")
def decisions(sources: SourcesDep, limit: Limit = 100, pool: str | None = None) -> list[DecisionOut]:
    """The ledger."""
    found = sources.store.decisions(limit=limit, pool=None if pool is None else PoolName(pool))
    return [views.decision_of(item) for item in found]


@router.get("/receipts")
def receipts(sources: SourcesDep, limit: Limit = 100, pool: str | None = None) -> list[ReceiptOut]:
    """What the last removals cost."""
    found = sources.store.decisions(limit=_LOOKED_THROUGH, pool=None if pool is None else PoolName(pool))
    return [views.receipt_of(item) for item in found if isinstance(item.decision, RemoveReplica)][:limit]


@router.get("/last-words")
def last_words(sources: SourcesDep, limit: Limit = 20, pool: str | None = None) -> list[LastWordsOut]:
    """What the replicas that failed wrote last."""
    found = sources.store.last_words(limit=limit, pool=None if pool is None else PoolName(pool))
    return [views.last_words_of(item) for item in found]


@router.get("/pools/{pool}/decisions")
def evaluations(
    pool: str,
    sources: SourcesDep,
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most, the newest first.")] = 50,
    at: Annotated[Moment | None, Query(description="None newer than this time; it names its time zone.")] = None,
    changed: Annotated[bool, Query(description="Only those that led to a decision.")] = False,
    evidence: Annotated[bool, Query(description="With all that went in.")] = False,
) -> list[EvaluationOut]:
    """How the size of a pool came about: every signal, every step that moved the count, and what would have changed it.

    Without `at` and `changed` the first one is that of the last tick, which need not be in the ledger.
    404 for a pool that is neither configured nor in the ledger.
    """
    found = sources.store.evaluations(pool=PoolName(pool), limit=limit, until=at, changed=changed)
    if not found:
        policy_of(sources, pool)
    told = [recorded(item, with_evidence=evidence) for item in found]
    seen = sources.latest()
    newest = seen.plan.evaluations.get(PoolName(pool)) if seen is not None and at is None and not changed else None
    if seen is None or newest is None or (found and newest.at <= found[0].evaluation.at):
        return told
    return [evaluation_of(with_flip(newest), seen.snapshot.tick, with_evidence=evidence), *told][:limit]


@router.get("/events")
def events(sources: SourcesDep, limit: Limit = 100) -> list[EventOut]:
    """What happened."""
    return [views.event_of(item) for item in sources.store.events(limit=limit)]
