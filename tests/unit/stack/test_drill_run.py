"""A whole drill against a controller, a gateway and replicas that only play their parts."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.docker_faults import FaultRefused
from controller.installation import Installation, Layout, PoolParts
from controller.settings.file import parse
from controller.stack.drill import command
from controller.stack.drill.facts import Fault, Recording
from controller.stack.drill.injury import Ground, NotHere
from controller.stack.drill.measure import measure
from controller.stack.drill.options import DrillOptions
from controller.stack.drill.promise import Pace
from controller.stack.drill.result import Outcome
from controller.stack.drill.run import Site, run
from controller.stack.drill.telling import Teller
from controller.stack.single import interruptible
from controller.stack.supervisor import Supervisor
from controller.stack.trouble import Trouble

WHOLE = {"choices": [{"message": {"content": "A tower."}}]}
LOOKS = 4  # until a successor is ready


class World:
    """Three replicas; where one is hurt the controller sees it at once, and a successor is ready a few looks later."""

    def __init__(self) -> None:
        self.states = {f"small-{number}": "ready" for number in (1, 2, 3)}
        self.heals = True
        self.refuses: BaseException | None = None
        self.told_to_end: tuple[str, signal.Signals] | None = None
        self.done: list[str] = []
        self._looks_left = LOOKS
        self._events: list[dict[str, str]] = []

    def kill(self, replica: str) -> None:
        """It is seen to be gone."""
        self._hurt("kill", replica)

    def freeze(self, replica: str) -> None:
        """The same, and it can be thawed."""
        self._hurt("freeze", replica)

    def thaw(self, replica: str) -> None:
        """Noted."""
        self.done.append(f"thaw {replica}")
        self._end_at("thaw")

    def close(self) -> None:
        """Nothing was opened."""

    def answer(self, path: str) -> Any:
        """What the controller says."""
        if path == "/api/v1/replicas":
            self._heal()
            return [
                {"replica": name, "pool": "small", "state": state, "routed": state == "ready", "in_flight": len(name)}
                for name, state in self.states.items()
            ]
        if path == "/api/v1/pools":
            signals = [{"signal": "in_flight", "target": 4.0}]
            return [{"pool": "small", "desired": 3, "in_flight": 0.0, "signals": signals}]
        return self._events[::-1] if path.startswith("/api/v1/events") else {}

    def _hurt(self, how: str, replica: str) -> None:
        self.done.append(f"{how} {replica}")
        self._end_at(how)
        if self.refuses is not None:
            raise self.refuses
        self.states[replica] = "stopped"
        at = datetime.now(UTC).isoformat()
        event = {"at": at, "event": "replica_stopped", "subject": f"replica/{replica}", "reason": "R", "message": "M."}
        self._events.append(event)

    def _end_at(self, how: str) -> None:
        if self.told_to_end is not None and self.told_to_end[0] == how:
            signal.raise_signal(self.told_to_end[1])

    def _heal(self) -> None:
        if self.heals and "stopped" in self.states.values():
            self._looks_left -= 1
            if self._looks_left == 0:
                self.states = {name: state for name, state in self.states.items() if state == "ready"}
                self.states["small-4"] = "ready"


@contextmanager
def served(world: World, folder: Path) -> Iterator[Site]:
    """The drill's site in that world: controller, edge exporter and gateway are one server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(b"" if self.path == "/metrics" else json.dumps(world.answer(self.path)).encode())

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(b"data: [DONE]\n\n" if asked["stream"] else json.dumps(WHOLE).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        settings = parse("pools: [{name: small, model: small, checkpoint: small.gguf}]", "test")
        port = server.server_port
        ports = settings.ports.model_copy(update={"controller": port, "edge": port, "gateway": port})
        layout = Layout(folder)
        ground = Ground(layout, Supervisor(layout), world, "small", False, False, 1)  # type: ignore[arg-type]
        here = settings.model_copy(update={"ports": ports})
        try:
            yield Site(here, ground, "small", 2, Pace(), calm_s=0.1, after_s=0.1)
        finally:
            server.shutdown()
            thread.join()


def drilled(world: World, folder: Path, fault: Fault, pace: Pace | None = None) -> Recording:
    with served(world, folder) as site:
        return run(replace(site, pace=pace or Pace()), fault, lambda detail: None)


def test_a_kill_from_the_calm_to_full_strength(tmp_path: Path) -> None:
    world = World()

    found = drilled(world, tmp_path, Fault.KILL)

    assert world.done == ["kill small-1"]
    assert (found.victims, found.before.replicas, found.before.desired) == (
        ("small-1",),
        ("small-1", "small-2", "small-3"),
        3,
    )
    figures = measure(found)
    assert None not in (figures.detected_s, figures.out_s, figures.whole_s)
    assert (figures.failed, figures.cut, figures.retried) == (0, 0, 0)
    assert any(one.ended_s < 0 for one in found.requests)
    assert any(one.ended_s > 0 for one in found.requests)


def test_what_was_frozen_is_thawed(tmp_path: Path) -> None:
    world = World()

    drilled(world, tmp_path, Fault.FREEZE)

    assert set(world.done) == {"freeze small-1", "thaw small-1"}


def test_a_pool_that_never_gets_whole(tmp_path: Path) -> None:
    world = World()
    world.heals = False

    found = drilled(world, tmp_path, Fault.FREEZE, Pace(cold_start_s=-14.5))

    assert measure(found).whole_s is None
    assert "thaw small-1" in world.done


@pytest.mark.parametrize("refuses", [FaultRefused("it is busy"), KeyboardInterrupt()])
def test_whatever_comes_between_is_undone(tmp_path: Path, refuses: BaseException) -> None:
    world = World()
    world.refuses = refuses

    with pytest.raises((Trouble, KeyboardInterrupt)):
        drilled(world, tmp_path, Fault.FREEZE)

    assert world.done == ["freeze small-1", "thaw small-1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["freeze", "thaw"])
def test_a_drill_that_is_told_to_end_undoes_all_of_it_and_ends(
    tmp_path: Path, number: signal.Signals, when: str
) -> None:
    """A terminal that is closed sends SIGHUP. What comes while it undoes something is not lost."""
    world = World()
    world.told_to_end = when, number

    with pytest.raises(KeyboardInterrupt), interruptible():
        drilled(world, tmp_path, Fault.FREEZE)

    assert world.done[:2] == ["freeze small-1", "thaw small-1"]
    assert not (tmp_path / "drill-owed.json").exists()


def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    world = World()
    (tmp_path / "drill-owed.json.partial").mkdir()

    with pytest.raises(Trouble, match=r"drill-owed.json cannot be written \(Is a directory\), so nothing was done"):
        drilled(world, tmp_path, Fault.FREEZE)

    assert "freeze small-1" not in world.done


def test_nobody_serves(tmp_path: Path) -> None:
    world = World()
    world.states = dict.fromkeys(world.states, "starting")

    with pytest.raises(Trouble, match="no replica of small serves"):
        drilled(world, tmp_path, Fault.KILL)

    assert world.done == []


def installed(folder: Path, site: Site) -> None:
    """What `stoker up` leaves in a state directory."""
    layout = Layout(folder)
    layout.root.mkdir(exist_ok=True)
    ports = {"controller": site.settings.ports.controller}
    pools = [{"name": "small", "model": "small", "checkpoint": "small.gguf"}]
    layout.config.write_text(json.dumps({"pools": pools, "ports": ports}))
    layout.api_token.write_text("a token\n")
    Installation(runtime="process", pools={"small": PoolParts(image="", checkpoint="/small.gguf")}).save(layout)


TROUBLES = [
    pytest.param(DrillOptions(fault=Fault.KILL, every=True), "leave --fault out, or --all", id="both"),
    pytest.param(DrillOptions(why="x" * 501), "--why has 501 characters; give 500 or less", id="a long reason"),
    pytest.param(DrillOptions(pool="big"), "no pool 'big'; it has small", id="no such pool"),
    pytest.param(DrillOptions(load=9), "give --load 8 or less, or --force", id="too much load"),
    pytest.param(DrillOptions(fault=Fault.OOM), "a local process has no memory limit", id="not here"),
]


@pytest.mark.parametrize(("options", "why"), TROUBLES)
def test_troubles(tmp_path: Path, options: DrillOptions, why: str) -> None:
    world = World()
    with served(world, tmp_path) as site:
        installed(tmp_path, site)
        with pytest.raises(Trouble, match=why):
            command.drill(replace(options, state_dir=tmp_path))

    assert world.done == []


def test_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="nothing runs with the state directory"):
        command.drill(DrillOptions(state_dir=tmp_path))


def test_two_drills_at_once(tmp_path: Path) -> None:
    with command.alone(Layout(tmp_path)), pytest.raises(Trouble, match="another drill runs"):
        command.alone(Layout(tmp_path)).__enter__()


def session(site: Site, **options: Any) -> command.Session:
    from rich.console import Console

    from controller.stack.progress import Progress

    given, layout = DrillOptions(**options), site.ground.layout
    teller = Teller(site.settings, layout, given, site.ground.pool)
    return command.Session(site, given, Progress(Console(quiet=True)), teller)


def test_many_faults_are_told_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr("controller.stack.drill.quiet.FOR_S", 0.0)
    with served(world, tmp_path) as site:
        faults = (Fault.KILL, Fault.LOST_NODE, Fault.HIDE_METRICS)
        kill, lost, hidden = session(site, every=True).run(faults)

    assert (kill.outcome, kill.why, lost.outcome) == (Outcome.PASSED, "", Outcome.NOT_HERE)
    assert (hidden.outcome, hidden.why) == (
        Outcome.REFUSED,
        "prometheus does not run, so there is nothing to drill; `stoker status` says why",
    )


def test_force_does_it_anyway(tmp_path: Path) -> None:
    world = World()
    with served(world, tmp_path) as site:
        crowded = replace(site, clients=9)
        with pytest.raises(Trouble, match="--force does it anyway"):
            session(crowded).run((Fault.KILL,))
        (found,) = session(crowded, force=True).run((Fault.KILL,))

    assert found.outcome is Outcome.PASSED


def test_what_cannot_be_done_is_trouble_where_it_was_asked_for(tmp_path: Path) -> None:
    with served(World(), tmp_path) as site, pytest.raises(NotHere, match="there is one node"):
        session(site).run((Fault.LOST_NODE,))
