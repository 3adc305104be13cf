"""The simulator's desk, with its real process: what is played, kept, refused and ended."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.api.simulation_schemas import SimulationIn, SimulationOut, SimulationResultOut
from controller.api.simulations import SimulationRefused, TooManySimulations
from controller.settings import Settings, parse
from controller.stack.simulations.ask import Traffic
from controller.stack.simulations.desk import Limits, SimulationDesk, World
from tests.fakes.clock import FakeClock
from tests.waiting import wait_for

CONFIG = """pools:
  - name: small
    model: small
    checkpoint: small.gguf
    replicas: {floor: 1, ceiling: 3}
    scaling: {target_in_flight: 2}
"""
SYNTHETIC = {"source": "synthetic", "kind": "flat", "hours": 0.02, "rps": 3.0}
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
LONG = 1000.0
# In place of the process that plays: one that says that it is under way and then stays.
STAYS = [
    sys.executable,
    "-c",
    'import sys, threading\nprint(\'{"playing": "live", "progress": 0.25}\', flush=True)\nthreading.Event().wait()',
]
Make = Callable[..., SimulationDesk]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Iterator[Make]:
    made: list[SimulationDesk] = []

    def desk(
        limits: Limits | None = None, command: list[str] | None = None, config: str = CONFIG, **known: Any
    ) -> SimulationDesk:
        world = World(settings_of(config), tmp_path / "simulations", clock.now)
        made.append(SimulationDesk(replace(world, **known), limits, command))
        return made[-1]

    yield desk
    for each in made:
        each.close()


def settings_of(text: str) -> Settings:
    return parse(text, "stoker.yaml")


def wanted(trace: dict[str, Any] = SYNTHETIC, changes: dict[str, Any] | None = None, **more: Any) -> SimulationIn:
    return SimulationIn.model_validate({"pool": "small", "trace": trace, "changes": changes or {}, **more})


def ended(desk: SimulationDesk, begun: SimulationOut) -> SimulationResultOut:
    def look() -> SimulationResultOut | None:
        found = desk.find(begun.id)
        return found if found.state in ("done", "failed", "cancelled") else None

    found = wait_for(look, 60, "the simulation has ended")
    assert found is not None
    return found


def test_live_and_changed_and_others_are_played(make: Make) -> None:
    desk = make()
    begun = desk.start(wanted(changes={"floor": 3, "latency_threshold_s": 2}, compare=["hpa"], price_per_hour=2.0))
    assert (begun.state, begun.ahead) in (("waiting", 0), ("running", 0))

    found = ended(desk, begun)
    assert (found.state, found.problem, found.progress) == ("done", None, 1.0)
    result = found.result
    assert result is not None
    live, changed, hpa = result.runs
    assert [live.name, changed.name, hpa.name] == ["live", "changed", "hpa"]
    assert result.trace.requests > 100
    assert 0 < len(result.axis_s) == len(result.demand_rps) == len(live.lines.waiting) <= 600
    assert set(changed.lines.ready) == {3.0}
    assert live.cost == pytest.approx(2.0 * live.replica_hours)
    assert result.versus is not None
    assert result.versus.hours_percent == pytest.approx(100 * (changed.replica_hours / live.replica_hours - 1))
    assert result.steps["live"].first[0].reasons[0].text
    assert (result.steps["changed"].count, result.steps["changed"].first) == (0, [])
    assert [(known.live, known.changed) for known in found.settings if known.name == "floor"] == [(1, 3)]
    assert "floor: 3" in found.yaml
    assert any("assumed and not measured" in note for note in found.notes)


def test_without_changes_only_the_live_policy_is_played(make: Make) -> None:
    desk = make()
    found = ended(desk, desk.start(wanted(changes={"floor": 1, "target_in_flight": 2.0})))

    assert found.result is not None
    assert [run.name for run in found.result.runs] == ["live"]
    assert (found.result.versus, found.yaml, found.result.runs[0].cost) == (None, "", None)


QUICK = """pools:
  - name: small
    model: small
    checkpoint: small.gguf
    replicas: {floor: 1, ceiling: 3}
    mode: shadow
    scaling: {target_in_flight: 2, scale_up_window: 500ms, latency: {for: 0.4s}, panic: {after: 200ms}}
    shadow: {scale_down_window: 900ms}
