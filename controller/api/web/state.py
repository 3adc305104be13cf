"""The one sentence at the top of every page, and how many alerts fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup

from controller.api.deps import LEADS, Sources
from controller.api.web import formats, live
from controller.api.web.overview import ACT, BUSY, CALM, PoolFacts, facts_of, stand_of
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts
from controller.core.errors import TransientError

_NAMED = 2  # pools; more of them are counted
_LOOKED_THROUGH = 500  # events, for since when a source is silent
METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class State:
    """How bad it is, and the sentence: a key of the section `state`, with its values."""

    level: str
    key: str
    values: Mapping[str, Any]


def state_of(sources: Sources, pools: Sequence[PoolFacts]) -> State:
    """The first of these that is so, the worst first."""
    seen, lead = sources.latest(), sources.lead()
    if lead != LEADS:
        return State(BUSY, "standby", {"who": lead})
    if seen is None:
        return State(BUSY, "first_tick", {}) if sources.healthy() else State(ACT, "no_tick", {})
    if not sources.healthy():
        return State(ACT, "stuck", {"at": formats.ago(seen.snapshot.at)})
    if seen.snapshot.unknown:
        return _silent(sources, seen.snapshot.unknown)
    return _of_pools(pools)


def _of_pools(pools: Sequence[PoolFacts]) -> State:
    stands = {pool.name: stand_of(pool) for pool in pools}
    hurt = [pool.name for pool in pools if pool.down or pool.slow or pool.failing]
    acts = [name for name, stand in stands.items() if stand.level == ACT]
    busy = [name for name, stand in stands.items() if stand.level == BUSY]
    if hurt:
        level = ACT if set(hurt) & set(acts) else BUSY
        return State(level, "hurt", {"n": len(hurt), "pools": _names(hurt)})
    if acts:
        return State(ACT, "act", {"n": len(acts), "pools": _names(acts)})
    if busy:
        return State(BUSY, "busy", {"n": len(busy), "pools": _names(busy)})
    return State(CALM, "calm", {"n": len(pools)})


def _silent(sources: Sources, unknown: Sequence[str]) -> State:
    since = since_when(sources, unknown[0])
    key = "old" if METRICS in unknown else "silent"
    if since is None:
        return State(BUSY, f"{key}_now", {"sources": ", ".join(unknown)})
    return State(BUSY, key, {"sources": ", ".join(unknown), "at": formats.moment(since)})


def since_when(sources: Sources, name: str) -> datetime | None:
    """Since when a source gives no answer; None where the ledger does not say."""
    subject = f"source/{name}"
    with suppress(TransientError):  # the page says what it can while the database is away
        for event in sources.store.events(limit=_LOOKED_THROUGH):
            if event.subject == subject:
                return event.at if event.event == "source_lost" else None
    return None


def _names(pools: Sequence[str]) -> Markup:
    """Links to them; the others are counted by the sentence."""
    link = Markup('<a href="/pools/{0}">{0}</a>')
    shown = Markup(", ").join(link.format(name) for name in pools[:_NAMED])
    return shown if len(pools) <= _NAMED else shown + Markup(", …")


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    known = sources.known_alerts()
    firing = sum(1 for item in known if item.alert.firing)
    state = state_of(sources, facts_of(sources, known))
    words = texts(f"state.{state.key}", **state.values)
    hidden = "" if firing else " hidden"
    count = '<span class="count" id="{}"{}>{}<span class="hide"> {}</span></span>'
    filled = {
        name: count.format(name, hidden, firing, texts("state.firing", n=firing))
        for name in ("alert-count", "menu-count")
    }
    return {"state": fragment("state.html", texts, level=state.level, firing=firing, sentence=words), **filled}


live.view(live.SHELL, _render)
