"""`python -m dashboards.web.build`: what the pages take from npm's packages, copied to where they are served from.

Files and their licences lie in static/vendor, which git ignores. They are the files of the locked packages as they are.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
_FILES = {  # package, its file, and its name here
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "uplot.LICENSE.txt": "uplot/LICENSE",
    "idiomorph.js": "idiomorph/dist/idiomorph.min.js",
    "idiomorph.LICENSE.txt": "idiomorph/LICENSE",
}


class NotInstalled(Exception):
    """npm's packages are not there. The text says what to do."""


def build(modules: Path = HERE / "node_modules", target: Path = HERE / "static" / "vendor") -> list[Path]:
    """Copy them; all or nothing. Idempotent. Raises `NotInstalled`."""
    missing = [source for source in _FILES.values() if not (modules / source).is_file()]
    if missing:
        raise NotInstalled(
            f"{missing[0]} is not in {modules}; install npm, then run `npm ci --ignore-scripts` in {modules.parent}"
        )
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, source in _FILES.items():
        shutil.copyfile(modules / source, fresh / name)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return sorted(target.iterdir())


if __name__ == "__main__":
    try:
        build()
    except NotInstalled as error:
        sys.exit(f"dashboards.web.build: {error}")
