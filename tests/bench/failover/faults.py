"""The faults. Each is a context: done to one replica on entry, and undone on exit where there is still something."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import docker
import psutil

from controller.stack.ptrace import busiest_thread, frozen_thread

Fault = Callable[[docker.DockerClient, str], AbstractContextManager[None]]
"""Takes the engine and the container."""


@contextmanager
def kill(client: docker.DockerClient, container: str) -> Iterator[None]:
    """SIGKILL of the replica's first process, not `docker kill`: a container that was killed so is not restarted."""
    first = client.api.inspect_container(container)["State"]["Pid"]
    psutil.Process(first).kill()
    yield


@contextmanager
def freeze(client: docker.DockerClient, container: str) -> Iterator[None]:
    """SIGSTOP of all its processes, not `docker pause`: that would suspend Docker's own health checks, too."""
    frozen = _processes(client, container)
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):  # that is: it was replaced
                process.send_signal(signal.SIGCONT)


@contextmanager
def wedge(client: docker.DockerClient, container: str) -> Iterator[None]:
    """Stop the thread that computes, and no other: /health goes on to answer 200. Needs load, by which it is found."""
    engine = max(_processes(client, container), key=lambda process: sum(process.cpu_times()[:2]))
    with frozen_thread(engine.pid, busiest_thread(engine.pid)):
        yield


FAULTS: dict[str, Fault] = {"kill": kill, "freeze": freeze, "wedge": wedge}


def _processes(client: docker.DockerClient, container: str) -> list[psutil.Process]:
    table = client.api.top(container)
    column = table["Titles"].index("PID")
    found = []
    for row in table["Processes"]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a health check's, which is over
            found.append(psutil.Process(int(row[column])))
    return found
