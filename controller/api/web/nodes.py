"""/nodes: every node and its GPUs, what is on each, and why something found no place; and one node with all of it."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import LEADS, Sources, SourcesDep, policy_of
from controller.api.gpus import NO_GAUGES, Gauges, gauges_of
from controller.api.placement import placement_of
from controller.api.web import live
from controller.api.web.nodes_rows import NodeCard, cards_of, find, models_of, refused_of, states_of, totals_of
from controller.api.web.shell import View, render
from controller.api.web.state import numbers_old_since
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts

router = APIRouter(include_in_schema=False)


@router.get("/nodes", dependencies=[VIEWER])
def nodes(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """All of them."""
    names = [f"node-{name}" for name in sources.nodes]
    return render(request, sources, caller, "nodes.html", view=View("nodes"), names=names)


@router.get("/nodes/{node}", dependencies=[VIEWER])
def node(node: str, request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """One of them. 404 for one that is not configured."""
    if node not in sources.nodes:
        raise HTTPException(404, f"there is no node {node}; there is {', '.join(sources.nodes)}")
    return render(request, sources, caller, "nodes_one.html", view=View.of("node", node=node), node=node)


@router.get("/pools/{pool}/placement", dependencies=[VIEWER])
def placement(pool: str, request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """Each place, and whether a replica of the pool could start there. 404 for a pool that is not configured."""
    policy = policy_of(sources, pool)
    seen = sources.latest()
    if seen is None and sources.lead() == LEADS:
        raise HTTPException(503, "the controller has not looked yet; try again in a moment")
    found = placement_of(seen, policy) if seen is not None else None
    return render(request, sources, caller, "nodes_placement.html", placement=found, states=states_of(seen))


def _measured(sources: Sources) -> tuple[list[NodeCard], Gauges]:
    seen = sources.latest()
    gauges = NO_GAUGES
    if seen is not None and seen.plan.memory.gpus:
        found = gauges_of(sources)
        gauges = replace(found, stale_since=numbers_old_since(sources, found.stale_since))
    return cards_of(seen, sources.nodes, gauges), gauges


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    cards, gauges = _measured(sources)
    totals, refused = totals_of(cards), refused_of(sources.latest(), sources.policies)
    return {
        "nodes-totals": fragment("nodes_totals.html", texts, totals=totals, stale_since=gauges.stale_since),
        "nodes-refused": fragment("nodes_refused.html", texts, refused=refused),
        **{f"node-{card.node.node}": fragment("nodes_card.html", texts, card=card) for card in cards},
    }


def _render_one(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    cards, gauges = _measured(sources)
    card = find(cards, params.get("node", ""))
    if card is None:
        return {}
    return {
        "node-head": fragment("nodes_head.html", texts, card=card, models=models_of(card.gpus)),
        "node-gpus": fragment("nodes_gpus.html", texts, card=card, stale_since=gauges.stale_since),
        "node-replicas": fragment("nodes_replicas.html", texts, card=card),
    }


live.view("nodes", _render)
live.view("node", _render_one)
