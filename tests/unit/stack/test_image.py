"""What the replica image is named after, and where its base comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.stack.base_image import apt_sources, suite
from controller.stack.image import LOCK, SOURCES, content_hash


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "inference_node"
    (folder / "engines").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM x")
    (folder / "engines" / "a.py").write_text("1")
    return folder


def test_equal_content_gives_equal_names_whatever_python_left_beside_it(sources: Path) -> None:
    before = content_hash(sources, "sha256:base")
    (sources / "__pycache__").mkdir()
    (sources / "__pycache__" / "a.pyc").write_bytes(b"2")

    assert content_hash(sources, "sha256:base") == before
    assert len(before) == 12


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: (folder / "Dockerfile").write_text("FROM y"), id="a file's text"),
        pytest.param(lambda folder: (folder / "new.py").write_text(""), id="a new empty file"),
        pytest.param(lambda folder: (folder / "engines" / "a.py").rename(folder / "a.py"), id="a file's place"),
    ],
)
def test_every_change_gives_a_new_name(sources: Path, change: object) -> None:
    before = content_hash(sources, "sha256:base")
    assert callable(change)
    change(sources)

    assert content_hash(sources, "sha256:base") != before


def test_another_base_gives_a_new_name(sources: Path) -> None:
    assert content_hash(sources, "sha256:base") != content_hash(sources, "sha256:other")


def test_the_image_has_sources_and_a_lock() -> None:
    assert (SOURCES / "Dockerfile").is_file()
    assert "xllamacpp==" in LOCK.read_text()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("ID=debian\nVERSION_CODENAME=trixie\n", "trixie", id="bare"),
        pytest.param('VERSION_CODENAME="bookworm"\n', "bookworm", id="quoted"),
        pytest.param("ID=other\n", "bookworm", id="none"),
    ],
)
def test_suite(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "os-release").write_text(text)

    assert suite(tmp_path / "os-release") == name


def test_apt_sources_new_style_first_and_an_empty_file_never(tmp_path: Path) -> None:
    assert apt_sources(tmp_path) is None
    old, new = tmp_path / "sources.list", tmp_path / "sources.list.d" / "debian.sources"
    old.write_text("# moved\n")
    assert apt_sources(tmp_path) is None
    old.write_text("deb mirror bookworm main\n")
    assert apt_sources(tmp_path) == old
    new.parent.mkdir()
    new.write_text("Types: deb\nURIs: mirror\n")
    assert apt_sources(tmp_path) == new
