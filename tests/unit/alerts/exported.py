"""Every name that somebody exports, taken from the exporters themselves with something to tell, and not from a list."""

from __future__ import annotations

import io
import socket
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from pathlib import Path

from prometheus_client import generate_latest

from controller.adapters.telemetry import Telemetry
from controller.core.event import Event
from controller.core.model import NodeName, PoolName, ReplicaId
from controller.ports import Threshold, TickReport
from exporters.edge.collect import EdgeStats
from exporters.edge.serve import EdgeExporter, EdgeOptions
from exporters.edge.sums import NEW_S
from exporters.gpu import host
from exporters.gpu.collect import Known
from exporters.gpu.facts import Identity, Instance, Look, Owned, Owner, Process, Reading
from exporters.gpu.families import _COUNTERS, _GAUGES, Page, families
from exporters.gpu.text import render
from gateway.hotcache.service import Metrics
from inference_node.poller import Reading as EngineReading
from inference_node.resources import Usage
from inference_node.status import exposition
from tests.fakes.clock import START
from tests.fakes.running_nginx import free_port
from tests.unit.exporters.test_edge_serve import Gateway, scraped
from tests.unit.exporters.texts import access, failed, page
from tests.unit.inference_node.test_status_exposition import AT, status

POOL, REPLICA = PoolName("small"), ReplicaId("small-1")


def full_report() -> TickReport:
    """One in which nothing is left out."""
    report = TickReport(
        at=START,
        seconds=0.1,
        failed=False,
        unknown=("metrics",),
        changed_gateway=True,
        desired={POOL: 3},
        states={(POOL, "ready"): 3},
        wanted={(POOL, "in_flight"): 2},
        standing=frozenset({(POOL, "AtFloor")}),
        nodes={NodeName("local"): True},
        cordoned=frozenset({("local", "GPU-1", "GpuFault")}),
        gpus={POOL: 3},
        bounds={POOL: (3, 6)},
        targets={POOL: 4.0},
        thresholds=(Threshold(POOL, "latency", 0.5, measure="first_byte", statistic="p95"),),
        starting={(POOL, REPLICA): 2.0},
        cold_starts={(POOL, "0.5"): 3.0},
        failed_replicas={(POOL, REPLICA): 1},
        gateway_refused=True,
        gateway_lags={"east": 1.0},
        certificate_ends=dict.fromkeys(("gateway", "controller"), START + timedelta(days=30)),
    )
    left_out = [field.name for field in fields(TickReport) if getattr(report, field.name) == _default(field)]
    assert left_out == [], "give each a value here, so that what it is exported as is known"
    return report


def _default(field: Field[object]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def names_in(text: str) -> set[str]:
    """Of a page's samples."""
    return {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if line and line[0] != "#"}


def of_controller() -> set[str]:
    """On its /metrics."""
    telemetry = Telemetry(io.StringIO())
    telemetry.emit([Event(START, "pool_scaled", "pool/small", "AboveTarget", "Went up.")])
    telemetry.name_models([("small", "smollm2")])
    telemetry.report(full_report())
    return names_in(generate_latest(telemetry.registry).decode())


def of_edge(gateway: Gateway) -> set[str]:
    """Of requests of all kinds, and of what nginx and the kernel tell."""
    stats = EdgeStats()
    for datagram in (access(), access(status="503", refused="full"), access(cache="HIT", layer="nginx"), failed()):
        stats.take(datagram, 0.0, START.timestamp())
    page(stats, 0.0)
    told = names_in(page(stats, 2 * NEW_S))
    gateway.text = b'{"pools":{"small":3},"waiting":{"small":1},"plans":{"gold":2}}'
    port, log_port = free_port(), free_port(socket.SOCK_DGRAM)
    exporter = EdgeExporter(EdgeOptions("127.0.0.1", port, log_port, f"http://127.0.0.1:{gateway.server_port}"))
    try:
        return told | names_in("\n".join(scraped(port, "")))
    finally:
        exporter.close()


def of_launcher() -> set[str]:
    """Of a replica that has made a token."""
    usage = Usage(1.0, 2.0, 3, 4, 0.5)
    return names_in(exposition(lambda: status(EngineReading(True, 1, 2, 3, AT, AT)), lambda: usage)().decode())


def of_gpus() -> set[str]:
    """Of a GPU that tells everything, and of its machine."""
    values = dict.fromkeys((*_GAUGES, *_COUNTERS), 1.0)
    identity = Identity(0, "GPU-1", "nvidia0", "NVIDIA H100", "0000:01:00.0", "550")
    known = Known(identity, succeeded_at=1.0)
    known.xids.add(("79",))
    known.faults.add(("unknown",))
    look = Look(identity, Reading(values, (Instance(1, "1g.10gb", values),), (Process(1, 2, 1),)))
    owned = Owned("python", Owner("stoker-1-small-1", "small", "small-1"))
    told = render(families(Page("local", True, [look], [known], 0.001), lambda pid: owned, 0.0))
    return names_in((told + render(host.families(Path("/proc")))).decode())


class _Answers:
    available = True


def of_hot_cache() -> set[str]:
    """On its page."""
    metrics = Metrics(_Answers())  # type: ignore[arg-type]
    metrics.requests.labels("get", "hit").inc()
    metrics.seconds.labels("get").observe(0.1)
    return names_in(generate_latest(metrics.registry).decode())
