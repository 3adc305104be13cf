"""The launcher with the real llama.cpp and a real model, as its own process."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.replica import CHECKPOINT, Replica, Stream
from tests.waiting import wait_for


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    running = Replica(tmp_path)
    try:
        running.await_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_it_is_ready_after_one_token_and_streams_move_the_count(replica: Replica) -> None:
    assert [change["phase"] for change in replica.status()["phases"]] == ["fetching", "loading", "warming", "ready"]
    wait_for(lambda: replica.status()["tokens_total"] == 1, 20, "the token of the warm-up is counted")

    cpu_before_s = replica.sample("cpu_seconds_total")
    stream = Stream(replica.port("engine"), tokens=250)
    counts = {1}

    def grew_twice() -> bool:
        status = replica.status()
        if status["in_flight"] == 1:
            counts.add(status["tokens_total"])
        return len(counts) >= 3

    wait_for(grew_twice, 60, "tokens are counted while the request runs")
    stream.join()
    assert stream.ended
    wait_for(lambda: replica.status()["tokens_total"] == 251, 20, "every token is counted once")
    assert replica.status()["in_flight"] == 0
    assert replica.sample("cpu_seconds_total") > cpu_before_s + 0.1, "the engine's time counts, not only the launcher's"
    assert replica.sample("memory_bytes") > CHECKPOINT.stat().st_size / 2, (
        "the weights are mapped, and most of them are in use"
    )
    assert replica.sample("cpu_cores") == 1
    replica.process.terminate()
    assert replica.exit_code() == 0


def test_sigterm_finishes_the_stream_and_refuses_new_connections(replica: Replica) -> None:
    stream = Stream(replica.port("engine"), tokens=250)
    wait_for(lambda: len(stream.lines) > 5, 60, "the stream has begun")

    replica.process.send_signal(signal.SIGTERM)

    wait_for(replica.refuses, 20, "new connections are refused")
    assert not stream.ended
    status = replica.status()
    assert (status["phase"], status["answering"]) == ("draining", True)
    stream.join()
    assert (stream.ended, stream.error) == (True, None)
    assert replica.exit_code() == 0


def test_a_drain_past_its_deadline_cuts_and_says_so(tmp_path: Path) -> None:
    replica = Replica(tmp_path, STOKER_DRAIN_TIMEOUT_S="0.5")
    try:
        replica.await_ready()
        stream = Stream(replica.port("engine"), tokens=450)
        wait_for(lambda: replica.status()["in_flight"] == 1, 60, "the request is seen")

        replica.process.terminate()

        assert replica.exit_code() == 3
        assert "event=requests_cut replica=demo-1 cut=1" in replica.stderr()
        stream.join()
        assert not stream.ended
    finally:
        replica.process.kill()
        replica.process.wait()


def test_the_engine_dies_with_a_launcher_that_is_killed(replica: Replica) -> None:
    replica.process.kill()

    wait_for(replica.refuses, 20, "the engine is gone")


def test_a_wrong_environment_is_one_sentence_and_78(tmp_path: Path) -> None:
    replica = Replica(tmp_path, STOKER_SLOTS="none")

    assert replica.exit_code() == 78
    assert replica.stderr() == "STOKER_SLOTS is 'none'; make it a whole number from 1 to 256.\n"


def test_a_missing_checkpoint_is_named_and_2(tmp_path: Path) -> None:
    replica = Replica(tmp_path, STOKER_CHECKPOINT="/nowhere/model.gguf")

    assert replica.exit_code() == 2
    assert "The checkpoint /nowhere/model.gguf cannot be read" in replica.stderr()


@pytest.mark.parametrize(
    ("variable", "exit_code", "sentence"),
    [
        pytest.param("STOKER_ENGINE_PORT", 1, "The engine's address 127.0.0.1:{port} cannot be had", id="engine"),
        pytest.param("STOKER_LAUNCHER_PORT", 2, "Address already in use (port {port}", id="launcher"),
    ],
)
def test_a_port_in_use_is_named(tmp_path: Path, variable: str, exit_code: int, sentence: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        replica = Replica(tmp_path, **{variable: str(port)})

        assert replica.exit_code() == exit_code
    assert sentence.format(port=port) in replica.stderr()


def test_a_checkpoint_that_llamacpp_refuses_is_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    replica = Replica(tmp_path, STOKER_CHECKPOINT=str(broken))

    assert replica.exit_code() == 1
    assert f"llama.cpp could not serve {broken}" in replica.stderr()
