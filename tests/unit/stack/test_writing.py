"""Files that appear whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.stack.trouble import Trouble
from controller.stack.writing import outlet


def test_the_name_is_taken_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    with outlet(path) as file:
        assert (path.read_text(), file.partial.exists()) == ("old", True)
        file.put("new")

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_not_finished_is_removed(tmp_path: Path) -> None:
    with outlet(tmp_path / "out.txt"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_vanishes_is_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    with outlet(folder / "out.txt") as file:
        file.partial.unlink()
        folder.rmdir()
        with pytest.raises(Trouble, match=r"out.txt cannot be written: No such file"):
            file.put("new")


def test_others_may_read_it_as_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()

    with outlet(tmp_path / "out.txt") as file:
        file.put("new")

    assert (tmp_path / "out.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("precious")
    (tmp_path / "link").symlink_to(path)

    with pytest.raises(Trouble, match="is read by this very command"), outlet(tmp_path / "link", [None, path]):
        pass

    assert path.read_text() == "precious"
