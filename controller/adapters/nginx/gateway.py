"""Applies plans to a running nginx, and knows truthfully which plan that is.

Three files carry it over a crash of the controller at any moment:

    plan.next.json   the plan that is about to be tried          1 written before nginx.conf
    nginx.conf       tested; what nginx reads when it starts     2 renamed into place, then the reload
    plan.json        the plan that nginx was seen to serve       3 renamed from plan.next.json

Each plan carries the generation of its configuration, nginx.conf carries its own, and nginx answers with the one that
it serves. A new controller compares them; where the file is ahead of nginx, the step that was missing (the reload) is
done again. What nginx runs is not what the settings make of its plan where those have changed since: then the same plan
is rendered, tested and taken once more.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from controller.adapters.nginx.certificate import ServedCertificate
from controller.adapters.nginx.config import NginxConfig, generation_of, nginx_binary, ordered, render, scripts
from controller.adapters.nginx.files import Files, write
from controller.adapters.nginx.process import NginxProcess
from controller.adapters.nginx.rules import Rules
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import Address, GatewayPlan, PoolRoutes
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
    rules: Rules = field(default_factory=Rules)
    binary: Path = field(default_factory=nginx_binary)

    def config(self) -> NginxConfig:
        """The settings and this machine's limits."""
        return NginxConfig.here(self.gateway, self.ports, self.rules)

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
    (parts.folder / "access").mkdir(exist_ok=True)
    (parts.folder / "control").mkdir(mode=0o700, exist_ok=True)  # nobody else may change what nginx lets in
    parts.logs.mkdir(parents=True, exist_ok=True)
    for name, text in scripts().items():
        write(parts.folder / name, text)
    files = Files(parts.folder)
    last = {routes.pool: routes.servers for routes in files.last_plan().pools}
    routed = [PoolRoutes(routes.pool, routes.model, last.get(routes.pool, ())) for routes in pools]
    try:
        _install(parts, files, GatewayPlan(tuple(routed)))
    except (GatewayRejected, GatewayUnavailable):
        _install(parts, files, GatewayPlan(tuple(PoolRoutes(routes.pool, routes.model) for routes in pools)))


@dataclass(frozen=True, slots=True)
class Running:
    """The configuration that nginx was seen to serve, and starts with."""

    generation: str
    text: str
    plan: GatewayPlan


