"""The one sentence at the top of every page, and how many alerts fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from controller.api.deps import LEADS, Sources
from controller.api.web import formats, live
from controller.api.web.overview import ACT, BUSY, CALM, PoolFacts, facts_of, stand_of
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts
from controller.core.errors import LostLease, TransientError
from controller.records import EventQuery

_NAMED = 2  # pools; more of them are counted
_LOOKED_THROUGH = 20  # events of sources, for since when one is silent
_SOURCES = ("source_lost", "source_back")
METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class State:
    """How bad it is, and a sentence: a key of the section `state`, with its values."""

    level: str
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


def state_of(sources: Sources, pools: Sequence[PoolFacts]) -> list[State]:
    """What is to be said: one sentence, and another where numbers are old and something else is the matter."""
    seen, lead = sources.latest(), sources.lead()
    if lead != LEADS:
        return [State(BUSY, "standby", {"who": lead})]
    if seen is None:
        return [State(BUSY, "first_tick")]
    if not sources.healthy():
        return [State(ACT, "stuck", {"at": formats.moment(seen.snapshot.at)})]
    found = _of_pools(pools)
    if not seen.snapshot.unknown:
        return [found]
    silent = _silent(sources, seen.snapshot.unknown)
    return [found, silent] if found.level == ACT else [silent]  # nobody can say that all is well


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
    asked = EventQuery(subject=f"source/{name}", kinds=_SOURCES, limit=_LOOKED_THROUGH)
    with suppress(TransientError, LostLease):  # the page says what it can while the database is away
        for known in sources.store.find_events(asked):
            if known.event.subject == asked.subject:  # and not of another whose name begins like it
                return known.event.at if known.event.event == "source_lost" else None
    return None


def _names(pools: Sequence[str]) -> Markup:
    """Links to them; the others are counted by the sentence."""
    link = Markup('<a href="/pools/{}">{}</a>')
    shown = Markup(", ").join(link.format(quote(name, safe=""), name) for name in pools[:_NAMED])
    return shown if len(pools) <= _NAMED else shown + Markup(", …")


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    known = sources.known_alerts()
    firing = [item.alert for item in known if item.alert.firing]
    states = state_of(sources, facts_of(sources, known))
    said = [texts(f"state.{state.key}", **state.values) for state in states]
    urgent = any(alert.labels.get("severity") == "critical" for alert in firing)
    filled = {
        name: fragment("state_count.html", texts, id=name, firing=len(firing), urgent=urgent)
        for name in ("alert-count", "menu-count")
    }
    return {"state": fragment("state.html", texts, level=states[0].level, firing=len(firing), said=said), **filled}


live.view(live.SHELL, _render)
