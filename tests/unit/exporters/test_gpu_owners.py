"""Whose process it is, by the kernel's texts and by Docker's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporters.gpu import docker
from exporters.gpu.docker import AGAIN_AFTER_S, FORGET_AFTER_S, Containers, owner_in
from exporters.gpu.facts import Owned, Owner
from exporters.gpu.owners import Owners, container_in, stat_in
from exporters.gpu.owners import owner_in as owner_of_environ

ID = "0123456789abcdef" * 4
OTHER = "f" * 64


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (f"12:pids:/docker/{ID}\n11:memory:/docker/{ID}\n0::/system.slice/docker.service\n", ID),
        (f"0::/system.slice/docker-{ID}.scope\n", ID),
        (f"0::/../{ID}\n", ID),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", ID),
        (f"0::/kubepods.slice/kubepods-pod12.slice/cri-containerd-{ID}.scope\n", ID),
        (f"4:memory:/kubepods/burstable/pod1234-5678/{ID}\n", ID),
        (f"0::/docker/{OTHER}/docker/{ID}\n", ID),  # Docker in Docker: the inner one
        (f"0::/system.slice:docker:{ID}\n", ID),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ""),
        (f"0::/docker/{ID[:63]}\n", ""),
        (f"0::/docker/{ID}0\n", ""),
        (f"0::/docker/{ID.upper()}\n", ""),
        ("", ""),
    ],
)
def test_the_container_of_a_cgroup(cgroup: str, container: str) -> None:
    assert container_in(cgroup) == container


@pytest.mark.parametrize(
    ("environ", "owner"),
    [
        (b"A=1\0STOKER_REPLICA_DIR=/r\0STOKER_POOL=small\0STOKER_REPLICA=small-1\0", Owner("", "small", "small-1")),
        (b"STOKER_REPLICA_DIR=\0STOKER_POOL=small\0STOKER_REPLICA=small-1\0", None),
        (b"STOKER_POOL=small\0STOKER_REPLICA=small-1\0", None),  # in a container that Docker does not tell of
        (b"STOKER_REPLICA_DIR=/r\0STOKER_POOL=small\0", None),
        (b'STOKER_REPLICA_DIR=/r\0STOKER_POOL=a"b\0STOKER_REPLICA=small-1\0', None),
        (b"STOKER_REPLICA_DIR=/r\0STOKER_POOL=small\0STOKER_REPLICA=" + b"x" * 200 + b"\0", None),
        (b"", None),
    ],
)
def test_the_replica_of_an_environment(environ: bytes, owner: Owner | None) -> None:
    assert owner_of_environ(environ) == owner


@pytest.mark.parametrize("text", ["", "12 (sh", "12 (sh) S 1", ") S " + "1 " * 30])
def test_a_stat_that_is_none(text: str) -> None:
    assert stat_in(text) is None


def test_a_name_with_brackets_and_blanks() -> None:
    found = stat_in("12 (a) (b c)) S 7 " + " ".join(str(number) for number in range(5, 60)))

    assert found is not None
    assert (found.name, found.parent, found.began) == ("a) (b c)", 7, "22")


@pytest.mark.parametrize(
    ("said", "owner"),
    [
        ({"Name": "/a", "Config": {"Labels": {"stoker.pool": "p", "stoker.replica": "r-1"}}}, Owner("a", "p", "r-1")),
        ({"Name": "/a", "Config": {"Labels": {"stoker.pool": 'x"', "stoker.replica": 7}}}, Owner("a")),
        ({"Name": "/a", "Config": {"Labels": None}}, Owner("a")),
        ({"Name": None, "Config": None}, Owner(ID[:12])),
        ({}, Owner(ID[:12])),
        ([], Owner(ID[:12])),
        (None, Owner(ID[:12])),
    ],
)
def test_what_docker_says_of_a_container(said: Any, owner: Owner) -> None:
    assert owner_in(said, ID) == owner


class Engines:
    """Docker engines by their sockets, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.now = 0.0
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {}
        self.sockets = (folder / "a", folder / "b")
        for path in self.sockets:
            path.touch()
        monkeypatch.setattr(docker, "inspect", self.inspect)
        self.containers = Containers(self.sockets, lambda: self.now)

    def inspect(self, path: Path, container: str) -> Any:
        self.asked.append((path.name, container))
        answer = self.answers.get(path.name)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engines:
    return Engines(monkeypatch, tmp_path)


def test_each_container_is_asked_for_once_and_forgotten_when_nobody_asks(engines: Engines) -> None:
    engines.answers["b"] = {"Name": "/llama", "Config": {"Labels": {"stoker.replica": "r", "stoker.pool": "p"}}}
    for _ in range(3):
        assert engines.containers.owner(ID) == Owner("llama", "p", "r")
        engines.containers.forget()
        engines.now += FORGET_AFTER_S - 1
    assert engines.asked == [("a", ID), ("b", ID)]

    engines.now += 2
    engines.containers.forget()
    engines.containers.owner(ID)
    assert engines.asked == [("a", ID), ("b", ID)] * 2


def test_one_that_no_engine_knows_is_not_asked_for_again(engines: Engines) -> None:
    assert [engines.containers.owner(ID) for _ in range(2)] == [Owner(ID[:12])] * 2
    assert len(engines.asked) == 2


def test_an_engine_that_does_not_answer_is_left_alone_for_a_while(engines: Engines) -> None:
    engines.answers["a"] = TimeoutError("timed out")
    for container in (ID, OTHER, ID):
        assert engines.containers.owner(container) == Owner(container[:12])
    assert [name for name, _ in engines.asked] == ["a", "b", "b", "b"]

    engines.answers["a"] = {"Name": "/llama"}
    engines.now += AGAIN_AFTER_S
    assert engines.containers.owner(ID) == Owner("llama")


def test_no_socket_is_no_engine(tmp_path: Path) -> None:
    assert Containers((tmp_path / "none",), lambda: 0.0).owner(ID) == Owner(ID[:12])


def test_a_number_that_another_process_has_by_now(engines: Engines, tmp_path: Path) -> None:
    folder = tmp_path / "proc/7"
    folder.mkdir(parents=True)
    stat = "7 (engine) S 1 " + " ".join(["0"] * 17) + " {began} 0"
    owners = Owners(tmp_path / "proc", engines.containers)
    engines.answers["a"] = {"Name": "/llama"}

    (folder / "stat").write_text(stat.format(began=1))
    (folder / "cgroup").write_text(f"0::/docker/{ID}\n")
    assert owners.of(7) == Owned("engine", Owner("llama"))
    (folder / "cgroup").write_text("0::/\n")
    assert owners.of(7).owner == Owner("llama"), "the kernel is asked once"
    (folder / "stat").write_text(stat.format(began=2))
    assert owners.of(7) == Owned("engine", Owner())
    assert owners.of(8) == Owned()
