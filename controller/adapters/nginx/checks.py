"""The one place that every value passes on its way into nginx.conf: a strict pattern for each.

`stoker.yaml` is checked when it is read, with the line in the message. This is the second lock on the same door: no
name, path or host, wherever it comes from, can end a word of the configuration or begin a directive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controller.core.errors import GatewayRejected
from controller.core.model import GatewayPlan

if TYPE_CHECKING:
    from controller.adapters.nginx.config import NginxConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_PLAN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{1,127}")
_HEADER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NETWORK = re.compile(r"[0-9A-Fa-f.:]{2,45}/\d{1,3}")


def check(plan: GatewayPlan, config: NginxConfig) -> None:
    """Raises `GatewayRejected` for the first value that has no place in nginx.conf."""
    for address in (config.listen, config.status_listen, config.edge_log):
        _check(_HOST, address.host, "address to listen on")
    _check_plan(plan)
    for rules in config.rules.pools.values():
        for alias in rules.aliases:
            _check(_MODEL, alias, "alias")
        for path in rules.open_paths:
            _check(_PATH, path, "path")
    for limited in config.rules.plans:
        _check(_PLAN, limited.name, "name of a plan")
    _check(_HEADER, config.user_header, "header of the user")
    for network in config.trusted_proxies:
        _check(_NETWORK, network, "network of a proxy")


def _check_plan(plan: GatewayPlan) -> None:
    for routes in plan.pools:
        _check(_NAME, routes.pool, "pool name")
        _check(_MODEL, routes.model, "model name")
        for server in routes.servers:
            _check(_NAME, server.replica, "replica name")
            _check(_HOST, server.address.host, f"host of {server.replica}")


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if pattern.fullmatch(value) is None:
        raise GatewayRejected(f"the {what} {value!r} has no place in nginx.conf")
