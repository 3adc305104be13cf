"""ContainerRuntime on one Docker engine. Labels on the containers are the truth about what exists.

One list call a tick gives everything, ports included; `stats` and `inspect` are far too slow for that.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import CancellableStream, LogConfig

from controller.core.errors import RuntimeRejected, RuntimeUnavailable
from controller.core.model import Address, Container, ContainerState, NodeName, PoolName, ReplicaId
from controller.ports import ReplicaSpec

_LIST_TIMEOUT_S, _CHANGE_TIMEOUT_S = 5, 10
_RECONNECT_S = 1.0
_EXITED = re.compile(r"Exited \((\d+)\)")
_INSTANCE, _POOL, _REPLICA, _SPEC_HASH = "stoker.instance", "stoker.pool", "stoker.replica", "stoker.spec_hash"
_ENGINE_PORT, _LAUNCHER_PORT = "stoker.engine_port", "stoker.launcher_port"
_EVENTS = ["start", "die", "destroy", "pause", "unpause"]


@dataclass(frozen=True, slots=True)
class DockerNode:
    """Which engine, under which name, and at which address its published ports are reached.

    `direct`: its containers' own addresses are reached, too. Then nothing is published: Docker's forwarding of a
    loopback port is a process of the engine and dies with it, and all requests with that.
    """

    url: str
    name: NodeName = NodeName("local")
    host: str = "127.0.0.1"
    direct: bool = False

    @staticmethod
    def at(url: str, name: NodeName) -> DockerNode:
        """The node of an engine, asked whether it is direct: on this machine, and not inside a network of its own.

        Blocks for at most 5 s. An engine that does not answer is taken for what such engines nearly always are.
        """
        if not url.startswith("unix://"):
            return DockerNode(url, name)
        client = _Client(url, _LIST_TIMEOUT_S)
        try:
            said = client.api().info()
        except (DockerException, requests.RequestException):
            return DockerNode(url, name, direct=True)
        finally:
            client.close()
        apart = any("rootless" in option for option in said.get("SecurityOptions") or ())
        return DockerNode(url, name, direct=not apart and said.get("OperatingSystem") != "Docker Desktop")


class DockerRuntime:
    """The replicas of one installation (`instance`) on one engine; other containers are never touched."""

    def __init__(self, node: DockerNode, instance: str) -> None:
        self._node, self._instance = node, instance
        # Two clients: a start that takes its time must not lend its long time-out to the list.
        self._lists = _Client(node.url, _LIST_TIMEOUT_S)
        self._changes = _Client(node.url, _CHANGE_TIMEOUT_S)
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None
        self._stream: CancellableStream[Any] | None = None

    def list_replicas(self) -> tuple[Container, ...]:
        """See `ContainerRuntime.list_replicas`."""
        with _translated():
            found = self._lists.api().containers(all=True, filters={"label": f"{_INSTANCE}={self._instance}"})
        return tuple(read_container(item, self._node) for item in found)

    def start_replica(self, spec: ReplicaSpec) -> None:
        """See `ContainerRuntime.start_replica`."""
        name = self._name(spec.replica)
        with _translated(starting=True):
            if self._is_running(name):
                return
            self._remove(name)  # of a start that was cut off half-way
            self._changes.api().create_container(**self._recipe(spec, name))
            try:
                self._changes.api().start(name)
            except (DockerException, requests.RequestException):
                self._remove(name)
                raise

    def terminate_replica(self, replica: ReplicaId) -> None:
        """See `ContainerRuntime.terminate_replica`."""
        with _translated():
            try:
                self._changes.api().kill(self._name(replica), "SIGTERM")
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or not running
                    raise

    def remove_replica(self, replica: ReplicaId) -> None:
        """See `ContainerRuntime.remove_replica`."""
        with _translated():
            self._remove(self._name(replica))

    def remove_all(self) -> int:
        """Remove every replica of this installation; how many there were. Blocks for up to 10 s each."""
        replicas = self.list_replicas()
        for container in replicas:
            self.remove_replica(container.replica)
        return len(replicas)

    def watch(self, on_event: Callable[[], None]) -> None:
        """See `ContainerRuntime.watch`.

        The stream has no time-out of its own. Where it hangs, ticks at their usual interval still see everything.
        """
        self._watcher = threading.Thread(target=self._follow, args=(on_event,), name="docker-events", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """See `ContainerRuntime.close`."""
        self._closing.set()
        if self._stream is not None:
            self._stream.close()
        if self._watcher is not None:
            self._watcher.join(_LIST_TIMEOUT_S)
        self._lists.close()
        self._changes.close()

    def _follow(self, on_event: Callable[[], None]) -> None:
        client = _Client(self._node.url, _LIST_TIMEOUT_S)
        filters = {"label": f"{_INSTANCE}={self._instance}", "type": "container", "event": _EVENTS}
        while not self._closing.is_set():
            try:
                self._stream = client.api().events(filters=filters)
                on_event()  # whatever happened until now went unheard
                for _ in self._stream:
                    on_event()
            except (DockerException, requests.RequestException, OSError):
                on_event()  # the engine went away: let a tick see it
            self._closing.wait(_RECONNECT_S)
        client.close()

    def _is_running(self, name: str) -> bool:
        try:
            found = self._changes.api().inspect_container(name)
        except NotFound:
            return False
        if found["Config"]["Labels"].get(_INSTANCE) != self._instance:
            raise RuntimeRejected(f"the container {name} exists and is not ours; remove or rename it")
        return bool(found["State"]["Running"])

    def _remove(self, name: str) -> None:
        try:
            self._changes.api().remove_container(name, force=True, v=True)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409 or "already in progress" not in str(error.explanation):
                raise

    def _name(self, replica: ReplicaId) -> str:
        return f"stoker-{self._instance}-{replica}"

    def _recipe(self, spec: ReplicaSpec, name: str) -> dict[str, Any]:
        """What the engine is told. The checkpoints are mounted where they lie on the node, read-only.

        The process in it gets nothing that it does not need: no capability, no new privilege, no writable file
        but /tmp.
        """
        folder = str(PurePosixPath(spec.checkpoint).parent)
        engine, launcher = inner_ports(spec.replica)
        published = () if self._node.direct else (engine, launcher)
        ports: dict[int | str, Any] = dict.fromkeys(published, (self._node.host, None))
        host = self._changes.api().create_host_config(
            binds={folder: {"bind": folder, "mode": "ro"}},
            port_bindings=ports,
            read_only=True,
            tmpfs={"/tmp": "size=64m"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            log_config=LogConfig(type="json-file", config={"max-size": "5m", "max-file": "2"}),
        )
        labels = {
            _INSTANCE: self._instance,
            _POOL: spec.pool,
            _REPLICA: spec.replica,
            _SPEC_HASH: spec.spec_hash,
            _ENGINE_PORT: str(engine),
            _LAUNCHER_PORT: str(launcher),
        }
        listen = {"STOKER_ENGINE_PORT": str(engine), "STOKER_LAUNCHER_PORT": str(launcher)}
        return {
            "image": spec.image,
            "name": name,
            "environment": spec.environment() | listen,
            "labels": labels,
            "ports": list(ports),
            "host_config": host,
        }


class _Client:
    """The SDK's client, made when it is first needed: making one already asks the engine, which may be down."""

    def __init__(self, url: str, timeout_s: int) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._lock = threading.Lock()
        self._made: docker.APIClient | None = None

    def api(self) -> docker.APIClient:
        """Raises the SDK's errors where the engine does not answer."""
        with self._lock:
            if self._made is None:
                # No fixed version: engines of the field speak 1.41 at most, or 1.44 at least.
                self._made = docker.APIClient(base_url=self._url, version="auto", timeout=self._timeout_s)
            return self._made

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            if self._made is not None:
                self._made.close()


