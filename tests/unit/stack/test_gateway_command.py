"""`stoker gateway history|diff|revert` from outside, and what `stoker status` and `stoker apply` make of a revert."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from rich.console import Console

from controller.adapters.nginx.history import HistoryFolder
from controller.api.app import create_app
from controller.core.errors import GatewayRejected
from controller.core.model import ReplicaId
from controller.core.revision import Cause, Configuration, Moment, Revision, revise
from controller.installation import Layout
from controller.stack.gateway_files import history_folder, revert_file
from controller.stack.gateway_history import Diff, diff, end_revert, look
from controller.stack.gateway_token import gateway_token, read_token
from controller.stack.gateway_view import gateway_cells, standing, table
from controller.stack.trouble import Trouble
from tests.fakes.clock import START
from tests.fakes.running_nginx import free_port
from tests.unit.api.test_gateway import Given
from tests.unit.core.test_revision import routes
from tests.waiting import wait_for

CONFIG = "pools: [{{name: small, model: small, checkpoint: small.gguf}}]\nports: {{controller: {port}}}\n"
TEXTS = ("worker_processes 1;\nevents {}\n", "worker_processes 2;\nevents {}\n", "worker_processes 2;\n")


def kept() -> list[Revision]:
    first = revise(None, Configuration("aa11", TEXTS[0], routes(llama_1=1), {}), {}, Moment(START, 3, 1))
    plan, moment = routes(llama_1=1, llama_2=2), Moment(START + timedelta(hours=1), 8, 1)
    why = {ReplicaId("llama-2"): Cause("ProbePassed", "ready: it answers")}
    second = revise(first, replace(first.configuration, generation="bb22", text=TEXTS[1], plan=plan), why, moment)
    back = replace(second.configuration, generation="cc33", text=TEXTS[2], reverted_to=1, why="slow")
    return [first, second, revise(second, back, {}, replace(moment, tick=9))]


@dataclass
class Installation:
    """A state directory, and the controller that answers for it."""

    folder: Path
    port: int
    given: Given = field(default_factory=Given)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.layout = Layout(self.folder)
        self.layout.config.write_text(CONFIG.format(port=self.port))
        self.layout.api_token.write_text("secret\n")
        for revision in kept():
            HistoryFolder(history_folder(self.layout)).keep(revision)

    def stoker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "STOKER_STATE_DIR": str(self.folder), "COLUMNS": "160", "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, "-m", "controller.cli", "gateway", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "state", free_port())


@pytest.fixture
def answering(installation: Installation) -> Iterator[Installation]:
    config = uvicorn.Config(
        create_app(installation.given.sources()), port=installation.port, log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, 10, "the API answers")
    yield installation
    server.should_exit = True
    thread.join()


def test_the_history_needs_no_controller(installation: Installation) -> None:
    done = installation.stoker("history")
    lines = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0].split() == ["when", "tick", "generation", "servers", "why"]
    assert lines[1].split()[:6] == ["3", "2026-01-05", "13:00:00", "9", "cc33", "2"]
    assert "Went back to the settings of 1: slow (settings of 1)" in lines[1]
    assert "llama-2 in: ready: it answers" in lines[2]
    rows = json.loads(installation.stoker("history", "--json").stdout)
    assert [(row["number"], row["generation"], row["reverted_to"]) for row in rows] == [
        (3, "cc33", 1),
        (2, "bb22", None),
        (1, "aa11", None),
    ]


def test_where_there_is_none_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"no configuration of nginx is kept in .*gateway-history yet"):
        look(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [
        (None, None, ["-events {}"]),
        (2, None, ["-worker_processes 1;", "+worker_processes 2;"]),
        (1, 3, ["-worker_processes 1;", "-events {}", "+worker_processes 2;"]),
        (3, 1, ["-worker_processes 2;", "+worker_processes 1;", "+events {}"]),
        (2, 2, []),
    ],
)
def test_diff(installation: Installation, first: int | None, second: int | None, lines: list[str]) -> None:
    found = diff(installation.folder, first, second).lines

    assert [line for line in found if line[0] in "+-" and line[:3] not in ("+++", "---")] == lines
    if lines:
        assert found[0].startswith(f"--- nginx.conf of {first if second else (first or 3) - 1}, 2026-01-05 1")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [(9, None, "1 to 3 are kept"), (1, 9, "there is no revision 9"), (1, None, "1 is the oldest one that is kept")],
)
def test_diff_of_what_is_not_kept(installation: Installation, first: int, second: int | None, words: str) -> None:
    with pytest.raises(Trouble, match=words):
        diff(installation.folder, first, second)


def test_a_diff_has_colours_on_a_terminal_only(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in installation.stoker("diff").stdout
    console = Console(force_terminal=True, color_system="standard", width=80, record=True, file=io.StringIO())
    monkeypatch.setattr("controller.stack.gateway_history._console", lambda: console)
    Diff(("--- a", "+++ b", "@@ -1 +1 @@", "-[red]old", "+" + "long " * 40, " same")).print()

    shown = console.export_text(styles=True)
    assert "\x1b[31m-[red]old\x1b[0m" in shown
    assert "\x1b[32m+long" in shown
    assert "\x1b[36m@@ -1 +1 @@\x1b[0m" in shown
    assert len(shown.splitlines()) == 6, "a long line stays one"


def test_going_back(answering: Installation) -> None:
    done = answering.stoker("revert", "1", "--why", "slow")
    assert (done.returncode, done.stdout) == (0, "back to 1\n")
    assert json.loads(answering.stoker("revert", "--undo", "--json").stdout) == {"changed": True, "text": "undone"}
    assert answering.given.desk.asked == [(1, "slow", 0), "undo"]

    answering.given.desk.fault = GatewayRejected("cannot load certificate")
    refused = answering.stoker("revert", "1", "--why", "slow")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "stoker: the settings of 1 cannot be used: cannot load certificate; nothing is changed\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1"], "say why with --why"),
        ([], "give the number of a configuration, or --undo"),
        (["1", "--undo"], "give the number of a configuration, or --undo"),
    ],
)
def test_what_is_not_clear_is_asked_back(installation: Installation, arguments: list[str], words: str) -> None:
    done = installation.stoker("revert", *arguments)

    assert (done.returncode, words in " ".join(done.stderr.replace("\u2502", "").split())) == (2, True)


def test_an_apply_that_changes_nothing_ends_a_revert(answering: Installation) -> None:
    assert end_revert(answering.folder, changed=False) == ""
    assert answering.given.desk.asked == []
    revert_file(answering.layout).write_text("{}")
    assert end_revert(answering.folder, changed=True) == "", "its controller has begun with the new file"
    assert end_revert(answering.folder, changed=False) == "undone"
    answering.given.desk.changes = False
    assert end_revert(answering.folder, changed=False) == ""


STANDING = {"reverted_to": None, "reverted_at": None, "why": "", "refused": ""}
ROW = {
    "name": "second",
    "version": "1.0",
    "applied": "aa11",
    "heard_at": "2026-01-05T12:00:00Z",
    "lag_s": 1.2,
    "lags": False,
    "error": "",
}


def test_what_status_says_of_a_revert() -> None:
    assert standing(STANDING) == []
    back = {**STANDING, "reverted_to": 3, "reverted_at": "2026-01-05T12:00:00Z", "why": "slow"}
    assert standing(back) == [
        "nginx has the settings of revision 3 since 2026-01-05 12:00 UTC: slow",
        "`stoker gateway revert --undo` takes those of the file again",
    ]
    (line,) = standing({**STANDING, "refused": "no such file"})
    assert line == "nginx refuses its settings and runs with others: no such file"


def test_what_status_says_of_other_gateways() -> None:
    now = START + timedelta(seconds=3)
    assert gateway_cells(ROW, now) == ("second", "current", "1 s", "3 s ago", "aa11", "1.0", "")
    late = {**ROW, "lags": True, "lag_s": 40.4, "applied": "", "error": "[bold]nginx is not running"}
    assert gateway_cells(late, now) == ("second", "lags", "40 s", "3 s ago", "none yet", "1.0", late["error"])
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table([ROW, late], now))
    assert "[bold]nginx is not running" in console.export_text()


def test_the_token_for_gateways(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    made = gateway_token(layout)
    path = tmp_path / "gateway.token"
    assert (len(made), path.stat().st_mode & 0o777) == (64, 0o600)
    assert gateway_token(layout) == made == read_token(path)

    path.chmod(0o644)
    with pytest.raises(Trouble, match="chmod 600"):
        read_token(path)
    path.write_text("something else\n")
    with pytest.raises(Trouble, match="holds no token"):
        read_token(path)
    assert gateway_token(layout) != made
    with pytest.raises(Trouble, match="cannot be read: No such file"):
        read_token(tmp_path / "nowhere")
