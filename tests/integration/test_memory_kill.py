"""An engine that takes more memory than its container has, in a real one."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from docker.models.containers import Container

LAUNCH = """
import os, sys
from inference_node.configuration import from_environment
from inference_node.engines.contract import Engine
from inference_node.launcher import Launcher

open(os.environ["STOKER_CHECKPOINT"], "wb").write(b"GGUF")
engine = Engine((sys.executable, "-c", sys.argv[1]), "/health", lambda get: None)
sys.exit(Launcher(from_environment(os.environ), engine).run())
"""
GREEDY = "taken = []\nwhile True: taken.append(b'x' * 2**20)"
KILLED = "import os\nos.kill(os.getpid(), 9)"
ENVIRONMENT = {
    "STOKER_POOL": "demo",
    "STOKER_REPLICA": "demo-1",
    "STOKER_SPEC_HASH": "abc",
    "STOKER_MODEL": "demo",
    "STOKER_ENGINE": "llamacpp",
    "STOKER_CHECKPOINT": "/tmp/model.gguf",
    "STOKER_SLOTS": "1",
    "STOKER_CONTEXT_TOKENS": "64",
    "STOKER_THREADS": "1",
    "STOKER_DRAIN_TIMEOUT_S": "1",
}


@pytest.fixture
def client(docker_host: str) -> Iterator[docker.DockerClient]:
    made = docker.DockerClient(base_url=docker_host)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("engine", "end"),
    [
        pytest.param(GREEDY, "was killed by signal 9, out of memory, while loading.", id="out of memory"),
        pytest.param(KILLED, "was ended by signal 9 while loading.", id="killed by somebody"),
    ],
)
def test_the_launcher_tells_what_killed_its_engine(
    client: docker.DockerClient, replica_image: str, engine: str, end: str
) -> None:
    container: Container = client.containers.create(
        replica_image,
        command=["-c", LAUNCH, engine],
        entrypoint=["python3"],
        environment=ENVIRONMENT,
        mem_limit="96m",
        memswap_limit="96m",
        network_disabled=True,
    )
    try:
        container.start()
        assert container.wait(timeout=120)["StatusCode"] == 1
        told = container.logs().decode()
    finally:
        container.remove(force=True)

    assert f"The engine {end}" in told
