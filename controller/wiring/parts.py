"""The adapters that a leader works with."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from controller.adapters.clock import SystemClock
from controller.adapters.database.overrides import SqlOverrides
from controller.adapters.docker import DockerRuntime
from controller.adapters.probes import HttpProber
from controller.adapters.process import ProcessNode, ProcessRuntime
from controller.adapters.prometheus import PrometheusSource
from controller.adapters.targets import FileTargets
from controller.adapters.telemetry import Telemetry
from controller.core.model import NodeName
from controller.installation import LOCAL, Installation, Layout, for_programs
from controller.ports import ContainerRuntime
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import GatewayParts, HistoryParts, Parts
from controller.reconcile.schedule import Wake
from controller.settings import Settings
from controller.stack import gpu_exporter
from controller.stack.alarm_parts import alarm_parts
from controller.stack.gateway_desk import GatewayDesk
from controller.stack.replicas import engine_of
from controller.stack.specs import Specs
from controller.wiring.certificates import Certificates
from controller.wiring.claim import Claim
from controller.wiring.place import Place, complain


@dataclass(frozen=True, slots=True)
class Given:
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


def parts_of(given: Given, specs: Specs, stack: contextlib.ExitStack) -> Parts:
    """The adapters; each that holds something is closed when `stack` is."""
    layout, settings, clock = given.place.layout, given.settings, SystemClock()
    prober = HttpProber(clock, given.wake)
    stack.callback(prober.close)
    fleet = Fleet(_runtimes(given.installation, layout, clock), clock)
    stack.callback(fleet.close)
    desk, targets = given.desk, FileTargets(layout.targets)
    reach, ports = settings.controller.reach, settings.ports
    monitoring = settings.controller.monitoring_reach
    own = f"{monitoring}:{ports.edge}"
    targets.write_gpus(gpu_exporter.targets(settings, given.installation))
    targets.write_leader(f"{reach}:{given.place.port}", f"{reach}:{ports.controller}")
    return Parts(
        clock=clock,
        fleet=fleet,
        prober=prober,
        metrics=PrometheusSource(f"http://{monitoring}:{ports.prometheus}"),
        gateway=desk.gateway,
        store=given.claim.store,
        lease=given.claim,
        sink=given.telemetry,
        targets=targets,
        spec_for=specs,
        access=desk.access_parts(given.claim.store, given.place.name),
        history=HistoryParts(desk.current, desk.kept),
        gateways=GatewayParts(desk.others, targets.write_gateways, own, targets.gateways()),
        certificate_ends=Certificates(desk, settings, layout).ends,
        overrides=SqlOverrides(given.claim.store),
        alarms=alarm_parts(settings, given.claim.store, clock, given.telemetry, complain, stack),
    )


def _runtimes(installation: Installation, layout: Layout, clock: SystemClock) -> dict[NodeName, ContainerRuntime]:
    """One for each node: Docker, or local processes."""
    if installation.runtime == "process":
        name = NodeName(LOCAL)
        return {name: ProcessRuntime(ProcessNode(layout.replicas, for_programs(os.environ), name), clock)}
    instance = installation.instance_in(layout)
    return {NodeName(node.name): DockerRuntime(engine_of(node), instance) for node in installation.engines}
