"""Connections that say nothing, or too little, on a real uvicorn over real sockets."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from controller.api import connections
from controller.api.connections import Room, backlog_for, give_up_the_deaf, room_for, serve_in, take_files
from tests.fakes.certificates import made
from tests.waiting import wait_for

ASK = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n"
NEVER_S, SOON_S = 600.0, 0.2
IN_TIME_S = 2.0  # in which a request that is sent at once arrives, however busy the machine is
_PATIENCE_S = 20


@dataclass
class Served:
    """uvicorn in a room, with an application that answers /now at once and /later when it is let."""

    room: Room
    context: ssl.SSLContext | None = None
    complaints: list[str] = field(default_factory=list)
    later: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    bodies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room.complain = self.complaints.append
        context = self.context
        told: dict[str, Any] = {} if context is None else {"ssl_context_factory": lambda *_: context}
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            ws="none",
            interface="asgi3",
            timeout_graceful_shutdown=1,
            **told,
        )
        serve_in(self.room, config)
        self.server = uvicorn.Server(config)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self.server.run, args=([self.listening],), daemon=True)
        self._thread.start()
        wait_for(lambda: self.server.started, 10, "uvicorn serves")

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/later":
            self.begun.set()
            await asyncio.to_thread(self.later.wait, _PATIENCE_S)
        if scope["path"] == "/body":
            told = await receive()
            while told.get("more_body"):
                self.bodies.append(told["body"])
                told = await receive()
        headers = [(b"content-length", b"2"), (b"x-scheme", scope["scheme"].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    def connect(self) -> socket.socket:
        """A connection that does nothing by itself."""
        return socket.create_connection(self.listening.getsockname(), _PATIENCE_S)

    def close(self) -> None:
        self.later.set()
        self.server.should_exit = True
        self._thread.join(10)
        self.listening.close()


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as ending:

        def begin(most: int = 100, context: ssl.SSLContext | None = None, **seconds: float) -> Served:
            served = Served(Room(most, print, **{"head_s": NEVER_S, **seconds}), context)
            ending.callback(served.close)
            return served

        yield begin


def is_closed(connection: socket.socket) -> bool:
    """Once the other side has closed it; fails where it does not."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answer(connection: socket.socket) -> bytes:
    """Up to its two bytes of a body, and nothing of the next one."""
    came = b""
    while not came.endswith(b"\r\n\r\nok"):
        piece = connection.recv(1)
        assert piece, came
        came += piece
    return came


@contextmanager
def dripping(connection: socket.socket, piece: bytes) -> Iterator[None]:
    """It gets that piece again and again, for as long as it takes it."""
    over = threading.Event()

    def drip() -> None:
        try:
            while not over.wait(0.02):
                connection.sendall(piece)
        except OSError:
            over.set()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"], ids=["nothing", "a byte", "half a head"]
)
def test_who_sends_no_whole_head_is_closed(serve: Serve, sent: bytes) -> None:
    served = serve(head_s=SOON_S)
    with served.connect() as connection:
        connection.sendall(sent)
        assert is_closed(connection)
    wait_for(lambda: served.room.taken == 0, 10, "its place is free")


def test_bytes_that_drip_in_do_not_begin_the_time_anew(serve: Serve) -> None:
    with serve(head_s=SOON_S).connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        with dripping(connection, b"x"):
            assert is_closed(connection)


def test_the_next_request_of_a_connection_has_its_time_from_its_first_byte(serve: Serve) -> None:
    with serve(head_s=IN_TIME_S).connect() as connection:
        connection.sendall(ASK)
        answer(connection)
        with dripping(connection, b"x"):
            assert is_closed(connection)


def test_the_rest_of_a_body_that_nobody_reads_may_not_drip_for_ever(serve: Serve) -> None:
    with serve(body_s=IN_TIME_S).connect() as connection:
        connection.sendall(b"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        answer(connection)
        with dripping(connection, b"x"):
            assert is_closed(connection)


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["nothing", "a drip"])
def test_a_body_has_a_time_of_its_own(serve: Serve, piece: bytes) -> None:
    served = serve(body_s=SOON_S)
    with served.connect() as connection:
        connection.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        with dripping(connection, piece):
            assert is_closed(connection)
    wait_for(lambda: served.room.taken == 0, 10, "its place is free")


