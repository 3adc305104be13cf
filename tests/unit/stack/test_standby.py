"""Whoever leads has the replicas, so who stops an installation asks first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from controller.adapters import database
from controller.adapters.database import DatabaseLease, SqlStore
from controller.core.errors import LostLease
from controller.installation import Layout
from controller.settings import parse
from controller.stack import standby
from controller.stack.standby import Says, ask, holder, sole
from controller.stack.trouble import Trouble

FILE = "pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n"


class _Api(BaseHTTPRequestHandler):
    answer = (200, b"ok")

    def do_GET(self) -> None:
        status, body = self.answer if self.path == "/readyz" else (404, b"")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is not the place."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b"ok\n"), Says.TICKS),
        ((503, b"no tick has ended yet\n"), Says.STARTS),
        ((503, b"asks who leads\n"), Says.STARTS),
        ((503, b"stands by; a:8000 leads\n"), Says.STANDS_BY),
    ],
)
def test_what_it_says(port: int, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes], says: Says) -> None:
    monkeypatch.setattr(_Api, "answer", answer)

    assert ask(parse(f"{FILE}ports: {{controller: {port}}}\n", "c.yaml")) is says


def test_one_that_is_gone_says_nothing() -> None:
    assert ask(parse(f"{FILE}ports: {{controller: 1}}\n", "c.yaml")) is Says.NOTHING


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """An installation whose database is a file here, as any lease on a row will do."""
    url = tmp_path / "url"
    url.write_text("postgresql://stoker:hunter2@db/stoker")
    url.chmod(0o600)
    layout = Layout(tmp_path)
    keys = f"database: postgresql, database_url_file: {url}, instance: 0123456789ab"
    layout.config.write_text(f"{FILE}controller: {{{keys}}}\n")
    monkeypatch.setattr(database, "SqlStore", lambda url: SqlStore(tmp_path / "shared.db"))
    monkeypatch.setattr(standby, "_HANDOVER_S", 0.0)
    return layout


@pytest.fixture
def other(shared: Layout) -> Iterator[DatabaseLease]:
    """The controller of another installation on that database."""
    store = SqlStore(shared.root / "shared.db")
    yield DatabaseLease(store, "other:8000", 60.0)
    store.close()


def test_where_nobody_else_leads_nobody_begins_to(shared: Layout, other: DatabaseLease) -> None:
    with sole(shared, Says.TICKS) as leader:
        assert leader is None
        with pytest.raises(LostLease, match=r":8000 \(.*\) leads"):
            other.acquire()

    assert other.acquire() > 0


def test_where_another_leads_it_is_named(shared: Layout, other: DatabaseLease) -> None:
    other.acquire()

    with sole(shared, Says.NOTHING) as leader:
        assert leader == "other:8000 leads"


def test_what_a_killed_controller_left_is_no_obstacle(shared: Layout) -> None:
    store = SqlStore(shared.root / "shared.db")
    DatabaseLease(store, holder(shared, 8000), 60.0).acquire()
    store.close()

    with sole(shared, Says.NOTHING) as leader:
        assert leader is None


def test_one_that_stood_by_has_nothing_to_ask(shared: Layout) -> None:
    with sole(shared, Says.STANDS_BY) as leader:
        assert leader == "another controller leads on the same database"
    assert not (shared.root / "shared.db").exists()


def test_a_database_that_cannot_tell_leaves_the_replicas(shared: Layout) -> None:
    (shared.root / "url").chmod(0o644)

    with pytest.raises(Trouble, match=r"so the replicas stay: .*chmod 600"), sole(shared, Says.TICKS):
        pytest.fail("nobody knows who leads")


@pytest.mark.parametrize("text", [FILE, "pools: []\n", None])
def test_an_installation_with_a_ledger_of_its_own_is_alone(tmp_path: Path, text: str | None) -> None:
    layout = Layout(tmp_path)
    if text is not None:
        layout.config.write_text(text)

    with sole(layout, Says.TICKS) as leader:
        assert leader is None
