"""/runbooks/{name}: what to do about an alert. The texts are our own; HTML in them is text like any other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from starlette.requests import Request

import controller
from controller.api.access import VIEWER, CallerDep
from controller.api.deps import SourcesDep
from controller.api.web.shell import render

router = APIRouter(include_in_schema=False)
_PAGE = re.compile(r"([A-Za-z]+)\.md")


@router.get("/runbooks/{name}", dependencies=[VIEWER])
def runbook(name: str, request: Request, sources: SourcesDep, caller: CallerDep, pool: str = "") -> HTMLResponse:
    """One of them; with the name of a pool in its commands, where one is asked for."""
    if name not in names():
        raise HTTPException(404, f"there is no runbook {name}; there is {', '.join(sorted(names()))}")
    html = page(name)
    if pool in {str(policy.pool) for policy in sources.policies}:
        html = Markup(re.sub(r"\bPOOL\b", str(escape(pool)), html))
    return render(request, sources, caller, "alerts_runbook.html", runbook=name, html=html)


@cache
def names() -> Mapping[str, Traversable]:
    """Those that there are. An installed controller has them among its pages, a checkout in docs."""
    packed = resources.files("dashboards") / "web" / "runbooks"
    place = packed if packed.is_dir() else Path(controller.__file__).parent.parent / "docs/runbooks"
    found = place.iterdir() if place.is_dir() else ()
    return {file.name.removesuffix(".md"): file for file in found if file.name.endswith(".md")}


@cache
def page(name: str) -> Markup:
    """It as HTML, without its title. Raises `KeyError`."""
    text = names()[name].read_text("utf-8")
    return Markup(to_html(re.sub(r"\A# .*\n", "", text)))


def to_html(text: str) -> str:
    """Markdown without HTML, images and foreign schemes; a link to another runbook leads to its page."""
    made = MarkdownIt("commonmark", {"html": False}).disable(["image", "html_block", "html_inline"])
    tokens = made.parse(text)
    for token in (child for outer in tokens for child in outer.children or ()):
        if token.type == "link_open":
            token.attrs = _link(str(token.attrs.get("href", "")))
    rendered: str = made.renderer.render(tokens, made.options, {})
    return rendered


def _link(href: str) -> dict[str, Any]:
    found = _PAGE.fullmatch(href)
    if found is not None and found[1] in names():
        return {"href": f"/runbooks/{found[1]}"}
    if href.startswith("https://"):
        return {"href": href, "rel": "noreferrer noopener", "target": "_blank"}
    return {}  # a page that is not served here
