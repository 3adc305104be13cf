"""Which Docker engine is taken."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest
from rich.console import Console

from controller.adapters.docker_image import ping
from controller.installation import Layout, NodeParts, TlsFiles
from controller.stack import engine
from controller.stack.engine import Engine, NoEngine
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble

LAYOUT = Layout(Path("/srv/stoker"))
PROGRESS = Progress(Console(quiet=True))


class _Engine(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/_ping" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is not the place."""


class _Broken(_Engine):
    status = 500


def _serve(path: Path, handler: type[_Engine]) -> Iterator[str]:
    with ThreadingUnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"unix://{path}"
        server.shutdown()
        thread.join()


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[str]:
    yield from _serve(tmp_path / "a.sock", _Engine)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[str]:
    yield from _serve(tmp_path / "b.sock", _Broken)


def test_ping(answering: str, broken: str, tmp_path: Path) -> None:
    assert ping(answering, 1.0)
    assert not ping(broken, 1.0)
    assert not ping(f"unix://{tmp_path}/none.sock", 1.0)
    assert not ping("tcp://127.0.0.1:1", 1.0)
    assert not ping("tcp://127.0.0.1:none", 1.0)


def test_docker_host_is_taken(answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", answering)

    assert engine.find(LAYOUT, PROGRESS) == Engine(answering)


def test_docker_host_that_does_not_answer_is_never_replaced(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", broken)

    found = engine.find(LAYOUT, PROGRESS)

    assert isinstance(found, NoEngine)
    assert broken in found.why


def test_the_systems_own_comes_first(answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "DEFAULT_HOST", answering)

    assert engine.find(LAYOUT, PROGRESS) == Engine(answering)


def test_no_second_dockerd_beside_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "DEFAULT_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(engine, "_start_service", lambda progress: False)
    monkeypatch.setattr(engine, "_rival", lambda: 4711)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/sbin/{name}")

    found = engine.find(LAYOUT, PROGRESS)

    assert isinstance(found, NoEngine)
    assert "pid 4711" in found.why


def test_without_root_it_says_what_root_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "DEFAULT_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    found = engine.find(LAYOUT, PROGRESS)

    assert isinstance(found, NoEngine)
    assert "sudo service docker start" in found.why


def test_of_several_nodes_those_that_answer_in_their_order(answering: str, broken: str, tmp_path: Path) -> None:
    hosts = (broken, answering, f"unix://{tmp_path}/none.sock", answering)
    nodes = [NodeParts(name=f"n{number}", docker_host=host) for number, host in enumerate(hosts)]

    assert [node.name for node in engine.answering(nodes)] == ["n1", "n3"]
    assert engine.answering([]) == ()


def test_every_node_that_is_not_right_is_told(answering: str, tmp_path: Path) -> None:
    (tmp_path / "ca").touch()
    tls = TlsFiles(ca=f"{tmp_path}/ca", cert=f"{tmp_path}/cert", key=f"{tmp_path}/key")
    good = NodeParts(name="good", docker_host=answering)
    silent = NodeParts(name="silent", docker_host="tcp://127.0.0.1:1", tls=tls)

    engine.require_all([good])
    with pytest.raises(Trouble) as refused:
        engine.require_all([good, silent])

    assert str(refused.value).splitlines() == [
        f"node silent: the file {tmp_path}/cert (tls.cert) does not exist",
        f"node silent: the file {tmp_path}/key (tls.key) does not exist",
        "node silent: no Docker engine answers at tcp://127.0.0.1:1; start it, or take the node out of nodes",
    ]


def make_certificates(folder: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority, and that client and engine both use."""
    openssl = shutil.which("openssl")
    assert openssl, "apt-get install openssl"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stoker"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


def test_an_engine_behind_tls_answers_only_to_whom_it_trusts(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        host = f"tcp://127.0.0.1:{server.server_port}"
        trusted, untrusted = (ping(host, 5.0, tls) for tls in (TlsFiles(ca=cert, cert=cert, key=key), None))
        server.shutdown()
        thread.join()

    assert (trusted, untrusted) == (True, False)
