"""Which Docker engine is taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest
from rich.console import Console

from controller.adapters.docker_image import ping
from controller.installation import Layout
from controller.stack import engine
from controller.stack.engine import Engine, NoEngine
from controller.stack.progress import Progress

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
