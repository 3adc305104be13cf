"""`stoker down` over several nodes: what answers is emptied, what does not is named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.core.model import NodeName
from controller.installation import Installation, Layout, NodeParts, TlsFiles
from controller.stack.replicas import engine_of, remove_all, running_on
from controller.stack.trouble import Trouble
from tests.unit.stack.engines import INSTANCE, FakeEngine, serving


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A short name: sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="st-") as folder:
        yield Layout(Path(folder))


@pytest.fixture
def first(layout: Layout) -> Iterator[FakeEngine]:
    with serving(layout.root / "first.sock") as engine:
        yield engine


@pytest.fixture
def second(layout: Layout) -> Iterator[FakeEngine]:
    with serving(layout.root / "second.sock") as engine:
        yield engine


def install(layout: Layout, **hosts: str) -> None:
    nodes = tuple(NodeParts(name=name, docker_host=host) for name, host in hosts.items())
    Installation(runtime="docker", nodes=nodes, pools={}, instance=INSTANCE).save(layout)


def test_every_node_is_emptied_and_what_is_anothers_stays(
    layout: Layout, first: FakeEngine, second: FakeEngine
) -> None:
    install(layout, a=first.host, b=second.host)
    first.add("small-1")
    second.add("small-2")
    second.add("small-3")
    second.add("small-1", instance="ffffffffffff")

    assert remove_all(layout) == 3
    assert list(first.containers) == []
    assert list(second.containers) == ["stoker-ffffffffffff-small-1"]


def test_a_node_that_does_not_answer_is_named_and_the_others_are_emptied(layout: Layout, second: FakeEngine) -> None:
    install(layout, a=f"unix://{layout.root}/none.sock", b=second.host)
    second.add("small-2")

    with pytest.raises(Trouble, match=rf"answers at unix://\S+/none.sock \(node a\): .*instance={INSTANCE} stay$"):
        remove_all(layout)

    assert list(second.containers) == []


def test_each_node_that_fails_has_its_own_words(layout: Layout, first: FakeEngine, second: FakeEngine) -> None:
    install(layout, a=first.host, b=second.host, c=f"unix://{layout.root}/none.sock")
    first.add("small-1")
    first.refuses.add(f"stoker-{INSTANCE}-small-1")
    second.add("small-2")

    with pytest.raises(Trouble, match=r"replicas \(node a\) could not be removed: .*driver failed; .*\(node c\)"):
        remove_all(layout)

    assert list(second.containers) == []


def test_without_an_installation_there_is_nothing_to_remove(layout: Layout) -> None:
    assert remove_all(layout) == 0


def test_how_many_are_on_a_node(layout: Layout, first: FakeEngine) -> None:
    node = NodeParts(name="a", docker_host=first.host)
    first.add("small-1")
    first.add("small-2", instance="ffffffffffff")

    assert running_on(node, INSTANCE) == 1
    assert running_on(NodeParts(name="b", docker_host=f"unix://{layout.root}/none.sock"), INSTANCE) is None


def test_a_node_as_the_runtime_has_it() -> None:
    tls = TlsFiles(ca="/t/ca", cert="/t/cert", key="/t/key")

    remote = engine_of(NodeParts(name="b", docker_host="tcp://10.0.0.2:2376", address="10.0.0.2", tls=tls))
    local = engine_of(NodeParts(name="a", docker_host="unix:///d.sock"))

    assert (remote.name, remote.url, remote.host, remote.direct) == ("b", "tcp://10.0.0.2:2376", "10.0.0.2", False)
    assert remote.tls is not None
    assert remote.tls.key == Path("/t/key")
    assert (local.name, local.direct, local.tls) == (NodeName("a"), None, None)
