"""The application, made of what it is given."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from controller.api.deps import Sources
from controller.api.routes import health, orders, page, state


def create_app(sources: Sources) -> FastAPI:
    """A FastAPI application over these sources. Handlers are plain functions: everything they read is synchronous."""
    app = FastAPI(title="Stoker", version=version("stoker"), description="What the controller sees, decides and why.")
    app.state.sources = sources
    for module in (health, state, orders, page):
        app.include_router(module.router)
    return app
