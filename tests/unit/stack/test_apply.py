"""`stoker apply` on a real supervisord, with a stand-in for the controller that says what it was given."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from controller.installation import Installation, Layout, NodeParts, PoolParts
from controller.settings import ConfigError
from controller.stack import apply as module
from controller.stack import image, leftovers
from controller.stack.apply import ApplyOptions, apply
from controller.stack.differences import Difference, Kind
from controller.stack.down import stop_everything
from controller.stack.programs import environment
from controller.stack.progress import Progress
from controller.stack.supervisor import Program, Supervisor
from controller.stack.trouble import Trouble
from tests.unit.stack.engines import INSTANCE, serving

FILE = "pools:\n  - {{name: small, model: small, checkpoint: small.gguf}}\nports: {ports}\n"
PORTS = ("gateway", "gateway_status", "controller", "prometheus", "alertmanager", "gpu", "edge", "edge_log")
WAIT = "import signal; print('here', flush=True); signal.pause()"
# Ready unless the copy of the configuration in its folder says otherwise.
STAND_IN = """
import http.server, sys
port, text = int(sys.argv[1]), open('stoker.yaml').read()
if 'mode: paused' in text:
    sys.exit('this will never do')
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        stands_by = 'failures: 9' in text
        self.send_response(503 if stands_by else 200)
        self.end_headers()
        self.wfile.write(b'stands by; another leads' if stands_by else b'ok')
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Runs:
    """An installation that runs, and the file that it was made from."""

    layout: Layout
    config: Path
    supervisor: Supervisor
    console: Console

    def edit(self, more: str = "", *, pools: str = "") -> None:
        """Append to the file, or to its pools."""
        text = self.layout.config.read_text().replace("\nports:", f"\n{pools}ports:")
        self.config.write_text(text + more)

    def pool(self, more: str) -> None:
        """Give the pool another key."""
        text = self.layout.config.read_text()
        self.config.write_text(text.replace("small.gguf}", f"small.gguf, {more}}}"))

    def apply(self) -> Difference:
        return apply(ApplyOptions(self.config, self.layout.root), self.console)

    def pids(self) -> dict[str, int]:
        return {one.name: one.pid for one in self.supervisor.states()}

    def said(self) -> str:
        return self.console.export_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


@pytest.fixture
def runs() -> Iterator[Runs]:
    with tempfile.TemporaryDirectory(prefix="st-") as folder:
        config, layout = Path(folder) / "stoker.yaml", Layout(Path(folder) / "s")
        (Path(folder) / "small.gguf").write_bytes(b"GGUF\x03")
        ports = dict.fromkeys(PORTS, 0) | {name: 20000 + number for number, name in enumerate(PORTS)}
        ports["controller"] = free_port()
        layout.root.mkdir()
        layout.config.write_text(FILE.format(ports=json.dumps(ports)))
        config.write_text(layout.config.read_text())
        parts = PoolParts(image="", checkpoint=str(staged(config, layout)))
        Installation(runtime="process", pools={"small": parts}, run="first").save(layout)
        supervisor = Supervisor(layout)
        script = Path(folder) / "stand_in.py"
        script.write_text(STAND_IN)
        stand_in = (sys.executable, str(script), str(ports["controller"]))
        programs = (
            Program("controller", stand_in, layout.root),
            Program("nginx", (sys.executable, "-c", WAIT), layout.root),
        )
        supervisor.start(programs, environment(layout, os.environ))
        supervisor.start_programs(["controller", "nginx"])
        console = Console(record=True, file=open(os.devnull, "w"), width=400)  # noqa: SIM115
        yield Runs(layout, config, supervisor, console)
        console.file.close()
        Installation(runtime="process", pools={}).save(layout)  # the engines of a test are gone by now
        stop_everything(layout, Progress(Console(quiet=True)))
        leftovers.end(leftovers.processes(layout))


def staged(config: Path, layout: Layout) -> Path:
    from controller.stack import checkpoints

    return checkpoints.stage(config.parent / "small.gguf", layout.checkpoints)


def test_the_same_file_changes_nothing(runs: Runs) -> None:
    before = runs.pids()

    assert not runs.apply()

    assert runs.pids() == before
    assert runs.said() == "Nothing changes.\n"
    assert not runs.layout.previous_config.exists()


