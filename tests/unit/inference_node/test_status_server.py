"""The launcher's own port, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from inference_node.server import StatusServer


@pytest.fixture
def server() -> Iterator[StatusServer]:
    running = StatusServer("127.0.0.1", 0, {"/status": ("application/json", lambda: b"{}")}, client_timeout_s=0.2)
    yield running
    running.close()


def ask(server: StatusServer, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        with connection.getresponse() as response:
            return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_a_route_answers_with_its_type(server: StatusServer) -> None:
    status, headers, body = ask(server, "GET", "/status?verbose=1")

    assert (status, headers["Content-Type"], body) == (200, "application/json", b"{}")


def test_another_path_is_404_in_json(server: StatusServer) -> None:
    status, headers, body = ask(server, "GET", "/")

    assert (status, headers["Content-Type"]) == (404, "application/json")
    assert json.loads(body) == {"error": "no such path; there are /status"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_another_method_is_405_in_json(server: StatusServer, method: str) -> None:
    status, headers, body = ask(server, method, "/status")

    assert (status, headers["Allow"]) == (405, "GET")
    assert json.loads(body) == {"error": "only GET is allowed"}


def test_a_client_that_says_nothing_blocks_no_other_and_is_cut(server: StatusServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
        assert ask(server, "GET", "/status")[0] == 200
        assert silent.recv(1) == b""  # the server closed it


def test_a_port_in_use_is_an_error(server: StatusServer) -> None:
    with pytest.raises(OSError, match="in use"):
        StatusServer("127.0.0.1", server.port, {})
