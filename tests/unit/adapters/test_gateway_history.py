"""The files of the history, and of a revert."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters.nginx.history import HistoryFolder
from controller.adapters.nginx.revertible import Pin, PinFile, stamp_of
from controller.core.errors import GatewayUnavailable
from controller.core.model import ReplicaId
from controller.core.revision import Cause, Configuration, Moment, Revision
from controller.settings.front import FrontSettings, written
from tests.fakes.clock import START
from tests.unit.core.test_revision import routes

CONFIGURATION = Configuration(
    "0123", "worker_processes 1;\n", routes(llama_1=9), written(FrontSettings()), 3, "sl\xf6w", "run"
)
REVISION = Revision(
    1, Moment(START, 9, 2), (Cause("First", "one"),), (ReplicaId("llama-1"),), (ReplicaId("llama-0"),), CONFIGURATION
)


def numbered(number: int) -> Revision:
    return replace(REVISION, number=number)


def test_a_revision_comes_back_whole(tmp_path: Path) -> None:
    HistoryFolder(tmp_path / "history").keep(REVISION)
    other = HistoryFolder(tmp_path / "history")

    assert (other.newest(), other.all(), other.find(1)) == (REVISION, (REVISION,), REVISION)
    assert other.find(2) is None


def test_there_are_none_at_first(tmp_path: Path) -> None:
    folder = HistoryFolder(tmp_path / "history")

    assert (folder.newest(), folder.all()) == (None, ())


def test_the_last_fifty_are_kept(tmp_path: Path) -> None:
    folder = HistoryFolder(tmp_path)
    for number in range(1, 61):
        folder.keep(numbered(number))

    assert [revision.number for revision in folder.all()] == list(range(60, 10, -1))
    assert len(list(tmp_path.iterdir())) == 50
    assert folder.newest() == numbered(60)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": 2}'], ids=["empty", "half", "a list", "incomplete"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, text: str) -> None:
    HistoryFolder(tmp_path).keep(REVISION)
    (tmp_path / "000002.json").write_text(text)
    (tmp_path / "reverted.json").write_text("{}")
    folder = HistoryFolder(tmp_path)

    assert (folder.newest(), folder.all()) == (REVISION, (REVISION,))
    folder.keep(numbered(2))
    assert [revision.number for revision in HistoryFolder(tmp_path).all()] == [2, 1]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file")
    folder = HistoryFolder(tmp_path / "history")

    with pytest.raises(OSError, match="history"):
        folder.keep(REVISION)
    assert folder.newest() is None


PIN = Pin(3, START, "slow", FrontSettings())


def test_a_pin_holds_for_the_configuration_that_it_was_made_over(tmp_path: Path) -> None:
    path, over = tmp_path / "history/reverted.json", stamp_of("run", "text")
    pins = PinFile(path, over)
    assert pins.read() is None
    pins.write(PIN)

    assert PinFile(path, over).read() == PIN
    assert PinFile(path, stamp_of("run", "another text")).read() is None
    assert PinFile(path, stamp_of("another run", "text")).read() is None
    pins.write(None)
    assert pins.read() is None
    pins.write(None)


def test_two_texts_are_no_other_two() -> None:
    assert stamp_of("a", "bc") != stamp_of("ab", "c")


@pytest.mark.parametrize("key", ["number", "at", "why", "settings", "over"])
def test_a_damaged_pin_is_none(tmp_path: Path, key: str) -> None:
    path = tmp_path / "reverted.json"
    PinFile(path, "x").write(PIN)
    data = json.loads(path.read_text())
    del data[key]
    path.write_text(json.dumps(data))

    assert PinFile(path, "x").read() is None


def test_a_pin_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file")

    with pytest.raises(GatewayUnavailable, match="cannot be written"):
        PinFile(tmp_path / "history/reverted.json", "x").write(PIN)