def test_with_its_body_a_request_has_all_the_time_of_its_answer(serve: Serve) -> None:
    served = serve(body_s=IN_TIME_S)
    with served.connect() as waiting, served.connect() as slow:
        waiting.sendall(b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        waiting.sendall(b"ab")
        assert served.begun.wait(10)
        slow.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na")
        assert is_closed(slow)  # it came last, so the time of both is over
        served.later.set()
        assert answer(waiting).startswith(b"HTTP/1.1 200")


def test_a_long_answer_and_a_slow_body_live_on(serve: Serve) -> None:
    served = serve(head_s=IN_TIME_S)
    with served.connect() as waiting, served.connect() as sending, served.connect() as silent:
        waiting.sendall(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        sending.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        assert served.begun.wait(10)
        assert is_closed(silent)  # it came last, so the time of all three is over
        served.later.set()
        assert answer(waiting).startswith(b"HTTP/1.1 200")
        for byte in b"abcd":
            sending.sendall(bytes([byte]))
        assert answer(sending).startswith(b"HTTP/1.1 200")
        waiting.sendall(ASK)
        assert answer(waiting).startswith(b"HTTP/1.1 200")


def test_a_request_that_came_too_early_is_answered_in_its_turn(serve: Serve) -> None:
    served = serve(head_s=IN_TIME_S)
    with served.connect() as connection:
        connection.sendall(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + ASK)
        assert served.begun.wait(10)
        served.later.set()
        assert answer(connection).startswith(b"HTTP/1.1 200")
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_who_comes_when_all_places_are_taken_is_closed_at_once_and_it_is_told_once(serve: Serve) -> None:
    served = serve(most=2)
    with served.connect() as first, served.connect() as second:
        for connection in (first, second):
            connection.sendall(ASK)
            answer(connection)
        for _ in range(3):
            with served.connect() as third:
                assert is_closed(third)
        first.sendall(ASK)
        assert answer(first)
    assert served.complaints == ["2 connections are open, which is all there may be; new ones are closed at once"]
    wait_for(lambda: served.room.taken == 0, 10, "the places are free")
    with served.connect() as connection:
        connection.sendall(ASK)
        assert answer(connection)


# Over TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server, and of its clients."""
    pair = made(tmp_path_factory.mktemp("tls"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.certificate, pair.key)
    return server, ssl.create_default_context(cafile=str(pair.certificate))


Tls = tuple[ssl.SSLContext, ssl.SSLContext]


def test_over_tls_it_is_answered_on_https(serve: Serve, tls: Tls) -> None:
    served = serve(context=tls[0])
    with tls[1].wrap_socket(served.connect(), server_hostname="localhost") as connection:
        for _ in range(2):
            connection.sendall(ASK)
            assert b"x-scheme: https" in answer(connection)
        assert served.room.taken == 1
    wait_for(lambda: served.room.taken == 0, 10, "its place is free")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00"], ids=["nothing", "a part of a hello"])
def test_the_handshake_is_a_part_of_the_time(serve: Serve, tls: Tls, sent: bytes) -> None:
    served = serve(context=tls[0], head_s=SOON_S)
    with served.connect() as connection:
        connection.sendall(sent)
        assert is_closed(connection)
    wait_for(lambda: served.room.taken == 0, 10, "its place is free")


def test_after_the_handshake_the_head_must_come(serve: Serve, tls: Tls) -> None:
    served = serve(context=tls[0], head_s=IN_TIME_S)
    with tls[1].wrap_socket(served.connect(), server_hostname="localhost", suppress_ragged_eofs=True) as connection:
        connection.sendall(b"GET /")
        assert is_closed(connection)
    wait_for(lambda: served.room.taken == 0, 10, "its place is free")


def test_a_handshake_takes_a_place_and_gives_it_back(serve: Serve, tls: Tls) -> None:
    served = serve(most=2, context=tls[0])
    with served.connect(), served.connect() as nonsense:
        wait_for(lambda: served.room.taken == 2, 10, "both have a place")
        with served.connect() as third:
            assert is_closed(third)
        nonsense.sendall(ASK)  # which is no TLS
        wait_for(lambda: served.room.taken == 1, 10, "one place is free")
        with tls[1].wrap_socket(served.connect(), server_hostname="localhost") as connection:
            connection.sendall(ASK)
            assert answer(connection)
    wait_for(lambda: served.room.taken == 0, 10, "the places are free")


def test_it_ends_while_a_handshake_is_under_way(serve: Serve, tls: Tls) -> None:
    served = serve(context=tls[0])
    with served.connect():
        wait_for(lambda: served.room.taken == 1, 10, "it has a place")
        served.close()
    assert served.room.taken == 0


# Who takes nothing


def test_a_peer_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_DEAF_MS", 500)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as deaf:
        give_up_the_deaf(listening)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(listening.getsockname())
        ours, _ = listening.accept()
        with ours:
            ours.settimeout(_PATIENCE_S)
            with pytest.raises(TimeoutError) as given_up:
                ours.sendall(b"x" * 50_000_000)
    assert given_up.value.errno is not None  # the kernel's, not that of our own patience


# How many


def test_a_part_of_the_files_stays_free_for_everything_else() -> None:
    assert [room_for(files, print).most for files in (256, 1024, 4096, 1_048_576)] == [192, 768, 3072, 4096]
    assert room_for(resource.RLIM_INFINITY, print).most == 4096
    for files in (64, 1024, 4096, 8192, 1_048_576):
        room = room_for(files, print)
        assert 1 <= backlog_for(files, room) <= 2048
        assert room.most + 4 * backlog_for(files, room) < files
    assert backlog_for(resource.RLIM_INFINITY, room_for(resource.RLIM_INFINITY, print)) == 2048


@dataclass
class Limits:
    """Those of a process."""

    soft: int
    hard: int
    refusal: Exception | None = None

    def get(self, what: int) -> tuple[int, int]:
        assert what == resource.RLIMIT_NOFILE
        return self.soft, self.hard

    def set(self, what: int, both: tuple[int, int]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.soft, self.hard = both


@pytest.mark.parametrize(
    ("refusal", "files", "told"),
    [
        (None, 4096, ""),
        (ValueError("not allowed to raise maximum limit"), 1024, "the limit of open files stays at 1024"),
    ],
)
def test_it_takes_the_files_that_it_may(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception | None, files: int, told: str
) -> None:
    limits, complaints = Limits(1024, 4096, refusal), list[str]()
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)

    assert take_files(complaints.append) == files

    assert limits.soft == files
    assert [told in complaint for complaint in complaints] == ([True] if told else [])
