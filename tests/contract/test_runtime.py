"""ContainerRuntime: the same promises from memory, from local processes and from a real Docker engine.

The replicas of the real ones are real: our launcher with llama.cpp and a small model.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.docker import DockerNode, DockerRuntime, inner_ports
from controller.adapters.process import ProcessNode, ProcessRuntime
from controller.core.errors import RuntimeRejected, RuntimeUnavailable
from controller.core.model import Container, ContainerState, PoolName, ReplicaId
from controller.ports import ContainerRuntime, ReplicaSpec
from tests.fakes.world import FakeRuntime
from tests.waiting import wait_for

NAME = ReplicaId("llama-1")
GPU = "GPU-1a2b3c4d-5e6f-7081-92a3-b4c5d6e7f809"
START_S = 60.0


@dataclass
class Bench:
    """A runtime, another one on the same ground (a new controller), and what a person at the machine can do."""

    kind: str
    make: Callable[[], ContainerRuntime]
    spec: ReplicaSpec
    kill: Callable[[ReplicaId], object]
    pause: Callable[[ReplicaId], object]
    runtime: ContainerRuntime
    environment: Callable[[ReplicaId], str] = lambda _: ""  # what its process is told of GPUs

    def only(self) -> Container:
        (found,) = self.runtime.list_replicas()
        return found

    def start(self, name: ReplicaId = NAME) -> Container:
        """Started, with its addresses known."""
        self.runtime.start_replica(replace(self.spec, replica=name))

        def addressed() -> Container | None:
            found = next(item for item in self.runtime.list_replicas() if item.replica == name)
            return found if found.launcher else None

        return wait_for(addressed, START_S, "the launcher's address")

    def until(self, state: ContainerState) -> Container:
        return wait_for(lambda: self.only() if self.only().state is state else None, START_S, f"to be {state}")


@pytest.fixture(
    params=[
        "fake",
        "process",
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("docker, published ports", marks=pytest.mark.docker),
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench = {"fake": _fake, "process": _process}.get(request.param, _docker)(request, tmp_path)
    yield made
    for container in made.runtime.list_replicas():
        made.runtime.remove_replica(container.replica)
    made.runtime.close()


def _spec(checkpoint: str, image: str) -> ReplicaSpec:
    return ReplicaSpec(NAME, PoolName("llama"), "smollm2", "llamacpp", image, checkpoint, "abc123", 1, 256, 1, 20.0)


def _fake(request: pytest.FixtureRequest, folder: Path) -> Bench:
    runtime = FakeRuntime(SystemClock())
    return Bench("fake", lambda: runtime, _spec("/m.gguf", "image"), runtime.kill, runtime.pause, runtime)


def _process(request: pytest.FixtureRequest, folder: Path) -> Bench:
    checkpoint: Path = request.getfixturevalue("checkpoint")

    def make() -> ContainerRuntime:
        return ProcessRuntime(ProcessNode(folder / "replicas", dict(os.environ)), SystemClock())

    def send(number: signal.Signals) -> Callable[[ReplicaId], object]:
        def to(replica: ReplicaId) -> None:
            pid = json.loads((folder / "replicas" / replica / "replica.json").read_text())["pid"]
            os.killpg(pid, number)

        return to

    def environment(replica: ReplicaId) -> str:
        pid = json.loads((folder / "replicas" / replica / "replica.json").read_text())["pid"]
        return _of_gpus(Path(f"/proc/{pid}/environ").read_bytes())

    spec = _spec(str(checkpoint), "")
    return Bench("process", make, spec, send(signal.SIGKILL), send(signal.SIGSTOP), make(), environment)


def _of_gpus(environment: bytes) -> str:
    """The variables that name GPUs."""
    found = [text for text in environment.decode().split("\0") if "VISIBLE_DEVICES" in text.partition("=")[0]]
    return " ".join(found)


def _docker(request: pytest.FixtureRequest, folder: Path) -> Bench:
    host: str = request.getfixturevalue("docker_host")
    image: str = request.getfixturevalue("replica_image")
    checkpoint: Path = request.getfixturevalue("checkpoint")
    instance = f"test{os.getpid()}"
    client = docker.DockerClient(base_url=host)
    request.addfinalizer(client.close)

    def container(replica: ReplicaId) -> Any:
        return client.containers.get(f"stoker-{instance}-{replica}")

    def make() -> ContainerRuntime:
        return DockerRuntime(replace(DockerNode(host), direct=request.param == "docker"), instance)

    def environment(replica: ReplicaId) -> str:
        pid = container(replica).attrs["State"]["Pid"]
        return _of_gpus(Path(f"/proc/{pid}/environ").read_bytes())

    return Bench(
        "docker",
        make,
        _spec(str(checkpoint), image),
        lambda replica: container(replica).kill(),
        lambda replica: container(replica).pause(),
        make(),
        environment,
    )


def ask(container: Container) -> dict[str, Any]:
    """What its launcher says; nothing while it does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://{container.launcher}/status", timeout=5) as answer:
            said: dict[str, Any] = json.load(answer)
    except OSError:
        return {}
    return said