def inner_ports(replica: ReplicaId) -> tuple[int, int]:
    """Where engine and launcher listen inside the container: even and odd, between 10000 and 59999, by name.

    The engine gives the address of a container that exited to the next one at once. With a port of its own a request
    that is on its way to the old one is refused by the new one, which may hold another model, and is tried elsewhere.
    """
    engine = 10000 + 2 * (zlib.crc32(replica.encode()) % 25000)
    return engine, engine + 1


def read_container(item: Mapping[str, Any], node: DockerNode) -> Container:
    """One element of the engine's list -> Container."""
    labels = item["Labels"]
    status = str(item.get("Status", ""))
    exited = _EXITED.match(status)
    return Container(
        replica=ReplicaId(labels.get(_REPLICA, "")),
        pool=PoolName(labels.get(_POOL, "")),
        node=node.name,
        spec_hash=labels.get(_SPEC_HASH, ""),
        state=_state(str(item["State"])),
        created_at=datetime.fromtimestamp(item["Created"], tz=UTC),
        engine=_address(item, node, labels.get(_ENGINE_PORT)),
        launcher=_address(item, node, labels.get(_LAUNCHER_PORT)),
        exit_code=int(exited[1]) if exited else None,
        detail=status,
    )


def _state(said: str) -> ContainerState:
    if said in ("running", "paused", "restarting"):
        return ContainerState.RUNNING
    return ContainerState.CREATED if said == "created" else ContainerState.EXITED


def _address(item: Mapping[str, Any], node: DockerNode, label: str | None) -> Address | None:
    if label is None:
        return None
    port = int(label)
    if node.direct:
        networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
        own = next((network["IPAddress"] for network in networks.values() if network.get("IPAddress")), None)
        return None if own is None else Address(own, port)
    ports = {known["PrivatePort"]: known.get("PublicPort") for known in item.get("Ports") or ()}
    public = ports.get(port)
    return None if public is None else Address(node.host, public)


@contextmanager
def _translated(*, starting: bool = False) -> Iterator[None]:
    """The SDK's errors in our two words. A container that cannot be started the engine calls its own fault (500)."""
    try:
        yield
    except APIError as error:
        words = str(error.explanation or error).strip()
        if error.is_server_error() and not starting:
            raise RuntimeUnavailable(f"the Docker engine failed: {words}") from error
        raise RuntimeRejected(f"the Docker engine refused: {words}") from error
    except (DockerException, requests.RequestException) as error:
        raise RuntimeUnavailable(f"the Docker engine gave no answer: {type(error).__name__}") from error
