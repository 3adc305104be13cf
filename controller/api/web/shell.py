"""What every page has: its frame, its language, its headers, and what it shows while nobody leads here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from controller.api.access import PUBLIC, Caller
from controller.api.deps import LEADS, Sources
from controller.api.web import formats, live
from controller.api.web.templates import environment
from controller.api.web.templates import fragment as fragment
from controller.api.web.texts import Texts, catalogs, chosen
from controller.core.people import Role

router = APIRouter(include_in_schema=False)
COOKIE = "lang"
_A_YEAR_S = 365 * 86400
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d{2,5}\b")
_LOCAL = re.compile(r"/(?![/\\])[^\s\\]*")
_NAV = (  # path, the key of its name, and the role that it needs
    ("/", "nav.fleet", Role.VIEWER),
    ("/nodes", "nav.nodes", Role.VIEWER),
    ("/gateway", "nav.gateway", Role.VIEWER),
    ("/keys", "nav.keys", Role.OPERATOR),
    ("/activity", "nav.activity", Role.VIEWER),
    ("/alerts", "nav.alerts", Role.VIEWER),
    ("/simulator", "nav.simulator", Role.VIEWER),
    ("/drills", "nav.drills", Role.VIEWER),
    ("/audit", "nav.audit", Role.OPERATOR),
    ("/users", "nav.users", Role.ADMIN),
)


@dataclass(frozen=True, slots=True)
class View:
    """The live part of a page: a name given to `live.view`, and what it is asked for."""

    name: str = live.SHELL
    params: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(name: str, /, **params: str) -> View:
        """In an order of their own, so that equal ones are shared."""
        return View(name, tuple(sorted(params.items())))


_STILL = View()


def texts_of(request: Request) -> Texts:
    """The reader's language."""
    return chosen(request.cookies.get(COOKIE), request.headers.get("accept-language", ""))


def render(
    request: Request, sources: Sources, caller: Caller, name: str, *, view: View = _STILL, status: int = 200,
    **values: Any,
) -> HTMLResponse:  # fmt: skip
    """A page. `view` is what of it is live: `part("ID")` in the template gives each of its elements.

    Where another controller leads it is that page which says so, and 503. Blocks for as long as the store does.
    """
    texts = texts_of(request)
    lead = sources.lead()
    if lead != LEADS and status in (200, 409, 503):
        name, status, view = "standby.html", 503, _STILL
        values |= {"lead": lead, "leader": _leader(request, lead)}
    # Whoever is nobody sees nothing of the fleet, not even its sentence.
    parts = live.parts_of(sources, view.name, dict(view.params), texts) if caller.role else {}
    html = (
        environment(texts.language)
        .get_template(name)
        .render(**_frame(request, caller, texts), **_stream(view, parts), now=formats.iso(sources.now()), **values)
    )
    return HTMLResponse(html, status, headers={"Cache-Control": "no-store", "Vary": "Cookie, Accept-Language"})


def _frame(request: Request, caller: Caller, texts: Texts) -> dict[str, Any]:
    here, role = request.url.path, caller.role
    nav = [(path, key, _is_here(path, here)) for path, key, needs in _NAV if role and role.allows(needs)]
    return {
        "here": f"{here}?{request.url.query}" if request.url.query else here,
        "caller": caller,
        "role": role.value if role else "",
        "csrf": caller.csrf,
        "nav": nav,
        "languages": [known for known in catalogs().values() if known.language != texts.language],
        "script_texts": texts.section,
    }


def _stream(view: View, parts: live.Fragments) -> dict[str, Any]:
    def part(name: str) -> Markup:
        return Markup(parts[name])  # rendered by a template of ours

    asked = urlencode([("view", view.name), *view.params])
    return {"part": part, "parts": parts, "stream": f"/live?{asked}" if parts else "", "seen": live.digest(parts)}


def _is_here(path: str, here: str) -> bool:
    if path == "/":
        return here == "/" or here.startswith("/pools/")
    return here == path or here.startswith(f"{path}/") or (path == "/activity" and here.startswith("/decisions/"))


def _leader(request: Request, lead: str) -> str:
    """Where the one that leads has its pages, if the words tell where it listens; they begin with its host and port."""
    found = _HOST_AND_PORT.search(lead)
    return f"{request.url.scheme}://{found[0]}/" if found else ""


def local(path: str) -> str:
    """That path of this controller, or / for whatever might lead elsewhere."""
    return path if _LOCAL.fullmatch(path) else "/"


@router.get("/language/{language}", dependencies=[PUBLIC])
def language(language: str, next: str = "/") -> RedirectResponse:
    """Choose it, and go back."""
    answer = RedirectResponse(local(next), 303)
    if language in catalogs():
        answer.set_cookie(COOKIE, language, max_age=_A_YEAR_S, samesite="lax", httponly=True)
    return answer
