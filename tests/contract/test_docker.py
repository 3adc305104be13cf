"""DockerRuntime where its engine is down, hangs, is upgraded, floods it with events, or cannot remove a container."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from controller.adapters.docker import DockerNode, DockerRuntime, DockerTls, events, inner_ports
from controller.adapters.docker.events import EngineEvent, EventFollower
from controller.adapters.docker.exits import Exits
from controller.adapters.docker.logs import tail
from controller.adapters.docker.memory import MemoryDeaths
from controller.adapters.docker.recipe import recipe
from controller.core.errors import RuntimeRejected, RuntimeUnavailable
from controller.core.model import Container, ContainerState, NodeName, PoolName, ReplicaId
from controller.ports import ReplicaSpec
from tests.fakes.docker_engine import FakeEngine, fake_engine
from tests.fakes.proxy import Wire, wire
from tests.waiting import wait_for

NAME = ReplicaId("llama-1")
SPEC = ReplicaSpec(NAME, PoolName("llama"), "m", "llamacpp", "img", "/m/m.gguf", "abc", 1, 256, 1, 20.0)
OOM = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'bytearray(300 << 20)']); time.sleep(600)"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as made:
        yield made


def runtime_of(engine: FakeEngine) -> DockerRuntime:
    return DockerRuntime(DockerNode.at(engine.url, NodeName("local")), "test")


def listed(state: str = "running", number: int = 1) -> dict[str, Any]:
    """What the engine's list says of a replica with ports published and an address of its own."""
    port, launcher = inner_ports(NAME)
    labels = {"stoker.replica": NAME, "stoker.pool": "llama", "stoker.engine_port": str(port)}
    return {
        "Id": f"id-{number}",
        "Names": [f"/stoker-test-{NAME}"],
        "Labels": labels | {"stoker.launcher_port": str(launcher)},
        "State": state,
        "Status": "Exited (137) 2 seconds ago" if state == "exited" else "Up 2 seconds",
        "Created": 1767614400,
        "Ports": [{"PrivatePort": port, "PublicPort": 4001}, {"PrivatePort": launcher, "PublicPort": 4002}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.9"}}},
    }


def test_a_gpu_is_asked_for_by_its_uuid_and_marked() -> None:
    """Of a count the engine would give the first one, to everybody."""
    made = recipe(replace(SPEC, gpu="GPU-1a2b"), {"stoker.instance": "test"}, None)

    (asked,) = made["host_config"]["DeviceRequests"]
    assert (asked["DeviceIDs"], asked["Count"], asked["Capabilities"]) == (["GPU-1a2b"], 0, [["gpu"]])
    assert made["labels"]["stoker.gpu"] == "GPU-1a2b"
    plain = recipe(SPEC, {"stoker.instance": "test"}, None)
    assert "DeviceRequests" not in plain["host_config"]
    assert "stoker.gpu" not in plain["labels"]


def test_the_engine_is_sent_that_and_its_refusal_is_told(engine: FakeEngine) -> None:
    """As one without NVIDIA's toolkit answers."""
    runtime, spec = runtime_of(engine), replace(SPEC, gpu="GPU-1a2b")
    name = f"stoker-test-{NAME}"
    refusal = 'could not select device driver "" with capabilities: [[gpu]]'
    engine.answers |= {
        "POST /containers/create": (201, {"Id": "1", "Warnings": []}),
        f"POST /containers/{name}/start": (500, {"message": refusal}),
        f"DELETE /containers/{name}": (204, b""),
    }
    with closing(runtime), pytest.raises(RuntimeRejected, match="could not select device driver"):
        runtime.start_replica(spec)

    (body,) = engine.bodies["POST /containers/create"]
    assert json.loads(body)["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "Count": 0, "DeviceIDs": ["GPU-1a2b"], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert engine.asked.count(f"DELETE /containers/{name}") == 2, "nothing is left of it"


def test_the_gpu_of_a_container_is_read_from_its_label(engine: FakeEngine) -> None:
    first, second = listed(number=1), listed(number=2)
    first["Labels"] |= {"stoker.gpu": "GPU-1a2b"}
    engine.containers = [first, second]
    with closing(runtime_of(engine)) as runtime:
        assert [item.gpu for item in runtime.list_replicas()] == ["GPU-1a2b", ""]


@pytest.mark.parametrize(
    ("info", "where"),
    [
        pytest.param({"OperatingSystem": "Debian"}, "172.17.0.9", id="one of this machine"),
        pytest.param({"SecurityOptions": ["name=rootless"]}, "127.0.0.1", id="rootless"),
        pytest.param({"OperatingSystem": "Docker Desktop"}, "127.0.0.1", id="in a machine of its own"),
    ],
)
def test_an_engine_is_asked_once_whether_its_containers_are_reached(
    engine: FakeEngine, info: dict[str, Any], where: str
) -> None:
    engine.containers, engine.answers["GET /info"] = [listed()], (200, info)
    with closing(runtime_of(engine)) as runtime:
        for _ in range(2):
            (found,) = runtime.list_replicas()
            assert found.launcher is not None
            assert found.launcher.host == where
    assert engine.asked.count("GET /info") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_down_at_first_is_asked_when_it_answers(tmp_path: Path) -> None:
    node = DockerNode.at(f"unix://{tmp_path}/e.sock", NodeName("local"))
    with closing(DockerRuntime(node, "test")) as runtime:
        with pytest.raises(RuntimeUnavailable):
            runtime.list_replicas()
        with fake_engine(tmp_path) as late:
            late.containers = [listed()]
            late.answers["GET /info"] = (200, {"SecurityOptions": ["name=rootless"]})
            (found,) = runtime.list_replicas()
    gc.collect()  # the SDK leaves the socket of a failed connection to the collector: let it warn here

    assert str(found.launcher) == "127.0.0.1:4002"


def test_another_machines_engine_is_reached_at_its_address() -> None:
    def host(url: str, address: str = "") -> tuple[str, bool | None]:
        node = DockerNode.at(url, NodeName("far"), address)
        return node.host, node.direct

    assert host("tcp://10.0.0.2:2376") == ("10.0.0.2", False)
    assert host("tcp://gpu-2:2376", "10.0.0.2") == ("10.0.0.2", False)
    assert host("unix:///run/docker.sock") == ("127.0.0.1", None)
    assert host("unix:///run/tunnel.sock", "10.0.0.2") == ("10.0.0.2", False)


def test_a_tls_file_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    tls = DockerTls(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    node = DockerNode.at("tcp://127.0.0.1:9", NodeName("far"), tls=tls)
    with closing(DockerRuntime(node, "test")) as runtime, pytest.raises(RuntimeRejected, match=r"TLS.*ca\.pem"):
        runtime.list_replicas()


def test_an_engine_that_was_upgraded_is_asked_for_its_version_again(engine: FakeEngine) -> None:
    with closing(runtime_of(engine)) as runtime:
        runtime.list_replicas()
        engine.answers["GET /containers/json"] = (400, {"message": "client version 1.41 is too old"})
        with pytest.raises(RuntimeUnavailable, match="another version"):
            runtime.list_replicas()
        del engine.answers["GET /containers/json"]
        runtime.list_replicas()
    assert engine.asked.count("GET /version") >= 2


@pytest.mark.parametrize("said", [[{"Id": "a"}], [3], {"a": 1}])
def test_a_list_that_is_none_is_no_answer(engine: FakeEngine, said: Any) -> None:
    engine.answers["GET /containers/json"] = (200, said)
    with closing(runtime_of(engine)) as runtime, pytest.raises(RuntimeUnavailable, match="cannot be read"):
        runtime.list_replicas()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"Names": ["/a-copy"]}, id="another name"),
        pytest.param({"Names": ["/stoker-other-llama-1"]}, id="another installation's name"),
        pytest.param({"Labels": {"stoker.instance": "test"}}, id="no labels of a replica"),
        pytest.param({"Labels": listed()["Labels"] | {"stoker.engine_port": "http"}}, id="a port that is none"),
        pytest.param({"Labels": listed()["Labels"] | {"stoker.launcher_port": ""}}, id="an empty port"),
        pytest.param({"Labels": listed()["Labels"] | {"stoker.launcher_port": "70000"}}, id="a port too high"),
    ],
)
def test_a_container_that_only_has_our_labels_is_none_of_ours(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], changed: dict[str, Any]
) -> None:
    """A copy carries the labels, too. What it is to have done would be done to the genuine one."""
    engine.containers = [listed(number=2) | changed, listed()]
    with closing(runtime_of(engine)) as runtime:
        for _ in range(3):
            (found,) = runtime.list_replicas()
            assert found.replica == NAME
        (line,) = capsys.readouterr().err.splitlines()
        assert "is left alone" in line
        engine.containers = [listed()]
        runtime.list_replicas()
        engine.containers = [listed(number=2) | changed]
        assert runtime.list_replicas() == ()
    assert len(capsys.readouterr().err.splitlines()) == 1, "it is another one for all that is known"


