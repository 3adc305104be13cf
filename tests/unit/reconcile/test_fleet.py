"""Fleet: several runtimes as one, of which some hang, fail or come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from controller.core.errors import RuntimeRejected, RuntimeUnavailable
from controller.core.model import Address, Container, ContainerState, Node, NodeName, PoolName, ReplicaId
from controller.ports import ReplicaSpec
from controller.reconcile import fleet as module
from controller.reconcile.fleet import Fleet
from tests.fakes.clock import START, FakeClock
from tests.waiting import wait_for

A, B = NodeName("a"), NodeName("b")
NAME = ReplicaId("llama-1")
SPEC = ReplicaSpec(NAME, PoolName("llama"), "m", "llamacpp", "i", "/m.gguf", "abc", 1, 256, 1, 20.0)


@dataclass
class Scripted:
    """A runtime that does as it is told. While `hang` is set, lists and removals do not return."""

    node: NodeName
    names: list[str] = field(default_factory=list)
    error: Exception | None = None
    hang: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)
    on_event: Callable[[], None] | None = None

    def list_replicas(self) -> tuple[Container, ...]:
        self._answer("list")
        return tuple(container(name, self.node) for name in self.names)

    def start_replica(self, spec: ReplicaSpec) -> None:
        self.calls.append(f"start {spec.replica}")

    def terminate_replica(self, replica: ReplicaId) -> None:
        self.calls.append(f"terminate {replica}")

    def remove_replica(self, replica: ReplicaId) -> None:
        self._answer(f"remove {replica}")
        self.names = [name for name in self.names if name != replica]

    def last_words(self, replica: ReplicaId) -> str:
        return f"words of {replica} on {self.node}"

    def watch(self, on_event: Callable[[], None]) -> None:
        self.on_event = on_event

    def close(self) -> None:
        self.calls.append("close")

    def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.hang.is_set():
            self.released.wait(60)
            self.calls.append(f"{call} answered")
        if self.error is not None:
            raise self.error


def container(name: str, node: NodeName) -> Container:
    address = Address("127.0.0.1", 9000)
    return Container(ReplicaId(name), PoolName("llama"), node, "abc", ContainerState.RUNNING, START, address, address)


@dataclass
class World:
    """Two nodes, and the fleet of both."""

    a: Scripted
    b: Scripted
    clock: FakeClock
    fleet: Fleet

    def seen(self) -> list[tuple[str, str]]:
        return [(item.replica, item.node) for item in self.fleet.look().containers]


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """How long the fleet waits for anything. Short only where something hangs: a busy machine is no hung node."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_LIST_S", "_SILENT_LIST_S", "_REMOVAL_S", "_HUNG_REMOVAL_S"):
            patch.setattr(module, name, seconds)
        yield


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    with patience(60):
        yield


@pytest.fixture
def world() -> Iterator[World]:
    a, b, clock = Scripted(A, ["llama-1"]), Scripted(B, ["llama-2"]), FakeClock()
    made = World(a, b, clock, Fleet({A: a, B: b}, clock))
    yield made
    a.released.set()
    b.released.set()
    made.fleet.close()


def test_it_lists_all_nodes(world: World) -> None:
    found = world.fleet.look()

    assert [(item.replica, item.node) for item in found.containers] == [("llama-1", A), ("llama-2", B)]
    assert found.nodes == (Node(A), Node(B))
    assert found.seen == {A, B}
    assert world.fleet.names == (A, B)


@pytest.mark.parametrize("error", [RuntimeUnavailable("down"), RuntimeRejected("no right to")])
def test_a_node_that_fails_is_silent_and_keeps_what_it_was_seen_with(world: World, error: Exception) -> None:
    world.fleet.look()
    world.b.error = error
    began = world.clock.advance(seconds=1)
    world.fleet.look()
    world.clock.advance(seconds=1)
    world.a.names.append("llama-3")
    found = world.fleet.look()

    assert [item.replica for item in found.containers] == ["llama-1", "llama-3", "llama-2"]
    assert found.nodes == (Node(A), Node(B, silent_since=began))
    assert found.seen == {A, B}


def test_a_node_that_answers_again_is_silent_no_longer(world: World) -> None:
    world.b.error = RuntimeUnavailable("down")
    world.fleet.look()
    world.b.error = None
    back = world.clock.advance(seconds=3)

    assert world.fleet.look().nodes == (Node(A), Node(B, back_since=back))
    world.clock.advance(seconds=1)
    assert world.fleet.look().nodes == (Node(A), Node(B, back_since=back))
    assert world.seen() == [("llama-1", A), ("llama-2", B)]


def test_a_clock_that_goes_back_leaves_no_time_that_is_still_to_come(world: World) -> None:
    world.b.error = RuntimeUnavailable("down")
    world.fleet.look()
    back = world.clock.advance(seconds=-60)

    assert world.fleet.look().nodes == (Node(A), Node(B, silent_since=back))
    world.b.error = None
    world.fleet.look()
    again = world.clock.advance(seconds=-60)
    assert world.fleet.look().nodes == (Node(A), Node(B, back_since=again))


