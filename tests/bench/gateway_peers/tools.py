"""Packages that only this bench needs, each in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.stack.progress import Progress
from controller.stack.trouble import Trouble

_INSTALL_S, _ASK_S = 600.0, 60.0


@dataclass(frozen=True, slots=True)
class Tools:
    """The folder of the environments. What is there already is used as it is."""

    folder: Path
    progress: Progress

    def python(self, name: str, packages: Sequence[str], modules: Sequence[str]) -> Path:
        """The interpreter of the environment `name`, which has the packages; `modules` are how that is seen.

        Raises:
            Trouble: pip cannot install them; its last words are in the message.
        """
        python = self.folder / name / "bin" / "python"
        if python.exists() and _has(python, modules):
            return python
        with self.progress.step(f"installing {', '.join(packages)} into {python.parents[1]}"):
            _run("venv cannot make an environment", [sys.executable, "-m", "venv", str(python.parents[1])])
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run(f"pip cannot install {' '.join(packages)}", [*install, *packages])
        return python


def version(python: Path, package: str) -> str:
    """Of a package that is installed there."""
    asked = f"import importlib.metadata as known; print(known.version({package!r}))"
    return _run(f"the version of {package} is unknown", [str(python), "-c", asked]).strip()


def _has(python: Path, modules: Sequence[str]) -> bool:
    asked = [str(python), "-c", f"import {', '.join(modules)}"]
    return subprocess.run(asked, capture_output=True, timeout=_ASK_S, check=False).returncode == 0


def _run(trouble: str, command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{trouble}: it took more than {_INSTALL_S:g} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Trouble(f"{trouble}: {said[-1] if said else 'it said nothing'}")
    return done.stdout
