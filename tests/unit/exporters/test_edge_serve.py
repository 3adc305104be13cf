"""What the gateway says is in flight, on the page."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from exporters.edge.serve import EdgeExporter, EdgeOptions
from tests.fakes.running_nginx import free_port
from tests.unit.exporters.texts import access
from tests.waiting import wait_for

POOLS, PLANS = "stoker_edge_requests_in_flight", "stoker_edge_plan_requests_in_flight"
WAITING = "stoker_edge_requests_waiting"


class Gateway(HTTPServer):
    """Answers whatever is asked with `text`."""

    text = b""


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Gateway)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ports(gateway: Gateway) -> Iterator[tuple[int, int]]:
    """Of the page and of the log."""
    port, log_port = free_port(), free_port(socket.SOCK_DGRAM)
    exporter = EdgeExporter(EdgeOptions("127.0.0.1", port, log_port, f"http://127.0.0.1:{gateway.server_port}"))
    yield port, log_port
    exporter.close()


def scraped(port: int, name: str) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return [line for line in answer.read().decode().splitlines() if line.startswith(name)]


def test_a_gateway_without_keys_tells_of_pools_only(gateway: Gateway, ports: tuple[int, int]) -> None:
    gateway.text = b'{"pools":{"smollm2":3}}'

    assert scraped(ports[0], POOLS) == [f'{POOLS}{{pool="smollm2"}} 3.0']
    assert scraped(ports[0], PLANS) == scraped(ports[0], WAITING) == []


def test_what_waits_is_told_of_each_pool(gateway: Gateway, ports: tuple[int, int]) -> None:
    gateway.text = b'{"pools":{"big":0,"smollm2":3},"waiting":{"big":0,"smollm2":2}}'

    assert scraped(ports[0], WAITING) == [f'{WAITING}{{pool="big"}} 0.0', f'{WAITING}{{pool="smollm2"}} 2.0']


def test_a_plan_that_was_heard_of_has_none_in_flight_where_the_gateway_leaves_it_out(
    gateway: Gateway, ports: tuple[int, int]
) -> None:
    gateway.text = b'{"pools":{},"plans":{"gold":2}}'
    assert scraped(ports[0], PLANS) == [f'{PLANS}{{plan="gold"}} 2.0']
    gateway.text = b'{"pools":{},"plans":{}}'
    assert scraped(ports[0], PLANS) == []

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(access(), ("127.0.0.1", ports[1]))
    wait_for(lambda: scraped(ports[0], PLANS) == [f'{PLANS}{{plan="gold"}} 0.0'], 10, "a plan without requests")


@pytest.mark.parametrize("text", [b"", b'{"pools":7}', b'{"pools":{},"plans":{"gold":1e999}}'], ids=repr)
def test_an_answer_that_is_none_is_unknown(gateway: Gateway, ports: tuple[int, int], text: bytes) -> None:
    gateway.text = text

    assert scraped(ports[0], POOLS) == scraped(ports[0], PLANS) == []
    assert scraped(ports[0], "stoker_edge_log_lines_total") == ["stoker_edge_log_lines_total 0.0"]
