"""One stack and one browser for all tests of the dashboard. They run in the order of their files' names: what breaks
most comes last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.e2e.browser import chromium
from tests.e2e.dashboard.site import Site, pictures_folder
from tests.e2e.stack import Stack, environment, write_config

PLANS = "plans: [{name: gold, tokens_per_day: 100000}]\n"


@pytest.fixture(scope="package")
def site(work: Path, docker_host: str, replica_image: str) -> Iterator[Site]:
    folder = work / "dashboard"
    folder.mkdir()
    config = write_config(folder)
    config.write_text(config.read_text() + PLANS)
    stack = Stack(config, folder / "state", environment(docker_host))
    came = stack.up("--runtime", "docker")
    assert came.returncode == 0, came.stdout + came.stderr
    engine = docker.DockerClient(base_url=docker_host)

    def kill(replica: str) -> None:
        engine.containers.get(stack.container(replica)).kill()

    with chromium() as browser:
        yield Site(stack, browser, came.stdout, pictures_folder(folder / "pictures"), kill)
    engine.close()
    went = stack.stoker("down")
    assert went.returncode == 0, went.stdout + went.stderr


@pytest.fixture(autouse=True)
def no_page_does_what_it_may_not(site: Site) -> Iterator[None]:
    """No error on the console, no request to elsewhere, no dialog of the browser, no violated policy."""
    yield
    assert site.close_tabs() == []
