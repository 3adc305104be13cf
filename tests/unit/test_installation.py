"""What lies in a state directory, and who may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from controller.installation import Installation, Layout, NodeParts, PoolParts, api_token, replace_text

PARTS = {"small": PoolParts(image="", checkpoint="/c/small.gguf")}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state")


def test_what_was_saved_is_loaded(layout: Layout) -> None:
    nodes = (
        NodeParts(name="a", docker_host="unix:///a"),
        NodeParts(name="b", docker_host="tcp://b:1", address="10.0.0.2"),
    )
    saved = Installation(runtime="docker", nodes=nodes, pools=PARTS, instance="0123456789ab")
    saved.save(layout)

    assert Installation.load(layout) == saved
    assert saved.engines == nodes
    assert saved.instance_in(layout) == "0123456789ab"


def test_one_engine_is_the_node_local_and_its_instance_the_folders(layout: Layout) -> None:
    known = Installation(runtime="docker", docker_host="unix:///d.sock", pools=PARTS)

    assert [(node.name, node.docker_host, node.address) for node in known.engines] == [
        ("local", "unix:///d.sock", None)
    ]
    assert known.instance_in(layout) == layout.instance


def test_local_processes_need_no_engine() -> None:
    assert Installation(runtime="process", pools=PARTS).engines == ()


def test_what_an_older_version_wrote_is_still_read(layout: Layout) -> None:
    """For `stoker down` after an upgrade."""
    layout.root.mkdir()
    layout.installation.write_text('{"runtime": "docker", "docker_host": "unix:///d", "pools": {}, "run": "1"}')

    assert Installation.load(layout).engines[0].docker_host == "unix:///d"


def test_what_it_does_not_know_is_refused(layout: Layout) -> None:
    layout.root.mkdir()
    layout.installation.write_text('{"runtime": "docker", "pools": {}, "cloud": 1}')

    with pytest.raises(ValidationError, match="cloud"):
        Installation.load(layout)


def test_the_token_is_made_once_and_for_its_owner_only(layout: Layout) -> None:
    made = api_token(layout)

    assert api_token(layout) == made
    assert len(bytes.fromhex(made)) == 32
    assert stat.S_IMODE(layout.api_token.stat().st_mode) == 0o600


def test_a_token_that_others_may_read_is_theirs_no_more(layout: Layout) -> None:
    made = api_token(layout)
    layout.api_token.chmod(0o644)

    assert api_token(layout) == made
    assert stat.S_IMODE(layout.api_token.stat().st_mode) == 0o600


def test_a_token_that_cannot_be_kept_from_others_is_used_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = api_token(layout)
    layout.api_token.chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    assert api_token(layout) == made


@pytest.mark.parametrize("found", ["", "short\n", "g" * 64])
def test_what_is_no_token_is_replaced(layout: Layout, found: str) -> None:
    layout.root.mkdir()
    layout.api_token.write_text(found)

    assert len(bytes.fromhex(api_token(layout))) == 32


def test_a_file_is_replaced_whole_with_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("old")
    (tmp_path / "x.partial").write_text("of one that was cut off")

    replace_text(file, "new", 0o600)

    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
