"""The controller's parts, put together: who may lead, and what a leader works with. Only `main` imports it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from prometheus_client import generate_latest

from controller.adapters.clock import SystemClock
from controller.adapters.database import DatabaseLease, FileLease, FileLock, SqlStore
from controller.adapters.database.keys import SqlKeys
from controller.adapters.docker import DockerRuntime
from controller.adapters.probes import HttpProber
from controller.adapters.process import ProcessNode, ProcessRuntime
from controller.adapters.prometheus import PrometheusSource
from controller.adapters.targets import FileTargets
from controller.adapters.telemetry import Telemetry
from controller.api.deps import Seen, Sources
from controller.api.unopened import Unopened
from controller.core.errors import LostLease
from controller.core.model import NodeName, Term
from controller.installation import LOCAL, Installation, Layout, alerts_token, api_token
from controller.ports import ContainerRuntime, Lease
from controller.reconcile.alerts import Alerts
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import GatewayParts, HistoryParts, Parts
from controller.reconcile.schedule import Schedule, Wake
from controller.reconcile.tick import Ticker
from controller.settings import Settings, load
from controller.stack import gpu_exporter
from controller.stack.alarm_parts import alarm_parts
from controller.stack.gateway_desk import GatewayDesk
from controller.stack.gateway_token import gateway_token
from controller.stack.replicas import engine_of
from controller.stack.specs import Specs, specs_of
from controller.stack.standby import holder

_STUCK = timedelta(seconds=15)  # without a good tick for so long, /healthz says so


@dataclass(frozen=True, slots=True)
class Place:
    """Where this controller works, and the port of its API."""

    layout: Layout
    port: int

    @property
    def name(self) -> str:
        """What others call it while it leads."""
        return holder(self.layout, self.port)

    def read(self) -> tuple[Settings, Installation]:
        """The configuration in force and what was found out for it.

        Raises:
            ConfigError: it is refused.
            FileNotFoundError: nothing is installed here.
        """
        return load(self.layout.config), Installation.load(self.layout)


@dataclass(frozen=True, slots=True)
class Claim:
    """The lead, taken before anything else is touched. For the ticker it is the lease."""

    store: SqlStore
    lease: Lease
    term: Term
    resources: contextlib.ExitStack

    def acquire(self) -> Term:
        """See `Lease.acquire`. It was."""
        return self.term

    def renew(self, term: Term) -> None:
        """See `Lease.renew`."""
        self.lease.renew(term)

    def release(self) -> None:
        """See `Lease.release`."""
        self.lease.release()


def claim(place: Place) -> Claim:
    """Take the lead. Blocks for at most 10 s, and touches nothing but the lease where another has it.

    Raises:
        LostLease: another controller leads; the text says who.
        TransientError: nobody can tell who leads.
        PermanentError, ConfigError: the database can never be used as it is configured.
    """
    settings, _ = place.read()
    with contextlib.ExitStack() as stack:
        if settings.controller.database == "sqlite":
            store, lease = _on_file(place, stack)
        else:
            store, lease = _on_server(place, settings, stack)
        stack.callback(lease.release)
        return Claim(store, lease, lease.acquire(), stack.pop_all())


def _on_server(place: Place, settings: Settings, stack: contextlib.ExitStack) -> tuple[SqlStore, Lease]:
    store = SqlStore(settings.controller.database_url())
    stack.callback(store.close)
    return store, DatabaseLease(store, place.name, settings.controller.lease_ttl.total_seconds())


def _on_file(place: Place, stack: contextlib.ExitStack) -> tuple[SqlStore, Lease]:
    """The kernel's lock first: who has it may be of another version, with another ledger."""
    lock = FileLock(place.layout.lock)
    try:
        lock.acquire()
    except LostLease as error:
        leader = place.layout.lock.read_text(encoding="utf-8") or "another controller"
        raise LostLease(f"{leader} leads") from error
    stack.callback(lock.release)
    place.layout.lock.write_text(place.name, encoding="utf-8")
    store = SqlStore(place.layout.database)
    stack.callback(store.close)
    return store, FileLease(lock, store)


@dataclass(frozen=True, slots=True)
class Leader:
    """Everything that runs while this controller leads."""

    ticker: Ticker
    schedule: Schedule
    sources: Sources
    resources: contextlib.ExitStack

    def start(self) -> None:
        """Tick from now on."""
        self.resources.callback(self.schedule.stop)
        self.schedule.start()

    def close(self) -> None:
        """No more ticks; then the next one may lead, while the adapters are closed. Blocks for as long as a tick."""
        self.resources.close()


@dataclass(frozen=True, slots=True)
class _Given:
    """What a leader is put together from."""

    place: Place
    settings: Settings
    installation: Installation
    claim: Claim
    telemetry: Telemetry
    wake: Wake
    desk: GatewayDesk

    @property
    def run(self) -> str:
        """Whose memory it is: this `stoker up`'s; on a shared database all of theirs, as replicas outlive each."""
        shared = self.settings.controller.database != "sqlite"
        return (shared and self.settings.controller.instance) or self.installation.run


