"""The edge exporter as a process, and from a request through nginx to a metric."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes
from exporters.edge.__main__ import main
from exporters.edge.serve import EdgeExporter, EdgeOptions, PortInUse, kernel_drops
from tests.fakes.clock import FakeClock
from tests.fakes.engine import Exchange, engines
from tests.fakes.running_nginx import RunningNginx, free_port, parts_in, plan
from tests.waiting import wait_for

LINE = (
    b'<190>Nov 23 01:52:30 stoker: {"pool":"smollm2","replica":"smollm2-1","status":"200","duration":0.4,'
    b'"header_times":"0.2","response_times":"0.4","tried":"127.0.0.1:9001","bytes":1}'
)
IN_VAIN = b'<190>Nov 23 01:52:30 stoker: {"pool":"smollm2","failed":"smollm2-2"}'
REQUESTS, FAILED = "stoker_edge_requests_total", "stoker_edge_attempts_failed_total"
NOBODY = "http://127.0.0.1:9"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(port: int) -> Samples:
    """Every sample by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def scrape_after(port: int, lines: int) -> Samples:
    """What the page says once so many lines have arrived, and no count is new any more."""
    wait_for(lambda: value(scrape(port), "stoker_edge_log_lines_total") == lines, 10, f"{lines} lines")
    wait_for(lambda: all(count for (name, _), count in scrape(port).items() if name == REQUESTS), 10, "the counts")
    return scrape(port)


def requests_told(port: int) -> float:
    """How many finished requests the page tells of, of whatever pool."""
    return sum(count for (name, _), count in scrape(port).items() if name == REQUESTS)


@contextmanager
def exporter_for(port: int, log_port: int, status: str) -> Iterator[EdgeExporter]:
    exporter = EdgeExporter(EdgeOptions("127.0.0.1", port, log_port, status))
    try:
        yield exporter
    finally:
        exporter.close()


def test_lines_become_metrics() -> None:
    port, log_port = free_port(), free_port(socket.SOCK_DGRAM)
    began = time.time()
    with exporter_for(port, log_port, NOBODY), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in (LINE, LINE, IN_VAIN, b"nonsense"):
            sender.sendto(datagram, ("127.0.0.1", log_port))
        samples = scrape_after(port, lines=4)
    ended = time.time()

    both = {"pool": "smollm2", "replica": "smollm2-1"}
    assert value(samples, "stoker_edge_requests_total", **both, code="200") == 2
    assert value(samples, "stoker_edge_request_duration_seconds_bucket", **both, le="0.3") == 0
    assert value(samples, "stoker_edge_request_duration_seconds_bucket", **both, le="0.5") == 2
    assert value(samples, "stoker_edge_request_duration_seconds_sum", **both) == pytest.approx(0.8)
    assert value(samples, "stoker_edge_time_to_first_byte_seconds_bucket", **both, le="0.2") == 2
    assert value(samples, "stoker_edge_time_to_first_byte_seconds_count", **both) == 2
    assert value(samples, "stoker_edge_pool_request_duration_seconds_bucket", pool="smollm2", le="0.5") == 2
    assert value(samples, "stoker_edge_pool_time_to_first_byte_seconds_count", pool="smollm2") == 2
    assert value(samples, "stoker_edge_retries_total", **both) == 0
    assert value(samples, FAILED, **both) == 0
    assert value(samples, FAILED, pool="smollm2", replica="smollm2-2") == 1
    assert value(samples, "stoker_edge_log_lines_malformed_total") == 1
    assert value(samples, "stoker_edge_log_lines_lost_total") == 0
    assert began <= (value(samples, "stoker_edge_last_request_timestamp_seconds", pool="smollm2") or 0) <= ended


def test_what_is_in_flight_is_unknown_without_nginx() -> None:
    port = free_port()
    with exporter_for(port, free_port(socket.SOCK_DGRAM), NOBODY):
        samples = scrape(port)

    assert value(samples, "stoker_edge_log_lines_total") == 0
    assert not [name for name, _ in samples if name == "stoker_edge_requests_in_flight"]