def test_only_the_controller_is_started_anew(runs: Runs) -> None:
    before, old = runs.pids(), runs.layout.config.read_text()
    runs.pool("health: {failures: 5}")

    found = runs.apply()

    after = runs.pids()
    assert [(change.pool, change.kind) for change in found.pools] == [("small", Kind.POLICY)]
    assert (after["nginx"] == before["nginx"], after["controller"] != before["controller"]) == (True, True)
    assert runs.layout.config.read_text() == runs.config.read_text()
    assert runs.layout.previous_config.read_text() == old
    assert "small: policy, in force at once (health.failures: 3 -> 5)" in runs.said()


def test_it_is_still_the_same_stoker_up(runs: Runs) -> None:
    """Else the ledger would forget how many replicas each pool has."""
    runs.pool("engine: {slots: 4}")

    assert [change.kind for change in runs.apply().pools] == [Kind.SPEC]
    assert Installation.load(runs.layout).run == "first"


def test_a_new_checkpoint_is_staged_and_the_old_one_stays_for_a_way_back(runs: Runs) -> None:
    old = Path(Installation.load(runs.layout).pools["small"].checkpoint)
    (runs.config.parent / "other.gguf").write_bytes(b"GGUF\x04")
    runs.config.write_text(runs.config.read_text().replace("checkpoint: small.gguf", "checkpoint: other.gguf"))

    runs.apply()

    new = Path(Installation.load(runs.layout).pools["small"].checkpoint)
    assert (old.read_bytes(), new.read_bytes()) == (b"GGUF\x03", b"GGUF\x04")
    known = Installation.model_validate_json(runs.layout.previous_installation.read_text())
    assert known.pools["small"].checkpoint == str(old)


def test_pools_come_and_go(runs: Runs) -> None:
    (runs.config.parent / "large.gguf").write_bytes(b"GGUF\x04")
    runs.config.write_text(runs.config.read_text().replace("small", "large"))

    assert [(change.pool, change.kind) for change in runs.apply().pools] == [
        ("large", Kind.NEW),
        ("small", Kind.REMOVED),
    ]


def test_what_never_comes_up_is_taken_back(runs: Runs) -> None:
    old, installation = runs.layout.config.read_text(), Installation.load(runs.layout)
    runs.pool("mode: paused")

    with pytest.raises(Trouble) as refused:
        runs.apply()

    assert "this will never do" in str(refused.value)
    assert str(refused.value).endswith("; the previous configuration is in force again")
    assert (runs.layout.config.read_text(), Installation.load(runs.layout)) == (old, installation)
    assert {one.name: one.state for one in runs.supervisor.states()} == {"controller": "RUNNING", "nginx": "RUNNING"}


def test_a_controller_that_stands_by_for_another_is_up(runs: Runs) -> None:
    runs.pool("health: {failures: 9}")

    assert runs.apply()
    assert "failures: 9" in runs.layout.config.read_text()


def test_one_that_stands_by_under_the_supervisor_is_not_the_one_to_start_anew(runs: Runs) -> None:
    runs.pool("health: {failures: 9}")
    runs.apply()
    runs.config.write_text(runs.config.read_text().replace("failures: 9", "failures: 4"))

    with pytest.raises(Trouble, match="stands by; end the one that leads"):
        runs.apply()


def test_what_needs_more_than_the_controller_is_refused_before_anything_is_changed(runs: Runs) -> None:
    before, old = runs.pids(), runs.layout.config.read_text()
    runs.edit("gateway: {host: 127.0.0.2}\ncontroller: {scrape_interval: 2s}\n")

    with pytest.raises(Trouble) as refused:
        runs.apply()

    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["gateway.host", "controller.scrape_interval"]
    assert all("`stoker down` and `stoker up`" in line for line in lines)
    assert (runs.pids(), runs.layout.config.read_text()) == (before, old)


def test_a_bad_file_is_refused_as_everywhere(runs: Runs) -> None:
    runs.config.write_text("pools: []\n")

    with pytest.raises(ConfigError, match="name at least one pool"):
        runs.apply()


