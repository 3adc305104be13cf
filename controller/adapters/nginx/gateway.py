"""Applies plans to a running nginx, and knows truthfully which plan that is.

Three files carry it over a crash of the controller at any moment:

    plan.next.json   the plan that is about to be tried          1 written before nginx.conf
    nginx.conf       tested; what nginx reads when it starts     2 renamed into place, then the reload
    plan.json        the plan that nginx was seen to serve       3 renamed from plan.next.json

Each plan carries the generation of its configuration, nginx.conf carries its own, and nginx answers with the one that
it serves. A new controller compares them; where the file is ahead of nginx, the step that was missing (the reload) is
done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from controller.adapters.nginx.config import NginxConfig, generation_of, nginx_binary, ordered, render, scripts
from controller.adapters.nginx.process import NginxProcess
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes, ReplicaId, Server
from controller.ports import Clock, GatewayState
from controller.settings import GatewaySettings, PortSettings

CHECK_S = 1.5
TAKE_S = 2.5
RESTORE_S = 1.0  # with the two above: the 5 s of the port


@dataclass(frozen=True, slots=True)
class NginxParts:
    """What a gateway is made of."""

    folder: Path  # Layout.gateway
    logs: Path
    gateway: GatewaySettings
    ports: PortSettings
    clock: Clock
    binary: Path = field(default_factory=nginx_binary)

    def config(self) -> NginxConfig:
        """The settings and this machine's limits."""
        return NginxConfig.here(self.gateway, self.ports)

    def process(self) -> NginxProcess:
        """The nginx of this folder."""
        return NginxProcess(self.folder, self.binary, Address("127.0.0.1", self.ports.gateway_status))


def command(parts: NginxParts) -> list[str]:
    """What a supervisor runs, in the foreground. SIGQUIT ends it after its requests, SIGTERM at once.

    Errors go to standard error: the supervisor rotates them.
    """
    return [sys.executable, "-m", "controller.adapters.nginx_start", str(parts.folder), str(parts.binary)]


def prepare(parts: NginxParts, pools: Sequence[PoolRoutes]) -> None:
    """Write everything that nginx needs to start: the configured `pools`, with the servers that they had last.

    Servers that nginx would refuse now are left out. Idempotent, and harmless while nginx runs.

    Raises:
        GatewayRejected: nginx refuses even empty pools (its words are in the message): a wrong binary or host.
        GatewayUnavailable: nginx cannot be run.
    """
    parts.folder.mkdir(parents=True, exist_ok=True)
    parts.folder.chmod(0o755)  # root's workers run as nobody, and hold.sock lies here
    (parts.folder / "temp").mkdir(exist_ok=True)
    parts.logs.mkdir(parents=True, exist_ok=True)
    for name, text in scripts().items():
        _write(parts.folder / name, text)
    files = _Files(parts.folder)
    last = {routes.pool: routes.servers for routes in files.last_plan().pools}
    routed = [PoolRoutes(routes.pool, routes.model, last.get(routes.pool, ())) for routes in pools]
    try:
        _install(parts, files, GatewayPlan(tuple(routed)))
    except (GatewayRejected, GatewayUnavailable):
        _install(parts, files, GatewayPlan(tuple(PoolRoutes(routes.pool, routes.model) for routes in pools)))


