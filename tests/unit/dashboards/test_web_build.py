"""What the pages take from npm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboards.web.build import _FILES, HERE, NotInstalled, build


def test_copies_the_files_and_their_licences(tmp_path: Path) -> None:
    modules, target = tmp_path / "node_modules", tmp_path / "vendor"
    for source in _FILES.values():
        (modules / source).parent.mkdir(parents=True, exist_ok=True)
        (modules / source).write_text(source)
    target.mkdir()
    (target / "old.js").write_text("of another version")

    assert sorted(path.name for path in build(modules, target)) == sorted(_FILES)
    assert (target / "uplot.js").read_text() == "uplot/dist/uPlot.iife.min.js"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_says_what_to_do_where_they_are_missing(tmp_path: Path) -> None:
    target = tmp_path / "vendor"
    target.mkdir()
    with pytest.raises(NotInstalled, match="npm ci"):
        build(tmp_path / "node_modules", target)
    assert target.is_dir(), "what was there is left alone"


def test_the_lock_file_names_no_host_and_every_package_has_its_hash() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert "resolved" not in json.dumps(packages)
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
