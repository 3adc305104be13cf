"""/alerts: what fires and what the controller did about it, what is over, and who is silent."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from controller.api.access import VIEWER, Caller, CallerDep
from controller.api.activity import of_decision, of_event
from controller.api.activity import subject_of as subject_of_decision
from controller.api.deps import Sources, SourcesDep
from controller.api.history_promql import filled
from controller.api.web import live
from controller.api.web.activity_rows import href_of
from controller.api.web.alerts_rows import GPU, AlertRow, Deeds, coded, ended_by, fits, groups_of, rows_of, subject_of
from controller.api.web.formats import iso
from controller.api.web.runbooks import names
from controller.api.web.shell import View, render
from controller.api.web.state import numbers_old_since, since_when
from controller.api.web.templates import fragment
from controller.api.web.texts import Texts
from controller.core.alerts import KnownAlert
from controller.core.decision import StartReplica
from controller.core.errors import TransientError
from controller.core.planner import RUNTIME
from controller.core.timeline import axis_of
from controller.ports import DecisionQuery, EventQuery

router = APIRouter(include_in_schema=False)
_SEARCHED, _STEP_S, _BEFORE = 1000, 300, timedelta(minutes=1)
_DAY = timedelta(days=1)
_FIRED = 'max by (alertname, severity, pool, node) (max_over_time(ALERTS{alertstate="firing"}[$w]))'
_LONGEST = 200
_STARTS, _MOST_NODES = 300, 8  # of a node with a broken GPU; nodes that are looked for


@dataclass(frozen=True, slots=True)
class Silent:
    """Something that gives no answer."""

    kind: str  # source, node
    name: str
    since: datetime | None


@router.get("/alerts", dependencies=[VIEWER])
def alerts(request: Request, sources: SourcesDep, caller: CallerDep) -> HTMLResponse:
    """The worst first; `pool` and `name` of the address leave others out."""
    asked = {key: request.query_params.get(key, "")[:_LONGEST] for key in ("pool", "name", "ended")}
    kept = {key: value for key, value in asked.items() if value and (key != "ended" or value == "24h")}
    return render(
        request, sources, caller, "alerts.html", view=View.of("alerts", **kept), asked=asked,
        silences=_silences(sources, caller), alertmanager=sources.alertmanager,
        hour=_href(kept, ended=""), day=_href(kept, ended="24h"), long=kept.get("ended") == "24h",
    )  # fmt: skip


def _href(kept: dict[str, str], **changed: str) -> str:
    asked = {key: value for key, value in {**kept, **changed}.items() if value}
    return f"/alerts?{urlencode(asked)}" if asked else "/alerts"


def _silences(sources: Sources, caller: Caller) -> str:
    """Alertmanager's page of silences, where the reader can get there: it may listen to its own machine alone."""
    address = sources.alertmanager
    if not address or (_is_local(urlsplit(address).hostname or "") and not _is_local(caller.address)):
        return ""
    return f"{address}/#/silences"


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _render(sources: Sources, params: live.Params, texts: Texts) -> live.Fragments:
    known, seen = sources.known_alerts(), sources.latest()
    deeds = _deeds(sources, known)
    rows = [row for row in rows_of(known, deeds) if fits(row, params)]
    firing, ended = [row for row in rows if row.until is None], [row for row in rows if row.until is not None]
    ended.sort(key=lambda row: row.until or row.since, reverse=True)
    told = None
    if params.get("ended") == "24h":
        end = sources.now()
        axis = axis_of((end - _DAY).timestamp(), end.timestamp(), _STEP_S)
        told = sources.history.ask(filled(_FIRED, f"{axis.step}s"), axis)
        ended += [row for row in ended_by(told, firing, ended) if fits(row, params)]
    shared = {"runbooks": names(), "subject": subject_of, "all_of": _all_of, "coded": coded, "href": href_of}
    return {
        "alerts-firing": fragment(
            "alerts_firing.html",
            texts,
            groups=groups_of(firing, deeds, seen),
            quiet=None if firing else _quiet(sources, ended),
            **shared,
        ),
        "alerts-ended": fragment(
            "alerts_ended.html",
            texts,
            rows=ended,
            told=told,
            **shared,
            old_since=numbers_old_since(sources, told.stale_since) if told else None,
        ),
        "alerts-silent": fragment("alerts_silent.html", texts, silent=_silent(sources), seen=seen is not None),
    }


def _deeds(sources: Sources, known: Sequence[KnownAlert]) -> Deeds:
    """Since the first of them began."""
    since = min((one.alert.starts_at for one in known), default=None)
    if since is None:
        return Deeds()
    gpus = {(one.alert.node or "", one.alert.labels[GPU]) for one in known if one.alert.labels.get(GPU)}
    with suppress(TransientError):  # the alerts stand there all the same
        query = DecisionQuery(since=since - _BEFORE, limit=_SEARCHED)
        lines = [of_decision(item) for item in sources.store.find_decisions(query)]
        if not gpus:
            return Deeds(lines)
        events = EventQuery(subject="gpu/", since=since - _BEFORE, limit=_SEARCHED)
        lines += [of_event(item) for item in sources.store.find_events(events)]
        return Deeds(sorted(lines, key=lambda line: line.at, reverse=True), _about_gpus(sources, gpus))
    return Deeds()


def _about_gpus(sources: Sources, gpus: Collection[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """By UUID the GPU and the replicas that were given it: those that are there, and of each node the last that
    started."""
    about = {uuid: {f"gpu/{uuid}"} for _, uuid in gpus}
    seen = sources.latest()
    for replica in seen.plan.memory.replicas.values() if seen else ():
        about.get(replica.gpu, set()).add(f"replica/{replica.replica}")
    for node in sorted({node for node, _ in gpus if node})[:_MOST_NODES]:
        query = DecisionQuery(kinds=(StartReplica.kind,), text=node, limit=_STARTS)
        for item in sources.store.find_decisions(query):
            if isinstance(item.decision, StartReplica):
                about.get(item.decision.gpu, set()).add(subject_of_decision(item.decision))
    return {uuid: frozenset(subjects) for uuid, subjects in about.items()}


def _quiet(sources: Sources, ended: list[AlertRow]) -> datetime | None:
    """Since when nothing fires, where that is known."""
    found = [row.until for row in ended if row.until is not None]
    with suppress(TransientError):
        last = sources.store.find_events(EventQuery(kinds=("alert_resolved",), limit=1))
        found += [item.event.at for item in last]
    return max(found, default=None)


def _silent(sources: Sources) -> list[Silent]:
    seen = sources.latest()
    if seen is None:
        return []
    nodes = [Silent("node", node.name, node.silent_since) for node in seen.snapshot.nodes if node.silent_since]
    names = [name for name in seen.snapshot.unknown if not name.startswith(f"{RUNTIME}:")]  # those are its nodes
    return [*(Silent("source", name, since_when(sources, name)) for name in names), *nodes]


def _all_of(row: AlertRow) -> str:
    """The activity of that time."""
    first, last = row.looked
    asked = {"what": "decision", "from": iso(first)} | ({"to": iso(last)} if last else {})
    pool, place = row.about.pool, f"node/{row.about.node}" if row.about.node else f"gpu/{row.about.gpu}"
    asked |= {"pool": pool} if pool else {"subject": place}
    return f"/activity?{urlencode(asked)}"


live.view("alerts", _render)
