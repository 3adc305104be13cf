"""Two Docker engines, each as if on a machine of its own, and one Fleet over both."""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.docker import DockerRuntime
from controller.core.errors import RuntimeUnavailable
from controller.core.model import Container, NodeName, PoolName, ReplicaId
from controller.ports import ReplicaSpec
from controller.reconcile.fleet import Fleet, Listing
from tests.engines import NEEDS_ROOT, Engines, engines
from tests.waiting import wait_for

HERE, THERE = NodeName("node-0"), NodeName("node-1")
START_S = 60.0

pytestmark = [
    pytest.mark.docker,
    NEEDS_ROOT,
]


@dataclass
class World:
    """Both engines, the fleet, what to start, and how often somebody was told of a change."""

    engines: Engines
    fleet: Fleet
    spec: ReplicaSpec
    told: list[bool]

    def start(self, node: NodeName, name: str) -> Container:
        """Started, with its launcher answering over HTTP."""
        self.fleet.start(node, replace(self.spec, replica=ReplicaId(name)))
        return wait_for(lambda: self.answering(name), START_S, f"{name} to answer")

    def answering(self, name: str) -> Container | None:
        found = next((item for item in self.fleet.look().containers if item.replica == name), None)
        return found if found is not None and says(found) == name else None

    def until(self, silent: tuple[NodeName, ...]) -> Listing:
        """The first look in which exactly these are silent."""

        def found() -> Listing | None:
            listing = self.fleet.look()
            return listing if tuple(node.name for node in listing.nodes if node.silent_since) == silent else None

        return wait_for(found, START_S, f"{silent or 'none'} to be silent")


@pytest.fixture(scope="module")
def both(docker_host: str, replica_image: str) -> Iterator[Engines]:
    with engines(2) as made:
        made.copy_image(docker_host, replica_image)
        yield made


@pytest.fixture
def world(both: Engines, replica_image: str, checkpoint: Path) -> Iterator[World]:
    runtimes = {engine.name: DockerRuntime(engine.node, f"nodes{os.getpid()}") for engine in both.each}
    name, pool = ReplicaId("llama-1"), PoolName("llama")
    spec = ReplicaSpec(name, pool, "smollm2", "llamacpp", replica_image, str(checkpoint), "abc", 1, 256, 1, 20.0)
    told: list[bool] = []
    with closing(Fleet(runtimes, SystemClock())) as fleet:
        fleet.watch(lambda: told.append(True))
        yield World(both, fleet, spec, told)
        for number in range(2):
            both.heal(number)
        for container in fleet.look().containers:
            runtimes[container.node].remove_replica(container.replica)
    wait_for(lambda: not any(thread.name.startswith("docker-") for thread in threading.enumerate()), 30, "no threads")


def says(container: Container) -> str:
    """The name that its launcher says it has; empty where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{container.launcher}/status", timeout=2) as answer:
            return str(json.load(answer)["replica"])
    except OSError:
        return ""


def test_an_engine_that_is_cut_off_takes_nothing_with_it(world: World) -> None:
    first, second = world.start(HERE, "llama-1"), world.start(THERE, "llama-2")
    assert first.node == HERE
    assert second.launcher is not None
    assert (second.node, second.launcher.host) == (THERE, world.engines.each[1].address)

    world.engines.cut(1)
    began = SystemClock().now()
    listing = world.until(silent=(THERE,))
    silent_since = listing.nodes[1].silent_since
    assert silent_since is not None
    assert silent_since >= began
    assert {item.replica for item in listing.containers} == {"llama-1", "llama-2"}, "the last that was seen of it"
    assert says(first) == "llama-1"
    assert says(second) == ""

    world.start(HERE, "llama-3")
    assert world.fleet.look().nodes[1].silent_since == silent_since
    with pytest.raises(RuntimeUnavailable):
        world.fleet.remove(THERE, ReplicaId("llama-2"))
    with pytest.raises(RuntimeUnavailable):
        world.fleet.last_words(THERE, ReplicaId("llama-2"))

    world.engines.heal(1)
    listing = world.until(silent=())
    wait_for(lambda: {item.replica for item in world.fleet.look().containers} >= {"llama-1", "llama-3"}, 30, "both")
    assert listing.seen == {HERE, THERE}


def test_an_engine_that_hangs_is_silent_and_its_replica_goes_on(world: World) -> None:
    # A name of its own: the removal that the test before could not send through the cut cable may arrive only now.
    second = world.start(THERE, "llama-4")
    world.engines.freeze(1)
    world.until(silent=(THERE,))
    assert says(second) == "llama-4"

    world.engines.heal(1)
    world.until(silent=())
    assert wait_for(lambda: world.answering("llama-4"), 30, "its replica").created_at == second.created_at


def test_what_happens_on_a_node_that_came_back_is_heard_of_again(world: World) -> None:
    world.start(THERE, "llama-2")
    world.engines.stop(1)
    world.until(silent=(THERE,))
    world.engines.heal(1)
    world.until(silent=())
    wait_for(lambda: world.fleet.last_words(THERE, ReplicaId("llama-2")), START_S, "its last words")
    world.told.clear()
    world.fleet.remove(THERE, ReplicaId("llama-2"))
    wait_for(lambda: world.told, START_S, "a wake for its end")
    assert world.fleet.look().containers == ()
