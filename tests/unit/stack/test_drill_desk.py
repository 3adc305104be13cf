"""The desk of the drills: what it refuses at once, and processes that it begins and ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.api.drills import DrillRefused, Possible, UnknownFault, Wish
from controller.installation import Installation, Layout, PoolParts
from controller.settings.file import parse
from controller.stack.api_client import Seen
from controller.stack.drill.facts import Fault
from controller.stack.drill.run import Site
from controller.stack.drill_desk import DrillDesk, DrillPlace

SIGNALS = [{"signal": "in_flight", "target": 4.0}]
WHOLE = Seen(
    ({"pool": "small", "desired": 3, "in_flight": 0.0, "signals": SIGNALS},),
    tuple({"replica": f"small-{n}", "pool": "small", "state": "ready", "routed": True} for n in (1, 2, 3)),
)
SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
KILL = Wish("kill", "small")


def begins() -> None:
    """Stands in for what is written before it begins."""


def never() -> None:
    """For what does not begin."""
    raise AssertionError("it was said to begin")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[DrillDesk]:
    layout = Layout(tmp_path)
    layout.logs.mkdir(parents=True)
    layout.api_token.write_text("secret", encoding="ascii")
    settings = parse("pools: [{name: small, model: small, checkpoint: small.gguf}]", "test")
    parts = {"small": PoolParts(image="", checkpoint="/c/small.gguf")}
    made = DrillDesk(DrillPlace(layout, settings, Installation(runtime="process", pools=parts), lambda: WHOLE))
    yield made
    made.close()


def sleeps(*_: object) -> subprocess.Popen[bytes]:
    """Stands in for a drill."""
    return subprocess.Popen(SLEEPS, start_new_session=True)


def test_local_processes_can_be_hurt_in_some_ways_and_not_in_others(desk: DrillDesk) -> None:
    found = {one.fault: one for one in desk.possible("small", 8)}
    assert {name for name, one in found.items() if one.why_not} == {"oom", "engine-down", "lost-node"}
    assert found["kill"].not_now == ""
    assert (found["kill"].hits, found["hide-metrics"].hits) == (1, 0)
    assert found["kill"].what == "Its main process is killed."
    assert found["kill"].promises["failed"][0] == 0


def test_few_wait_for_a_silent_engine(desk: DrillDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds one of the threads that answer everybody."""
    answers, waiting = threading.Event(), threading.Semaphore(0)

    def silent(_: DrillDesk, site: Site, fault: Fault) -> Possible:
        waiting.release()
        assert answers.wait(30)
        return one(desk, site, fault)

    one = DrillDesk._one
    monkeypatch.setattr(DrillDesk, "_one", silent)
    monkeypatch.setattr("controller.stack.drill_desk._PLACE_S", 0.0)
    looking = [threading.Thread(target=desk.possible, args=("small", 8)) for _ in range(4)]
    for thread in looking:
        thread.start()
    assert all(waiting.acquire(timeout=30) for _ in looking)
    with pytest.raises(DrillRefused, match="ask again"):
        desk.possible("small", 8)

    answers.set()
    for thread in looking:
        thread.join(30)
    assert desk.possible("small", 8)


@pytest.mark.parametrize(
    ("wish", "kind", "sentence"),
    [
        (Wish("flood", "small"), UnknownFault, "there is no fault 'flood'; there is kill, freeze"),
        (Wish("oom", "small", force=True), DrillRefused, "a local process has no memory limit of its own"),
        (Wish("kill", "small", clients=9), DrillRefused, "give --load 8 or less"),
        (Wish("kill", "big"), DrillRefused, "the stack has no pool 'big'"),
    ],
)
def test_what_would_be_refused_is_refused_at_once(
    desk: DrillDesk, wish: Wish, kind: type[DrillRefused], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        desk.start("cafe", wish, never)
    assert desk.running() is None


def test_one_runs_at_a_time_and_can_be_stopped(desk: DrillDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    over, told = threading.Event(), list[str]()
    desk.follow(lambda name, words: (told.append(name), over.set()))
    monkeypatch.setattr(desk, "_spawn", sleeps)
    monkeypatch.setattr("controller.stack.drill_desk._GOES_S", 0.0)
    desk.start("cafe", KILL, begins)
    assert desk.running() == "cafe"
    with pytest.raises(DrillRefused, match="the drill cafe runs"):
        desk.start("beef", KILL, never)
    assert desk.stop("beef") is False
    assert desk.stop("cafe") is True
    assert over.wait(10)
    assert (told, desk.running()) == (["cafe"], None)


def test_what_cannot_be_written_down_does_not_begin(desk: DrillDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_spawn", never)
    with pytest.raises(AssertionError, match="it was said to begin"):
        desk.start("cafe", KILL, never)
    assert desk.running() is None


def test_a_process_that_ends_without_a_word_is_told_of_with_its_last_line(desk: DrillDesk) -> None:
    """A real one, in a state directory in which nothing runs."""
    over, told = threading.Event(), list[str]()
    desk.follow(lambda name, words: (told.append(words), over.set()))
    desk.start("cafe", KILL, begins)
    assert over.wait(60)
    assert told[0].startswith("its process ended (2): nothing runs with the state directory")


def test_it_ends_with_the_controller(desk: DrillDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_spawn", sleeps)
    desk.start("cafe", KILL, begins)
    desk.close()
    assert desk.running() is None
