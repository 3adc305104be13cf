"""A replica's life with a real child process in place of a model."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inference_node.configuration import from_environment
from inference_node.engines.contract import Engine
from inference_node.engines.llamacpp import read_counters
from inference_node.launcher import Launcher, Timings
from inference_node.memory_kills import MemoryKills
from inference_node.status import as_json
from tests.unit.inference_node.test_memory_kills import container
from tests.waiting import wait_for

FAKE = Path(__file__).with_name("fake_engine.py")
TIMINGS = Timings(poll_interval_s=0.02, warm_up_timeout_s=10.0, failed_linger_s=0.05)


class Replica:
    """A launcher that runs in a thread, and its fake engine."""

    def __init__(
        self, folder: Path, mode: str = "serve", drain_timeout_s: str = "30", kills: MemoryKills | None = None
    ) -> None:
        self.endpoints_file = folder / "endpoints.json"
        checkpoint = folder / "model.gguf"
        if not checkpoint.exists():
            checkpoint.write_bytes(b"GGUF rest")
        variables = {
            "STOKER_POOL": "demo",
            "STOKER_REPLICA": "demo-1",
            "STOKER_SPEC_HASH": "abc",
            "STOKER_MODEL": "smollm2",
            "STOKER_ENGINE": "llamacpp",
            "STOKER_CHECKPOINT": str(checkpoint),
            "STOKER_SLOTS": "1",
            "STOKER_CONTEXT_TOKENS": "64",
            "STOKER_THREADS": "1",
            "STOKER_DRAIN_TIMEOUT_S": drain_timeout_s,
            "STOKER_ENDPOINTS_FILE": str(self.endpoints_file),
        }
        engine = Engine((sys.executable, str(FAKE), mode), "/health", read_counters)
        self.launcher = Launcher(from_environment(variables), engine, TIMINGS, kills)
        self.exit_code: int | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self.exit_code = self.launcher.run()

    def status(self) -> dict[str, object]:
        return as_json(self.launcher.status())

    def await_status(self, **wanted: object) -> None:
        wait_for(lambda: wanted.items() <= self.status().items(), 20, f"{wanted}")

    def ended(self) -> int | None:
        self._thread.join(20)
        assert not self._thread.is_alive(), f"the launcher does not end: {self.status()}"
        return self.exit_code

    def engine(self, method: str, path: str, body: object = None) -> str:
        port = json.loads(self.endpoints_file.read_text())["engine"]["port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body))
            with connection.getresponse() as response:
                return response.read().decode()
        finally:
            connection.close()

    def signal_engine(self, number: int) -> None:
        os.kill(int(self.engine("GET", "/pid")), number)

    def phases(self) -> list[str]:
        return [change.phase.value for change in self.launcher.status().phases]


Start = Callable[..., Replica]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a replica; at the end of the test it is stopped and its engine with it."""
    started: list[Replica] = []

    def _start(**options: Any) -> Replica:
        replica = Replica(tmp_path, **options)
        replica.start()
        started.append(replica)
        return replica

    yield _start
    for replica in started:
        if replica.exit_code is None and "draining" not in replica.phases():
            replica.launcher.request_stop()
        replica.ended()


def test_it_becomes_ready_after_one_token(start: Start) -> None:
    replica = start()

    replica.await_status(phase="ready", answering=True, tokens_total=1, in_flight=0, waiting=0, detail="")

    assert replica.phases() == ["fetching", "loading", "warming", "ready"]


def test_it_tells_when_it_began_and_what_each_stage_took(start: Start) -> None:
    began = datetime.now(UTC)
    replica = start()
    replica.await_status(phase="ready", tokens_total=1)

    status = replica.status()
    stages = status["stages"]
    assert isinstance(stages, dict)
    assert list(stages) == ["fetch", "load", "warm", "first_token"]
    assert all(seconds >= 0 for seconds in stages.values())
    assert sum(stages.values()) <= (datetime.now(UTC) - began).total_seconds()
    assert began - timedelta(seconds=1) <= datetime.fromisoformat(str(status["began_at"])) <= datetime.now(UTC)
    assert status["last_token_at"] is not None, "a replica that is ready has made a token"


def test_a_stage_that_never_ends_is_not_told(start: Start) -> None:
    replica = start(mode="mute")

    assert replica.ended() == 1
    assert list(replica.launcher.status().stages.seconds) == ["fetch", "load", "warm"]


def test_tokens_of_a_running_request_count(start: Start) -> None:
    replica = start()
    replica.await_status(phase="ready")

    replica.engine("POST", "/control", {"in_flight": 1, "waiting": 4, "decoded": 9})

    replica.await_status(in_flight=1, waiting=4, tokens_total=1 + 9)
    replica.engine("POST", "/control", {"in_flight": 0})  # else the drain at the end waits for it


