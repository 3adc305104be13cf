"""What a drill tells the controller of itself, while that answers, and while it does not."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.process import born
from controller.installation import Installation, Layout, PoolParts
from controller.settings import Settings
from controller.settings.file import parse
from controller.stack.drill import telling
from controller.stack.drill.facts import Fault
from controller.stack.drill.options import DrillOptions
from controller.stack.drill.pid_file import Runs, runs_now
from controller.stack.drill.result import Drill, Outcome
from controller.stack.drill.telling import Teller
from controller.stack.trouble import Trouble


@dataclass
class Controller:
    """What it was told; the next answers are these, then 200."""

    answers: list[int] = field(default_factory=list)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    shown: str | None = None
    state: str = "running"


@contextmanager
def answering(controller: Controller) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            controller.shown = self.headers["Authorization"]
            status = controller.answers.pop(0) if controller.answers else 200
            if status == 200:
                controller.heard.append((self.path, body))
            said = b'{"detail": "not now"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_GET(self) -> None:
            said = json.dumps({"fault": "hide-metrics", "pool": "big", "state": controller.state}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def settings_at(port: int) -> Settings:
    settings = parse("pools: [{name: small, model: small, checkpoint: small.gguf}]", "test")
    return settings.model_copy(update={"ports": settings.ports.model_copy(update={"controller": port})})


def teller(root: Path, port: int, **options: Any) -> Teller:
    layout = Layout(root)
    Installation(runtime="process", pools={"small": PoolParts(image="", checkpoint="/c/small.gguf")}).save(layout)
    layout.api_token.write_text("secret", encoding="ascii")
    return Teller(settings_at(port), layout, DrillOptions(**options), "small")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_PAUSE_S", 0.01)


def test_beginning_course_and_end_are_told_in_their_order(tmp_path: Path) -> None:
    controller = Controller()
    with answering(controller) as port, teller(tmp_path, port, why="Friday").told(Fault.KILL) as told:
        told.begin()
        told.saying(lambda text: None)("kill of small-1")
        told.end(Drill(Fault.KILL, Outcome.PASSED))
    paths, bodies = zip(*controller.heard, strict=True)
    assert set(paths) == {f"/api/v1/drills/{told.name}"}
    assert [body.get("line") or body.get("state") for body in bodies] == ["it begins", "kill of small-1", "passed"]
    assert bodies[-1] == {
        "pool": "small",
        "why": "Friday",
        "fault": "kill",
        "state": "passed",
        "told": "",
        "figures": {},
        "victims": [],
        "result": {"fault": "kill", "outcome": "passed", "why": ""},
    }
    assert controller.shown == "Bearer secret"


@pytest.mark.parametrize("answers", [pytest.param([503, 500, 409], id="ailing"), pytest.param([], id="well")])
def test_the_end_is_told_until_it_is_taken(tmp_path: Path, answers: list[int]) -> None:
    controller = Controller(answers)
    with answering(controller) as port, teller(tmp_path, port, drill_id="cafe").told(Fault.KILL) as told:
        told.end(Drill(Fault.KILL, Outcome.FAILED))
    assert [(path, body["state"]) for path, body in controller.heard] == [("/api/v1/drills/cafe", "failed")]


def test_the_end_of_one_whose_result_is_refused_is_told_without_it(tmp_path: Path) -> None:
    controller = Controller([422])
    with answering(controller) as port, teller(tmp_path, port, drill_id="cafe").told(Fault.KILL) as told:
        told.end(Drill(Fault.KILL, Outcome.PASSED))
    ((_, body),) = controller.heard
    assert (body["state"], "result" in body) == ("passed", False)


def test_a_controller_that_was_killed_hears_of_the_end_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(Controller()) as free:
        pass  # nobody listens there any more
    controller, failures = Controller(), list[Trouble]()
    with ExitStack() as back:
        made = teller(tmp_path, free, drill_id="cafe")
        put = made.put

        def tried(name: str, body: dict[str, Any]) -> None:
            try:
                put(name, body)
            except Trouble as error:
                failures.append(error)
                if len(failures) == 3:
                    port = back.enter_context(answering(controller))
                    monkeypatch.setattr(made, "_settings", settings_at(port))
                raise

        monkeypatch.setattr(made, "put", tried)
        with made.told(Fault.KILL) as told:
            told.end(Drill(Fault.KILL, Outcome.PASSED))
    assert (len(failures), [body["state"] for _, body in controller.heard]) == (3, ["passed"])


@pytest.mark.parametrize(("name", "state"), [("cafe", "running"), ("cafe", "ended"), ("", "running")])
def test_another_one_that_was_killed_is_told_of_where_nobody_has(tmp_path: Path, name: str, state: str) -> None:
    controller = Controller(state=state)
    with answering(controller) as port:
        teller(tmp_path, port, why="Friday").killed(name, "its process was killed")
    told = [(path, body["fault"], body["pool"], body["state"], body["told"]) for path, body in controller.heard]
    expected = ("/api/v1/drills/cafe", "hide-metrics", "big", "ended", "its process was killed")
    assert told == ([expected] if (name, state) == ("cafe", "running") else [])


@pytest.mark.parametrize("status", [404, 403, 413])
def test_a_controller_that_wants_to_know_nothing_is_not_asked_again(tmp_path: Path, status: int) -> None:
    controller = Controller([status])
    with answering(controller) as port, teller(tmp_path, port, drill_id="cafe").told(Fault.KILL) as told:
        told.end(Drill(Fault.KILL, Outcome.PASSED))
    assert controller.heard == []


def test_nobody_waits_for_a_controller_that_was_stopped_for_good(tmp_path: Path) -> None:
    with answering(Controller()) as free:
        pass
    made = teller(tmp_path, free, drill_id="cafe")
    Layout(tmp_path).installation.unlink()
    assert made.put_at_last("cafe", {}) is False


@pytest.mark.parametrize(
    ("asked", "begins", "error", "heard"),
    [
        pytest.param("cafe", False, Trouble("small is not whole"), ["small is not whole"], id="refused, and asked for"),
        pytest.param("", False, Trouble("small is not whole"), [], id="refused on a terminal"),
        pytest.param("", True, KeyboardInterrupt(), ["it was interrupted"], id="Ctrl-C"),
    ],
)
def test_one_that_came_to_nothing_says_why(
    tmp_path: Path, asked: str, begins: bool, error: BaseException, heard: list[str]
) -> None:
    controller = Controller()

    def drill(port: int) -> None:
        with teller(tmp_path, port, drill_id=asked).told(Fault.KILL) as told:
            if begins:
                told.begin()
            raise error

    with answering(controller) as port, pytest.raises(type(error)):
        drill(port)
    assert [body["told"] for _, body in controller.heard if "told" in body] == heard


def test_others_find_the_process_of_a_drill_for_as_long_as_it_lives(tmp_path: Path) -> None:
    assert runs_now(tmp_path) is None
    with answering(Controller()) as port, teller(tmp_path, port).told(Fault.KILL) as told:
        told.begin()
    found = runs_now(tmp_path)
    assert found is not None
    assert (found.id, found.pid, found.asked) == (told.name, os.getpid(), False)

    began = born(os.getpid())
    (tmp_path / "drill.json").write_text(Runs("old", os.getpid(), f"{began}0", asked=False).dump(), encoding="utf-8")
    assert runs_now(tmp_path) is None, "its number is another's by now"
    (tmp_path / "drill.json").write_text("{", encoding="utf-8")
    assert runs_now(tmp_path) is None
