"""An engine whose core stands still while it goes on answering, and engines that only look like one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from controller.stack.ptrace import CannotFreeze, busiest_thread, frozen_thread
from tests.integration.replica import Replica, Stream
from tests.waiting import wait_for


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    running = Replica(tmp_path, STOKER_CONTEXT_TOKENS="2048")
    try:
        running.await_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def after_looks(replica: Replica, looks: int) -> dict[str, Any]:
    """The status once the launcher has looked so often again."""
    seen = {replica.status()["looked_at"]}

    def enough() -> bool:
        seen.add(replica.status()["looked_at"])
        return len(seen) > looks

    wait_for(enough, 60, f"{looks} looks at the engine")
    return replica.status()


def test_a_wedge_in_the_middle_of_a_request(replica: Replica) -> None:
    stream = Stream(replica.port("engine"), tokens=400)
    wait_for(lambda: replica.status()["tokens_total"] > 10, 60, "tokens are made")
    pid = replica.engine_pid()
    with frozen_thread(pid, busiest_thread(pid)):
        before, lines = after_looks(replica, 1), len(stream.lines)
        after = after_looks(replica, 3)

        assert replica.ask_engine("/health", 5) == b'{"status":"ok"}'
        assert (after["phase"], after["answering"]) == ("ready", True)
        assert (after["in_flight"], after["waiting"]) in [(1, 0), (None, None)], "work, or unknown; never idle"
        assert after["last_token_at"] == before["last_token_at"]
        assert len(stream.lines) == lines
    stream.join()
    assert stream.ended, "it goes on where it stood"


def test_a_wedge_of_an_idle_engine(replica: Replica) -> None:
    Stream(replica.port("engine"), tokens=30).join()  # so that the thread that computes is the busiest
    wait_for(lambda: replica.status()["in_flight"] == 0, 20, "an idle engine")
    idle, pid = replica.status(), replica.engine_pid()
    with frozen_thread(pid, busiest_thread(pid)):
        stream = Stream(replica.port("engine"), tokens=5)
        wait_for(lambda: replica.status()["in_flight"] is None, 30, "work that is unknown")
        after = after_looks(replica, 2)

        assert replica.ask_engine("/health", 5) == b'{"status":"ok"}'
        assert [after[key] for key in ("in_flight", "waiting", "tokens_total")] == [None] * 3
        assert (after["phase"], after["answering"]) == ("ready", True)
        assert after["last_token_at"] == idle["last_token_at"]
        assert "its counters do not" in after["detail"]
        assert not stream.lines
    stream.join()
    assert stream.ended
    wait_for(lambda: replica.status()["in_flight"] == 0, 20, "an idle engine again")
    assert replica.status()["last_token_at"] != idle["last_token_at"]


def test_a_wedged_engine_can_be_killed(replica: Replica) -> None:
    stream = Stream(replica.port("engine"), tokens=400)
    wait_for(lambda: len(stream.lines) > 5, 60, "the stream has begun")
    pid = replica.engine_pid()
    with frozen_thread(pid, busiest_thread(pid)):
        replica.process.kill()

        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20, "the engine is gone, and no zombie")
    stream.join()
    assert not stream.ended


def test_a_long_prompt_is_no_wedge(replica: Replica) -> None:
    made = replica.status()["tokens_total"]
    stream = Stream(replica.port("engine"), tokens=1, prompt="word " * 1500)
    seen: set[datetime] = set()

    def twice_without_a_token() -> bool:
        status = replica.status()
        if status["in_flight"] == 1 and status["tokens_total"] == made:
            seen.add(datetime.fromisoformat(status["last_token_at"]))
        return len(seen) >= 3

    wait_for(twice_without_a_token, 120, "progress while the prompt is read")
    stream.join()


def test_only_the_one_thread_is_frozen() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        stat = Path(f"/proc/{process.pid}/task/{process.pid}/stat")
        tid = busiest_thread(process.pid)
        with frozen_thread(process.pid, tid):
            assert stat.read_text().split()[2] == "t"
            with pytest.raises(CannotFreeze, match="Operation not permitted"), frozen_thread(process.pid, tid):
                pass
        assert stat.read_text().split()[2] != "t"
        with frozen_thread(process.pid, tid):
            process.kill()
        process.wait()

    with pytest.raises(CannotFreeze, match="There is no thread"), frozen_thread(process.pid, tid):
        pass
    with pytest.raises(CannotFreeze, match="There is no process"):
        busiest_thread(process.pid)