def test_a_hung_engine_leaves_the_launcher_answering(start: Start) -> None:
    replica = start()
    replica.await_status(phase="ready", answering=True)
    pid = int(replica.engine("GET", "/pid"))
    os.kill(pid, signal.SIGSTOP)
    try:
        replica.await_status(phase="ready", answering=False, in_flight=None, waiting=None, tokens_total=None)
        assert "has not answered" in str(replica.status()["detail"])
    finally:
        os.kill(pid, signal.SIGCONT)
    replica.await_status(answering=True, detail="")


def test_an_engine_that_dies_ends_the_launcher(start: Start) -> None:
    replica = start()
    replica.await_status(phase="ready")

    replica.signal_engine(signal.SIGKILL)

    assert replica.ended() == 1
    status = replica.status()
    assert (status["phase"], status["answering"], status["in_flight"]) == ("failed", False, None)
    assert status["detail"] == "The engine was ended by signal 9 while ready."


def test_an_engine_that_is_killed_for_memory_is_told_apart(start: Start, tmp_path: Path) -> None:
    kernel = container(tmp_path, "memory.events", "low 0\noom 1\noom_kill 0\n")
    replica = start(kills=MemoryKills(1, tmp_path))
    replica.await_status(phase="ready")

    kernel.write_text("low 0\noom 2\noom_kill 1\n")
    replica.signal_engine(signal.SIGKILL)

    assert replica.ended() == 1
    assert replica.status()["detail"] == "The engine was killed by signal 9, out of memory, while ready."


def test_an_engine_that_cannot_start_says_why(start: Start) -> None:
    replica = start(mode="refuse")

    assert replica.ended() == 1
    assert replica.status()["detail"] == (
        "The engine ended with exit code 5 while loading. There is no room for the model."
    )


def test_an_engine_without_tokens_is_never_ready(start: Start) -> None:
    replica = start(mode="mute")

    assert replica.ended() == 1
    assert replica.phases() == ["fetching", "loading", "warming", "failed"]
    assert "made 0 tokens" in str(replica.status()["detail"])


def test_a_drain_waits_for_what_is_in_flight(start: Start) -> None:
    replica = start()
    replica.await_status(phase="ready")
    replica.engine("POST", "/control", {"in_flight": 1, "decoded": 5})
    replica.launcher.request_stop()

    replica.await_status(phase="draining", in_flight=1)
    replica.engine("POST", "/control", {"decoded": 6})
    replica.await_status(phase="draining", tokens_total=1 + 6)
    assert replica.exit_code is None
    replica.engine("POST", "/control", {"in_flight": 0})

    assert replica.ended() == 0


def test_a_drain_past_its_deadline_says_how_many_it_cut(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    replica = start(drain_timeout_s="0.5")
    replica.await_status(phase="ready")
    replica.engine("POST", "/control", {"in_flight": 1, "waiting": 2})
    replica.await_status(in_flight=1, waiting=2)
    replica.launcher.request_stop()

    assert replica.ended() == 3
    assert "event=requests_cut replica=demo-1 cut=3 drain_timeout_s=0.50" in capsys.readouterr().err


def test_an_engine_that_dies_in_the_drain_is_a_failure(start: Start) -> None:
    replica = start()
    replica.await_status(phase="ready")
    replica.engine("POST", "/control", {"in_flight": 1})
    replica.launcher.request_stop()
    replica.await_status(phase="draining")

    replica.signal_engine(signal.SIGKILL)

    assert replica.ended() == 1
    assert replica.status()["detail"] == "The engine was ended by signal 9 while draining."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(None, "cannot be read (No such file or directory)", id="missing"),
        pytest.param(b"PK\x03\x04", "is no GGUF file", id="another format"),
        pytest.param(b"", "is no GGUF file", id="empty"),
    ],
)
def test_a_wrong_checkpoint_fails_before_an_engine_starts(tmp_path: Path, content: bytes | None, reason: str) -> None:
    replica = Replica(tmp_path)
    checkpoint = tmp_path / "model.gguf"
    checkpoint.unlink()
    if content is not None:
        checkpoint.write_bytes(content)

    assert replica.launcher.run() == 2
    assert replica.phases() == ["fetching", "failed"]
    detail = str(replica.status()["detail"])
    assert str(checkpoint) in detail
    assert reason in detail


def test_a_stop_before_ready_ends_at_once(tmp_path: Path) -> None:
    replica = Replica(tmp_path)
    replica.launcher.request_stop()

    assert replica.launcher.run() == 0
    assert replica.phases() == ["fetching", "loading", "draining"]


def test_ports_are_told_by_file_the_launchers_first(tmp_path: Path) -> None:
    replica = Replica(tmp_path)
    replica.launcher.request_stop()  # ends before the engine could have said its port

    replica.launcher.run()

    endpoints = json.loads(replica.endpoints_file.read_text())
    assert endpoints["engine"] is None
    assert endpoints["launcher"]["host"] == "127.0.0.1"
    assert endpoints["launcher"]["port"] > 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
