"""/pools/{pool}: how it stands with one pool, what it did over time, and each of its replicas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from controller.api.access import VIEWER, CallerDep
from controller.api.deps import Seen, Sources, SourcesDep, policy_of
from controller.api.views import pools_of, receipt_of
from controller.api.web import formats, live
from controller.api.web.explanation import explained
from controller.api.web.overview import PoolFacts, facts_of
from controller.api.web.pool_rows import ReplicaRow, numbers_of, rows_of
from controller.api.web.ranges import RANGES, USUAL
from controller.api.web.shell import View, render
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts, catalogs
from controller.core.decision import RemoveReplica
from controller.core.evaluation import Evaluation
from controller.core.model import PoolName
from controller.core.policy import PoolPolicy
from controller.core.sensitivity import with_flip
from controller.ports import DecisionQuery

router = APIRouter(include_in_schema=False)
_RECEIPTS, _WORDS = 15, 5
_KEPT_ROWS = 2048  # as HTML, for as long as they say the same


@router.get("/pools/{pool}", dependencies=[VIEWER])
def page(pool: str, request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """That pool. Which time it shows is in `range`, or in `from` and `to`, and its script's business."""
    policy = policy_of(sources, pool)
    asked = request.query_params.get("range", USUAL)
    return render(
        request, sources, caller, "pool.html", view=View.of("pool", pool=pool), pool=pool, ranges=list(RANGES),
        shown=asked if asked in RANGES else USUAL, free="from" in request.query_params,
        configured=policy.scaling,
    )  # fmt: skip


def _in_force(seen: Seen | None, policy: PoolPolicy) -> PoolPolicy:
    return next((one for one in seen.policies if one.pool == policy.pool), policy) if seen else policy


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    policy = next((known for known in sources.policies if known.pool == params.get("pool")), None)
    if policy is None:
        return {}
    seen, name = sources.latest(), policy.pool
    facts = next(one for one in facts_of(sources, sources.known_alerts()) if one.name == name)
    rows = rows_of(seen, name, _memory_limit(seen, policy)) if seen else []
    known = seen.plan.evaluations.get(name) if seen else None
    return {
        **_head(seen, policy, facts, texts),
        "pool-why": fragment(
            "pool_why.html", texts, known=explained(_flipped(known)) if known else None,
            standing=seen.plan.standing.get(name, ()) if seen else (),
        ),
        "pool-count": fragment("pool_count.html", texts, rows=rows, seen=seen is not None),
        **{f"replica-{row.name}": _row(texts.language, row) for row in rows},
        "replica-numbers": fragment("pool_numbers.html", texts, numbers=_numbers(seen, name, texts)),
        **_ended(sources, name, texts),
    }  # fmt: skip


_flips: dict[PoolName, tuple[Evaluation, Evaluation]] = {}


def _flipped(known: Evaluation) -> Evaluation:
    """With its flip, which takes a hundred evaluations: found once for all who look."""
    kept = _flips.get(known.pool)
    if kept is None or kept[0] is not known:
        kept = _flips[known.pool] = known, with_flip(known)
    return kept[1]


def _head(seen: Seen | None, policy: PoolPolicy, facts: PoolFacts, texts: Texts) -> live.Fragments:
    out = pools_of(seen, [policy])[0]
    memory = seen.plan.memory.pools.get(policy.pool) if seen else None
    given = {
        "pool": out,
        "facts": facts,
        "stand": facts.stand,
        "say": words_of(facts),
        "policy": _in_force(seen, policy),
    }
    restarts = [order for order in seen.snapshot.orders if order.subject == f"pool/{policy.pool}"] if seen else []
    held = memory is not None and bool(memory.fuse_since or memory.quarantined_since or memory.refused_spec)
    return {
        "pool-state": fragment("pool_state.html", texts, **given),
        "pool-facts": fragment("pool_facts.html", texts, **given, orders=restarts),
        "pool-do": fragment("pool_do.html", texts, pool=out, held=held),
    }


def words_of(facts: PoolFacts) -> Mapping[str, Any]:
    """What the sentences about a pool may name."""
    return {
        "n": facts.desired,
        "serving": facts.serving,
        "desired": facts.desired,
        "starting": facts.starting,
        "draining": facts.draining,
        "trouble": facts.trouble,
        "surplus": max(facts.serving + facts.starting - facts.desired, 0),
        "alerts": len(facts.alerts),
        "failures": facts.start_failures,
    }


def _memory_limit(seen: Seen | None, policy: PoolPolicy) -> float | None:
    memory = _in_force(seen, policy).scaling.memory
    return memory.threshold if memory.enabled else None


@lru_cache(_KEPT_ROWS)
def _row(language: str, row: ReplicaRow) -> str:
    return fragment("pool_row.html", catalogs()[language], row=row)


def _numbers(seen: Seen | None, pool: PoolName, texts: Texts) -> str:
    """As they are to stand in the cells of each row."""
    told: dict[str, tuple[str, str, str]] = {}
    for one in numbers_of(seen, pool) if seen else ():
        waiting = f" {texts.plain('pool.waiting', n=one.waiting)}" if one.waiting else ""
        told[one.name] = (
            formats.number(one.in_flight) + waiting, formats.number(one.tokens), formats.percent(one.memory),
        )  # fmt: skip
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _ended(sources: Sources, pool: PoolName, texts: Texts) -> live.Fragments:
    """What removals cost, and what replicas that failed wrote last."""
    query = DecisionQuery(pool, ("remove_replica",), limit=_RECEIPTS)
    removed = [(item.id, receipt_of(item), _why(item.decision)) for item in sources.store.find_decisions(query)]
    words = sources.store.last_words(limit=_WORDS, pool=pool)
    return {
        "pool-receipts": fragment("pool_receipts.html", texts, receipts=removed),
        "pool-words": fragment("pool_words.html", texts, words=words),
    }


def _why(decision: object) -> str:
    assert isinstance(decision, RemoveReplica)  # it was asked for those
    return decision.reasons[-1].text


live.view("pool", _render)