def test_nothing_is_there_at_first(bench: Bench) -> None:
    assert bench.runtime.list_replicas() == ()


def test_a_started_replica_is_listed_with_all_that_is_known_of_it(bench: Bench) -> None:
    before = SystemClock().now()
    found = bench.start()

    assert (found.replica, found.pool, found.node, found.spec_hash) == (NAME, "llama", "local", "abc123")
    assert (found.state, found.exit_code) == (ContainerState.RUNNING, None)
    assert abs((found.created_at - before).total_seconds()) < START_S


def test_starting_twice_starts_one(bench: Bench) -> None:
    first = bench.start()
    bench.runtime.start_replica(bench.spec)

    assert replace(bench.only(), detail="", engine=None) == replace(first, detail="", engine=None)


def test_it_says_which_gpu_a_replica_was_given_and_so_does_a_new_controller(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    assert bench.start().gpu == ""
    bench.runtime.remove_replica(NAME)
    if bench.kind == "docker" and request.getfixturevalue("own_engine") is None:
        return  # that engine has GPUs of its own, or none: `test_docker` has what it would be asked for
    bench.spec = replace(bench.spec, gpu=GPU)
    first = bench.start()
    other = bench.make()
    (found,) = other.list_replicas()
    other.close()

    assert (first.gpu, found.gpu) == (GPU, GPU)
    assert bench.environment(NAME) == {"fake": "", "process": f"CUDA_VISIBLE_DEVICES={GPU}"}.get(
        bench.kind, f"NVIDIA_VISIBLE_DEVICES={GPU}"
    )


def test_a_new_controller_finds_it_and_starts_none(bench: Bench) -> None:
    first = bench.start()
    other = bench.make()
    (found,) = other.list_replicas()
    other.start_replica(bench.spec)
    other.close()

    assert (found.replica, found.created_at) == (first.replica, first.created_at)
    assert len(bench.runtime.list_replicas()) == 1


def test_it_becomes_ready_and_leaves_by_itself_when_asked(bench: Bench) -> None:
    container = bench.start()
    if bench.kind != "fake":
        wait_for(lambda: ask(container).get("phase") == "ready", START_S, "a ready replica")
        assert ask(container)["replica"] == NAME
        assert wait_for(lambda: bench.only().engine, START_S, "the engine's address")
    bench.runtime.terminate_replica(NAME)

    assert bench.until(ContainerState.EXITED).exit_code == 0


def test_a_killed_one_is_listed_as_exited_and_can_be_removed(bench: Bench) -> None:
    bench.start()
    bench.kill(NAME)
    found = bench.until(ContainerState.EXITED)
    assert found.exit_code in (137, -9)

    bench.runtime.remove_replica(NAME)
    assert bench.runtime.list_replicas() == ()


def test_removing_kills_what_runs_and_what_is_paused(bench: Bench) -> None:
    bench.start()
    bench.runtime.remove_replica(NAME)
    assert bench.runtime.list_replicas() == ()

    bench.start()
    bench.pause(NAME)
    bench.runtime.remove_replica(NAME)
    assert bench.runtime.list_replicas() == ()


def test_what_is_gone_is_gone_already(bench: Bench) -> None:
    bench.runtime.terminate_replica(NAME)
    bench.runtime.remove_replica(NAME)


def test_a_name_can_be_used_again(bench: Bench) -> None:
    bench.start()
    bench.kill(NAME)
    bench.until(ContainerState.EXITED)
    again = bench.start()

    assert again.state is ContainerState.RUNNING


def test_it_tells_of_a_death(bench: Bench) -> None:
    told: list[bool] = []
    bench.runtime.watch(lambda: told.append(True))
    bench.start()
    wait_for(lambda: told, START_S, "a call for the start")
    told.clear()
    bench.kill(NAME)
    wait_for(lambda: told, START_S, "a call for the death")


def test_a_death_that_it_tells_of_is_in_its_list_by_then(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.adapters.docker.SILENCE_S", 2 * START_S)  # then nothing else calls after the death
    told: list[ContainerState] = []
    bench.runtime.watch(lambda: told.extend(found.state for found in bench.runtime.list_replicas()))
    bench.start()
    wait_for(lambda: ContainerState.RUNNING in told, START_S, "a call for the start")
    bench.kill(NAME)
    wait_for(lambda: ContainerState.EXITED in told, START_S, "a call that finds it dead")


def test_its_last_words_are_kept_while_it_is_there(bench: Bench) -> None:
    assert bench.runtime.last_words(NAME) == ""
    bench.start()
    if bench.kind != "fake":
        wait_for(lambda: bench.runtime.last_words(NAME), START_S, "its first words")
    bench.kill(NAME)
    bench.until(ContainerState.EXITED)
    said = bench.runtime.last_words(NAME)
    assert said or bench.kind == "fake", "the fake says what a test puts into its mouth"
    assert len(said) <= 4000
    assert len(said.split("\n")) <= 20

    bench.runtime.remove_replica(NAME)
    assert bench.runtime.last_words(NAME) == ""


def test_none_that_is_killed_by_a_person_died_for_memory(bench: Bench) -> None:
    assert bench.start().out_of_memory is False
    bench.kill(NAME)

    assert bench.until(ContainerState.EXITED).out_of_memory is False


def test_several_at_once(bench: Bench) -> None:
    for number in (1, 2, 3):
        bench.start(ReplicaId(f"llama-{number}"))
    containers = bench.runtime.list_replicas()

    assert sorted(item.replica for item in containers) == ["llama-1", "llama-2", "llama-3"]
    assert len({str(item.launcher) for item in containers}) == 3


def test_replicas_listen_on_ports_of_their_own() -> None:
    """The next container gets the address of one that exited: it must not be taken for it."""
    ports = [inner_ports(ReplicaId(f"llama-{number}")) for number in range(100)]

    assert all(10000 <= engine < launcher < 60000 and launcher == engine + 1 for engine, launcher in ports)
    assert len(set(ports)) >= 99


@pytest.mark.docker
def test_two_installations_on_one_engine_do_not_see_each_other(docker_host: str) -> None:
    mine, theirs = DockerRuntime(DockerNode(docker_host), "aaa"), DockerRuntime(DockerNode(docker_host), "bbb")
    assert mine.list_replicas() == theirs.list_replicas() == ()
    mine.close()
    theirs.close()


@pytest.mark.docker
def test_an_image_that_is_not_there_is_refused_and_nothing_is_left(docker_host: str) -> None:
    runtime = DockerRuntime(DockerNode(docker_host), f"refuse{os.getpid()}")
    with pytest.raises(RuntimeRejected, match="no-such-image"):
        runtime.start_replica(_spec("/tmp/m.gguf", "stoker/no-such-image:1"))

    assert runtime.list_replicas() == ()
    runtime.close()


@pytest.mark.docker
def test_an_image_that_cannot_run_is_refused_and_nothing_is_left(docker_host: str, replica_image: str) -> None:
    runtime = DockerRuntime(DockerNode(docker_host), f"refuse{os.getpid()}")
    with pytest.raises(RuntimeRejected):
        runtime.start_replica(_spec("/proc/nowhere/m.gguf", replica_image))

    assert runtime.list_replicas() == ()
    runtime.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable):
        DockerRuntime(DockerNode(f"unix://{tmp_path}/none.sock"), "aaa").list_replicas()
    gc.collect()  # the SDK leaves the socket of a failed connection to the collector: let it warn here


def test_a_process_whose_controller_died_before_writing_its_number_down_is_found(
    checkpoint: Path, tmp_path: Path
) -> None:
    node = ProcessNode(tmp_path / "replicas", dict(os.environ))
    runtime = ProcessRuntime(node, SystemClock())
    runtime.start_replica(_spec(str(checkpoint), ""))
    record = node.folder / NAME / "replica.json"
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"pid": None}))

    other = ProcessRuntime(node, SystemClock())
    (found,) = other.list_replicas()
    assert found.state is ContainerState.RUNNING
    other.remove_replica(NAME)
    wait_for(lambda: not psutil.pid_exists(known["pid"]) or runtime.list_replicas() == (), 10, "its end")
    runtime.remove_replica(NAME)
    assert not psutil.pid_exists(known["pid"])
