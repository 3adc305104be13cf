"""The plain page at /: alerts, pools, replicas, the last decisions. It fetches itself anew, with no others' script."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from controller.api import views
from controller.api.alert_schemas import AlertOut
from controller.api.alert_views import SEARCHED, Ledger, alerts_of
from controller.api.deps import Sources, SourcesDep

router = APIRouter(include_in_schema=False)
_DECISIONS_SHOWN, _ALERTS_SHOWN = 25, 25


def _clock(at: Any) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S") if isinstance(at, datetime) else ""


_pages = Environment(loader=PackageLoader("controller.api"), autoescape=True, undefined=StrictUndefined)
_pages.filters["clock"] = _clock


@router.get("/")
def page(sources: SourcesDep) -> HTMLResponse:
    """Everything of the last tick on one page."""
    seen = sources.latest()
    decisions = [views.decision_of(item) for item in sources.store.decisions(limit=_DECISIONS_SHOWN)]
    html = _pages.get_template("page.html").render(
        at=seen.snapshot.at if seen else None,
        tick=seen.snapshot.tick if seen else 0,
        unknown=seen.snapshot.unknown if seen else (),
        healthy=sources.healthy(),
        alerts=_firing(sources),
        pools=views.pools_of(seen, sources.policies),
        replicas=views.replicas_of(seen),
        decisions=decisions,
    )
    # Nothing on the page comes from elsewhere, and nothing else may.
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


def _firing(sources: Sources) -> list[AlertOut]:
    """The newest that fire; the ledger is only searched where there are some, as the page is asked for all the time."""
    found = [known for known in sources.known_alerts() if known.alert.firing][:_ALERTS_SHOWN]
    if not found:
        return []
    return alerts_of(found, Ledger(sources.store.decisions(limit=SEARCHED), sources.store.events(limit=SEARCHED)))
