"""The role of each route: that there is one, and what the OpenAPI page says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from controller.api.access import MARKERS, VIEWER

_STATIC = "/static"  # files that are the same for everybody
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `stoker tokens create`, or the one of a file of the state directory.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "stoker_session",
        "description": "Of a login; what changes something needs the header X-CSRF-Token, too.",
    },
}
_SENTENCE = {"type": "string", "description": "What is wrong, and what would be right."}
_REFUSAL = {"type": "object", "title": "Refusal", "required": ["detail"], "properties": {"detail": _SENTENCE}}
_REFUSED = {
    "description": "Refused: 401 nobody, 403 not this role, 404, 409, 429, 503; the operation says when.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
_BY_FILE = (".token",)  # roles that only a token of a file has


@dataclass(frozen=True, slots=True)
class RouteRole:
    """A method of a path, and what it asks for."""

    method: str
    path: str
    role: str
    in_schema: bool


def routes_of(app: FastAPI) -> Iterator[RouteRole]:
    """All of them. Raises `RuntimeError` for one without exactly one marker."""
    for route in iter_route_contexts(app.router.routes):
        original = route.original_route
        if isinstance(original, Mount) and original.path == _STATIC:
            continue
        path = str(route.path)
        found = [MARKERS[call] for call in _calls(getattr(route, "dependant", None)) if call in MARKERS]
        if len(found) != 1:
            has = " and ".join(found) or "none"
            raise RuntimeError(
                f"the route {path} has {has}; give it exactly one of the markers of controller.api.access"
            )
        for method in sorted(getattr(route, "methods", None) or ()):
            yield RouteRole(method, path, found[0], bool(getattr(route, "include_in_schema", False)))


def _calls(dependant: Dependant | None) -> Iterator[Any]:
    """What the route itself depends on; not what that depends on in turn."""
    for one in dependant.dependencies if dependant is not None else ():
        yield one.call


def add_openapi(app: FastAPI) -> None:
    """`/openapi.json`, for who is logged in, with the role that each operation needs. After all routes are there.

    FastAPI's own pages beside it stay off: their scripts come from elsewhere.
    """
    app.add_api_route(
        "/openapi.json",
        _openapi,  # no closure: FastAPI keeps what it was once given, and with it the whole application
        dependencies=[VIEWER],
        include_in_schema=False,
        response_model=None,
    )


def _openapi(request: Request) -> JSONResponse:
    return JSONResponse(described(request.app))


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = app.openapi()
    if "securitySchemes" in document.setdefault("components", {}):
        return document
    document["components"]["securitySchemes"] = _SCHEMES
    _tell_errors(document["components"].setdefault("schemas", {}))
    for route in routes_of(app):
        operation = document["paths"].get(route.path, {}).get(route.method.lower())
        if operation is not None:
            operation["x-stoker-role"] = route.role
            operation["security"] = _security(route.role)
            operation["responses"].setdefault("default", _REFUSED)
    return document


def _tell_errors(schemas: dict[str, Any]) -> None:
    """How a refusal looks. What the types of a request cannot say is refused with 422, too, and then in a sentence."""
    schemas["Refusal"] = _REFUSAL
    fields = schemas.get("HTTPValidationError", {}).get("properties", {})
    if fields.get("detail", {}).get("type") == "array":
        fields["detail"] = {"anyOf": [_SENTENCE, fields["detail"]], "title": "Detail"}


def _security(role: str) -> list[dict[str, list[str]]]:
    if role == "public":
        return []
    return [{"bearer": []}] if role.endswith(_BY_FILE) and " " not in role else [{"bearer": []}, {"session": []}]
