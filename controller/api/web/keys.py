"""/keys: the API keys of clients, page by page, and what is done to one. A secret is shown once, by a script."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.requests import Request

from controller.api.access import OPERATOR, CallerDep
from controller.api.deps import LEADS, Sources, SourcesDep
from controller.api.key_schemas import KeyOut, KeysQuery, Said
from controller.api.routes.keys import keys_of
from controller.api.web.overview import BUSY, CALM
from controller.api.web.shell import render

router = APIRouter(include_in_schema=False)
_PAGE = 50
_LEVELS = {"usable": CALM, "blocked": BUSY, "expired": "unknown", "revoked": "paused"}


class Wanted(BaseModel):
    """What is looked for. An empty text is none, as forms send one."""

    q: Said = ""
    plan: Said = ""
    state: Literal["", "usable", "blocked"] = ""
    before: Said | None = None
    page: int = Field(default=1, ge=1, le=10_000)


@router.get("/keys", dependencies=[OPERATOR])
def keys(request: Request, sources: SourcesDep, caller: CallerDep, wanted: Annotated[Wanted, Query()]) -> HTMLResponse:
    """Those that fit, the newest first."""
    found = _found(sources, wanted) if sources.lead() == LEADS else []
    shown = found[:_PAGE]
    return render(
        request,
        sources,
        caller,
        "keys.html",
        rows=[(key, _LEVELS[key.state]) for key in shown],
        wanted=wanted,
        usable=sources.access().usable,
        most=sources.offer.most_keys,
        plans=sorted(sources.offer.plans),
        models=sorted(set(sources.offer.models.values())),
        more=_more(wanted, shown[-1].id) if len(found) > _PAGE else None,
        first=_link(wanted, {}) if wanted.before else None,
    )


def _found(sources: Sources, wanted: Wanted) -> list[KeyOut]:
    """One more than is shown, so that it is known whether there are more."""
    query = KeysQuery(
        text=wanted.q.strip(),
        plan=wanted.plan or None,
        state=wanted.state or None,
        before=wanted.before,
        limit=_PAGE + 1,
    )
    return keys_of(sources, query)


def _more(wanted: Wanted, last: str) -> str:
    return _link(wanted, {"before": last, "page": str(wanted.page + 1)})


def _link(wanted: Wanted, more: dict[str, str]) -> str:
    kept = {name: value for name in ("q", "plan", "state") if (value := getattr(wanted, name))}
    return f"/keys?{urlencode(kept | more)}"