def test_a_checkpoint_that_is_not_there_is_refused(runs: Runs) -> None:
    runs.config.write_text(runs.config.read_text().replace("checkpoint: small.gguf", "checkpoint: none.gguf"))

    with pytest.raises(Trouble, match=r"none\.gguf does not exist"):
        runs.apply()


def test_one_apply_at_a_time(runs: Runs) -> None:
    with module._only_one(runs.layout), pytest.raises(Trouble, match="another `stoker apply`"):
        runs.apply()


def test_where_nothing_runs_there_is_nothing_to_change(tmp_path: Path) -> None:
    config = tmp_path / "stoker.yaml"
    config.write_text(FILE.format(ports="{}"))

    with pytest.raises(Trouble, match=f"nothing runs with the state directory {tmp_path}/none"):
        apply(ApplyOptions(config, tmp_path / "none"), Console(quiet=True))
    with pytest.raises(Trouble, match="`stoker up` starts it"):
        apply(ApplyOptions(config, tmp_path), Console(quiet=True))


def nodes_text(**hosts: str) -> str:
    return "nodes:\n" + "".join(f"  - {{name: {name}, docker: 'unix://{path}'}}\n" for name, path in hosts.items())


def test_processes_cannot_become_nodes(runs: Runs) -> None:
    runs.edit(nodes_text(a="/none.sock"))

    with pytest.raises(Trouble, match="nodes: replicas run as local processes here; `stoker down`"):
        runs.apply()


def install_nodes(runs: Runs, **hosts: str) -> None:
    """As if `stoker up` had found these."""
    nodes = tuple(NodeParts(name=name, docker_host=f"unix://{path}") for name, path in hosts.items())
    parts = {"small": PoolParts(image="i:1", checkpoint=str(staged(runs.config, runs.layout)))}
    known = Installation(runtime="docker", nodes=nodes, pools=parts, instance=INSTANCE, image_base="sha256:1")
    known.save(runs.layout)
    runs.layout.config.write_text(runs.layout.config.read_text() + nodes_text(**hosts))


def test_a_node_with_replicas_cannot_leave_and_an_empty_one_can(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "ensure_on_all", lambda nodes, cache, progress, base: image.Built("i:1", base))
    folder = runs.layout.root
    with serving(folder / "a.sock") as first, serving(folder / "b.sock") as second:
        install_nodes(runs, a=str(folder / "a.sock"), b=str(folder / "b.sock"))
        runs.config.write_text(runs.layout.config.read_text().partition("  - {name: b")[0])
        second.add("small-1")
        with pytest.raises(Trouble, match="replicas are on it .1.; drain it first"):
            runs.apply()

        second.containers.clear()
        first.add("small-2")
        assert runs.apply().nodes == ("node b: gone",)
        first.containers.clear()


def test_a_node_that_does_not_answer_cannot_leave_and_is_told_of_where_it_stays(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def ensure(nodes: list[NodeParts], cache: Path, progress: Progress, base: str) -> image.Built:
        asked.append([node.name for node in nodes])
        return image.Built("i:1", base)

    monkeypatch.setattr(image, "ensure_on_all", ensure)
    folder = runs.layout.root
    with serving(folder / "a.sock"):
        install_nodes(runs, a=str(folder / "a.sock"), b=str(folder / "b.sock"))
        whole = runs.layout.config.read_text()
        runs.config.write_text(whole.partition("  - {name: b")[0])
        with pytest.raises(Trouble, match="node b: its engine does not answer, so nobody knows"):
            runs.apply()

        runs.config.write_text(whole.replace("small.gguf}", "small.gguf, health: {failures: 4}}"))
        assert runs.apply()
    assert asked == [["a"]]
    assert "Node b does not answer and may lack i:1" in runs.said()


def test_a_new_node_must_answer(runs: Runs) -> None:
    folder = runs.layout.root
    with serving(folder / "a.sock"):
        install_nodes(runs, a=str(folder / "a.sock"))
        runs.config.write_text(runs.layout.config.read_text() + f"  - {{name: b, docker: 'unix://{folder}/b.sock'}}\n")

        with pytest.raises(Trouble, match="node b: no Docker engine answers at"):
            runs.apply()
