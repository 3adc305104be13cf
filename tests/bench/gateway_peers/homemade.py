"""The home-made gateway: FastAPI, aiohttp, and uvicorn with one worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from controller.core.model import Address
from controller.stack.trouble import Trouble
from tests.bench.gateway_peers.contender import Contender, Running, spawned
from tests.bench.gateway_peers.tools import Tools, version
from tests.e2e.stack import free_ports

NAME = "FastAPI proxy"
_APP = Path(__file__).with_name("homemade_app.py")
_PACKAGES = ["fastapi", "aiohttp", "uvicorn[standard]"]
_MODULES = ["fastapi", "aiohttp", "uvicorn", "uvloop", "httptools"]


def contender(tools: Tools) -> Contender:
    """With uvicorn's fast parts where they can be installed, else with what Stoker itself has."""
    try:
        python, loop = tools.python("homemade", _PACKAGES, _MODULES), "uvloop and httptools"
    except Trouble:
        python, loop = Path(sys.executable), "neither uvloop nor httptools"
    versions = ", ".join(f"{package} {version(python, package)}" for package in ("fastapi", "aiohttp", "uvicorn"))
    lines = len(_APP.read_text(encoding="utf-8").splitlines())
    what = f"{_APP.name} of {lines} lines, round robin, one worker ({versions}, with {loop})"
    return Contender(NAME, what, partial(_run, python))


@contextmanager
def _run(python: Path, engines: Sequence[Address], folder: Path) -> Iterator[Running]:
    (port,) = free_ports(1)
    command = [str(python), "-m", "uvicorn", f"{_APP.stem}:app", "--app-dir", str(_APP.parent), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--log-level", "warning", "--no-access-log"]
    environment = {**os.environ, "ENGINES": " ".join(f"http://{address}" for address in engines)}
    environment.pop("PYTHONPATH", None)  # it has packages of its own
    with spawned(command, port, folder, environment) as running:
        yield running
