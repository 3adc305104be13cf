"""The whole stack on real Docker, nginx, Prometheus and a real model: what a user does, and what breaks at night.

The tests share one stack and run in this order; each leaves it with three ready replicas.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.conftest import OwnEngine
from tests.e2e.load import Load
from tests.e2e.stack import Stack, environment, write_config
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
HEAL_S = 90.0


@pytest.fixture(scope="module")
def stack(work: Path, docker_host: str, replica_image: str) -> Iterator[Stack]:
    folder = work / "e2e"
    folder.mkdir()
    made = Stack(write_config(folder), folder / "state", environment(docker_host))
    came = made.up("--runtime", "docker")
    assert came.returncode == 0, came.stdout + came.stderr
    yield made
    went = made.stoker("down")
    assert went.returncode == 0, went.stdout + went.stderr


@pytest.fixture(scope="module")
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_host)
    yield client
    client.close()


def three_ready(stack: Stack) -> list[str]:
    try:
        return wait_for(lambda: found if len(found := stack.ready()) == 3 else None, HEAL_S, "three ready replicas")
    except AssertionError as error:
        told = stack.stoker("status").stdout + stack.stoker("why", "smollm2").stdout
        raise AssertionError(f"{error}; the stack says:\n{told}") from error


def same(stack: Stack, names: list[str]) -> bool:
    """Whether these still serve, each once. Load may have brought others besides."""
    found = [item["replica"] for item in stack.replicas() if item["state"] == "ready" and item["routed"]]
    return len(found) == len(set(found)) and set(names) <= set(found)


def codes(stack: Stack, kind: str, replica: str) -> list[str]:
    """The reasons of the decisions of this kind about this replica."""
    found = [item for item in stack.decisions() if item["kind"] == kind and item["replica"] == replica]
    return [reason["code"] for item in found for reason in item["reasons"]]


def pause(engine: docker.DockerClient, name: str) -> bool:
    """Whether it is paused now. The runtime may fail to freeze a busy container, and must be asked again."""
    with contextlib.suppress(docker.errors.APIError):
        engine.containers.get(name).pause()
    return bool(engine.containers.get(name).status == "paused")


def test_up_ends_with_three_ready_replicas_in_containers(stack: Stack, engine: docker.DockerClient) -> None:
    assert three_ready(stack) == ["smollm2-1", "smollm2-2", "smollm2-3"]
    for name in stack.ready():
        container = engine.containers.get(stack.container(name))
        assert container.labels["stoker.pool"] == "smollm2"
        (mount,) = [item for item in container.attrs["Mounts"] if item["Type"] == "bind"]
        assert mount["RW"] is False


def test_the_openai_client_gets_its_answers(stack: Stack) -> None:
    client = stack.client()
    question = [{"role": "user", "content": "What is a lighthouse?"}]
    assert [model.id for model in client.models.list()] == ["smollm2"]

    answer = client.chat.completions.create(model="smollm2", messages=question, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 16

    chunks = list(client.chat.completions.create(model="smollm2", messages=question, max_tokens=16, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(chunks) > 3
    client.close()


def test_status_tells_the_same_in_both_forms(stack: Stack) -> None:
    said = json.loads(stack.stoker("status", "--json").stdout)
    names = [item["replica"] for item in said["replicas"]]
    table = stack.stoker("status").stdout

    assert names == ["smollm2-1", "smollm2-2", "smollm2-3"]
    assert all(name in table for name in names)


def test_a_second_up_is_refused_and_harms_nothing(stack: Stack) -> None:
    again = stack.up()

    assert again.returncode == 2
    assert "already running" in again.stderr
    assert len(stack.ready()) == 3


def test_users_see_themselves_in_prometheus(stack: Stack) -> None:
    def seen() -> bool:
        query = 'sum+by+(pool)(stoker_edge_requests_total{code="200",replica=~"smollm2-.*"})'
        found = _prometheus(stack, query)
        return bool(found) and float(found[0]["value"][1]) >= 2

    wait_for(seen, 30, "the edge's count of answered requests")


def test_killed_and_paused_under_load_costs_no_request(stack: Stack, engine: docker.DockerClient) -> None:
    killed, paused, *_ = three_ready(stack)
    # About as many as the one that is left has room for: how long the others may wait for room is told elsewhere.
    with Load(stack, 6) as load:
        wait_for(lambda: load.done() >= 20, HEAL_S, "load")
        engine.containers.get(stack.container(killed)).kill()
        wait_for(lambda: pause(engine, stack.container(paused)), HEAL_S, "a paused replica")
        wait_for(lambda: not {killed, paused} & set(stack.ready()), HEAL_S, "both to leave nginx")
        wait_for(lambda: len(stack.ready()) >= 3, HEAL_S, "successors")
        before = load.done()
        wait_for(lambda: load.done() >= before + 20, HEAL_S, "more load")

    assert load.record.failed == []
    names = [item["replica"] for item in stack.replicas()]
    assert killed not in names
    assert paused not in names
    assert "ContainerExited" in codes(stack, "remove_replica", killed)
    assert "ProbesFailed" in codes(stack, "remove_replica", paused)


def test_more_load_brings_more_replicas_and_none_of_it_is_cut_on_the_way_back(stack: Stack) -> None:
    with Load(stack, 20, tokens=16) as load:
        wait_for(lambda: len(stack.ready()) == 5, HEAL_S, "a fourth and a fifth replica")
    with Load(stack, 2, tokens=200) as few:
        wait_for(lambda: [item["state"] for item in stack.replicas()] == ["ready"] * 3, 2 * HEAL_S, "three again")

    assert (load.record.failed, load.record.cut) == ([], [])
    assert (few.record.failed, few.record.cut) == ([], [])
    scaled = [item for item in stack.decisions() if item["kind"] == "scale_pool"]
    assert max(item["desired"] for item in scaled) == 5
    assert scaled[-1]["desired"] == 3
    assert all(item["reasons"] and item["outcome"] == "done" for item in scaled)


def test_why_explains_the_way_up_and_the_way_down(stack: Stack, tmp_path: Path) -> None:
    told = json.loads(stack.stoker("why", "smollm2", "--json").stdout)
    up = [item for item in told["changes"] if item["desired"] > item["current"] > 0]
    down = [item for item in told["changes"] if item["desired"] < item["current"]]
    assert {step["code"] for item in up for step in item["steps"]} >= {"AboveTarget"}
    assert {step["code"] for item in down for step in item["steps"]} >= {"BelowTarget"}
    assert all(signal["age_s"] < 3 for item in (*up, *down) for signal in item["signals"])

    said = stack.stoker("why", "smollm2", "--at", up[0]["at"]).stdout
    assert f"smollm2: {up[0]['desired']} replicas, {up[0]['current']} before" in said
    assert up[0]["steps"][0]["text"] in said

    snapshot = tmp_path / "moment.json"
    snapshot.write_text(json.dumps(down[0]), encoding="utf-8")
    asked = stack.run("explain", "--snapshot", str(snapshot), "--set", "in_flight=19", "--json")
    would_be = json.loads(asked.stdout)["would_be"]
    assert would_be["desired"] == 5, "with that load it would not have shrunk"


def test_the_controller_dies_and_users_notice_nothing(stack: Stack) -> None:
    names = three_ready(stack)
    with Load(stack, 6) as load:
        wait_for(lambda: load.done() >= 6, HEAL_S, "load")
        old = stack.process("controller.main")
        old.send_signal(signal.SIGKILL)
        wait_for(lambda: not old.is_running() and same(stack, names), HEAL_S, "a new controller")
        before = load.done()
        wait_for(lambda: load.done() >= before + 6, HEAL_S, "more load")

    assert (load.record.failed, load.record.cut) == ([], [])
    assert same(stack, names), "adopted, none started twice"


def test_prometheus_dies_and_comes_back(stack: Stack) -> None:
    names = three_ready(stack)
    with Load(stack, 4) as load:
        old = stack.process("prometheus --config.file")
        old.send_signal(signal.SIGKILL)
        # Where it is back between two ticks the controller has missed nothing, and says nothing.
        wait_for(lambda: not old.is_running() and _prometheus(stack, "up"), HEAL_S, "a new Prometheus")
        wait_for(lambda: _back(stack, "metrics") and _knows_its_load(stack), HEAL_S, "the controller to read it")

    assert (load.record.failed, load.record.cut) == ([], [])
    assert same(stack, names)


def test_nginx_dies_and_requests_fail_only_while_it_is_down(stack: Stack) -> None:
    names = three_ready(stack)
    with Load(stack, 4) as load:
        wait_for(lambda: load.done() >= 8, HEAL_S, "load")
        master = stack.nginx()
        workers = master.children()
        for process in (master, *workers):
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: not master.is_running(), HEAL_S, "its end")
        ok = load.record.ok
        wait_for(lambda: load.record.ok >= ok + 12, HEAL_S, "answers again")
    broken = len(load.record.failed) + len(load.record.cut)
    with Load(stack, 4) as after:
        wait_for(lambda: after.done() >= 12, HEAL_S, "answers")

    assert broken > 0, "it was really down"
    assert (after.record.failed, after.record.cut) == ([], [])
    assert same(stack, names)


def test_a_master_of_nginx_dies_alone_and_its_workers_serve_on(stack: Stack) -> None:
    names = three_ready(stack)
    with Load(stack, 4) as load:
        wait_for(lambda: load.done() >= 8, HEAL_S, "load")
        master = stack.nginx()
        master.send_signal(signal.SIGKILL)
        wait_for(lambda: stack.nginx_pid() != master.pid, HEAL_S, "a new master")
        done = load.done()
        wait_for(lambda: load.done() >= done + 12, HEAL_S, "answers again")

    assert load.record.cut == [], "streams go on in the old workers"
    assert same(stack, names)


def test_the_docker_engine_dies_and_users_notice_nothing(stack: Stack, own_engine: OwnEngine | None) -> None:
    if own_engine is None:
        pytest.skip("the engine is not ours to kill; without another one the tests run their own")
    names = three_ready(stack)
    with Load(stack, 4) as load:
        wait_for(lambda: load.done() >= 4, HEAL_S, "load")
        lost = _events(stack, "source_lost", "runtime")
        own_engine.kill()
        try:
            wait_for(lambda: _events(stack, "source_lost", "runtime") > lost, HEAL_S, "the controller to notice")
            before = load.done()
            wait_for(lambda: load.done() >= before + 8, HEAL_S, "answers without an engine")
        finally:
            own_engine.revive()
        wait_for(lambda: _back(stack, "runtime"), HEAL_S, "the engine to be back")
        before = load.done()
        wait_for(lambda: load.done() >= before + 8, HEAL_S, "more answers")

    assert (load.record.failed, load.record.cut) == ([], [])
    assert same(stack, names), "none was replaced for it"


def test_down_leaves_nothing(stack: Stack, engine: docker.DockerClient) -> None:
    went = stack.stoker("down")

    assert went.returncode == 0, went.stdout + went.stderr
    assert stack.processes() == []
    assert engine.containers.list(all=True, filters={"name": stack.container("")}) == []


def _prometheus(stack: Stack, query: str) -> list[dict[str, list[str]]]:
    import urllib.parse
    import urllib.request

    url = f"http://127.0.0.1:{stack.port('prometheus')}/api/v1/query?query={urllib.parse.quote(query, safe='+')}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: list[dict[str, list[str]]] = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return found


def _knows_its_load(stack: Stack) -> bool:
    (pool,) = stack.api("/api/v1/pools")
    return all(signal["known"] != "unknown" for signal in pool["signals"])


def _events(stack: Stack, name: str, source: str) -> int:
    events = stack.api("/api/v1/events?limit=1000")
    return sum(1 for item in events if item["event"] == name and item["subject"] == f"source/{source}")


def _back(stack: Stack, source: str) -> bool:
    return _events(stack, "source_back", source) >= _events(stack, "source_lost", source)
