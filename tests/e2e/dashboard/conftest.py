from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import chromium
from tests.e2e.dashboard.site import Site, pictures_folder
from tests.e2e.stack import Stack, environment, write_config

PLANS = "plans: [{name: gold, tokens_per_day: 100000}]\n"


@pytest.fixture(scope="package")
def site(work: Path) -> Iterator[Site]:
    folder = work / "dashboard"
    folder.mkdir()
    config = write_config(folder)
    config.write_text(config.read_text() + PLANS)
    stack = Stack(config, folder / "state", environment(None))
    came = stack.up("--runtime", "process")
    assert came.returncode == 0, came.stdout + came.stderr
    with chromium() as browser:
        yield Site(
            stack, browser, came.stdout, pictures_folder(folder / "pictures"), lambda name: stack.launcher(name).kill()
        )
    went = stack.stoker("down")
    assert went.returncode == 0, went.stdout + went.stderr


@pytest.fixture(autouse=True)
def no_page_does_what_it_may_not(site: Site) -> Iterator[None]:
    yield
    assert site.close_tabs() == []
