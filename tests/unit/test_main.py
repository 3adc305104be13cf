"""Who leads and who stands by: the controller's process without its adapters."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from controller import main
from controller.adapters.database import DatabaseRefused, DatabaseUnavailable
from controller.adapters.telemetry import Telemetry
from controller.api.proxies import Doors
from controller.core.errors import LostLease
from controller.faults import ConfigError
from controller.installation import Layout
from controller.main import Candidate
from controller.settings.access import ControllerTlsSettings
from controller.stack.binding import Bound
from controller.stack.serving import ServedPair
from controller.wiring import Place
from tests.fakes.certificates import LOCAL, made
from tests.waiting import wait_for


@dataclass
class World:
    """What the two functions that the candidate calls find, and what it did."""

    trouble: Exception | None = None  # of `claim`
    faulty: Exception | None = None  # of `lead`
    did: list[str] = field(default_factory=list)
    ticker: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(on_lost_lease=lambda: None))
    asked: threading.Event = field(default_factory=threading.Event)

    def claim(self, place: Place) -> SimpleNamespace:
        self.asked.set()
        if self.trouble is not None:
            raise self.trouble
        self.did.append("claimed")
        return SimpleNamespace(resources=SimpleNamespace(close=lambda: self.did.append("gave it back")))

    def lead(self, place: Place, taken: object, telemetry: Telemetry) -> SimpleNamespace:
        if self.faulty is not None:
            raise self.faulty
        return SimpleNamespace(
            ticker=self.ticker,
            sources="what the leader tells",
            start=lambda: self.did.append("started"),
            close=lambda: self.did.append("closed"),
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(main, "claim", made.claim)
    monkeypatch.setattr(main, "lead", made.lead)
    monkeypatch.setattr(main, "_RETRY_S", 0.01)
    return made


@dataclass
class Told:
    """A candidate, and whom it told what."""

    candidate: Candidate
    telemetry: Telemetry
    sources: list[object] = field(default_factory=list)
    ends: int = 0

    def end(self) -> None:
        self.ends += 1

    def role(self) -> tuple[float | None, float | None]:
        """Whether it says that it leads, and that it knows who else does."""
        sample = self.telemetry.registry.get_sample_value
        return sample("stoker_controller_leader"), sample("stoker_controller_stands_by")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    telemetry = Telemetry()
    made = Told(Candidate(Place(Layout(tmp_path), 1), telemetry), telemetry)
    made.candidate.on_lead, made.candidate.on_end = made.sources.append, made.end
    yield made
    made.candidate.close()


def leads(told: Told) -> Callable[[], bool]:
    return lambda: told.candidate.who_leads() == "leads" and bool(told.sources)


def test_where_nobody_leads_it_leads(world: World, told: Told) -> None:
    assert told.candidate.who_leads() == "asks who leads"

    told.candidate.start()
    wait_for(leads(told), 10, "it leads")

    assert told.sources == ["what the leader tells"]
    told.candidate.close()
    assert (world.did, told.candidate.code, told.ends) == (["claimed", "started", "closed"], 0, 0)


@pytest.mark.parametrize(
    ("trouble", "words", "role"),
    [
        (LostLease("a:8000 leads"), "stands by; a:8000 leads", (0, 1)),
        (LostLease("a:8000 leads and holds the lease for another 9.1 s"), "stands by; a:8000 leads", (0, 1)),
        (
            DatabaseUnavailable("the database gives no answer"),
            "cannot tell who leads; the database gives no answer",
            (0, 0),
        ),
    ],
)
def test_it_stands_by_until_it_can_lead(
    world: World, told: Told, trouble: Exception, words: str, role: tuple[int, int]
) -> None:
    world.trouble = trouble
    told.candidate.start()
    wait_for(lambda: told.candidate.who_leads() == words, 10, "it stands by")
    assert (told.sources, world.did, told.role()) == ([], [], role)

    world.trouble = None
    wait_for(leads(told), 10, "it leads")

    assert (world.did, told.role()) == (["claimed", "started"], (1, 0))


def test_what_stands_by_ends_without_having_touched_anything(world: World, told: Told) -> None:
    world.trouble = LostLease("another leads")
    told.candidate.start()
    wait_for(world.asked.is_set, 10, "it asked")

    told.candidate.close()

    assert (world.did, told.candidate.code) == ([], 0)


def test_a_lead_that_is_taken_while_it_ends_is_given_back(world: World, told: Told) -> None:
    told.candidate._stopping.set()
    told.candidate._lead(world.claim(Place(Layout(Path("/none")), 1)))  # type: ignore[arg-type]

    assert world.did == ["claimed", "gave it back"]


def test_with_the_lead_lost_it_ends_with_1_so_that_it_is_started_anew(world: World, told: Told) -> None:
    told.candidate.start()
    wait_for(leads(told), 10, "it leads")

    world.ticker.on_lost_lease()

    assert (told.candidate.code, told.ends) == (1, 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("stoker.yaml:1: is not YAML"), 78),
        (DatabaseRefused("tables of another version"), 2),
        (FileNotFoundError("no installation.json"), 2),
    ],
)
@pytest.mark.parametrize("where", ["trouble", "faulty"])
def test_what_waiting_does_not_mend_ends_it_with_its_words(
    world: World, told: Told, capsys: pytest.CaptureFixture[str], error: Exception, code: int, where: str
) -> None:
    setattr(world, where, error)

    told.candidate.start()
    wait_for(lambda: told.ends, 10, "it ends")

    assert told.candidate.code == code
    assert str(error) in capsys.readouterr().err
    assert told.sources == []


def test_where_nothing_is_installed_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stoker.yaml").write_text("pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n")
    monkeypatch.setattr("sys.argv", ["controller", "--state-dir", str(tmp_path)])

    with pytest.raises(SystemExit) as ended:
        main.main()

    assert ended.value.code == 2
    assert f"nothing is installed in {tmp_path}; run `stoker up` first" in capsys.readouterr().err


def test_a_configuration_that_is_refused_is_78(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stoker.yaml").write_text("pools: []\n")
    monkeypatch.setattr("sys.argv", ["controller", "--state-dir", str(tmp_path)])

    with pytest.raises(SystemExit) as ended:
        main.main()

    assert ended.value.code == 78
    assert "name at least one pool" in capsys.readouterr().err


def test_no_number_of_connections_takes_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 2048]
    monkeypatch.setattr(resource, "getrlimit", lambda what: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda what, both: limits.__setitem__(slice(None), both))

    config = main.serving(FastAPI(), 0, Bound("127.0.0.1", Doors()))

    assert limits == [2048, 2048]

    async def accepted() -> Any:  # uvicorn makes it in its event loop
        return config.http_protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg]

    room = asyncio.run(accepted())._room
    assert (room.most, room.head_s, config.backlog, config.ws_protocol_class) == (1536, 10.0, 64, None)


def test_it_serves_over_tls_and_takes_a_new_certificate(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    pair = made(tmp_path)
    tls = ControllerTlsSettings(certificate=str(pair.certificate), key=str(pair.key))
    config = main.serving(FastAPI(), 0, Bound("127.0.0.1", Doors(), ServedPair(tls, Layout(tmp_path / "state"), print)))
    server, own = uvicorn.Server(config), main.listening(config)
    thread = threading.Thread(target=server.run, args=([own],), daemon=True)
    thread.start()
    wait_for(lambda: server.started, 10, "it serves")

    def shown() -> str:
        """The certificate, once an answer came by it."""
        context = ssl.create_default_context(cafile=str(pair.certificate))
        plain = socket.create_connection(own.getsockname(), 20)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1.1 404")
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")

    try:
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert shown() == pair.certificate.read_text()
        pair.renew(LOCAL, serial=2)
        assert shown() == pair.certificate.read_text()
    finally:
        server.should_exit = True
        thread.join(10)
