"""docs/access.md says of every route what it needs."""

from __future__ import annotations

import os
from pathlib import Path

from controller.api.access_routes import routes_of
from tests.unit.api.people_world import World

DOCUMENT = Path(__file__).parents[3] / "docs/access.md"
_BEGIN, _END = "<!-- routes: ", "<!-- end of routes -->"


def test_the_document_has_every_route_with_its_role() -> None:
    rows = sorted((route.path, route.method, route.role) for route in routes_of(World().app))
    lines = [f"| `{method} {path}` | {role} |" for path, method, role in rows]
    table = ["", "| route | needs |", "|---|---|", *lines, ""]
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    first, _, rest = rest.partition("\n")
    found, _, after = rest.partition(_END)
    if os.environ.get("UPDATE_GOLDEN"):
        DOCUMENT.write_text("\n".join([f"{before}{_BEGIN}{first}", *table, f"{_END}{after}"]), encoding="utf-8")
        return

    assert found.splitlines() == table


def test_only_what_everybody_may_know_is_public() -> None:
    public = {f"{route.method} {route.path}" for route in routes_of(World().app) if route.role == "public"}

    assert public == {
        "GET /healthz",
        "GET /readyz",
        "GET /language/{language}",
        "GET /login",
        "POST /login",
        "GET /login/oidc",
        "GET /login/oidc/back",
        "GET /join",
        "POST /join",
        "POST /api/v1/sessions",
        "POST /api/v1/joins",
        "GET /favicon.ico",
        "GET /static/{version}/{path:path}",
    }