class NginxGateway:
    """The `Gateway` port on nginx. One at a time per folder; `prepare` must have run. Not for use by several threads.

    For up to 2 s after `apply` a client's idle connection to an old worker may still carry one request to a replica
    that has left the plan; a replica that refuses it (connection refused or 503) makes nginx try another.
    """

    def __init__(self, parts: NginxParts) -> None:
        """Find out what nginx runs. Blocks for at most 3 s, and only where an earlier controller was interrupted."""
        self._clock = parts.clock
        self._interval: timedelta = parts.gateway.reload_interval
        self._config = parts.config()
        self._nginx = parts.process()
        self._files = _Files(parts.folder)
        self._reloaded_at: datetime | None = None
        self._applied = GatewayPlan()
        self._certain = False  # that nginx runs `_applied`, and starts with it
        with contextlib.suppress(GatewayUnavailable):  # `apply` will say so
            self._recover()

    def state(self) -> GatewayState:
        """See `Gateway.state`."""
        return GatewayState(self._applied)

    def apply(self, plan: GatewayPlan) -> GatewayState:
        """See `Gateway.apply`."""
        plan = ordered(plan)
        if not self._certain:
            self._recover()
        if self._certain and plan == self._applied:
            return GatewayState(self._applied)
        retry_at = self._retry_at()
        if retry_at is not None:
            return GatewayState(self._applied, retry_at)
        self._nginx.master()
        try:
            self._try(plan)
        except OSError as error:
            raise GatewayUnavailable(f"{error.filename} cannot be written: {error.strerror}") from error
        return GatewayState(self._applied)

    def _try(self, plan: GatewayPlan) -> None:
        text = render(plan, self._config)
        try:
            self._files.write_candidate(text)
            self._nginx.check(self._files.candidate.name, CHECK_S)
            self._files.write_next(plan, generation_of(text))
            self._switch(generation_of(text))
        finally:
            self._files.candidate.unlink(missing_ok=True)
        self._files.promote_next()
        self._applied, self._certain = plan, True

    def _switch(self, generation: str) -> None:
        """Rename, reload, await; or put the old file back."""
        before = self._files.conf.read_text(encoding="utf-8")
        self._certain = False
        os.replace(self._files.candidate, self._files.conf)
        try:
            self._reload(generation, TAKE_S)
        except GatewayUnavailable:
            _write(self._files.conf, before)
            with contextlib.suppress(GatewayUnavailable):
                # Dead: it starts with the old file. Deaf: the signal waits for it, and the next apply makes sure.
                self._reload(generation_of(before), RESTORE_S)
                self._certain = True
            raise

    def _reload(self, generation: str, timeout_s: float) -> None:
        self._reloaded_at = self._clock.now()
        self._nginx.reload(generation, timeout_s)

    def _retry_at(self) -> datetime | None:
        """When the next reload may be; None: now. A clock that was set back does not hold anything up."""
        if self._reloaded_at is None:
            return None
        waited = self._clock.now() - self._reloaded_at
        return self._reloaded_at + self._interval if timedelta(0) <= waited < self._interval else None

    def _recover(self) -> None:
        """Find out which plan nginx runs, and make that the plan that it starts with.

        Raises:
            GatewayUnavailable: nginx does not answer, or not with what its file says. The best guess is kept.
        """
        plans = self._files.plans()
        on_disk, serving = self._files.generation(), self._nginx.generation()
        self._applied = plans.get(serving or on_disk, GatewayPlan())
        if serving is None:
            raise GatewayUnavailable("nginx does not answer")
        if serving != on_disk:
            self._reload(on_disk, TAKE_S)
        self._applied = plans.get(on_disk, GatewayPlan())
        self._certain = on_disk in plans
        self._files.promote(on_disk)


class _Files:
    """The files of the folder, all written by rename."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "nginx.conf"
        self.candidate = folder / "nginx.conf.next"
        self._plan = folder / "plan.json"
        self._next = folder / "plan.next.json"

    def write_candidate(self, text: str) -> None:
        self.candidate.write_text(text, encoding="utf-8")

    def write_next(self, plan: GatewayPlan, generation: str) -> None:
        _write(self._next, json.dumps({"generation": generation, **_to_json(plan)}, indent=1) + "\n")

    def promote_next(self) -> None:
        os.replace(self._next, self._plan)

    def promote(self, generation: str) -> None:
        """Finish what a crash interrupted: the plan of that generation is the one that nginx runs."""
        found = _read_plan(self._next)
        if found is not None and found[0] == generation:
            self.promote_next()

    def generation(self) -> str:
        """Of nginx.conf; empty where there is none."""
        try:
            return generation_of(self.conf.read_text(encoding="utf-8"))
        except OSError:
            return ""

    def plans(self) -> dict[str, GatewayPlan]:
        """The known plans by generation."""
        found = [_read_plan(path) for path in (self._next, self._plan)]
        return dict(one for one in found if one is not None)

    def last_plan(self) -> GatewayPlan:
        """The plan that nginx was last seen to serve."""
        found = _read_plan(self._plan)
        return found[1] if found else GatewayPlan()


def _install(parts: NginxParts, files: _Files, plan: GatewayPlan) -> None:
    plan = ordered(plan)
    text = render(plan, parts.config())
    try:
        files.write_candidate(text)
        parts.process().check(files.candidate.name, CHECK_S)
        files.write_next(plan, generation_of(text))
        os.replace(files.candidate, files.conf)
        files.promote_next()
    finally:
        files.candidate.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    """By rename, so that a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _to_json(plan: GatewayPlan) -> dict[str, Any]:
    return {
        "pools": [
            {
                "pool": routes.pool,
                "model": routes.model,
                "servers": [
                    {"replica": server.replica, "host": server.address.host, "port": server.address.port}
                    for server in routes.servers
                ],
            }
            for routes in plan.pools
        ]
    }


def _read_plan(path: Path) -> tuple[str, GatewayPlan] | None:
    """Generation and plan; None for a file that is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        pools = tuple(
            PoolRoutes(
                PoolName(routes["pool"]),
                routes["model"],
                tuple(
                    Server(ReplicaId(server["replica"]), Address(server["host"], int(server["port"])))
                    for server in routes["servers"]
                ),
            )
            for routes in data["pools"]
        )
        return str(data["generation"]), GatewayPlan(pools)
    except (OSError, ValueError, KeyError, TypeError):
        return None
