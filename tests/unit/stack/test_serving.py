"""The certificate that the controller serves with: renewed while it serves, kept where the next one is not good."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any

import pytest
import yaml

from controller.faults import ConfigError
from controller.installation import Layout
from controller.settings import Settings, parse
from controller.settings.access import ControllerTlsSettings
from controller.stack import api_client, pinned, prometheus, serving
from controller.stack.alertmanager_yml import render
from controller.stack.trouble import Trouble
from tests.fakes.certificates import LOCAL, Pair, made

POOL = "pools: [{name: small, model: small, checkpoint: small.gguf}]\n"


@dataclass
class World:
    layout: Layout
    pair: Pair
    complaints: list[str] = field(default_factory=list)

    def tls(self) -> ControllerTlsSettings:
        return ControllerTlsSettings(certificate=str(self.pair.certificate), key=str(self.pair.key))

    def served(self) -> serving.ServedPair:
        return serving.ServedPair(self.tls(), self.layout, self.complaints.append)

    def settings(self, port: int = 8000) -> Settings:
        tls = json.dumps({"certificate": str(self.pair.certificate), "key": str(self.pair.key)})
        return parse(f"{POOL}ports: {{controller: {port}}}\ncontroller: {{tls: {tls}}}\n", "c.yaml")


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "state").mkdir()
    return World(Layout(tmp_path / "state"), made(tmp_path))


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'["seen"]'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext], int]]:
    """Answers with a context; the port."""
    running: list[_Server] = []

    def start(context: ssl.SSLContext) -> int:
        server = _Server(("127.0.0.1", 0), _Answers)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return int(server.server_address[1])

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_our_clients_take_that_certificate_and_no_other(
    world: World, serve: Callable[[ssl.SSLContext], int], tmp_path: Path
) -> None:
    port = serve(world.served().context())
    assert api_client.ask(world.settings(port), "/api/v1/pools") == ["seen"]
    stranger = made(tmp_path, name="stranger")
    impostor = serve(serving._context(_joined(stranger)))
    with pytest.raises(Trouble, match="has another certificate than"):
        api_client.ask(world.settings(impostor), "/api/v1/pools")


def _joined(pair: Pair) -> Path:
    file = pair.key.with_suffix(".pem")
    file.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    return file


def test_who_vouches_for_the_certificate_vouches_for_nobody_else(tmp_path: Path) -> None:
    leaf, authority = made(tmp_path, name="leaf"), made(tmp_path, name="authority")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"a comment\n" + leaf.certificate.read_bytes() + authority.certificate.read_bytes())
    assert pinned.leaf_of(str(chain)).strip() == leaf.certificate.read_text().strip()
    chain.write_text("nothing")
    with pytest.raises(OSError, match="no certificate"):
        pinned.leaf_of(str(chain))


def test_a_renewed_pair_counts_for_the_next_connection_and_the_open_one_goes_on(
    world: World, serve: Callable[[ssl.SSLContext], int]
) -> None:
    port = serve(world.served().context())
    with closing(pinned.connection(world.settings(port), 5)) as kept:
        kept.request("GET", "/")
        assert kept.getresponse().read() == b'["seen"]'
        world.pair.renew(LOCAL, serial=7)
        assert api_client.ask(world.settings(port), "/api/v1/pools") == ["seen"]  # which knows the new one only
        kept.request("GET", "/")
        assert kept.getresponse().read() == b'["seen"]'
    assert world.layout.served_certificate.read_text() == pinned.leaf_of(str(world.pair.certificate))
    assert not world.complaints


def test_half_a_renewal_changes_nothing_and_is_told_once(
    world: World, serve: Callable[[ssl.SSLContext], int], tmp_path: Path
) -> None:
    port, before = serve(world.served().context()), world.settings()
    old = pinned.leaf_of(str(world.pair.certificate))
    other = made(tmp_path, name="other")
    world.pair.certificate.write_bytes(other.certificate.read_bytes())
    for _ in range(2):
        assert _shows(port) == ssl.PEM_cert_to_DER_cert(old)
    assert len(world.complaints) == 1
    assert "cannot be served with (key values mismatch)" in world.complaints[0]
    world.pair.key.unlink()
    assert _shows(port) == _shows(port) == ssl.PEM_cert_to_DER_cert(old)
    assert len(world.complaints) == 2
    world.pair.key.write_bytes(other.key.read_bytes())
    assert api_client.ask(world.settings(port), "/api/v1/pools") == ["seen"]
    assert before.controller.scheme == "https"


def _shows(port: int) -> bytes:
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))


def test_over_a_restart_the_last_good_pair_serves(world: World, serve: Callable[[ssl.SSLContext], int]) -> None:
    world.served().context()
    good = pinned.leaf_of(str(world.pair.certificate))
    world.pair.key.write_text("half a k")
    port = serve(world.served().context())
    assert _shows(port) == ssl.PEM_cert_to_DER_cert(good)
    assert "the pair from before serves on" in world.complaints[0]
    assert world.layout.served_pair.stat().st_mode & 0o777 == 0o600


def test_what_starts_with_no_good_pair_is_refused(world: World) -> None:
    world.pair.key.write_text("no key")
    with pytest.raises(ConfigError, match=r"made.key cannot be served with"):
        world.served().context()
    world.pair.key.unlink()
    with pytest.raises(ConfigError, match=r"made.key cannot be read \(No such file"):
        serving.take(world.tls(), world.layout)
    assert not list(world.layout.root.iterdir())


@pytest.mark.parametrize(
    ("extension", "name"),
    [
        (LOCAL, "localhost"),
        ("subjectAltName=IP:10.0.0.1,DNS:a", "10.0.0.1"),
        ("subjectAltName=DNS:*.example.org", "stoker.example.org"),
    ],
)
def test_prometheus_and_alertmanager_are_told_what_to_verify(world: World, extension: str, name: str) -> None:
    world.pair.renew(extension)
    serving.take(world.tls(), world.layout)
    trust = {"ca_file": str(world.layout.served_certificate), "server_name": name}
    jobs = yaml.safe_load(prometheus.render(world.settings(), world.layout))["scrape_configs"]
    (own,) = [job for job in jobs if job["job_name"] == "controller"]
    assert (own["scheme"], own["tls_config"]) == ("https", trust)
    told = yaml.safe_load(render(world.settings(), world.layout))["receivers"][1]["webhook_configs"][0]
    assert told["url"] == "https://127.0.0.1:8000/api/v1/alerts"
    assert told["http_config"]["tls_config"] == trust


@pytest.mark.parametrize(
    ("extensions", "said"),
    [
        (("basicConstraints=CA:FALSE",), "has no subjectAltName"),
        ((LOCAL, "extendedKeyUsage=clientAuth"), "is not one for a server"),
    ],
)
def test_a_certificate_that_nobody_could_verify_is_refused(
    world: World, extensions: tuple[str, ...], said: str
) -> None:
    world.pair.renew(*extensions)
    with pytest.raises(ConfigError, match=said):
        serving.take(world.tls(), world.layout)
