"""Two installations on one PostgreSQL and one engine, as on two machines: one leads, and the other takes over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.e2e.load import Load
from tests.e2e.stack import Stack, environment, write_steady_config
from tests.e2e.test_failover import readyz
from tests.postgres import PostgresServer
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.slow]
HEAL_S, TAKEOVER_S = 90.0, 15.0
INSTANCE = "5eca11ab1e00"
MORE = """\
controller: {{database: postgresql, database_url_file: {secret}, instance: {instance}}}
nodes:
  - {{name: local, docker: '{docker}', address: 127.0.0.1}}
"""


@pytest.fixture
def secret(postgres: PostgresServer, tmp_path: Path) -> Path:
    """The file with the URL of a new database, for nobody else to read."""
    path = tmp_path / "database.url"
    path.touch(0o600)
    path.write_text(postgres.new_database())
    return path


@contextlib.contextmanager
def up(folder: Path, secret: Path, docker_host: str) -> Iterator[Stack]:
    """One of the two machines."""
    folder.mkdir()
    more = MORE.format(secret=secret, instance=INSTANCE, docker=docker_host)
    stack = Stack(write_steady_config(folder, 3, more), folder / "state", environment(None))
    came = stack.up("--runtime", "docker")
    assert came.returncode == 0, came.stdout + came.stderr
    try:
        yield stack
    finally:
        went = stack.stoker("down")
        assert went.returncode == 0, went.stdout + went.stderr


def containers(engine: docker.DockerClient) -> list[str]:
    """The replicas that have one, an entry for each."""
    found = engine.containers.list(all=True, filters={"label": f"stoker.instance={INSTANCE}"})
    return sorted(item.labels["stoker.replica"] for item in found)


def settled(stack: Stack, engine: docker.DockerClient) -> bool:
    """Whether three serve, each in one container, and there is no other."""
    return len(stack.ready()) == 3 and containers(engine) == sorted(stack.ready())


def test_a_killed_leader_is_followed_within_15_s_and_nothing_is_started_twice(
    work: Path, secret: Path, docker_host: str, replica_image: str
) -> None:
    folder, engine = work / "ha", docker.DockerClient(base_url=docker_host)
    folder.mkdir()
    with contextlib.closing(engine), up(folder / "a", secret, docker_host) as first:
        wait_for(lambda: settled(first, engine), HEAL_S, "three ready replicas")
        with up(folder / "b", secret, docker_host) as second:
            port = second.port("controller")
            assert readyz(port).startswith("stands by")
            supervisor, leader = first.process("supervisord"), first.process("controller.main")
            supervisor.suspend()  # else it would start the leader anew, and that is another test
            try:
                leader.kill()
                wait_for(lambda: readyz(port) == "ok", TAKEOVER_S, "the other to take over")
                # Their state directories differ here, and so do the paths of the checkpoint: a rolling update.
                wait_for(lambda: settled(second, engine), HEAL_S, "its nginx to have three of its own")
                with Load(second, 2) as load:
                    victim = second.ready()[0]
                    engine.containers.get(f"stoker-{INSTANCE}-{victim}").kill()
                    wait_for(lambda: victim not in second.ready() and settled(second, engine), HEAL_S, "it to heal")
                assert load.record.failed == []
            finally:
                supervisor.resume()
            old = first.port("controller")
            wait_for(lambda: readyz(old).startswith("stands by"), HEAL_S, "the old one to stand by")
        wait_for(lambda: readyz(old) == "ok", 2 * TAKEOVER_S, "the old one to lead again")
        wait_for(lambda: len(first.ready()) == 3, HEAL_S, "its replicas to go on")

    with contextlib.closing(docker.DockerClient(base_url=docker_host)) as engine:
        assert containers(engine) == []