@pytest.mark.parametrize("names", [None, []])
def test_one_that_is_just_being_removed_is_gone(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], names: list[str] | None
) -> None:
    engine.containers = [listed() | {"Names": names}]
    with closing(runtime_of(engine)) as runtime:
        assert runtime.list_replicas() == ()
    assert capsys.readouterr().err == ""


def test_a_linked_container_has_several_names(engine: FakeEngine) -> None:
    engine.containers = [listed() | {"Names": ["/web/engine", f"/stoker-test-{NAME}"]}]
    with closing(runtime_of(engine)) as runtime:
        assert [found.replica for found in runtime.list_replicas()] == [NAME]


def test_one_that_exited_is_asked_once_whether_memory_was_the_reason(engine: FakeEngine) -> None:
    engine.containers = [listed("exited", 1), listed("exited", 2), listed("running", 3)]
    engine.answers["GET /containers/id-1/json"] = (200, {"State": {"OOMKilled": True}})
    engine.answers["GET /containers/id-2/json"] = (200, {"State": {"OOMKilled": False}})
    with closing(runtime_of(engine)) as runtime:
        for _ in range(3):
            assert [found.out_of_memory for found in runtime.list_replicas()] == [True, False, False]
    assert [question for question in engine.asked if "/id-" in question] == [
        "GET /containers/id-1/json",
        "GET /containers/id-2/json",
    ]


