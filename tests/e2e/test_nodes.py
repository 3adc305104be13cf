"""A pool on two nodes, each with a Docker engine of its own in a network namespace: nodes are lost and come back.

The tests share one stack and run in this order; each leaves it with four ready replicas and nothing else.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from controller.adapters.docker_image import DockerImages
from controller.installation import Layout
from controller.stack.base_image import OFFICIAL_WITH_OPENMP, suite
from tests.e2e.drills import drilled
from tests.e2e.load import Load
from tests.e2e.stack import Stack, environment, write_steady_config
from tests.engines import NEEDS_ROOT, Engine, Engines, engines
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.docker,
    NEEDS_ROOT,
]
HEAL_S = 90.0
FORGETFUL = 1  # its containers end with its dockerd
MORE = """\
controller: {{node_grace: 4s}}
nodes:
{nodes}
"""


@pytest.fixture(scope="module")
def two(docker_host: str, replica_image: str) -> Iterator[Engines]:
    with engines(2, forgetful=frozenset({FORGETFUL})) as made:
        for tag in (base_of(docker_host), replica_image):  # without the base `stoker up` would build both again
            made.copy_image(docker_host, tag)
        yield made


def base_of(host: str) -> str:
    """What the replica image was built on there."""
    with contextlib.closing(DockerImages(host)) as images:
        return next(tag for tag in (OFFICIAL_WITH_OPENMP, f"stoker/base:{suite()}") if images.image_id(tag))


@pytest.fixture(scope="module")
def stack(two: Engines, work: Path) -> Iterator[Stack]:
    folder = work / "no"
    folder.mkdir()
    lines = [f"  - {{name: {one.name}, docker: '{one.host}', address: {one.address}}}" for one in two.each]
    config = write_steady_config(folder, 4, MORE.format(nodes="\n".join(lines)))
    made = Stack(config, folder / "state", environment(None))
    came = made.up("--runtime", "docker")
    assert came.returncode == 0, came.stdout + came.stderr
    yield made
    went = made.stoker("down")
    assert went.returncode == 0, went.stdout + went.stderr
    assert [containers(made, one) for one in two.each] == [[], []]


@pytest.fixture(autouse=True)
def whole(stack: Stack, two: Engines) -> Iterator[None]:
    """Every test begins, and ends, with four that serve, each with one container, and nothing else on either node."""
    wait_for(lambda: is_whole(stack, two), HEAL_S, "a whole pool before the test")
    yield
    try:
        wait_for(lambda: is_whole(stack, two), HEAL_S, "a whole pool after the test")
    except AssertionError as error:
        left = [containers(stack, one) for one in two.each]
        raise AssertionError(f"{error}; the stack says:\n{stack.stoker('status').stdout}\n{left}") from error


def is_whole(stack: Stack, two: Engines) -> bool:
    """Whether four are ready, and each has one container, where the API says that it is."""
    found = stack.replicas()
    if [item["state"] for item in found] != ["ready"] * 4 or len(stack.ready()) != 4:
        return False
    known = [sorted(item["replica"] for item in found if item["node"] == one.name) for one in two.each]
    return known == [containers(stack, one) for one in two.each]


def containers(stack: Stack, engine: Engine) -> list[str]:
    """The replicas that have a container there, one entry for each."""
    with contextlib.closing(docker.APIClient(base_url=engine.host, version="auto", timeout=20)) as api:
        found = api.containers(all=True, filters={"label": f"stoker.instance={Layout(stack.state_dir).instance}"})
    return sorted(item["Labels"]["stoker.replica"] for item in found)


def homes(stack: Stack) -> Counter[str]:
    """How many serve on each node."""
    return Counter(item["node"] for item in stack.replicas() if item["state"] == "ready" and item["routed"])


@contextlib.contextmanager
def under_load(stack: Stack) -> Iterator[Load]:
    """Some clients before, while and after the body runs; none of them may notice it."""
    with Load(stack, 4) as load:
        wait_for(lambda: load.done() >= 8, HEAL_S, "load")
        yield load
        before = load.done()
        wait_for(lambda: load.done() >= before + 8, HEAL_S, "more load")
    assert load.record.failed == []


def test_replicas_are_spread(stack: Stack, two: Engines) -> None:
    assert homes(stack) == {one.name: 2 for one in two.each}
    assert [(row["node"], row["answering"], row["replicas"]) for row in stack.api("/api/v1/nodes")] == [
        (one.name, True, 2) for one in two.each
    ]


def test_a_lost_node_keeps_the_promise(stack: Stack, two: Engines) -> None:
    told = drilled(stack, "lost-node")

    assert len(told["victims"]) == 2
    assert told["measured"]["failed"] == 0


def test_a_node_that_was_cut_off_is_replaced_elsewhere_and_what_is_too_many_goes_when_it_is_back(
    stack: Stack, two: Engines
) -> None:
    lost, other = two.each
    with under_load(stack):
        two.freeze(0)  # a cut cable leaves its socket here
        two.cut(0)
        try:
            wait_for(lambda: homes(stack) == {other.name: 4}, HEAL_S, "two more on the other node")
        finally:
            two.heal(0)
        wait_for(lambda: homes(stack)[lost.name] > 0 and is_whole(stack, two), HEAL_S, "what is too many to go")

    gone = [item["replica"] for item in stack.api("/api/v1/receipts")]
    assert len(gone) == len(set(gone)), "each went once"


def test_an_engine_whose_containers_end_with_it_is_started_again(stack: Stack, two: Engines) -> None:
    ended = set(containers(stack, two.each[FORGETFUL]))
    with under_load(stack):
        two.stop(FORGETFUL)
        wait_for(lambda: not ended & set(stack.ready()), HEAL_S, "its replicas to leave nginx")
        two.heal(FORGETFUL)
        wait_for(lambda: is_whole(stack, two), HEAL_S, "a whole pool")

    assert not ended & {item["replica"] for item in stack.replicas()}


@pytest.mark.slow
def test_a_node_is_drained_and_released(stack: Stack, two: Engines) -> None:
    leaving, other = two.each
    with under_load(stack) as load:
        assert stack.stoker("drain", leaving.name, "--why", "maintenance").returncode == 0
        wait_for(
            lambda: homes(stack) == {other.name: 4} and not containers(stack, leaving), 2 * HEAL_S, "an empty node"
        )
        assert stack.stoker("release", leaving.name).returncode == 0

    assert load.record.cut == []
    assert len(stack.ready()) == 4
