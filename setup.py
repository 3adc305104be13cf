"""Builds the wheel: what the pages take from npm, and the runbooks, go into it. All else is in pyproject.toml."""

import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

WEB = Path(__file__).parent / "dashboards" / "web"
RUNBOOKS = Path(__file__).parent / "docs" / "runbooks"


class BuildWithPages(build_py):
    """Gets npm's packages, by their lock file, where they are missing. An editable install takes what is there."""

    def run(self) -> None:
        """Like its parent. Raises `SystemExit` where npm is needed and missing."""
        if not self.editable_mode and not (WEB / "static" / "vendor").is_dir():
            self._bring()
        super().run()
        if not self.editable_mode:  # a checkout has them in docs
            shutil.copytree(RUNBOOKS, Path(self.build_lib) / "dashboards/web/runbooks", dirs_exist_ok=True)

    def _bring(self) -> None:
        if not (WEB / "node_modules").is_dir():
            if shutil.which("npm") is None:
                sys.exit(
                    "the wheel needs npm once, for the charts of the pages: install it (Debian: apt-get install npm)"
                )
            subprocess.run(["npm", "ci", "--ignore-scripts", "--omit=dev"], cwd=WEB, check=True)
        subprocess.run([sys.executable, WEB / "build.py"], check=True)


setup(cmdclass={"build_py": BuildWithPages})
