"""MetricSource on a real Prometheus, whose targets come from the files that FileTargets writes."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from controller.adapters.prometheus import PrometheusSource, read_vector
from controller.adapters.targets import FileTargets, render
from controller.core.errors import MetricsUnavailable
from controller.core.model import (
    UNKNOWN,
    Address,
    Container,
    ContainerState,
    Known,
    PoolName,
    PoolReadings,
    Reading,
    ReplicaId,
    Signal,
)
from controller.core.policy import PoolPolicy, ScalingPolicy, TargetPolicy
from controller.installation import Layout
from controller.ports import MetricSource
from controller.reconcile.answers import read
from controller.reconcile.queries import MIN_REQUESTS, NUMBERS, question, wanted_by
from controller.settings import PoolSettings, PortSettings, Settings
from controller.stack import prometheus
from exporters.edge.collect import EdgeStats
from exporters.edge.serve import families
from tests.e2e.stack import PORTS, free_ports
from tests.fakes.clock import FakeClock
from tests.fakes.world import FakeMetrics
from tests.unit.core.build import container
from tests.waiting import wait_for

POOL = PoolName("llama")
POLICY = PoolPolicy(POOL, "llama", ScalingPolicy(kv_cache=TargetPolicy(0.8), tokens=TargetPolicy(1000)))


@dataclass
class Target:
    """Something to scrape. It says what it is told to say, given how often it was asked, or refuses to."""

    say: Callable[[int], str] = lambda _: ""
    refuse: bool = False
    asked: int = 0
    port: int = 0


@pytest.fixture
def target() -> Iterator[Target]:
    told = Target()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            self.send_response(500 if told.refuse else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(told.say(told.asked).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()


class Prometheus:
    """A Prometheus as `stoker up` starts it; the edge exporter is the target, too."""

    def __init__(self, folder: Path, edge: int) -> None:
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True)) | {"edge": edge}
        pool = PoolSettings(name="llama", model="llama", checkpoint="/m.gguf")
        settings, layout = Settings(pools=(pool,), ports=PortSettings(**ports)), Layout(folder)
        prometheus.prepare(settings, layout)
        self._program = prometheus.program(settings, layout)
        self.source = PrometheusSource(f"http://127.0.0.1:{ports['prometheus']}")
        self.targets = FileTargets(layout.targets)
        self.start()

    def start(self) -> None:
        with (self._program.directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(self._program.command, stdout=log, stderr=log, cwd=self._program.directory)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)


@pytest.fixture
def server(tmp_path: Path, target: Target) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path, target.port)
    yield running
    running.stop()


@pytest.fixture
def source(server: Prometheus) -> tuple[PrometheusSource, FileTargets]:
    return server.source, server.targets


def answered(source: PrometheusSource, promql: str) -> object:
    try:
        return source.query(promql)
    except MetricsUnavailable:
        return None


def readings(source: PrometheusSource) -> PoolReadings:
    """What a tick would see now; nothing while Prometheus does not answer."""
    if answered(source, "up") is None:
        return PoolReadings()
    return read(source.query(question(NUMBERS)), {POOL: wanted_by(POLICY)}).pools.get(POOL, PoolReadings())


def of_replica(source: PrometheusSource, signal: Signal, name: str = "llama-1") -> Reading:
    return readings(source).replicas.get(signal, {}).get(ReplicaId(name), UNKNOWN)


def of_pool(source: PrometheusSource, signal: Signal) -> Reading:
    return readings(source).pool.get(signal, UNKNOWN)


ENGINE = "llamacpp:requests_processing {busy}\nllamacpp:requests_deferred 3\nllamacpp:kv_cache_usage_ratio {kv}\n"


def test_requests_in_flight_of_the_gateway_and_of_the_replicas(
    source: tuple[PrometheusSource, FileTargets], target: Target
) -> None:
    asked, targets = source
    target.say = lambda _: 'stoker_edge_requests_in_flight{pool="llama"} 7\n' + ENGINE.format(busy=2, kv=0.5)
    engine = Address("127.0.0.1", target.port)
    targets.write([replace(container("llama-1"), engine=engine, launcher=None)])

    wait_for(lambda: of_pool(asked, Signal.IN_FLIGHT).value == 7, 30, "what the gateway holds")
    wait_for(lambda: of_replica(asked, Signal.IN_FLIGHT).value == 5, 30, "what the replica has")
    measured = of_replica(asked, Signal.IN_FLIGHT).at
    wait_for(lambda: of_replica(asked, Signal.IN_FLIGHT).at != measured, 30, "the next scrape")

    targets.write([])
    before = target.asked
    wait_for(lambda: of_replica(asked, Signal.IN_FLIGHT) == UNKNOWN, 30, "a removed replica to vanish")
    wait_for(lambda: target.asked > before, 30, "the edge exporter is still scraped")

    target.say = lambda _: 'stoker_edge_requests_in_flight{pool="llama"} 0\n'
    wait_for(lambda: of_pool(asked, Signal.IN_FLIGHT).known is Known.IDLE, 30, "idle")

    target.say = lambda _: ""
    wait_for(lambda: of_pool(asked, Signal.IN_FLIGHT) == UNKNOWN, 30, "a series that is gone to be unknown")


LAUNCHER = """stoker_launcher_engine_answering 1
stoker_launcher_cpu_seconds_total {cpu_s}
stoker_launcher_cpu_cores 2
stoker_launcher_memory_bytes 600
stoker_launcher_memory_limit_bytes 800
stoker_launcher_tokens_total {tokens}
"""


def test_the_signals_of_a_replica_as_values_idle_and_unknown(
    source: tuple[PrometheusSource, FileTargets], target: Target
) -> None:
    asked, targets = source
    target.say = lambda _: ENGINE.format(busy=0, kv=0) + LAUNCHER.format(cpu_s=9, tokens=9)
    both = Address("127.0.0.1", target.port)
    targets.write([replace(container("llama-1"), engine=both, launcher=both)])

    moving = (Signal.UTILIZATION, Signal.KV_CACHE, Signal.TOKENS)
    wait_for(lambda: {of_replica(asked, signal).known for signal in moving} == {Known.IDLE}, 30, "an idle replica")
    wait_for(lambda: of_replica(asked, Signal.MEMORY).value == 0.75, 30, "its memory")

    # Engine, launcher and gateway are one target: three requests, and 0.3 of 2 cores, a second.
    target.say = lambda n: ENGINE.format(busy=1, kv=0.25) + LAUNCHER.format(cpu_s=9 + n / 10, tokens=9 + n)
    wait_for(lambda: of_replica(asked, Signal.KV_CACHE).value == 0.25, 30, "its cache")
    wait_for(lambda: 0 < of_replica(asked, Signal.UTILIZATION).value < 1, 30, "its share of the CPU")
    wait_for(lambda: of_replica(asked, Signal.TOKENS).value > 0, 30, "its tokens")

    target.say = lambda _: ENGINE.format(busy=0, kv=0)
    wait_for(lambda: of_replica(asked, Signal.UTILIZATION) == UNKNOWN, 30, "a launcher that says nothing more")
    assert of_replica(asked, Signal.MEMORY) == UNKNOWN
    wait_for(lambda: of_replica(asked, Signal.KV_CACHE).known is Known.IDLE, 30, "an engine that goes on")

    target.refuse = True
    wait_for(lambda: of_replica(asked, Signal.KV_CACHE) == UNKNOWN, 30, "a replica that does not answer")


class Edge:
    """The edge exporter's own page, beside what nginx would tell it is in flight. Lines come as nginx sends them."""

    def __init__(self) -> None:
        self.stats, self.in_flight = EdgeStats(), 0

    def take(self, count: int, **changes: object) -> None:
        line = {
            "pool": "llama",
            "replica": "llama-1",
            "status": "200",
            "duration": 2.0,
            "header_times": "0.25",
            "response_times": "2.0",
            "tried": "127.0.0.1:1",
        }
        for _ in range(count):
            self.stats.take(json.dumps(line | changes).encode(), time.monotonic(), time.time())

    def fail(self, replica: str, count: int) -> None:
        """So many requests tried that replica in vain."""
        line = json.dumps({"pool": "llama", "failed": replica}).encode()
        for _ in range(count):
            self.stats.take(line, time.monotonic(), time.time())

    def page(self) -> str:
        registry = CollectorRegistry()
        registry.register(self)  # type: ignore[arg-type]
        return generate_latest(registry).decode()

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        in_flight = GaugeMetricFamily("stoker_edge_requests_in_flight", "", labels=("pool",))
        in_flight.add_metric(("llama",), self.in_flight)
        return [in_flight, *families(self.stats, time.monotonic())]


