"""The application, made of what it is given."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from controller.api.access_routes import add_openapi, routes_of
from controller.api.deps import Sources
from controller.api.routes import (
    activity,
    alerts,
    audit,
    drills,
    gateway,
    gateways,
    health,
    history,
    keys,
    oidc,
    orders,
    overrides,
    people,
    sessions,
    simulations,
    state,
    tokens,
)
from controller.api.web import install

_LARGEST_BODY = 1024**2  # bytes; a body is read before it is known who asks, but where a route says so


def create_app(sources: Sources) -> FastAPI:
    """A FastAPI application over these sources. Handlers are plain functions: everything they read is synchronous.

    Raises:
        RuntimeError: a route does not say what role it needs.
    """
    app = FastAPI(
        title="Stoker",
        version=version("stoker"),
        description="What the controller sees, decides and why.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        max_body_size=_LARGEST_BODY,
    )
    app.state.sources = sources
    for module in (health, state, orders, keys, gateway, gateways, alerts, simulations, overrides, drills, history):
        app.include_router(module.router)
    for module in (sessions, oidc, people, tokens, audit, activity):
        app.include_router(module.router)
    install(app)
    add_openapi(app)
    list(routes_of(app))  # each says what it needs, or nothing starts
    return app
