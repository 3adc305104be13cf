"""A wheel, built and unpacked somewhere else, has all that the pages are made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("alerts", "controller", "dashboards", "exporters", "gateway", "inference_node")
FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
ASKS = """
from datetime import UTC, datetime
from fastapi.testclient import TestClient
import controller
from controller.api.app import create_app
from controller.api.deps import Sources
from controller.api.unopened import Unopened
from controller.api.web.static import static

now = datetime.now(UTC)
sources = Sources((), (), Unopened(), lambda: None, lambda: True, lambda: b"", lambda: now, token="secret")
client = TestClient(create_app(sources))
page = client.get("/", headers={"Authorization": "Bearer secret"})
names = ("vendor/uplot.js", "vendor/uplot.LICENSE.txt", "vendor/idiomorph.js", "css/stoker.css")
answers = [client.get(static(name)) for name in names]
from controller.api.web.runbooks import names
print(controller.__file__, page.status_code, "Fleet" in page.text, [one.status_code for one in answers], len(names()))
"""


def test_serves_its_pages(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    for name in PACKAGES:
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=left_out)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "docs/runbooks", source / "docs/runbooks")
    shutil.rmtree(source / "dashboards/web/static/vendor")  # the wheel is to bring it by itself

    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(build, check=True, cwd=tmp_path, timeout=300)
    (wheel,) = tmp_path.glob("stoker-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert not [name for name in packed.namelist() if "node_modules" in name]
        packed.extractall(target)

    asked = subprocess.run(
        [sys.executable, "-c", ASKS], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)}, check=True,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    runbooks = len(list((ROOT / "docs/runbooks").glob("*.md")))
    said = f"200 True [200, 200, 200, 200] {runbooks}\n"
    assert asked.stdout.split(" ", 1) == [str(target / "controller/__init__.py"), said]
