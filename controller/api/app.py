"""The application, made of what it is given."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from controller.api.deps import Sources
from controller.api.routes import alerts, gateway, gateways, health, keys, orders, page, state
from controller.core.errors import LostLease, TransientError


def create_app(sources: Sources) -> FastAPI:
    """A FastAPI application over these sources. Handlers are plain functions: everything they read is synchronous."""
    app = FastAPI(title="Stoker", version=version("stoker"), description="What the controller sees, decides and why.")
    app.state.sources = sources
    for module in (health, state, orders, keys, gateway, gateways, alerts, page):
        app.include_router(module.router)
    app.add_exception_handler(LostLease, _conflict)
    app.add_exception_handler(TransientError, _unavailable)
    return app


def _conflict(_: Request, error: Exception) -> JSONResponse:
    """Another controller leads: ask that one."""
    return JSONResponse({"detail": str(error)}, 409)


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    """What is needed for an answer is away: ask again."""
    return JSONResponse({"detail": str(error)}, 503)