def test_lines_that_the_kernel_drops_are_counted() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        assert kernel_drops(receiver) == 0
        for _ in range(100):
            sender.sendto(LINE, receiver.getsockname())

        taken = 0
        receiver.setblocking(False)
        while True:
            try:
                receiver.recv(4096)
            except BlockingIOError:
                break
            taken += 1
        assert kernel_drops(receiver) == 100 - taken
        assert taken < 100


def test_a_port_in_use_is_one_sentence_and_exit_code_2() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        taken, log_taken = tcp.getsockname()[1], udp.getsockname()[1]
        free, log_free = free_port(), free_port(socket.SOCK_DGRAM)
        with pytest.raises(PortInUse, match=f"port {taken} \\(TCP\\): Address already in use"):
            EdgeExporter(EdgeOptions("127.0.0.1", taken, log_free, NOBODY))
        with pytest.raises(PortInUse, match=f"port {log_taken} \\(UDP\\): Address already in use"):
            EdgeExporter(EdgeOptions("127.0.0.1", free, log_taken, NOBODY))
        done = subprocess.run(
            [sys.executable, "-m", "exporters.edge", "--port", str(taken), "--log-port", str(log_free)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Address already in use" in done.stderr


def test_sigterm_ends_the_process_with_0() -> None:
    port = free_port()
    command = [sys.executable, "-m", "exporters.edge", "--port", str(port), "--gateway-status", NOBODY]
    with subprocess.Popen([*command, "--log-port", str(free_port(socket.SOCK_DGRAM))]) as process:
        wait_for(lambda: _answers(port), 20, "the exporter answers")
        process.terminate()
        assert process.wait(10) == 0


def _answers(port: int) -> bool:
    try:
        return bool(scrape(port))
    except OSError:
        return False


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--nonsense"])
    assert "--nonsense" in capsys.readouterr().err


def test_from_a_request_to_a_metric(tmp_path: Path) -> None:
    clock = FakeClock()
    parts = parts_in(tmp_path, clock)
    go_on = threading.Event()
    dead, answered = ({"pool": "smollm2", "replica": f"smollm2-{number}"} for number in ("001", "002"))

    def hold(exchange: Exchange) -> None:
        go_on.wait(30)
        exchange.answer()

    crowd = plan(*(Address("127.0.0.1", 20_000 + i) for i in range(299)), pool=PoolRoutes(PoolName("crowd"), "crowd"))
    status = f"http://127.0.0.1:{parts.ports.gateway_status}"
    with exporter_for(parts.ports.edge, parts.ports.edge_log, status), engines(Exchange.answer) as (engine,):
        nginx = RunningNginx(parts, clock)
        try:
            # The replica that answers is the 300th, and its name sorts after a dead one: one try in two is in vain.
            nginx.apply(GatewayPlan((*crowd.pools, *plan(Address("127.0.0.1", free_port()), engine.address).pools)))
            for _ in range(10):
                assert nginx.post()[0] == 200
            nginx.post(b'{"model":"nobody"}')
            nginx.apply(plan())
            nginx.post()
            wait_for(lambda: requests_told(parts.ports.edge) == 12, 10, "12 requests")
            wait_for(lambda: value(scrape(parts.ports.edge), FAILED, **dead), 10, "attempts in vain")
            samples = scrape(parts.ports.edge)
            nginx.apply(plan(engine.address))
            engine.behave = hold
            client = threading.Thread(target=nginx.post)
            client.start()
            wait_for(
                lambda: value(scrape(parts.ports.edge), "stoker_edge_requests_in_flight", pool="smollm2") == 1,
                10,
                "one request is in flight",
            )
            go_on.set()
            client.join()
        finally:
            nginx.stop()

    assert value(samples, FAILED, **dead) == value(samples, "stoker_edge_retries_total", **answered)
    assert value(samples, FAILED, **answered) == 0
    assert value(samples, "stoker_edge_requests_total", **answered, code="200") == 10
    assert value(samples, "stoker_edge_time_to_first_byte_seconds_count", **answered) == 10
    assert value(samples, "stoker_edge_requests_total", pool="smollm2", replica="", code="503") == 1
    assert value(samples, "stoker_edge_requests_total", pool="", replica="", code="404") == 1
    assert value(samples, "stoker_edge_log_lines_malformed_total") == 0
    assert value(samples, "stoker_edge_requests_in_flight", pool="smollm2") == 0