def test_a_removal_that_the_engine_is_at_already_is_waited_for(engine: FakeEngine) -> None:
    path = "/containers/stoker-test-llama-1"
    engine.answers[f"DELETE {path}"] = (409, {"message": "removal of container id-1 is already in progress"})
    engine.answers[f"POST {path}/wait"] = (200, {"StatusCode": 137})
    with closing(runtime_of(engine)) as runtime:
        runtime.remove_replica(NAME)
    assert engine.asked[-1] == f"POST {path}/wait"


def test_how_memory_deaths_are_heard_of_is_bounded() -> None:
    deaths = MemoryDeaths(lambda _: False)
    for number in range(10_000):
        deaths.hear(f"id-{number}")

    assert deaths.killed("id-9999")
    assert not deaths.killed("id-0")


def test_who_cannot_be_asked_now_is_asked_later() -> None:
    errors: list[Exception] = [RuntimeUnavailable("busy")]

    def ask(_: str) -> bool:
        if errors:
            raise errors.pop()
        return True

    deaths = MemoryDeaths(ask)
    deaths.learn(["id-1"])
    assert not deaths.killed("id-1")
    deaths.learn(["id-1"])
    assert deaths.killed("id-1")
    deaths.learn([])
    assert not deaths.killed("id-1"), "it is gone, and so is what was known of it"


def frame(text: str, stream: int = 1) -> bytes:
    said = text.encode()
    return bytes([stream, 0, 0, 0]) + len(said).to_bytes(4, "big") + said