controller: {scrape_interval: 200ms}
"""


def test_windows_that_are_too_short_for_its_scrapes_are_played_longer(make: Make) -> None:
    desk = make(config=QUICK)
    (window,) = (knob for knob in desk.options("small").knobs if knob.name == "scale_up_window_s")
    assert window.live == 1.0

    found = ended(desk, desk.start(wanted(changes={"scale_down_window_s": 0.3})))

    assert (found.state, found.problem) == ("done", None)
    assert [note.partition(";")[0] for note in found.notes if "plays it as 1 s" in note] == [
        "scaling.scale_up_window is 0.5 s",
        "scaling.latency.for is 0.4 s",
        "scaling.panic.after is 0.2 s",
        "shadow.scale_up_window is 0.5 s",
        "shadow.scale_down_window is 0.9 s",
        "shadow.latency.for is 0.4 s",
        "shadow.panic.after is 0.2 s",
        "scaling.scale_down_window is 0.3 s",
    ]
    with pytest.raises(SimulationRefused, match="scale_down_window of 0.1 s is shorter than the time between two scra"):
        desk.start(wanted(changes={"scale_down_window_s": 0.1}))


def test_it_runs_at_low_priority(make: Make, tmp_path: Path) -> None:
    said = tmp_path / "nice"
    command = [sys.executable, "-c", ""]
    command[-1] = (
        "import os, pathlib\n"
        "from controller.stack.simulations import child\n"
        "def answer(job):\n"
        f"    pathlib.Path({str(said)!r}).write_text(str(os.nice(0)))\n"
        "    return child.Said(refused='looked')\n"
        "child.answer = answer\n"
        "child.main()\n"
    )
    desk = make(command=command)

    assert ended(desk, desk.start(wanted())).problem == "looked"
    assert int(said.read_text()) == os.nice(0) + 10


def test_an_upload_is_checked_and_played(make: Make) -> None:
    desk = make()
    lines = [f"2023-11-16 18:17:{second:02},100,5" for second in range(40)]
    upload = desk.upload("day <b>.csv", (HEADER + "\n".join([*lines, "junk"])).encode())
    assert (upload.name, upload.requests, upload.duration_s) == ("day _b_.csv", 40, 39.0)
    assert [(bad.line, bad.why) for bad in upload.malformed] == [(42, "1 columns where the header has 3")]

    found = ended(desk, desk.start(wanted({"source": "upload", "id": upload.id})))
    assert found.result is not None
    assert (found.result.trace.name, found.result.trace.requests) == ("day _b_.csv", 40)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "a.csv has no request in it; a trace has one line for each request"),
        ("a.csv", b"a,b,c\n1,2,3\n", "a.csv, line 1: the header lacks TIMESTAMP and ContextTokens and GeneratedTokens"),
        ("a.csv", b"TIMESTAMP,ContextTokens\n", "a.csv, line 1: the header lacks GeneratedTokens; it must have"),
        ("a.txt", b"\xff\xfe\x00", "a.txt, line 1 is not UTF-8 text; give a CSV or JSON lines file"),
        ("a.txt", b"<html>\n", "a.txt, line 1: unknown format; give a CSV file with the columns"),
        (
            "a.jsonl",
            b'{"timestamp": NaN, "input_length": 1, "output_length": 1}\n',
            "a.jsonl has no usable line: line 1: timestamp 'nan' is no time in milliseconds",
        ),
        (
            "a.jsonl",
            b'{"timestamp": -5, "input_length": 1, "output_length": 1}\n',
            "a.jsonl has no usable line: line 1: timestamp '-5' is no time in milliseconds",
        ),
        (
            "a.jsonl",
            b'{"timestamp": 1, "input_length": -1, "output_length": 1}\n',
            "a.jsonl has no usable line: line 1: input_length '-1' is not between 1 and 10000000",
        ),
        (
            "back.csv",
            (HEADER + "2023-11-16 18:17:03,1,1\n2023-11-16 18:17:02,1,1\n").encode(),
            "back.csv, line 3: the time goes back by 1 s; sort the lines by their time",
        ),
        (
            "long.csv",
            (HEADER + "1923-11-16 18:17:03,1,1\n2023-11-16 18:17:02,1,1\n").encode(),
            "long.csv goes over 876,600 hours; give one of at most 744",
        ),
        ("<script>.csv", b"x" * (5 << 20), "_script_.csv, line 1 is longer than 4 MiB; a trace has short lines"),
        ("../../etc/passwd", b"x\n", ".._.._etc_passwd, line 1: unknown format"),
    ],
)
def test_an_upload_that_cannot_be_played_is_refused(
    make: Make, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    with pytest.raises(SimulationRefused) as refused:
        make().upload(name, content)

    assert str(refused.value).startswith(sentence)
    assert str(tmp_path) not in str(refused.value)
    assert list((tmp_path / "simulations").iterdir()) == []


def test_of_an_upload_that_finds_no_room_nothing_is_left(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, content: bytes) -> int:
        path.write_text("a part of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)

    with pytest.raises(SimulationRefused, match="the upload cannot be kept: No space left on device"):
        make().upload("a.csv", HEADER.encode())
    assert list((tmp_path / "simulations").iterdir()) == []


def test_uploads_are_forgotten_after_an_hour(make: Make, clock: FakeClock, tmp_path: Path) -> None:
    desk = make()
    upload = desk.upload("a.csv", (HEADER + "2023-11-16 18:17:03,1,1\n").encode())
    clock.advance(3601)

    with pytest.raises(KeyError, match="no longer kept; upload the trace again"):
        desk.start(wanted({"source": "upload", "id": upload.id}))
    assert list((tmp_path / "simulations").iterdir()) == []


def test_one_that_runs_is_ended_when_asked(make: Make) -> None:
    desk = make(Limits(deadline_s=LONG), STAYS)
    begun, second = desk.start(wanted()), desk.start(wanted())
    wait_for(lambda: desk.find(begun.id).progress == 0.25, 30, "it has begun")
    assert (desk.find(second.id).state, desk.find(second.id).ahead) == ("waiting", 1)

    assert desk.cancel(second.id).state == "cancelled"
    assert desk.cancel(begun.id).state == "cancelled"
    assert desk.cancel(begun.id).problem == "somebody ended it"
    third = desk.start(wanted())
    wait_for(lambda: desk.find(third.id).state == "running", 30, "the next one begins")


def test_one_that_takes_too_long_is_ended(make: Make) -> None:
    desk = make(Limits(deadline_s=0.5), STAYS)

    found = ended(desk, desk.start(wanted()))
    assert found.state == "failed"
    assert found.problem == "it took longer than 0.5 s and was ended; play a shorter trace, or fewer policies"


def test_one_whose_process_dies_says_so(make: Make) -> None:
    desk = make(command=[sys.executable, "-c", "raise SystemExit(3)"])

    assert "has ended (code 3); the controller's log says more" in str(ended(desk, desk.start(wanted())).problem)


def test_one_for_which_no_process_starts_keeps_no_other_waiting(make: Make, tmp_path: Path) -> None:
    desk = make(command=[str(tmp_path / "no-such-program")])

    for _ in range(2):
        assert "no process could be started for it" in str(ended(desk, desk.start(wanted())).problem)


def test_more_than_a_few_are_turned_away(make: Make) -> None:
    desk = make(Limits(deadline_s=LONG, waiting=2), STAYS)
    first = desk.start(wanted())
    wait_for(lambda: desk.find(first.id).state == "running", 30, "it has begun")
    for _ in range(2):
        desk.start(wanted())

    with pytest.raises(TooManySimulations, match="2 simulations wait already; try again in a minute"):
        desk.start(wanted())


def test_what_has_ended_is_forgotten(make: Make, clock: FakeClock) -> None:
    desk = make(Limits(ended=2), [sys.executable, "-c", ""])
    begun = [desk.start(wanted()) for _ in range(3)]
    for each in begun[1:]:
        ended(desk, each)

    assert [known.id for known in desk.recent()] == [begun[2].id, begun[1].id]
    with pytest.raises(KeyError, match="no such simulation, or no longer"):
        desk.find(begun[0].id)
    clock.advance(3601)
    assert list(desk.recent()) == []


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"changes": {"floor": 9}}, "replicas: floor 9 is above ceiling 3; make the floor at most the ceiling"),
        (
            {"changes": {"utilization_target": 0.9}},
            "scaling.utilization: threshold is 0.85; it must be at least the target 0.9",
        ),
        ({"cold_start_s": 400}, "a cold start takes up to 400 s; it must be at least 0 and below the deadline"),
        ({"trace": {**SYNTHETIC, "hours": 48, "rps": 100}}, "48 hours at 100/s make 17,280,000 requests; make it at"),
        ({"trace": {"source": "history"}}, "the pool's own traffic cannot be had here; choose another trace"),
    ],
)
def test_what_cannot_be_played_is_refused(make: Make, asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SimulationRefused, match="^" + sentence):
        make().start(wanted(**asked))


def test_a_pool_that_is_not_there(make: Make) -> None:
    with pytest.raises(KeyError, match="there is no pool 'other'; there is small"):
        make().start(wanted(pool="other"))
    with pytest.raises(KeyError, match="there is no pool 'other'; there is small"):
        make().options("other")


def test_the_traffic_of_the_pool_itself(make: Make) -> None:
    asked: list[tuple[str, float]] = []

    def traffic(pool: str, hours: float) -> Traffic:
        asked.append((pool, hours))
        return Traffic(30.0, (2.0, None, 4.0))

    desk = make(traffic=traffic)
    found = ended(desk, desk.start(wanted({"source": "history", "hours": 0.25})))

    assert asked == [("small", 0.25)]
    assert found.result is not None
    assert found.result.trace.name == "the last 0.25 h of small"
    assert found.result.trace.requests == pytest.approx(180, rel=0.3)
    assert desk.options("small").history
    assert desk.traffic("small", 0.5).rates == [2.0, None, 4.0]
    assert asked[-1] == ("small", 0.5)

    quiet = make(traffic=lambda pool, hours: Traffic(30.0, (0.0, None)))
    with pytest.raises(SimulationRefused, match="has no request in it; choose a time with traffic"):
        quiet.start(wanted({"source": "history"}))


def test_what_can_be_changed_and_how_it_stands(make: Make) -> None:
    options = make(bounds=lambda pool: (2, 30), cold_start_s=lambda pool: 12.5).options("small")

    knobs = {knob.name: knob for knob in options.knobs}
    assert (knobs["floor"].live, knobs["ceiling"].live, knobs["ceiling"].high) == (2, 30, 60)
    assert (knobs["target_in_flight"].live, knobs["forecast"].live) == (2.0, False)
    assert (options.cold_start_s, options.cold_start_learned, options.pools) == (12.5, True, ["small"])
    assert (make().options("small").cold_start_s, options.history) == (60.0, False)


def test_nothing_is_left_when_it_closes(make: Make, tmp_path: Path) -> None:
    desk = make(Limits(deadline_s=LONG), STAYS)
    desk.upload("a.csv", (HEADER + "2023-11-16 18:17:03,1,1\n").encode())
    begun = desk.start(wanted())
    wait_for(lambda: desk.find(begun.id).progress > 0, 30, "it has begun")
    desk.close()

    assert desk.find(begun.id).state == "failed"
    assert not (tmp_path / "simulations").exists()
