"""MetricSource on a real Prometheus, whose targets come from the files that FileTargets writes."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from controller.adapters.prometheus import PrometheusSource, read_vector
from controller.adapters.targets import FileTargets, render
from controller.core.errors import MetricsUnavailable
from controller.core.model import Address, Container, ContainerState, Known, PoolName, ReplicaId
from controller.installation import Layout
from controller.reconcile.observe import QUERY, readings_from
from controller.settings import PoolSettings, PortSettings, Settings
from controller.stack import prometheus
from tests.e2e.stack import PORTS, free_ports
from tests.unit.core.build import container
from tests.waiting import wait_for


@dataclass
class Target:
    """Something to scrape: it says what it is told to."""

    text: str = ""
    port: int = 0
    asked: int = field(default=0)


@pytest.fixture
def target() -> Iterator[Target]:
    told = Target()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(told.text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture
def source(tmp_path: Path, target: Target) -> Iterator[tuple[PrometheusSource, FileTargets]]:
    """A Prometheus as `stoker up` starts it; the edge exporter is the target, too."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True)) | {"edge": target.port}
    pool = PoolSettings(name="llama", model="llama", checkpoint="/m.gguf")
    settings = Settings(pools=(pool,), ports=PortSettings(**ports))
    layout = Layout(tmp_path)
    prometheus.prepare(settings, layout)
    program = prometheus.program(settings, layout)
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(program.command, stdout=log, stderr=log, cwd=layout.prometheus)
    yield PrometheusSource(f"http://127.0.0.1:{ports['prometheus']}"), FileTargets(layout.targets)
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def answered(source: PrometheusSource, promql: str) -> object:
    try:
        return source.query(promql)
    except MetricsUnavailable:
        return None


def test_from_a_scrape_to_the_readings_of_a_pool(source: tuple[PrometheusSource, FileTargets], target: Target) -> None:
    asked, targets = source
    target.text = (
        'stoker_edge_requests_in_flight{pool="llama"} 7\nllamacpp:requests_processing 2\nllamacpp:requests_deferred 3\n'
    )
    engine = Address("127.0.0.1", target.port)
    targets.write([replace(container("llama-1"), engine=engine, launcher=None)])

    def whole() -> bool:
        found = readings_from(asked.query(QUERY)) if answered(asked, "up") is not None else {}
        mine = found.get(PoolName("llama"))
        return mine is not None and bool(mine.replicas) and mine.gateway_in_flight.known is not Known.UNKNOWN

    wait_for(whole, 30, "both readings")
    mine = readings_from(asked.query(QUERY))[PoolName("llama")]
    assert mine.gateway_in_flight.value == 7
    assert {name: reading.value for name, reading in mine.replicas.items()} == {ReplicaId("llama-1"): 5.0}
    assert mine.gateway_in_flight.at is not None

    targets.write([])
    before = target.asked
    wait_for(
        lambda: not readings_from(asked.query(QUERY))[PoolName("llama")].replicas, 30, "a removed replica to vanish"
    )
    assert target.asked > before, "the edge exporter is still scraped"

    target.text = 'stoker_edge_requests_in_flight{pool="llama"} 0\n'
    idle = wait_for(
        lambda: readings_from(asked.query(QUERY))[PoolName("llama")].gateway_in_flight.known is Known.IDLE, 30, "idle"
    )
    assert idle

    target.text = ""
    wait_for(lambda: readings_from(asked.query(QUERY)) == {}, 30, "a series that is gone to be unknown")


def test_a_query_that_is_none_is_unavailable(source: tuple[PrometheusSource, FileTargets]) -> None:
    asked, _ = source
    wait_for(lambda: answered(asked, "vector(1)"), 30, "Prometheus to answer")

    with pytest.raises(MetricsUnavailable):
        asked.query("sum(")
    assert asked.query("vector(0) / 0") == (), "NaN is left out"


def test_nobody_there_is_unavailable() -> None:
    (port,) = free_ports(1)
    with pytest.raises(MetricsUnavailable):
        PrometheusSource(f"http://127.0.0.1:{port}").query("up")


@pytest.mark.parametrize("answer", [None, "up", [{"metric": {}}], [{"metric": {}, "value": ["now", "1"]}]])
def test_what_is_no_vector_is_refused(answer: object) -> None:
    with pytest.raises(MetricsUnavailable):
        read_vector(answer)


def test_targets_carry_pool_replica_and_node() -> None:
    one, two = container("llama-2"), container("llama-1")
    groups = json.loads(render([(one, one.engine), (two, two.engine), (one, None)]))

    assert [group["labels"]["replica"] for group in groups] == ["llama-1", "llama-2"]
    assert groups[0] == {
        "targets": ["127.0.0.1:20001"],
        "labels": {"pool": "llama", "replica": "llama-1", "node": "local"},
    }


def test_only_what_runs_is_a_target_and_equal_lists_write_nothing(tmp_path: Path) -> None:
    targets = FileTargets(tmp_path / "targets")
    running: list[Container] = [container("llama-1"), container("llama-2", ContainerState.EXITED)]
    targets.write(running)
    (group,) = json.loads((tmp_path / "targets" / "engine.json").read_text())
    assert group["labels"]["replica"] == "llama-1"

    (tmp_path / "targets" / "engine.json").unlink()
    targets.write(running)
    assert not (tmp_path / "targets" / "engine.json").exists()
