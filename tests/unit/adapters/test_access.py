"""What nginx is told of the keys, over a socket that keeps to the contract."""

from __future__ import annotations

import grp
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.nginx import access as adapter
from controller.adapters.nginx.access import NginxAccess
from controller.core.access import KeyId, version_of
from controller.core.errors import GatewayUnavailable
from controller.core.quota import Block, QuotaKind
from tests.fakes.access_server import AccessServer, Known
from tests.fakes.clock import START

KEY = KeyId("key_0123456789ab")
BLOCKS = {KEY: Block(START + timedelta(seconds=0.5), QuotaKind.DAY)}
ASK, KEYS, SET_BLOCKS = "GET /access", "POST /keys", "POST /blocks"


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: a socket lies below it."""
    with tempfile.TemporaryDirectory(prefix="st-") as name:
        yield Path(name)


@pytest.fixture
def nginx(folder: Path) -> Iterator[AccessServer]:
    with AccessServer(folder) as server:
        yield server


class Watch:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def gate(folder: Path, watch: Watch) -> NginxAccess:
    return NginxAccess(folder, now=watch)


def records(*numbers: int, plan: str = "-") -> dict[str, str]:
    return {f"{number:064x}": f"key_{number:012x} {plan} 0 *" for number in numbers}


def file(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "access/keys.json").read_text())
    return found


def knows(nginx: AccessServer, wanted: Mapping[str, str]) -> bool:
    return nginx.known.keys == wanted and nginx.known.version == version_of(wanted)


def test_a_new_nginx_is_told_everything(gate: NginxAccess, nginx: AccessServer, folder: Path) -> None:
    assert gate.apply(records(1, 2), BLOCKS)

    assert knows(nginx, records(1, 2))
    assert nginx.known.blocks == {KEY: "1767614401 day"}, "whole seconds, and rather late than early"
    assert nginx.asked == [ASK, KEYS, SET_BLOCKS]
    assert file(folder) == {"version": nginx.known.version, "keys": records(1, 2), "blocks": nginx.known.blocks}


def test_what_changed_is_told_as_a_difference(gate: NginxAccess, nginx: AccessServer) -> None:
    gate.apply(records(1, 2, 3), {})
    # Only a full load could bring back what a difference does not name.
    nginx.known.keys["f" * 64] = "key_ffffffffffff - 0 *"
    after = {**records(2, 4), **records(3, plan="gold")}

    assert gate.apply(after, {})
    assert nginx.known.keys == {**after, "f" * 64: "key_ffffffffffff - 0 *"}
    assert nginx.known.version == version_of(after)


def test_blocks_alone(gate: NginxAccess, nginx: AccessServer, folder: Path) -> None:
    same = records(1)
    gate.apply(same, {})
    nginx.asked.clear()

    assert gate.apply(same, BLOCKS)
    assert nginx.asked == [ASK, SET_BLOCKS]
    assert gate.apply(same, {})
    assert (nginx.known.blocks, file(folder)["blocks"]) == ({}, {})


def test_where_nothing_changed_nginx_is_asked_every_ten_seconds(
    gate: NginxAccess, nginx: AccessServer, watch: Watch
) -> None:
    gate.apply(records(1), BLOCKS)
    nginx.asked.clear()
    for at in (1.0, 9.9):
        watch.at = at
        assert not gate.apply(records(1), BLOCKS)
    assert nginx.asked == []

    assert not gate.apply(records(1), BLOCKS, look=True)
    watch.at = 20.0
    assert not gate.apply(records(1), BLOCKS)
    assert nginx.asked == [ASK, ASK]


def test_an_nginx_that_was_restarted_is_noticed(gate: NginxAccess, nginx: AccessServer, watch: Watch) -> None:
    gate.apply(records(1), BLOCKS)
    nginx.restart()
    assert not gate.apply(records(1), BLOCKS), "for ten seconds it has its file"
    watch.at = 10.0

    assert gate.apply(records(1), BLOCKS)
    assert knows(nginx, records(1))
    assert list(nginx.known.blocks) == [KEY]


def test_an_nginx_that_has_read_the_file_is_told_the_blocks_only(folder: Path, nginx: AccessServer) -> None:
    NginxAccess(folder).apply(records(1), BLOCKS)
    nginx.restart()
    nginx.known = Known(records(1), version_of(records(1)))
    nginx.asked.clear()

    assert NginxAccess(folder).apply(records(1), BLOCKS)
    assert nginx.asked == [ASK, SET_BLOCKS]


def test_another_controller_goes_on_from_the_file(folder: Path, nginx: AccessServer) -> None:
    NginxAccess(folder).apply(records(1, 2), {})
    nginx.known.keys["f" * 64] = "key_ffffffffffff - 0 *"  # only a full load would notice
    nginx.asked.clear()

    assert NginxAccess(folder).apply(records(2, 3), {})
    assert nginx.known.keys == {**records(2, 3), "f" * 64: "key_ffffffffffff - 0 *"}
    assert nginx.asked == [ASK, KEYS]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        '{"version": "0123456789abcdef", "keys": {"a": "b"}, "blocks": {}}',
        '{"version": "0123456789abcdef", "keys": [], "blocks": {}}',
        '{"version": "0123456789abcdef", "keys": 7, "blocks": {}}',
        '{"version": "0123456789abcdef", "keys": {"a": 7}, "blocks": {}}',
    ],
)
def test_where_the_file_says_nothing_of_use_everything_is_told(
    folder: Path, nginx: AccessServer, text: str | None
) -> None:
    NginxAccess(folder).apply(records(1, 2), {})
    nginx.known.keys["f" * 64] = "key_ffffffffffff - 0 *"
    path = folder / "access/keys.json"
    path.unlink() if text is None else path.write_text(text)

    assert NginxAccess(folder).apply(records(2, 3), {})
    assert knows(nginx, records(2, 3)), "what is not wanted any more is gone, though it was named nowhere"


def test_an_nginx_that_has_something_else_by_the_time_it_is_told(
    gate: NginxAccess, nginx: AccessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.apply(records(1), {})
    asked = nginx.answer

    def restarted(method: str, path: str, body: object) -> tuple[int, dict[str, str]]:
        answer = asked(method, path, body)
        if path == "/access":
            nginx.known = Known()
        return answer

    monkeypatch.setattr(nginx, "answer", restarted)
    assert gate.apply(records(1, 2), {})
    assert knows(nginx, records(1, 2)), "after a 409 everything is told"


def test_the_file_is_written_where_nginx_does_not_answer(gate: NginxAccess, nginx: AccessServer, folder: Path) -> None:
    nginx.stop()
    with pytest.raises(GatewayUnavailable, match=r"^nginx does not answer on control.sock \(No such file"):
        gate.apply(records(1), BLOCKS)

    assert file(folder)["keys"] == records(1)
    nginx.restart()
    assert gate.apply(records(1), BLOCKS), "it is told as soon as it answers"


def test_a_silent_nginx_is_given_up(gate: NginxAccess, nginx: AccessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_ASK_S", 0.1)
    nginx.silent = True
    with pytest.raises(GatewayUnavailable, match="timed out"):
        gate.apply(records(1), {})


@pytest.mark.parametrize("asked", [ASK, KEYS, SET_BLOCKS])
@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_any_other_answer_is_a_failure_until_it_ends(
    gate: NginxAccess, nginx: AccessServer, asked: str, status: int
) -> None:
    nginx.answers[asked] = status
    for _ in range(2):
        with pytest.raises(GatewayUnavailable, match=f"nginx answered {status} to {asked}"):
            gate.apply(records(1), BLOCKS)
    nginx.answers.clear()

    assert gate.apply(records(1), BLOCKS)
    assert knows(nginx, records(1))
    assert list(nginx.known.blocks) == [KEY]


def test_what_was_told_by_half_is_not_taken_for_what_was_told_before(gate: NginxAccess, nginx: AccessServer) -> None:
    """The keys came through and the blocks did not; then all is wanted as it was."""
    first = records(1)
    gate.apply(first, {})
    nginx.answers[SET_BLOCKS] = 500
    with pytest.raises(GatewayUnavailable):
        gate.apply(records(1, 2), BLOCKS)
    nginx.answers.clear()

    assert gate.apply(first, {})
    assert knows(nginx, first)


def test_a_load_comes_in_parts_and_a_torn_one_is_begun_anew(
    gate: NginxAccess, nginx: AccessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_MOST_BYTES", 500)
    monkeypatch.setattr(adapter, "_PART_BYTES", 500)
    wanted, answered = records(*range(20)), nginx.answer

    def torn(method: str, path: str, body: object) -> tuple[int, dict[str, str]]:
        if nginx.asked.count(KEYS) == 4:
            raise ValueError("no")
        return answered(method, path, body)

    with monkeypatch.context() as patch:
        patch.setattr(nginx, "answer", torn)
        with pytest.raises(GatewayUnavailable, match="400"):
            gate.apply(wanted, {})
    nginx.known.version = version_of(records(7))  # of an nginx that does not forget its version meanwhile
    nginx.asked.clear()

    fewer = records(7)
    assert gate.apply(fewer, {})
    assert knows(nginx, fewer), "nothing of the load that was not finished is left"
    gate.apply(wanted, {})
    assert nginx.asked.count(KEYS) == 1 + 7, "a difference that is too large for one body is told as a whole"
    assert knows(nginx, wanted)


def test_a_file_that_somebody_changed_is_put_back(gate: NginxAccess, nginx: AccessServer, folder: Path) -> None:
    gate.apply(records(1), {})
    path = folder / "access/keys.json"
    path.write_text("{}")
    gate.apply(records(1), {})
    assert file(folder)["keys"] == records(1)
    path.unlink()
    gate.apply(records(1), {})
    assert file(folder)["keys"] == records(1)


def test_an_equal_file_is_left_alone(gate: NginxAccess, nginx: AccessServer, folder: Path) -> None:
    gate.apply(records(1), BLOCKS)
    before = (folder / "access/keys.json").stat().st_ino
    gate.apply(records(1), BLOCKS)

    assert (folder / "access/keys.json").stat().st_ino == before


def test_a_file_that_cannot_be_written_is_told_after_nginx(
    gate: NginxAccess, nginx: AccessServer, folder: Path
) -> None:
    (folder / "access").write_text("in the way")
    with pytest.raises(GatewayUnavailable, match=r"access cannot be written: File exists"):
        gate.apply(records(1), {})
    assert knows(nginx, records(1))


def test_nobody_but_its_user_reads_the_file(gate: NginxAccess, nginx: AccessServer, folder: Path) -> None:
    gate.apply(records(1), {})

    assert _mode(folder / "access") == 0o700
    assert _mode(folder / "access/keys.json") == 0o600


@pytest.mark.skipif(
    os.geteuid() != 0, reason="the kernel lets only root give a file to another user: run `make test` as root"
)
def test_root_gives_the_file_to_the_workers(folder: Path, nginx: AccessServer) -> None:
    group = grp.getgrgid(65534).gr_name
    NginxAccess(folder, f"nobody {group}").apply(records(1), {})

    for path, mode in ((folder / "access", 0o750), (folder / "access/keys.json", 0o640)):
        found = path.stat()
        assert (_mode(path), found.st_uid, found.st_gid) == (mode, 0, 65534)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_hundred_thousand_keys(gate: NginxAccess, nginx: AccessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_DEADLINE_S", "_TELL_S"):  # the fake's time is not nginx's
        monkeypatch.setattr(adapter, name, 60.0)
    many = {f"{number:064x}": f"key_{number:012x} gold 1767614400 smollm2,llama-70b" for number in range(100_000)}
    gate.apply(many, {})
    parts = nginx.asked.count(KEYS)
    assert 12 <= parts <= 14, "about a megabyte each"
    assert knows(nginx, many)

    fewer = dict(many)
    del fewer[f"{77:064x}"]
    gate.apply(fewer, {})
    assert nginx.asked.count(KEYS) == parts + 1
    assert knows(nginx, fewer)
