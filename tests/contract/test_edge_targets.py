"""Several gateways on a real Prometheus: each exporter that the controller names is scraped, and all add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from controller.adapters.prometheus import PrometheusSource
from controller.core.errors import MetricsUnavailable
from controller.reconcile.queries import DIRECT, IN_FLIGHT
from tests.contract.test_metrics import Prometheus
from tests.waiting import wait_for


@contextmanager
def exporter(held: int) -> Iterator[int]:
    """An edge exporter whose gateway holds so many requests; its port."""
    registry = CollectorRegistry()
    Gauge("stoker_edge_requests_in_flight", "Held.", ["pool"], registry=registry).labels("llama").set(held)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def in_flight(source: PrometheusSource) -> list[float]:
    try:
        return [sample.value for sample in source.query(DIRECT[IN_FLIGHT])]
    except MetricsUnavailable:  # it starts
        return []


def test_requests_of_all_gateways_add_up(tmp_path: Path) -> None:
    with exporter(3) as here, exporter(4) as there:
        server = Prometheus(tmp_path, here)
        try:
            wait_for(lambda: in_flight(server.source) == [3], 30, "the gateway of this machine")
            server.targets.write_gateways({"second": f"127.0.0.1:{there}"})
            wait_for(lambda: in_flight(server.source) == [7], 30, "the other one, too")
            up = server.source.query('up{job="edge"}')
            assert sorted(sample.labels.get("gateway", "") for sample in up) == ["", "second"]
        finally:
            server.stop()
