"""The replicas that an installation left behind: all of them gone, whatever the runtime and however many nodes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from controller.adapters.clock import SystemClock
from controller.core.errors import ControllerError
from controller.installation import LOCAL, Installation, Layout, NodeParts
from controller.stack.trouble import Trouble

if TYPE_CHECKING:
    from controller.adapters.docker import DockerNode

_PING_S = 5.0


def remove_all(layout: Layout) -> int:
    """Kill and remove every replica of this installation, on all nodes at once; how many there were.

    Blocks for up to 10 s for each replica of the busiest node.

    Raises:
        Trouble: engines do not answer, or replicas would not go; all the others were removed.
    """
    try:
        installation = Installation.load(layout)
    except FileNotFoundError:  # `up` never came so far as to start one, or `down` has removed them
        return 0
    if installation.runtime == "process":
        return _attempt(lambda: _remove_processes(layout))
    instance = installation.instance_in(layout)
    with ThreadPoolExecutor(len(installation.engines) or 1, thread_name_prefix="remove") as pool:
        tried = [pool.submit(_remove_containers, node, instance, layout) for node in installation.engines]
        counts, faults = 0, []
        for one in tried:
            try:
                counts += one.result()
            except Trouble as error:
                faults.append(str(error))
    if faults:
        raise Trouble("; ".join(faults))
    return counts


def running_on(node: NodeParts, instance: str) -> int | None:
    """How many replicas of this installation a node has, stopped ones too; None where its engine does not say."""
    from controller.adapters.docker import DockerRuntime
    from controller.adapters.docker_image import ping

    if not ping(node.docker_host, _PING_S, node.tls):
        return None
    try:
        with closing(DockerRuntime(engine_of(node), instance)) as runtime:
            return len(runtime.list_replicas())
    except ControllerError:
        return None


def engine_of(node: NodeParts) -> DockerNode:
    """A node as the runtime's adapter has it."""
    from pathlib import Path

    from controller.adapters.docker import DockerNode, DockerTls
    from controller.core.model import NodeName

    tls = DockerTls(Path(node.tls.ca), Path(node.tls.cert), Path(node.tls.key)) if node.tls else None
    return DockerNode.at(node.docker_host, NodeName(node.name), node.address or "", tls)


def _remove_containers(node: NodeParts, instance: str, layout: Layout) -> int:
    from controller.adapters.docker import DockerRuntime
    from controller.adapters.docker_image import ping
    from controller.stack.engine import own_host

    if not ping(node.docker_host, _PING_S, node.tls):
        if node.docker_host == own_host(layout):
            return 0  # what it ran are processes of this installation, and are ended as such
        raise Trouble(
            f"no Docker engine answers at {node.docker_host}{_named(node)}: "
            f"containers labelled stoker.instance={instance} stay"
        )
    with closing(DockerRuntime(engine_of(node), instance)) as runtime:
        return _attempt(runtime.remove_all, _named(node))


def _remove_processes(layout: Layout) -> int:
    from controller.adapters.process import ProcessNode, ProcessRuntime

    with closing(ProcessRuntime(ProcessNode(layout.replicas, {}), SystemClock())) as runtime:
        return runtime.remove_all()


def _attempt(remove: Callable[[], int], where: str = "") -> int:
    try:
        return remove()
    except ControllerError as error:
        raise Trouble(f"the replicas{where} could not be removed: {error}") from error


def _named(node: NodeParts) -> str:
    """Where there is only this machine it needs no name."""
    return "" if node.name == LOCAL else f" (node {node.name})"
