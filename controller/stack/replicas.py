"""The replicas that an installation left behind: all of them gone, whatever the runtime."""

from __future__ import annotations

from controller.adapters.clock import SystemClock
from controller.core.errors import ControllerError
from controller.installation import Installation, Layout
from controller.stack.trouble import Trouble

_PING_S = 5.0


def remove_all(layout: Layout) -> int:
    """Kill and remove every replica of this installation; how many there were. Blocks for up to 10 s each.

    Raises:
        Trouble: the engine does not answer, or one would not go.
    """
    try:
        installation = Installation.load(layout)
    except FileNotFoundError:  # `up` never came so far as to start one, or `down` has removed them
        return 0
    try:
        if installation.docker_host is not None:
            return _remove_containers(installation.docker_host, layout)
        return _remove_processes(layout)
    except ControllerError as error:
        raise Trouble(f"the replicas could not be removed: {error}") from error


def _remove_containers(host: str, layout: Layout) -> int:
    from controller.adapters.docker import DockerNode, DockerRuntime
    from controller.adapters.docker_image import ping
    from controller.stack.engine import own_host

    if not ping(host, _PING_S):
        if host == own_host(layout):
            return 0  # what it ran are processes of this installation, and are ended as such
        raise Trouble(f"no Docker engine answers at {host}: containers labelled stoker.instance={layout.instance} stay")
    runtime = DockerRuntime(DockerNode(host), layout.instance)
    try:
        return runtime.remove_all()
    finally:
        runtime.close()


def _remove_processes(layout: Layout) -> int:
    from controller.adapters.process import ProcessNode, ProcessRuntime

    runtime = ProcessRuntime(ProcessNode(layout.replicas, {}), SystemClock())
    try:
        return runtime.remove_all()
    finally:
        runtime.close()