def test_what_users_see_as_values_idle_and_unknown(
    source: tuple[PrometheusSource, FileTargets], target: Target
) -> None:
    asked, targets = source
    edge = Edge()
    target.say = lambda _: edge.page()
    engine = Address("127.0.0.1", target.port)
    targets.write([replace(container("llama-1"), engine=engine, launcher=None)])

    wait_for(lambda: of_pool(asked, Signal.LATENCY).known is Known.IDLE, 30, "no request yet: nobody waits")
    wait_for(lambda: of_pool(asked, Signal.ERRORS).known is Known.IDLE, 30, "no request yet: no error")
    wait_for(lambda: of_replica(asked, Signal.ERRORS).known is Known.IDLE, 30, "nor one of the replica")
    assert readings(asked).last_request == UNKNOWN

    edge.in_flight = 1
    wait_for(lambda: of_pool(asked, Signal.LATENCY) == UNKNOWN, 30, "one in flight, none ended: not known")

    began = time.time()
    edge.take(1, replica="", status="503", header_times="", response_times="")
    wait_for(lambda: readings(asked).last_request.value >= began, 30, "a request that no replica could answer")
    wait_for(lambda: of_pool(asked, Signal.ERRORS).value == 1, 30, "the first request of a pool, and it failed")
    assert of_pool(asked, Signal.LATENCY) == UNKNOWN, "it had no first byte"
    assert of_replica(asked, Signal.ERRORS).known is Known.IDLE, "no replica's doing"

    edge.take(1, status="500")
    wait_for(lambda: of_pool(asked, Signal.LATENCY).value > 0, 30, "how long the first byte took")
    assert 0.2 < of_pool(asked, Signal.LATENCY).value <= 0.3, "the bucket of 0.25"
    wait_for(lambda: of_replica(asked, Signal.ERRORS) == UNKNOWN, 30, "too few to judge a replica by")
    edge.take(MIN_REQUESTS)
    wait_for(lambda: 0.1 < of_replica(asked, Signal.ERRORS).value < 0.5, 30, "one of six, or nearly")

    edge.stats = EdgeStats()
    forgotten = 'absent(stoker_edge_last_request_timestamp_seconds{job="edge"})'
    wait_for(lambda: answered(asked, forgotten), 30, "an exporter that began anew")
    assert readings(asked).last_request.value >= began, "a restart does not forget it"

    target.refuse = True
    wait_for(lambda: readings(asked) == PoolReadings(), 30, "an exporter that is gone to be unknown")