def lead(place: Place, taken: Claim, telemetry: Telemetry) -> Leader:
    """Put together what a leader works with, from the files as they are now: `stoker apply` may have changed them.

    Where it raises, the lead is given up.

    Raises:
        ConfigError, FileNotFoundError: see `Place.read`.
        TransientError, LostLease: the ledger cannot be used.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(taken.resources.close)
        settings, installation = place.read()
        desk = GatewayDesk(place.layout, settings, installation, SystemClock())
        given = _Given(place, settings, installation, taken, telemetry, Wake(), desk)
        specs = Specs(specs_of(settings, installation), taken.store)
        telemetry.name_models((pool.name, pool.model) for pool in settings.pools)
        if taken.store.put_aside is not None:
            complain(f"the database could not be used and was put aside as {taken.store.put_aside}")
        taken.store.begin(given.run)
        specs.keep()
        parts = _parts(given, specs, stack)
        ticker = Ticker(parts, settings.policies(specs.hashes))
        ticker.lead()
        given.wake.schedule = Schedule(ticker.run, settings.controller.tick_interval, parts.clock)
        parts.fleet.watch(given.wake)
        sources = _leading(given, specs, parts, ticker)
        stack.callback(taken.release)  # before the adapters are closed, which takes a while
        stack.callback(ticker.close)
        return Leader(ticker, given.wake.schedule, sources, stack.pop_all())


def standing_by(place: Place, telemetry: Telemetry, who_leads: Callable[[], str]) -> Sources:
    """What the API tells of a controller that has touched nothing yet. Raises like `Place.read`."""
    settings, installation = place.read()
    return Sources(
        policies=settings.policies(),
        nodes=_names(installation),
        store=Unopened(),
        latest=lambda: None,
        healthy=lambda: True,
        metrics=lambda: generate_latest(telemetry.registry),
        now=SystemClock().now,
        lead=who_leads,
        token=api_token(place.layout),
        alerts_token=alerts_token(place.layout),
    )


def complain(sentence: str) -> None:
    """A line in the log of the supervisor, or on the terminal."""
    sys.stderr.write(f"controller: {sentence}\n")


def _parts(given: _Given, specs: Specs, stack: contextlib.ExitStack) -> Parts:
    """The adapters; each that holds something is closed when `stack` is."""
    layout, settings, clock = given.place.layout, given.settings, SystemClock()
    prober = HttpProber(clock, given.wake)
    stack.callback(prober.close)
    fleet = Fleet(_runtimes(given.installation, layout, clock), clock)
    stack.callback(fleet.close)
    desk, targets = given.desk, FileTargets(layout.targets)
    reach, ports = settings.controller.reach, settings.ports
    own = f"{reach}:{ports.edge}"
    targets.write_gpus(gpu_exporter.targets(settings, given.installation))
    targets.write_leader(f"{reach}:{given.place.port}", f"{reach}:{ports.controller}")
    return Parts(
        clock=clock,
        fleet=fleet,
        prober=prober,
        metrics=PrometheusSource(f"http://{reach}:{ports.prometheus}"),
        gateway=desk.gateway,
        store=given.claim.store,
        lease=given.claim,
        sink=given.telemetry,
        targets=targets,
        spec_for=specs,
        access=desk.access_parts(given.claim.store, given.place.name),
        history=HistoryParts(desk.current, desk.kept),
        gateways=GatewayParts(desk.others, targets.write_gateways, own, targets.gateways()),
        certificate_end=desk.certificate_end,
        alarms=alarm_parts(settings, given.claim.store, clock, given.telemetry, complain, stack),
    )


def _runtimes(installation: Installation, layout: Layout, clock: SystemClock) -> dict[NodeName, ContainerRuntime]:
    """One for each node: Docker, or local processes."""
    if installation.runtime == "process":
        name = NodeName(LOCAL)
        return {name: ProcessRuntime(ProcessNode(layout.replicas, dict(os.environ), name), clock)}
    instance = installation.instance_in(layout)
    return {NodeName(node.name): DockerRuntime(engine_of(node), instance) for node in installation.engines}


def _names(installation: Installation) -> tuple[NodeName, ...]:
    return tuple(NodeName(node.name) for node in installation.engines) or (NodeName(LOCAL),)


def _leading(given: _Given, specs: Specs, parts: Parts, ticker: Ticker) -> Sources:
    patience = max(_STUCK, 5 * given.settings.controller.tick_interval)

    def latest() -> Seen | None:
        return Seen(tick.snapshot, tick.plan, tick.routed) if (tick := ticker.latest) else None

    def healthy() -> bool:
        return ticker.latest is not None and parts.clock.now() - ticker.latest.snapshot.at < patience

    return Sources(
        policies=given.settings.policies(specs.hashes),
        nodes=_names(given.installation),
        store=parts.store,
        latest=latest,
        healthy=healthy,
        metrics=lambda: generate_latest(given.telemetry.registry),
        now=parts.clock.now,
        wake=given.wake,
        token=api_token(given.place.layout),
        keys=SqlKeys(given.claim.store),
        offer=given.desk.offer(),
        access=ticker.access,
        tell=given.telemetry.emit,
        desk=given.desk,
        gateways=given.desk.others,
        gateway_token=gateway_token(given.place.layout),
        alerts=Alerts(given.telemetry.hear),
        alarms=(lambda: ()) if given.settings.alerting.enabled else ticker.alarms,
        alerts_token=alerts_token(given.place.layout),
    )
