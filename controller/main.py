"""The composition root of the controller: builds the adapters, hands them over, starts. Nobody imports it."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import generate_latest

from controller import settings as configuration
from controller.adapters.clock import SystemClock
from controller.adapters.database import FileLease, FileLock, SqlStore
from controller.adapters.docker import DockerNode, DockerRuntime
from controller.adapters.nginx import NginxGateway, NginxParts
from controller.adapters.probes import HttpProber
from controller.adapters.process import ProcessNode, ProcessRuntime
from controller.adapters.prometheus import PrometheusSource
from controller.adapters.targets import FileTargets
from controller.adapters.telemetry import Telemetry
from controller.api.app import create_app
from controller.api.deps import Seen, Sources
from controller.core.errors import LostLease
from controller.core.model import NodeName, PoolName, ReplicaId
from controller.installation import Installation, Layout, PoolParts
from controller.ports import ContainerRuntime, ReplicaSpec
from controller.reconcile.parts import Parts
from controller.reconcile.schedule import Schedule
from controller.reconcile.tick import Ticker
from controller.settings import ConfigError, PoolSettings, Settings

_NODE = NodeName("local")
_STUCK = timedelta(seconds=15)  # without a good tick for so long, /healthz says so


class _Wake:
    """Adapters are built before the schedule that they wake."""

    def __init__(self) -> None:
        self.schedule: Schedule | None = None

    def __call__(self) -> None:
        if self.schedule is not None:
            self.schedule.wake()


@dataclass(frozen=True, slots=True)
class _Runtime:
    """What this installation runs on, with everything needed to build the adapters."""

    layout: Layout
    settings: Settings
    installation: Installation

    def container_runtime(self, clock: SystemClock) -> ContainerRuntime:
        """Docker, or local processes."""
        if self.installation.runtime == "docker":
            return DockerRuntime(DockerNode.at(self.installation.docker_host or "", _NODE), self.layout.instance)
        return ProcessRuntime(ProcessNode(self.layout.replicas, dict(os.environ), _NODE), clock)

    def spec_for(self, pool: PoolName, replica: ReplicaId) -> ReplicaSpec:
        """What a new replica of a pool is made of."""
        found = next(entry for entry in self.settings.pools if entry.name == pool)
        parts = self.installation.pools[pool]
        return ReplicaSpec(
            replica=replica,
            pool=pool,
            model=found.model,
            engine=found.engine.name,
            image=parts.image,
            checkpoint=parts.checkpoint,
            spec_hash=spec_hash(found, parts),
            slots=found.engine.slots,
            context_tokens=found.engine.context_tokens,
            threads=found.engine.threads,
            drain_timeout_s=found.health.drain_timeout.total_seconds(),
        )


def spec_hash(pool: PoolSettings, parts: PoolParts) -> str:
    """Twelve hexadecimal digits over everything that, changed, needs a new replica."""
    wanted = [pool.model, pool.engine.model_dump_json(), parts.model_dump_json(), str(pool.health.drain_timeout)]
    return hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:12]


def main() -> None:
    """`python -m controller.main --state-dir DIR`: what the supervisor runs. Needs a `stoker up` before it."""
    parser = argparse.ArgumentParser(prog="controller")
    parser.add_argument("--state-dir", type=Path, required=True)
    layout = Layout(parser.parse_args().state_dir)
    try:
        settings, installation = configuration.load(layout.config), Installation.load(layout)
    except ConfigError as error:
        sys.exit(_complain(str(error), 78))
    except FileNotFoundError:
        sys.exit(_complain(f"nothing is installed in {layout.root}; run `stoker up` first", 2))
    sys.exit(run(_Runtime(layout, settings, installation)))


def run(runtime: _Runtime) -> int:
    """Serve until SIGTERM, SIGINT or the loss of the lease; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops on it, then raises it once more for us
    with contextlib.ExitStack() as stack:
        try:
            ticker, schedule, app = _build(runtime, stack)
        except LostLease as error:
            return _complain(str(error), 2)
        ports, host = runtime.settings.ports, runtime.settings.controller.host
        config = uvicorn.Config(app, host=host, port=ports.controller, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        ticker.on_lost_lease = lambda: setattr(server, "should_exit", True)
        socket = config.bind_socket()
        schedule.start()
        stack.callback(schedule.stop)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[socket])
    return 1 if ticker.lost_lease else 0


def _build(runtime: _Runtime, stack: contextlib.ExitStack) -> tuple[Ticker, Schedule, FastAPI]:
    """All parts, wired; each is closed when `stack` is. Raises `LostLease` where another controller runs."""
    layout, settings, clock, wake = runtime.layout, runtime.settings, SystemClock(), _Wake()
    lock = FileLock(layout.lock)
    lock.acquire()  # before the database: this controller may be of another version
    stack.callback(lock.release)
    telemetry, store = Telemetry(), SqlStore(layout.database)
    stack.callback(store.close)
    store.begin(runtime.installation.run)
    if store.put_aside is not None:
        _complain(f"the database could not be used and was put aside as {store.put_aside}", 0)
    prober, containers = HttpProber(clock, wake), runtime.container_runtime(clock)
    stack.callback(prober.close)
    stack.callback(containers.close)
    parts = Parts(
        clock=clock,
        runtime=containers,
        prober=prober,
        metrics=PrometheusSource(f"http://{settings.controller.reach}:{settings.ports.prometheus}"),
        gateway=NginxGateway(NginxParts(layout.gateway, layout.logs, settings.gateway, settings.ports, clock)),
        store=store,
        lease=FileLease(lock, store),
        sink=telemetry,
        targets=FileTargets(layout.targets),
        spec_for=runtime.spec_for,
    )
    ticker = Ticker(parts, settings.policies())
    ticker.lead()
    schedule = Schedule(ticker.run, settings.controller.tick_interval, clock)
    wake.schedule = schedule
    containers.watch(wake)
    return ticker, schedule, create_app(_sources(settings, parts, ticker, telemetry))


def _sources(settings: Settings, parts: Parts, ticker: Ticker, telemetry: Telemetry) -> Sources:
    patience = max(_STUCK, 5 * settings.controller.tick_interval)

    def latest() -> Seen | None:
        return Seen(tick.snapshot, tick.plan, tick.routed) if (tick := ticker.latest) else None

    def healthy() -> bool:
        return ticker.latest is not None and parts.clock.now() - ticker.latest.snapshot.at < patience

    return Sources(
        policies=settings.policies(),
        nodes=(_NODE,),
        store=parts.store,
        latest=latest,
        healthy=healthy,
        metrics=lambda: generate_latest(telemetry.registry),
    )


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"controller: {sentence}\n")
    return code


if __name__ == "__main__":
    main()
