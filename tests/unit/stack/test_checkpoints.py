"""Checkpoints: found, refused, staged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from controller.settings import PoolSettings
from controller.stack import checkpoints
from controller.stack.trouble import Trouble

WEIGHTS = b"GGUF\x03\x00\x00\x00 weights"


def pool(checkpoint: str) -> PoolSettings:
    return PoolSettings(name="small", model="small", checkpoint=checkpoint)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "small.gguf"
    path.parent.mkdir()
    path.write_bytes(WEIGHTS)
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package that must not be imported."""
    folder = tmp_path / "lib" / "some_model"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def test_a_path_is_relative_to_the_configuration(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")

    assert checkpoints.locate(pool("models/small.gguf"), gguf.parent.parent / "stoker.yaml") == gguf
    assert checkpoints.locate(pool(str(gguf)), Path("/elsewhere/stoker.yaml")) == gguf


def test_in_a_package_without_importing_it(package: Path) -> None:
    (package / "w.gguf").write_bytes(WEIGHTS)

    assert checkpoints.locate(pool("package://some_model"), Path("c.yaml")) == package / "w.gguf"


@pytest.mark.parametrize(("files", "said"), [([], "holds 0"), (["a.gguf", "b.gguf"], "holds 2")])
def test_a_package_must_hold_exactly_one(package: Path, files: list[str], said: str) -> None:
    for name in files:
        (package / name).write_bytes(WEIGHTS)

    with pytest.raises(Trouble, match=said):
        checkpoints.locate(pool("package://some_model"), Path("c.yaml"))


@pytest.mark.parametrize("name", ["not_installed_anywhere", "no/identifier", ""])
def test_a_package_that_is_not_there(name: str) -> None:
    with pytest.raises(Trouble, match="not installed here"):
        checkpoints.locate(pool(f"package://{name}"), Path("c.yaml"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"PK\x03\x04", "is no GGUF file", id="a zip"),
        pytest.param(b"GG", "is no GGUF file", id="cut off"),
    ],
)
def test_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.gguf").write_bytes(content)

    with pytest.raises(Trouble, match=f"pool small: .*{said}"):
        checkpoints.locate(pool("x.gguf"), tmp_path / "stoker.yaml")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="cannot be read: Is a directory"):
        checkpoints.locate(pool("."), tmp_path / "stoker.yaml")


def test_staged_by_a_link_where_that_works(gguf: Path, tmp_path: Path) -> None:
    staged = checkpoints.stage(gguf, tmp_path / "shared")

    assert staged.samefile(gguf)
    assert list(staged.parent.iterdir()) == [staged]


def test_staged_by_a_copy_where_no_link_can_be(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)

    staged = checkpoints.stage(gguf, tmp_path / "shared")

    assert not staged.samefile(gguf)
    assert staged.read_bytes() == WEIGHTS
    assert list(staged.parent.iterdir()) == [staged]


def test_staged_again_only_when_it_changed(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_link_or_copy", lambda source, target: target.write_bytes(source.read_bytes()))
    staged = checkpoints.stage(gguf, tmp_path / "shared")
    os.utime(staged, ns=(gguf.stat().st_atime_ns, gguf.stat().st_mtime_ns))
    first = staged.stat().st_ino

    assert checkpoints.stage(gguf, tmp_path / "shared").stat().st_ino == first
    gguf.write_bytes(WEIGHTS + b" and more")
    assert checkpoints.stage(gguf, tmp_path / "shared").read_bytes() == WEIGHTS + b" and more"


def test_a_changed_checkpoint_has_another_name_and_the_old_one_stays(gguf: Path, tmp_path: Path) -> None:
    """Else a way back to the old spec would lead to the new weights."""
    first = checkpoints.stage(gguf, tmp_path / "shared")
    newer = gguf.with_name("newer.gguf")
    newer.write_bytes(WEIGHTS + b" and more")
    newer.rename(gguf)
    second = checkpoints.stage(gguf, tmp_path / "shared")

    assert first != second
    assert (first.read_bytes(), second.read_bytes()) == (WEIGHTS, WEIGHTS + b" and more")


def test_for_other_machines_it_is_used_where_it_lies(gguf: Path) -> None:
    assert checkpoints.require_readable("small", gguf) == gguf

    gguf.chmod(0o600)
    with pytest.raises(Trouble, match=f"pool small: replicas may not read the checkpoint {gguf}; chmod"):
        checkpoints.require_readable("small", gguf)


def test_where_nothing_was_staged_nothing_is_forgotten(tmp_path: Path) -> None:
    checkpoints.forget_others(tmp_path / "none", [])

    assert list(tmp_path.iterdir()) == []


def test_files_of_one_name_do_not_meet_and_old_ones_go(gguf: Path, tmp_path: Path) -> None:
    other = tmp_path / "others" / "small.gguf"
    other.parent.mkdir()
    other.write_bytes(WEIGHTS)
    first, second = (checkpoints.stage(path, tmp_path / "shared") for path in (gguf, other))

    assert first != second
    checkpoints.forget_others(tmp_path / "shared", [second])
    assert list((tmp_path / "shared").iterdir()) == [second]
    assert gguf.exists()