def evidence(metrics: MetricSource) -> dict[str, Reading]:
    """What a tick would hear of the health of a replica."""
    found = read(metrics.query(question(NUMBERS)), {POOL: wanted_by(POLICY)}).pools.get(POOL, PoolReadings())
    named = {"requests": found.requests, "tokens": found.tokens, "errors": found.replicas.get(Signal.ERRORS, {})}
    return {name: readings.get(ReplicaId("llama-1"), UNKNOWN) for name, readings in named.items()}


def known(metrics: MetricSource) -> dict[str, Known]:
    return {name: reading.known for name, reading in evidence(metrics).items()}


def test_a_fake_world_tells_of_requests_and_tokens_what_prometheus_tells(
    source: tuple[PrometheusSource, FileTargets], target: Target
) -> None:
    asked, targets = source
    edge, fake, of = Edge(), FakeMetrics(FakeClock()), (POOL, ReplicaId("llama-1"))
    target.say = lambda _: edge.page() + LAUNCHER.format(cpu_s=9, tokens=7) + ENGINE.format(busy=1, kv=0)
    both = Address("127.0.0.1", target.port)
    targets.write([replace(container("llama-1"), engine=both, launcher=both)])
    wait_for(lambda: answered(asked, "up") is not None, 30, "Prometheus to answer")

    def alike(requests: float | None, tokens: float | None, errors: float | None) -> None:
        fake.requests[of], fake.tokens[of], fake.replica[*of, Signal.ERRORS] = requests, tokens, errors
        wait_for(lambda: known(asked) == known(fake), 30, f"{known(fake)} of {requests}, {tokens}, {errors}")

    alike(requests=0, tokens=0, errors=0)
    edge.fail("llama-1", 1)
    alike(requests=1, tokens=0, errors=1)
    assert known(asked)["errors"] is Known.UNKNOWN, "too few to judge it by"
    edge.fail("llama-1", MIN_REQUESTS)
    alike(requests=2 * MIN_REQUESTS, tokens=0, errors=1)
    assert evidence(asked)["errors"].value == 1, "attempts in vain, all of them"
    assert of_pool(asked, Signal.ERRORS).known is Known.IDLE, "no user saw one"

    target.say = lambda n: edge.page() + LAUNCHER.format(cpu_s=9, tokens=7 + n) + ENGINE.format(busy=1, kv=0)
    alike(requests=2 * MIN_REQUESTS, tokens=3, errors=1)
    target.say = lambda _: edge.page() + LAUNCHER.format(cpu_s=9, tokens=10**6) + ENGINE.format(busy=1, kv=0)
    alike(requests=2 * MIN_REQUESTS, tokens=0, errors=1)
    assert of_replica(asked, Signal.TOKENS).value > 0, "the longer window still has some"

    target.refuse = True
    alike(requests=None, tokens=None, errors=None)


def test_what_prometheus_finds_after_a_restart_is_as_old_as_it_is(server: Prometheus, target: Target) -> None:
    asked = server.source
    target.say = lambda _: 'stoker_edge_requests_in_flight{pool="llama"} 7\n' + ENGINE.format(busy=2, kv=0.5)
    engine = Address("127.0.0.1", target.port)
    server.targets.write([replace(container("llama-1"), engine=engine, launcher=None)])
    wait_for(lambda: of_pool(asked, Signal.IN_FLIGHT).value == 7, 30, "what the gateway holds")
    wait_for(lambda: of_replica(asked, Signal.IN_FLIGHT).value == 5, 30, "what the replica has")

    server.stop()
    stopped = datetime.now(UTC)
    server.targets.write([])
    target.say = lambda _: "another_series 1\n"
    server.start()
    wait_for(lambda: answered(asked, 'up{job="edge"} == 1 and timestamp(another_series) > 0'), 30, "scrapes go on")
    wait_for(lambda: of_replica(asked, Signal.IN_FLIGHT).value == 5, 30, "the rules take what is in the database")

    for old in (of_pool(asked, Signal.IN_FLIGHT), of_replica(asked, Signal.IN_FLIGHT)):
        assert old.at is not None
        assert old.at <= stopped


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