def test_a_node_that_was_never_seen_has_nothing(world: World) -> None:
    world.b.error = RuntimeUnavailable("down")
    found = world.fleet.look()

    assert [item.replica for item in found.containers] == ["llama-1"]
    assert (found.seen, found.nodes[1].silent_since) == ({A}, START)


def test_where_no_node_was_ever_seen_it_raises(world: World) -> None:
    world.a.error, world.b.error = RuntimeUnavailable("first"), RuntimeUnavailable("second")
    with pytest.raises(RuntimeUnavailable, match="second"):
        world.fleet.look()
    back = world.clock.advance(seconds=5)
    world.a.error = None

    assert world.fleet.look().nodes == (Node(A, back_since=back), Node(B, silent_since=START))


def test_all_silent_is_no_error_once_one_was_seen(world: World) -> None:
    world.fleet.look()
    world.a.error = world.b.error = RuntimeUnavailable("down")

    assert [node.silent_since for node in world.fleet.look().nodes] == [START, START]


def test_a_node_that_hangs_delays_no_other_and_is_not_asked_again(world: World) -> None:
    world.fleet.look()
    world.b.hang.set()
    world.a.names.append("llama-3")
    with patience(0.2):
        for _ in range(3):
            assert world.fleet.look().nodes[1].silent_since == START
    assert world.b.calls.count("list") == 2, "the one that was answered, and the one that hangs"

    world.b.hang.clear()
    world.b.released.set()
    world.b.names = ["llama-9"]
    wait_for(lambda: world.fleet.look().nodes[1].silent_since is None, 30, "an answer of b")
    assert world.seen() == [("llama-1", A), ("llama-3", A), ("llama-9", B)]


def test_an_answer_that_came_too_late_is_not_used(world: World) -> None:
    world.fleet.look()
    world.b.hang.set()
    world.b.names = ["too-late"]
    with patience(0.2):
        world.fleet.look()
    world.b.released.set()
    wait_for(lambda: "answered" in world.b.calls[-1], 30, "the end of the call that hung")
    world.b.names = ["newest"]

    assert world.seen() == [("llama-1", A), ("newest", B)]


def test_a_fault_of_our_own_is_not_taken_for_silence(world: World) -> None:
    world.b.error = KeyError("a fault of our own")
    with pytest.raises(KeyError):
        world.fleet.look()


def test_each_call_goes_to_its_node(world: World) -> None:
    world.fleet.start(B, SPEC)
    world.fleet.terminate(B, NAME)
    world.fleet.remove(B, NAME)

    assert world.b.calls == ["start llama-1", "terminate llama-1", "remove llama-1"]
    assert world.a.calls == []
    assert world.fleet.last_words(B, NAME) == "words of llama-1 on b"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda fleet, node: fleet.start(node, SPEC), id="start"),
        pytest.param(lambda fleet, node: fleet.terminate(node, NAME), id="terminate"),
        pytest.param(lambda fleet, node: fleet.remove(node, NAME), id="remove"),
        pytest.param(lambda fleet, node: fleet.last_words(node, NAME), id="last words"),
    ],
)
def test_a_node_that_is_not_there_is_refused(world: World, call: Callable[[Fleet, NodeName], object]) -> None:
    with pytest.raises(RuntimeRejected, match="there is no node far; the configured ones are: a, b"):
        call(world.fleet, NodeName("far"))


def test_a_removal_that_hangs_is_begun_once_and_told_at_once(world: World) -> None:
    world.a.hang.set()
    with patience(0.2):
        for _ in range(3):
            with pytest.raises(RuntimeUnavailable, match="llama-1 is still being removed on node a"):
                world.fleet.remove(A, NAME)
    assert world.a.calls == ["remove llama-1"]

    world.a.hang.clear()
    world.a.released.set()
    wait_for(lambda: world.a.names == [], 30, "the end of the removal")
    assert world.seen() == [("llama-2", B)]


def test_a_removal_that_failed_is_tried_again(world: World) -> None:
    world.a.error = RuntimeUnavailable("no answer")
    for _ in range(2):
        with pytest.raises(RuntimeUnavailable, match="no answer"):
            world.fleet.remove(A, NAME)
    world.a.error = None
    world.fleet.remove(A, NAME)

    assert world.a.calls == ["remove llama-1"] * 3
    assert world.seen() == [("llama-2", B)]


def test_a_removal_that_hangs_keeps_no_other_from_its_end(world: World) -> None:
    world.a.names.append("llama-3")
    world.a.hang.set()
    with patience(0.2), pytest.raises(RuntimeUnavailable):
        world.fleet.remove(A, NAME)
    world.a.hang.clear()
    world.fleet.remove(A, ReplicaId("llama-3"))

    assert world.a.names == ["llama-1"]


def test_it_hears_of_every_node_and_closes_all(world: World) -> None:
    told: list[str] = []
    world.fleet.watch(lambda: told.append("something"))
    for runtime in (world.a, world.b):
        assert runtime.on_event is not None
        runtime.on_event()
    world.fleet.close()

    assert told == ["something"] * 2
    assert (world.a.calls, world.b.calls) == (["close"], ["close"])