def test_last_words_are_the_end_of_both_streams() -> None:
    assert tail(frame("out\n") + frame("err\n", 2)) == "out\nerr"
    assert tail(frame("half a frame")[:-3]) == "half a fr"
    assert tail(b"".join(frame(f"{number}\n") for number in range(30))).split("\n")[0] == "10"
    assert len(tail(frame("x" * 9000))) == 4000
    assert tail(b"") == ""
    assert tail(frame("\xff\0é")) == "\xffé"


class Flood:
    """A stream with many events, and then none until it is cancelled."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self.cancelled, self.read = threading.Event(), 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            self.read += 1
            yield line
        self.cancelled.wait(30)

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.cancelled.set()


def test_a_flood_of_events_is_a_few_wakes_and_blocks_nobody() -> None:
    event = json.dumps({"Type": "container", "Action": "oom", "Actor": {"ID": "id-1"}, "timeNano": 5_000_000_001})
    flood, heard = Flood([event.encode()] * 10_000), list[EngineEvent]()
    held, wakes = threading.Event(), []

    def slow() -> None:
        wakes.append(True)
        held.wait(30)

    follower = EventFollower(lambda _: flood, heard.append)
    follower.start(slow, "test")
    wait_for(lambda: flood.read == 10_000 and len(heard) == 10_000, 30, "all events, while the first wake still runs")
    assert len(wakes) == 1
    held.set()
    wait_for(lambda: len(wakes) == 2, 10, "one more wake for all others")
    follower.close()
    assert len(wakes) == 2


def test_what_is_heard_of_containers() -> None:
    died = {"Action": "die", "Actor": {"ID": "id-1", "Attributes": {"exitCode": "137"}}}
    strange = {"Action": "die", "Actor": {"ID": "id-2", "Attributes": {"exitCode": "soon"}}}
    older = {"status": "start", "id": "id-3"}
    others = [{"Action": "pause", "Actor": {"ID": "id-4"}}, {"Action": "die"}, {"Action": ["die"]}, 7]
    flood = Flood([json.dumps(line).encode() for line in (died, strange, older, *others)])
    heard: list[EngineEvent] = []

    follower = EventFollower(lambda _: flood, heard.append)
    follower.start(lambda: None, "test")
    wait_for(lambda: flood.read == 7, 10, "all of them")
    follower.close()

    assert heard == [EngineEvent("die", "id-1", 137), EngineEvent("die", "id-2"), EngineEvent("start", "id-3")]


def test_an_exit_that_was_heard_of_goes_before_the_list_for_a_while() -> None:
    now = [100.0]
    exits = Exits(lambda: now[0])
    exits.died("id-1", 137)
    exits.died("id-2", 0)
    exits.started("id-2")
    assert [exits.exit_code(name) for name in ("id-1", "id-2", "id-3")] == [137, None, None]

    now[0] += 15.0
    assert exits.exit_code("id-1") is None, "it was started again, and nobody heard of that"


def test_exits_that_are_heard_of_are_bounded() -> None:
    exits = Exits()
    for number in range(10_000):
        exits.died(f"id-{number}", 1)

    assert exits.exit_code("id-9999") == 1
    assert exits.exit_code("id-0") is None


def test_one_that_died_is_listed_as_such_although_the_engine_s_list_does_not_have_it_yet(engine: FakeEngine) -> None:
    engine.containers = [listed()]
    engine.answers["GET /containers/id-1/json"] = (200, {"State": {"OOMKilled": True}})
    event = {"Action": "die", "Actor": {"ID": "id-1", "Attributes": {"exitCode": "137"}}}
    engine.answers["GET /events"] = (200, json.dumps(event).encode() + b"\n")
    with closing(runtime_of(engine)) as runtime:
        (found,) = runtime.list_replicas()
        assert found.state is ContainerState.RUNNING
        rung = threading.Event()
        runtime.watch(rung.set)
        assert rung.wait(10)
        found = wait_for(lambda: next((one for one in runtime.list_replicas() if one.exit_code), None), 10, "its death")

    assert (found.state, found.exit_code, found.engine, found.out_of_memory) == (
        ContainerState.EXITED, 137, None, True,
    )  # fmt: skip
    assert found.detail == "Exited (137)"


def test_a_stream_that_ends_is_taken_up_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_RECONNECT_S", 0.01)
    asked: list[str | None] = []

    def open_stream(since: str | None) -> Flood:
        asked.append(since)
        flood = Flood([b'{"timeNano": 5000000001}'] if len(asked) == 1 else [b"no JSON", b""])
        if len(asked) < 3:
            flood.cancel()
        return flood

    follower = EventFollower(open_stream, lambda _: None)
    follower.start(lambda: None, "test")
    wait_for(lambda: len(asked) >= 3, 10, "three streams")
    follower.close()

    assert asked == [None, "5.000000001", None]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("docker-")]


@pytest.fixture
def link(docker_host: str) -> Iterator[Wire]:
    with wire(docker_host.removeprefix("unix://")) as made:
        yield made


@pytest.mark.docker
def test_a_link_that_drops_is_noticed_and_made_again(
    link: Wire, docker_host: str, replica_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.adapters.docker.SILENCE_S", 1.0)
    told: list[bool] = []
    runtime = DockerRuntime(DockerNode(f"tcp://127.0.0.1:{link.port}"), f"link{os.getpid()}")
    runtime.watch(lambda: told.append(True))
    wait_for(lambda: told, 10, "a wake at the beginning")
    for _ in range(2):
        link.freeze()
        told.clear()
        wait_for(lambda: told, 30, "a wake for the loss")
        link.heal()
        told.clear()
        wait_for(lambda: told, 30, "a wake for the return")
    with memory_eater(docker_host, replica_image, f"link{os.getpid()}", "pass"):
        wait_for(lambda: any(found.out_of_memory is False for found in runtime.list_replicas()), 30, "its container")
        told.clear()
        wait_for(lambda: told, 30, "a wake")
    assert len(threads()) == 2, "one that follows and one that wakes, however often the link broke"

    link.freeze()
    runtime.close()
    wait_for(lambda: not threads(), 30, "the end of its threads")


def memory_eater(host: str, image: str, instance: str, program: str) -> Any:
    """A container of that installation, of 64 MiB, that runs a program; a context manager that removes it."""
    client = docker.DockerClient(base_url=host)
    labels = {"stoker.instance": instance, "stoker.replica": NAME, "stoker.pool": "llama", "stoker.spec_hash": "abc"}
    limits = {"mem_limit": "64m", "memswap_limit": "64m"}
    container = client.containers.run(
        image,
        ["-c", program],
        entrypoint="python3",
        name=f"stoker-{instance}-{NAME}",
        labels=labels,
        detach=True,
        **limits,
    )

    class Held:
        def __enter__(self) -> Any:
            return container

        def __exit__(self, *_: object) -> None:
            container.remove(force=True)
            client.close()

    return Held()


@pytest.mark.docker
def test_a_kill_for_memory_shows_while_the_container_runs_and_after_it(docker_host: str, replica_image: str) -> None:
    instance = f"oom{os.getpid()}"
    first, later = (DockerRuntime(DockerNode(docker_host), instance) for _ in range(2))
    listening = threading.Event()
    first.watch(listening.set)
    assert listening.wait(30)

    def killed(runtime: DockerRuntime) -> Callable[[], Container | None]:
        def found() -> Container | None:
            return next((item for item in runtime.list_replicas() if item.out_of_memory), None)

        return found

    with memory_eater(docker_host, replica_image, instance, OOM) as container:
        running = wait_for(killed(first), 60, "the kill of a child of its first process")
        assert running.state is ContainerState.RUNNING
        assert not any(item.out_of_memory for item in later.list_replicas()), "it did not hear of it"
        container.kill()
        exited = wait_for(killed(later), 60, "the engine's own word of it, once it has exited")
        assert exited.state is ContainerState.EXITED
        assert replace(exited, detail="") == replace(first.list_replicas()[0], detail="")
    first.close()
    later.close()
