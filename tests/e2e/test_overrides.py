"""What people want of a pool while it runs, and a drill that outlives the controller which began it."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, environment, write_config
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e
HEAL_S = 90.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    made = Stack(write_config(folder, ceiling=4), folder / "state", environment(None))
    came = made.up("--runtime", "process")
    assert came.returncode == 0, came.stdout + came.stderr
    yield made
    went = made.stoker("down")
    assert went.returncode == 0, went.stdout + went.stderr
    shutil.rmtree(folder)


def pool(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.api("/api/v1/pools")[0]
    return found


def quiet(stack: Stack, count: int) -> bool:
    """Whether so many serve, and nothing moves."""
    try:
        states = [row["state"] for row in stack.api("/api/v1/replicas")]
    except OSError:
        return False
    return len(stack.ready()) == count and states == ["ready"] * count


def drill(stack: Stack, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = stack.api(f"/api/v1/drills/{name}")
    except OSError:  # the controller is away
        return None
    return found


def begin(stack: Stack, fault: str) -> str:
    url = f"http://127.0.0.1:{stack.port('controller')}/api/v1/drills"
    headers = {"Authorization": f"Bearer {stack.token()}", "Content-Type": "application/json"}
    body = json.dumps({"fault": fault, "load": 4, "why": "a test"}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
        return str(json.load(answer)["id"])


def test_bounds_take_three_replicas_to_four_and_hold_over_a_changed_file(stack: Stack) -> None:
    wait_for(lambda: quiet(stack, 3), HEAL_S, "three ready replicas")
    said = stack.stoker("bounds", "smollm2", "--floor", "4", "--ceiling", "5", "--why", "launch")
    assert said.returncode == 0, said.stderr
    wait_for(lambda: quiet(stack, 4), HEAL_S, "four ready replicas")
    assert "set by state-directory: launch" in stack.stoker("status").stdout
    (scaled,) = [item for item in stack.decisions() if item["kind"] == "scale_pool" and item["desired"] == 4]
    assert "BoundsSet" in [reason["code"] for reason in scaled["reasons"]]

    stack.config.write_text(stack.config.read_text().replace("ceiling: 4", "ceiling: 6"))
    applied = stack.stoker("apply", "--config", str(stack.config))
    assert applied.returncode == 0, applied.stderr
    now = pool(stack)
    assert (now["floor"], now["ceiling"], now["desired"]) == (4, 5, 4)
    assert now["override"]["bounds"]["configured_ceiling"] == 6


def test_a_drill_outlives_the_controller_that_began_it_and_tells_the_next_one(stack: Stack) -> None:
    wait_for(lambda: quiet(stack, 4), HEAL_S, "four ready replicas")
    name = begin(stack, "freeze")

    def hurt() -> str | None:
        lines = [line["text"] for line in (drill(stack, name) or {"lines": []})["lines"]]
        return next((line for line in lines if line.startswith("freeze of ")), None)

    victim = wait_for(hurt, HEAL_S, "the fault").removeprefix("freeze of ")
    stack.process("controller.main").send_signal(signal.SIGKILL)

    def ended() -> dict[str, Any] | None:
        found = drill(stack, name)
        return found if found is not None and found["state"] != "running" else None

    end = wait_for(ended, 2 * HEAL_S, "the end of the drill")
    assert end["state"] in ("passed", "failed"), end["told"]  # by how long the new controller took to look
    assert (end["victims"], end["figures"]["failed"]) == ([victim], 0)
    assert end["result"]["victims"] == [victim]
    told = [item["event"] for item in stack.api("/api/v1/events?limit=1000") if name in item["message"]]
    assert sorted(told) == ["drill_ended", "drill_started"]


def test_one_that_is_stopped_mends_what_it_broke(stack: Stack) -> None:
    wait_for(lambda: quiet(stack, 4), HEAL_S, "four ready replicas")
    name = begin(stack, "hide-metrics")
    wait_for(lambda: "hide-metrics" in str(drill(stack, name)), HEAL_S, "the drill")
    said = stack.stoker("drills", name, "--stop", "--why", "enough")
    assert said.returncode == 0, said.stderr
    end = wait_for(lambda: found if (found := drill(stack, name)) and found["ended_at"] else None, 30, "its end")
    assert (end["state"], end["told"]) == ("ended", "stopped by state-directory: enough")
    assert stack.process("prometheus").status() != "stopped"
