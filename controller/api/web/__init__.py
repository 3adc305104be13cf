"""The pages. `install` puts them into the application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from controller.api.web import (
    account,
    activity,
    alerts,
    audit,
    decision,
    drills,
    errors,
    fleet,
    gateway,
    keys,
    live,
    login,
    nodes,
    pool,
    runbooks,
    shell,
    simulator,
    state,
    static,
    stream,
    users,
)

assert state  # it is what every page has
ROUTERS = [static.router, stream.router, shell.router, fleet.router, simulator.router, nodes.router]
ROUTERS += [gateway.router, keys.router]
ROUTERS += [pool.router, decision.router]
ROUTERS += [activity.router, alerts.router, runbooks.router, drills.router]
ROUTERS += [login.router, account.router, users.router, audit.router]


def install(app: FastAPI) -> None:
    """Every page, what they are made of, and errors as pages for those who want pages."""
    app.state.live = live.Hub(app)
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    app.add_middleware(GZipMiddleware, minimum_size=1400, compresslevel=5)  # it leaves event streams alone