class NginxGateway:
    """The `Gateway` port on nginx. One at a time per folder; `prepare` must have run. Not for use by several threads.

    For up to 2 s after `apply` a client's idle connection to an old worker may still carry one request to a replica
    that has left the plan; a replica that refuses it (connection refused or 503) makes nginx try another.
    """

    def __init__(self, parts: NginxParts) -> None:
        """Find out what nginx runs. Blocks for at most 3 s, and only where an earlier controller was interrupted."""
        self._clock = parts.clock
        self._nginx = parts.process()
        self._files = Files(parts.folder)
        self._certificate = ServedCertificate(parts.folder)
        self._reloaded_at: datetime | None = None
        self._applied = GatewayPlan()
        self._text = ""  # of nginx.conf, as nginx has it
        self._made_with: NginxConfig | None = None  # what that was rendered with; None: something else
        self._signature = self._files.signature()
        self._certain = False  # that nginx runs `_applied`, and starts with it
        self.use(parts)
        with contextlib.suppress(GatewayUnavailable):  # `apply` will say so
            self._recover()

    def use(self, parts: NginxParts) -> None:
        """Other settings of the same nginx, from the next `apply` on: also an equal plan is then taken once more."""
        self._interval: timedelta = parts.gateway.reload_interval
        self._config = parts.config()

    def state(self) -> GatewayState:
        """See `Gateway.state`."""
        return GatewayState(self._applied)

    def running(self) -> Running | None:
        """What nginx serves. None while that is not known, or is not what the settings make of it yet."""
        if not self._certain or self._made_with != self._config:
            return None
        return Running(generation_of(self._text), self._text, self._applied)

    def apply(self, plan: GatewayPlan) -> GatewayState:
        """See `Gateway.apply`."""
        plan = ordered(plan)
        if not self._certain:
            self._recover()
        self._mend()
        if self._certain and plan == self._applied and self._made_with == self._config:
            self._renew()
            return GatewayState(self._applied)
        retry_at = self._retry_at()
        if retry_at is not None:
            return GatewayState(self._applied, retry_at)
        self._nginx.master()
        try:
            self._try(plan)
        except OSError as error:
            raise _unwritable(error) from error
        return GatewayState(self._applied)

    def _mend(self) -> None:
        """Put nginx.conf back where somebody else has changed it: nginx would start with it, or not start at all.

        Raises:
            GatewayUnavailable: it cannot be written, or nginx is not running to take it; the file is in place then.
        """
        if not self._certain or self._files.signature() == self._signature:
            return
        try:
            write(self._files.conf, self._text)
        except OSError as error:
            raise _unwritable(error) from error
        self._signature = self._files.signature()
        self._reload(generation_of(self._text), TAKE_S)

    def _renew(self) -> None:
        """Serve with the files that the settings name, where those have changed. After all that is more urgent.

        Raises:
            GatewayRejected: they are no pair; nginx goes on with the one before.
            GatewayUnavailable: nginx is not running, or did not take it in time; the next call tries again.
        """
        before = self._certificate.take(self._config)
        if before is None:
            return
        try:
            self._nginx.check(self._files.conf.name, CHECK_S)
            self._reload(generation_of(self._text), TAKE_S)
        except (GatewayRejected, GatewayUnavailable):
            self._certificate.put_back(before)
            raise

    def _repair(self, plan: GatewayPlan) -> None:
        """Make nginx.conf what it is to be for the plan while nginx does not run. One that it would not start with is
        not put there: settings that are new may be wrong."""
        try:
            with contextlib.suppress(GatewayRejected):
                text = render(plan, self._config)
                if text != self._files.text():
                    self._files.write_candidate(text)
                    self._nginx.check(self._files.candidate.name, CHECK_S)
                    os.replace(self._files.candidate, self._files.conf)
        except OSError as error:
            raise _unwritable(error) from error
        finally:
            self._files.candidate.unlink(missing_ok=True)

    def _try(self, plan: GatewayPlan) -> None:
        config = self._config
        text = render(plan, config)
        before = self._certificate.take_other(config, self._made_with)
        try:
            self._files.write_candidate(text)
            self._nginx.check(self._files.candidate.name, CHECK_S)
            self._files.write_next(plan, generation_of(text))
            self._switch(generation_of(text))
        except (GatewayRejected, GatewayUnavailable):
            if before is not None:
                self._certificate.put_back(before)
            raise
        finally:
            self._files.candidate.unlink(missing_ok=True)
        self._files.promote_next()
        self._applied, self._certain, self._signature = plan, True, self._files.signature()
        self._text, self._made_with = text, config

    def _switch(self, generation: str) -> None:
        """Rename, reload, await; or put the old file back."""
        before, certain, self._certain = self._files.text(), self._certain, False
        os.replace(self._files.candidate, self._files.conf)
        try:
            self._reload(generation, TAKE_S)
        except GatewayUnavailable:
            write(self._files.conf, before)
            with contextlib.suppress(GatewayUnavailable):
                # Dead: it starts with the old file. Deaf: the signal waits for it, and the next apply makes sure.
                self._reload(generation_of(before), RESTORE_S)
                self._certain, self._signature = certain, self._files.signature()
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
            self._repair(self._applied if on_disk in plans else self._files.last_plan())
            raise GatewayUnavailable("nginx does not answer")
        if on_disk not in plans:  # not ours, or spoilt: nothing to wait for. `apply` writes a new one
            self._applied = plans.get(serving, self._files.last_plan())
            self._files.promote(serving)
            return
        if serving != on_disk:
            self._reload(on_disk, TAKE_S)
        else:
            self._nginx.count_newest_rooms()  # an earlier controller may have been interrupted just before
        self._applied, self._certain, self._signature = plans[on_disk], True, self._files.signature()
        self._text = self._files.text()
        self._made_with = self._config if self._would_be(self._applied) == self._text else None
        self._files.promote(on_disk)

    def _would_be(self, plan: GatewayPlan) -> str:
        """The text for that plan; empty where none can be made."""
        try:
            return render(plan, self._config)
        except GatewayRejected:
            return ""


def _unwritable(error: OSError) -> GatewayUnavailable:
    return GatewayUnavailable(f"{error.filename} cannot be written: {error.strerror}")


def _install(parts: NginxParts, files: Files, plan: GatewayPlan) -> None:
    plan, config = ordered(plan), parts.config()
    text = render(plan, config)
    ServedCertificate(parts.folder).take(config)
    try:
        files.write_candidate(text)
        parts.process().check(files.candidate.name, CHECK_S)
        files.write_next(plan, generation_of(text))
        os.replace(files.candidate, files.conf)
        files.promote_next()
    finally:
        files.candidate.unlink(missing_ok=True)
