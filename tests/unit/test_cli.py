"""The command from outside: exit codes, one clear sentence on stderr, and nothing that runs on after trouble."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.installation import Layout
from controller.stack import leftovers

CONFIG = "pools:\n  - name: small\n    model: small\n    checkpoint: small.gguf\nports: {ports}\n"
PORTS = ("gateway", "gateway_status", "controller", "prometheus", "alertmanager", "gpu", "edge", "edge_log")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the command runs; a short name, as sockets may be made below it."""
    with tempfile.TemporaryDirectory(prefix="st-") as name:
        yield Path(name)
        assert leftovers.processes(Layout(Path(name) / ".stoker")) == []


@pytest.fixture
def config(folder: Path) -> Path:
    """A good one, with free ports and a file that at least begins like a checkpoint."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {name: one.getsockname()[1] for name, one in zip(PORTS, sockets, strict=True)}
    for one in sockets:
        one.close()
    path = folder / "stoker.yaml"
    path.write_text(CONFIG.replace("{ports}", json.dumps(ports)))
    (folder / "small.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    return path


def stoker(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STOKER_", "DOCKER_"))}
    return subprocess.run(
        [sys.executable, "-m", "controller.cli", *arguments],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_check_says_that_it_is_good(folder: Path, config: Path) -> None:
    done = stoker(folder, "check")

    assert (done.returncode, done.stdout) == (0, "stoker.yaml: good, 1 pool\n")


@pytest.mark.parametrize("command", ["check", "up"])
def test_a_bad_configuration_is_78_with_file_and_line(folder: Path, config: Path, command: str) -> None:
    config.write_text(config.read_text().replace("model:", "modle:"))

    done = stoker(folder, command, "--config", "stoker.yaml")

    assert done.returncode == 78
    assert "stoker.yaml:3: unknown key `pools.0.modle`; did you mean `model`?" in done.stderr
    assert not (folder / ".stoker").exists()


def test_a_configuration_that_is_not_there(folder: Path) -> None:
    done = stoker(folder, "up")

    assert done.returncode == 78
    assert (
        done.stderr == "stoker.yaml: cannot be read (No such file or directory); name a configuration with --config\n"
    )


def test_a_port_in_use_is_named_with_its_setting(folder: Path, config: Path) -> None:
    port = json.loads(config.read_text().partition("ports: ")[2])["prometheus"]
    with socket.create_server(("127.0.0.1", port)):
        done = stoker(folder, "up", "--runtime", "process", "--detach")

    assert done.returncode == 2
    assert done.stderr.startswith(f"stoker: port {port} (ports.prometheus) is in use by ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"), [(None, "does not exist"), (b"not a model", "is no GGUF file (it does not begin with GGUF)")]
)
def test_a_checkpoint_that_cannot_be(folder: Path, config: Path, content: bytes | None, said: str) -> None:
    (folder / "small.gguf").unlink()
    if content is not None:
        (folder / "small.gguf").write_bytes(content)

    done = stoker(folder, "up", "--runtime", "process", "--detach")

    assert done.returncode == 2
    assert done.stderr == f"stoker: pool small: the checkpoint {folder}/small.gguf {said}\n"


def test_no_engine_where_one_is_demanded(folder: Path, config: Path) -> None:
    done = stoker(folder, "up", "--runtime", "docker", "--detach", DOCKER_HOST=f"unix://{folder}/none.sock")

    assert done.returncode == 2
    assert done.stderr.startswith(f"stoker: no Docker engine answers at unix://{folder}/none.sock, which DOCKER_HOST")
    assert "--runtime process" in done.stderr


def test_a_state_directory_with_too_long_a_name(folder: Path, config: Path) -> None:
    done = stoker(folder, "up", "--state-dir", "x" * 120)

    assert done.returncode == 2
    assert "is too long for the unix sockets inside" in done.stderr


def test_a_state_directory_that_is_a_file(folder: Path, config: Path) -> None:
    done = stoker(folder, "up", "--state-dir", "stoker.yaml/state")

    assert done.returncode == 2
    assert "cannot be used: Not a directory" in done.stderr


def test_the_state_directory_comes_from_the_environment(folder: Path) -> None:
    done = stoker(folder, "status", STOKER_STATE_DIR=str(folder / "elsewhere"))

    assert done.returncode == 2
    assert done.stderr == (f"stoker: nothing runs with the state directory {folder}/elsewhere; `stoker up` starts it\n")


def test_down_where_nothing_runs(folder: Path) -> None:
    done = stoker(folder, "down")

    assert (done.returncode, done.stdout) == (0, "Nothing runs.\n")


def test_version(folder: Path) -> None:
    assert stoker(folder, "version").stdout.strip().count(".") == 2


def test_status_imports_nothing_heavy(folder: Path) -> None:
    """It is what people type while something burns."""
    code = (
        "import sys; sys.argv = ['stoker', 'status']\n"
        "from controller.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'docker', 'sqlmodel', 'fastapi', 'uvicorn', 'aiohttp', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)

    assert done.stdout == "[]\n"
