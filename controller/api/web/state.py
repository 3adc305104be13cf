"""The one sentence at the top of every page, and how many alerts fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from controller.api.deps import LEADS, Seen, Sources
from controller.api.web import formats, live
from controller.api.web.overview import ACT, BUSY, CALM, UNTOLD, PoolFacts, facts_of
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts
from controller.core.errors import LostLease, TransientError
from controller.core.planner import RUNTIME
from controller.records import EventQuery

_NAMED = 2  # pools, nodes; more of them are counted, or only meant
_LATE = timedelta(seconds=5)  # without a good tick for so long the database is asked whether that is why
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
    since = {"at": formats.moment(seen.snapshot.at)}
    if _no_database(sources, seen):
        return [State(BUSY if sources.healthy() else ACT, "database", since)]  # a moment of it needs nobody
    if not sources.healthy():
        return [State(ACT, "stuck", since)]
    found = _of_pools(pools, known=METRICS not in seen.snapshot.unknown)
    if not seen.snapshot.unknown:
        return [found]
    silent = _silent(sources, seen.snapshot.unknown)
    return [found, silent] if found.level == ACT else [silent]  # nobody can say that all is well


def _no_database(sources: Sources, seen: Seen) -> bool:
    """Whether that is why there is no newer tick: without its record nothing is decided, and no tick ends well. So it
    is asked only where the last one is old."""
    if sources.now() - seen.snapshot.at < _LATE:
        return False
    try:
        sources.store.find_events(EventQuery(limit=1))
    except TransientError:
        return True
    return False


def _of_pools(pools: Sequence[PoolFacts], *, known: bool) -> State:
    """`known`: how users fare."""
    stands = {pool.name: pool.stand for pool in pools}
    hurt = [pool.name for pool in pools if pool.down or pool.slow or pool.failing]
    acts = [name for name, stand in stands.items() if stand.level == ACT]
    busy = [name for name, stand in stands.items() if stand.level == BUSY]
    untold = [name for name, stand in stands.items() if stand.level == UNTOLD]
    if hurt:
        level = ACT if set(hurt) & set(acts) else BUSY
        return State(level, "hurt", {"n": len(hurt), "pools": _names(hurt)})
    if acts:
        return State(ACT, "act" if known else "act_only", {"n": len(acts), "pools": _names(acts)})
    if untold:
        return State(UNTOLD, "untold", {"n": len(untold), "pools": _names(untold)})
    if busy:
        return State(BUSY, "busy", {"n": len(busy), "pools": _names(busy)})
    return State(CALM, "calm", {"n": len(pools)})


def _silent(sources: Sources, unknown: Sequence[str]) -> State:
    nodes = [name.removeprefix(f"{RUNTIME}:") for name in unknown if name.startswith(f"{RUNTIME}:")]
    key = "old" if METRICS in unknown else "silent" if nodes else "engine"
    since = since_when(sources, {"old": METRICS, "engine": RUNTIME}.get(key) or f"{RUNTIME}:{nodes[0]}")
    told = {"nodes": _names(nodes, "/nodes/")}
    return State(BUSY, f"{key}_now", told) if since is None else State(BUSY, key, told | {"at": formats.moment(since)})


def since_when(sources: Sources, name: str) -> datetime | None:
    """Since when a source gives no answer; None where the ledger does not say."""
    asked = EventQuery(subject=f"source/{name}", kinds=_SOURCES, limit=_LOOKED_THROUGH)
    with suppress(TransientError, LostLease):  # the page says what it can while the database is away
        for known in sources.store.find_events(asked):
            if known.event.subject == asked.subject:  # and not of another whose name begins like it
                return known.event.at if known.event.event == "source_lost" else None
    return None


def numbers_old_since(sources: Sources, told: datetime | None) -> datetime | None:
    """Since when Prometheus says nothing new, as the top of the page has it; None: it does.

    `told` is since when an answer of it is old: what holds where ticks hear of it again, or did not ask as yet.
    """
    seen = sources.latest()
    if seen is None or METRICS not in seen.snapshot.unknown:
        return told
    return since_when(sources, METRICS) or told or seen.snapshot.at


def _names(names: Sequence[str], where: str = "/pools/") -> Markup:
    """Links to them; the others are counted by the sentence."""
    link = Markup('<a href="{}{}">{}</a>')
    shown = Markup(", ").join(link.format(where, quote(name, safe=""), name) for name in names[:_NAMED])
    return shown if len(names) <= _NAMED else shown + Markup(", …")


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    known = sources.known_alerts()
    firing = [item.alert for item in known if item.alert.firing]
    states = state_of(sources, facts_of(sources, known, drills=False))
    said = [texts(f"state.{state.key}", **state.values) for state in states]
    urgent = any(alert.labels.get("severity") == "critical" for alert in firing)
    filled = {
        name: fragment("state_count.html", texts, id=name, firing=len(firing), urgent=urgent)
        for name in ("alert-count", "menu-count")
    }
    return {"state": fragment("state.html", texts, level=states[0].level, firing=len(firing), said=said), **filled}


live.view(live.SHELL, _render)
