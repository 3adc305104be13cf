"""HttpProber against real HTTP servers: the pace, the streaks, what counts as a pass, and who waits for whom."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.probes import HttpProber, read_answer
from controller.core.model import Address, LauncherPhase, ProbeHistory, ProbeTarget, ReplicaId
from tests.fakes.clock import START
from tests.waiting import wait_for

READY = {"phase": "ready", "answering": True, "in_flight": 2, "waiting": 1, "last_token_at": None}


@dataclass
class Launcher:
    """A server that answers /status as it is told; `hang` keeps every answer back."""

    body: bytes = json.dumps(READY).encode()
    status: int = 200
    asked: int = 0
    hang: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def target(self, name: str = "llama-1", path: str = "/status", timeout_s: float = 0.5) -> ProbeTarget:
        return ProbeTarget(ReplicaId(name), Address("127.0.0.1", self.port), path, 0.05, timeout_s)


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    told = Launcher()
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            if told.hang.is_set():
                released.wait(30)
                return
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def woken() -> list[bool]:
    return []


@pytest.fixture
def prober(woken: list[bool]) -> Iterator[HttpProber]:
    made = HttpProber(SystemClock(), lambda: woken.append(True))
    yield made
    made.close()


def newest(prober: HttpProber, target: ProbeTarget) -> ProbeHistory:
    return prober.probe([target])[target.replica]


def until(prober: HttpProber, target: ProbeTarget, holds: Callable[[ProbeHistory], bool]) -> ProbeHistory:
    wait_for(lambda: holds(newest(prober, target)), 10, "a probe to say so")
    return newest(prober, target)


def test_a_new_target_has_a_result_at_once(prober: HttpProber, launcher: Launcher) -> None:
    found = newest(prober, launcher.target())

    assert (found.ok, found.phase, found.in_flight, found.waiting) == (True, LauncherPhase.READY, 2, 1)


def test_it_goes_on_by_itself_and_counts_in_a_row(prober: HttpProber, launcher: Launcher) -> None:
    target = launcher.target()
    until(prober, target, lambda found: found.in_a_row >= 3)
    launcher.status = 500
    failed = until(prober, target, lambda found: not found.ok and found.in_a_row >= 2)
    assert failed.detail == "answered 500"
    launcher.status = 200
    assert until(prober, target, lambda found: found.ok).in_a_row < 10_000


def test_a_hung_one_fails_by_its_time_out_and_delays_no_other(prober: HttpProber, launcher: Launcher) -> None:
    launcher.hang.set()
    hung = launcher.target(timeout_s=0.2)
    refused = ProbeTarget(ReplicaId("llama-2"), Address("127.0.0.1", _closed_port()), "/status", 0.05, 0.2)
    found = prober.probe([hung, refused])
    assert found[hung.replica].detail == "no answer within 0.2 s"
    assert found[refused.replica].detail.startswith("no answer: ")

    def both() -> bool:
        now = prober.probe([hung, refused])
        return now[refused.replica].in_a_row >= 8 and now[hung.replica].in_a_row >= 2

    wait_for(both, 10, "streaks of both")


def test_the_newest_token_that_it_told_of_is_kept_while_it_gives_no_answer(
    prober: HttpProber, launcher: Launcher
) -> None:
    launcher.body = json.dumps({**READY, "last_token_at": START.isoformat()}).encode()
    target = launcher.target(timeout_s=0.2)
    until(prober, target, lambda found: found.last_token_at == START)
    launcher.hang.set()

    failed = until(prober, target, lambda found: not found.ok and found.in_a_row >= 2)
    assert (failed.phase, failed.in_flight, failed.last_token_at) == (None, None, START)


def test_a_thousand_new_ones_that_hang_are_all_told_of(prober: HttpProber) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as nobody_accepts:
        address = Address("127.0.0.1", nobody_accepts.getsockname()[1])
        targets = [
            ProbeTarget(ReplicaId(f"llama-{number}"), address, "/status", 60, 0.5)
            for number in range(_as_many_as_fit())
        ]
        found = prober.probe(targets)
        assert {history.detail for history in found.values()} == {"no answer within 0.5 s"}
        assert len(found) == len(targets)
        assert prober.probe([]) == {}


def test_a_name_is_not_looked_up(prober: HttpProber) -> None:
    """Whoever looks a name up waits for a server of names, and all other probes with him."""
    target = ProbeTarget(ReplicaId("llama-1"), Address("localhost", 9), "/status", 60, 1)

    assert newest(prober, target).detail == "no answer: gaierror"


@pytest.mark.parametrize(
    ("said", "path", "detail"),
    [
        pytest.param(b"", "/status", "no answer: ValueError", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "/status", "no answer: ValueError", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", "/health", "", id="no body to read"),
        pytest.param(b"HTTP/1.0 200\r\nA: b\r\n\r\n", "/health", "", id="no words after the number"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            "/status",
            "the launcher's status is not what it should be",
            id="cut off",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(READY).encode(), "/status", "", id="without a length, to the end"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000,
            "/status",
            "the launcher's status is not what it should be",
            id="too long",
        ),
    ],
)
def test_whatever_is_said_is_an_answer_or_none(prober: HttpProber, said: bytes, path: str, detail: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        address = Address("127.0.0.1", server.getsockname()[1])
        found = newest(prober, ProbeTarget(ReplicaId("llama-1"), address, path, 60, 5))
        thread.join()

    assert (found.ok, found.detail) == (detail == "", detail)


def test_who_is_no_longer_a_target_is_no_longer_asked(prober: HttpProber, launcher: Launcher) -> None:
    newest(prober, launcher.target())
    assert prober.probe([]) == {}
    other = launcher.target("llama-2", path="/health")
    newest(prober, other)
    before = launcher.asked
    until(prober, other, lambda found: found.in_a_row >= 5)

    assert launcher.asked - before <= 8, "only the one that is left"


def test_a_new_address_is_a_new_beginning(prober: HttpProber, launcher: Launcher) -> None:
    until(prober, launcher.target(), lambda found: found.in_a_row >= 3)
    moved = ProbeTarget(ReplicaId("llama-1"), Address("127.0.0.1", _closed_port()), "/status", 0.05, 0.5)

    found = newest(prober, moved)
    assert (found.ok, found.in_a_row) == (False, 1)


def test_it_wakes_on_the_first_pass_and_on_failures_after_one(
    prober: HttpProber, launcher: Launcher, woken: list[bool]
) -> None:
    launcher.status = 503
    until(prober, launcher.target(), lambda found: found.in_a_row >= 4)
    assert woken == [], "one that was never ready is no news"
    launcher.status = 200
    until(prober, launcher.target(), lambda found: found.in_a_row >= 3 and found.ok)
    assert len(woken) == 1
    launcher.status = 503
    wait_for(lambda: len(woken) >= 4, 10, "a wake for each of three failures")


def test_a_redirect_is_no_pass_and_ends_no_probing(prober: HttpProber, launcher: Launcher) -> None:
    launcher.status = 302
    found = until(prober, launcher.target(), lambda found: found.in_a_row >= 3)

    assert found.detail == "answered 302"


def test_an_answer_in_two_pieces_is_one_answer(prober: HttpProber) -> None:
    body = json.dumps(READY).encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10])
                threading.Event().wait(0.05)
                connection.sendall(body[10:])

        thread = threading.Thread(target=serve)
        thread.start()
        target = ProbeTarget(ReplicaId("llama-1"), Address("127.0.0.1", server.getsockname()[1]), "/status", 60, 5)
        assert newest(prober, target).ok
        thread.join()


def test_closing_twice_is_fine() -> None:
    made = HttpProber(SystemClock(), lambda: None)
    made.close()
    made.close()


ANSWERS = [
    pytest.param(200, json.dumps(READY).encode(), "/status", True, "", id="ready"),
    pytest.param(200, b"", "/health", True, "", id="an engine's health has no body to read"),
    pytest.param(503, b"", "/health", False, "answered 503", id="unhealthy engine"),
    pytest.param(
        200,
        json.dumps(READY | {"phase": "loading"}).encode(),
        "/status",
        False,
        "the launcher is loading",
        id="loading",
    ),
    pytest.param(
        200,
        json.dumps(READY | {"answering": False}).encode(),
        "/status",
        False,
        "the engine does not answer",
        id="engine hung",
    ),
    pytest.param(
        200,
        json.dumps(READY | {"phase": "failed", "detail": "no GGUF"}).encode(),
        "/status",
        False,
        "no GGUF",
        id="failed, in its own words",
    ),
    pytest.param(200, b"<html>", "/status", False, "not what it should be", id="no JSON"),
    pytest.param(200, b"[" * 60_000, "/status", False, "not what it should be", id="too deep"),
    pytest.param(200, b"[]", "/status", False, "not what it should be", id="no object"),
    pytest.param(200, b'{"phase": "dancing"}', "/status", False, "not what it should be", id="unknown phase"),
    pytest.param(
        200, json.dumps(READY | {"in_flight": -1}).encode(), "/status", False, "not what it should be", id="negative"
    ),
    pytest.param(
        200, json.dumps(READY | {"in_flight": "2"}).encode(), "/status", False, "not what it should be", id="text"
    ),
]


@pytest.mark.parametrize(("status", "body", "path", "ok", "detail"), ANSWERS)
def test_read_answer(status: int, body: bytes, path: str, ok: bool, detail: str) -> None:
    found = read_answer(status, body, path, START)

    assert found.ok is ok
    assert found.detail == detail or (detail and detail in found.detail)


def test_half_a_character_does_not_get_through() -> None:
    found = read_answer(200, b'{"phase": "failed", "answering": false, "detail": "\\ud800"}', "/status", START)

    assert found.detail.encode("utf-8")


def test_unknown_counts_stay_unknown() -> None:
    found = read_answer(200, json.dumps(READY | {"in_flight": None, "waiting": None}).encode(), "/status", START)

    assert (found.in_flight, found.waiting) == (None, None)


def test_the_time_of_the_last_token_is_read() -> None:
    said = READY | {"last_token_at": "2026-01-05T12:00:00.250Z"}
    found = read_answer(200, json.dumps(said).encode(), "/status", START)

    assert found.last_token_at == START + timedelta(milliseconds=250)


@pytest.mark.parametrize("off", [timedelta(minutes=-7), timedelta(0), timedelta(hours=3)])
def test_times_are_by_our_clock_however_far_off_the_launchers_is(off: timedelta) -> None:
    theirs = {"now": START, "last_token_at": START - timedelta(seconds=4), "began_at": START - timedelta(seconds=60)}
    said = READY | {name: (at + off).isoformat() for name, at in theirs.items()}
    found = read_answer(200, json.dumps(said).encode(), "/status", START)

    assert (found.last_token_at, found.began_at) == (theirs["last_token_at"], theirs["began_at"])


def test_the_stages_of_its_start_are_read() -> None:
    said = READY | {
        "began_at": "2026-01-05T12:00:00.250+00:00",
        "stages": {"load": 1, "fetch": 0.5, "warm": None, "dancing": 3},
    }
    found = read_answer(200, json.dumps(said).encode(), "/status", START)

    assert found.ok
    assert found.began_at == START + timedelta(milliseconds=250)
    assert found.stages == (("fetch", 0.5), ("load", 1.0))


def test_a_time_without_a_zone_is_utc() -> None:
    found = read_answer(200, json.dumps(READY | {"began_at": "2026-01-05T12:00:00"}).encode(), "/status", START)

    assert found.began_at == START


@pytest.mark.parametrize(
    "said",
    [{"began_at": "yesterday"}, {"stages": [1]}, {"stages": {"load": -1}}, {"stages": {"load": True}}]
    + [{"stages": {"load": "2"}}, {"stages": {"load": float("inf")}}],
)
def test_stages_that_are_none_are_refused(said: dict[str, object]) -> None:
    found = read_answer(200, json.dumps(READY | said).encode(), "/status", START)

    assert (found.ok, found.detail) == (False, "the launcher's status is not what it should be")


def _as_many_as_fit() -> int:
    """A thousand, or what this process may have open."""
    return min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
