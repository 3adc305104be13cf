"""What a look at the engine makes of the last reading, and looks at real servers."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from inference_node.client import EngineAddress
from inference_node.engines.contract import Counters, Engine, EngineSilent, Get
from inference_node.poller import Look, Poller, Reading, describe, fold, look_at
from inference_node.server import StatusServer
from tests.waiting import wait_for

T0 = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def folded(looks: list[Look]) -> list[Reading]:
    """Readings of looks one second apart."""
    readings, reading, best = [], Reading(), 0
    for second, look in enumerate(looks):
        reading = fold(reading, look, T0 + timedelta(seconds=second), float(second), best)
        best = max(best, reading.tokens_total or 0)
        readings.append(reading)
    return readings


WEDGED = Look(True, None, "/metrics did not answer: timed out")


def made(tokens: int) -> Look:
    return Look(True, Counters(1, 0, tokens))


def test_the_token_count_never_goes_back() -> None:
    readings = folded([made(10), made(25), made(5), made(26)])

    assert [reading.tokens_total for reading in readings] == [10, 25, 25, 26]


def test_last_token_at_moves_only_with_new_tokens() -> None:
    readings = folded([made(10), made(10), made(11)])

    assert [reading.last_token_at for reading in readings] == [T0, T0, T0 + timedelta(seconds=2)]


def test_a_prompt_that_is_read_is_progress_although_no_token_comes() -> None:
    readings = folded([Look(True, Counters(1, 0, 10, steps)) for steps in (4, 5, 5)])

    assert [reading.last_token_at for reading in readings] == [T0, *[T0 + timedelta(seconds=1)] * 2]
    assert readings[-1].tokens_total == 10


def test_progress_is_seen_across_a_look_without_counters() -> None:
    readings = folded([Look(True, Counters(1, 0, 10, 4)), WEDGED, Look(True, Counters(1, 0, 10, 5))])

    assert readings[-1].last_token_at == T0 + timedelta(seconds=2)


def test_counters_that_are_gone_are_unknown_while_health_answers() -> None:
    last = folded([Look(True, Counters(0, 0, 10, 4)), WEDGED, WEDGED])[-1]

    assert (last.answering, last.in_flight, last.waiting, last.tokens_total) == (True, None, None, None)
    assert (last.last_token_at, last.looked_at) == (T0, T0 + timedelta(seconds=2))


def test_silence_is_unknown_and_keeps_when_the_last_token_was() -> None:
    last = folded([made(10), Look(False, None, "/health did not answer: timed out")])[-1]

    assert (last.answering, last.in_flight, last.waiting, last.tokens_total) == (False, None, None, None)
    assert last.last_token_at == T0


def test_the_count_goes_on_after_silence() -> None:
    readings = folded([made(10), Look(False, None, "silent"), made(9), made(12)])

    assert [reading.tokens_total for reading in readings] == [10, None, 10, 12]


def test_busy_is_not_dead() -> None:
    late = Look(False, Counters(2, 3, 30), "/health did not answer: timed out")

    assert [reading.answering for reading in folded([made(10), late, late])] == [True, True, False]


def test_the_detail_says_since_when() -> None:
    readings = folded([made(10), *[Look(False, None, "/health did not answer: timed out")] * 3])

    assert describe(readings[-1], 4.0) == "The engine has not answered for 3 s (/health did not answer: timed out)."
    assert describe(readings[0], 4.0) == ""


def test_the_detail_says_that_counters_are_missing() -> None:
    (reading,) = folded([Look(True, None, "/metrics answered 501")])

    assert describe(reading, 0.0) == "The engine answers, its counters do not (/metrics answered 501)."


def test_an_engine_that_accepts_and_says_nothing_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        look = look_at(ENGINE, EngineAddress("127.0.0.1", mute.getsockname()[1]))

    assert (look.healthy, look.counters) == (False, None)
    assert look.why.startswith("/health did not answer")


def test_counters_that_are_late_once_are_asked_for_again() -> None:
    asked: list[str] = []

    def late(get: Get) -> Counters:
        asked.append(get("/n"))
        if len(asked) == 1:
            raise EngineSilent("/metrics did not answer: timed out")
        return Counters(0, 0, 0)

    server = serving(b"1")
    try:
        look = look_at(replace(ENGINE, read_counters=late), EngineAddress("127.0.0.1", server.port))
    finally:
        server.close()

    assert (look.healthy, look.counters, look.why) == (True, Counters(0, 0, 0), "")


def test_counters_that_stay_away_are_none() -> None:
    server = StatusServer("127.0.0.1", 0, {"/health": ("text/plain", lambda: b"ok")})
    try:
        look = look_at(ENGINE, EngineAddress("127.0.0.1", server.port))
    finally:
        server.close()

    assert (look.healthy, look.counters, look.why) == (True, None, "/n answered 404")


def test_the_poller_follows_the_engine_to_another_port() -> None:
    first, second = serving(b"1"), serving(b"2")
    poller = Poller(ENGINE, interval_s=0.01)
    try:
        for server, want in ((first, 1), (second, 2)):
            poller.watch(EngineAddress("127.0.0.1", server.port))
            wait_for(lambda want=want: poller.reading.in_flight == want, 10, f"in flight {want}")
    finally:
        poller.stop()
        first.close()
        second.close()


def serving(in_flight: bytes) -> StatusServer:
    return StatusServer(
        "127.0.0.1", 0, {"/health": ("text/plain", lambda: b"ok"), "/n": ("text/plain", lambda: in_flight)}
    )


def _read(get: Get) -> Counters:
    try:
        return Counters(int(get("/n")), 0, 0)
    except ValueError as error:
        raise EngineSilent("no number") from error


ENGINE = Engine(command=(), health_path="/health", read_counters=_read)
