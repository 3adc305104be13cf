"""What the replica image is named after, and where its base comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from controller.adapters.docker_image import ImageRefused
from controller.installation import NodeParts, TlsFiles
from controller.stack import image
from controller.stack.base_image import Base, apt_sources, suite
from controller.stack.image import LOCK, SOURCES, Built, content_hash, ensure_on_all
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble


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


@dataclass
class Engines:
    """What several engines have, and what was asked of them."""

    tags: dict[str, set[str]] = field(default_factory=dict)  # by host
    said: list[str] = field(default_factory=list)
    full: set[str] = field(default_factory=set)  # hosts that take nothing

    def open(self, host: str, tls: TlsFiles | None = None) -> Images:
        return Images(self, host)


@dataclass
class Images:
    """The images of one of them."""

    engines: Engines
    host: str

    def image_id(self, tag: str) -> str | None:
        return f"sha256:{tag}" if tag in self.engines.tags.get(self.host, set()) else None

    def bring(self, tag: str, target: Images) -> None:
        if target.host in self.engines.full:
            raise ImageRefused("no space left on device")
        self.engines.said.append(f"{self.host} -> {target.host}")
        self.engines.tags.setdefault(target.host, set()).add(tag)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engines:
    """Engines whose base is named after their host, as each would make its own."""
    made = Engines()

    def build(images: Images, cache: Path, progress: Progress) -> Built:
        base = Base("base", f"base of {images.host}")
        tag = f"stoker/llamacpp:{content_hash(SOURCES, base.image_id)}"
        if images.image_id(tag) is None:
            made.said.append(f"built on {images.host}")
            made.tags.setdefault(images.host, set()).add(tag)
        return Built(tag, base.image_id)

    monkeypatch.setattr(image, "DockerImages", made.open)
    monkeypatch.setattr(image, "_ensure", build)
    return made


def on_all(names: str, base_id: str = "") -> Built:
    nodes = [NodeParts(name=name, docker_host=name) for name in names]
    return ensure_on_all(nodes, Path("/none"), Progress(Console(quiet=True)), base_id)


def test_built_once_and_brought_to_the_others(engines: Engines) -> None:
    built = on_all("abc")

    assert engines.said == ["built on a", "a -> b", "a -> c"]
    assert engines.tags == {name: {built.tag} for name in "abc"}


def test_a_second_time_nothing_is_done(engines: Engines) -> None:
    built = on_all("ab")
    engines.said.clear()

    assert on_all("ab", built.base_id) == built
    assert engines.said == []


def test_only_a_new_node_gets_it(engines: Engines) -> None:
    on_all("ab")
    engines.said.clear()

    on_all("abc")

    assert engines.said == ["a -> c"]


def test_it_stays_the_same_image_where_the_engine_that_built_it_is_away(engines: Engines) -> None:
    """Another engine's base is another image: without this every replica would be replaced."""
    built = on_all("ab")
    engines.said.clear()

    assert on_all("bc", built.base_id) == built
    assert engines.said == ["b -> c"]


def test_an_engine_that_cannot_take_it_is_named(engines: Engines) -> None:
    engines.full.add("b")

    with pytest.raises(Trouble, match="the replica image cannot be brought to node b: no space left on device"):
        on_all("ab")
