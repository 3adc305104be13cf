"""ContainerRuntime on one Docker engine. Labels on the containers are the truth about what exists.

One list call a tick gives everything, ports included; `stats` and `inspect` are far too slow for that. Docker's
library is used in this file only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from time import monotonic
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound, TLSParameterError
from docker.tls import TLSConfig
from docker.types import CancellableStream

from controller.adapters.docker import listing, logs
from controller.adapters.docker.events import SILENCE_S, EngineEvent, EventFollower, EventStream
from controller.adapters.docker.exits import Exits
from controller.adapters.docker.listing import inner_ports, read_container
from controller.adapters.docker.memory import MemoryDeaths
from controller.adapters.docker.node import DockerNode, DockerTls
from controller.adapters.docker.recipe import recipe
from controller.adapters.docker.strangers import Strangers, name_of
from controller.core.errors import RuntimeRejected, RuntimeUnavailable
from controller.core.model import Container, ReplicaId
from controller.ports import ReplicaSpec

__all__ = ["DockerNode", "DockerRuntime", "DockerTls", "inner_ports"]

_LIST_TIMEOUT_S, _CHANGE_TIMEOUT_S, _ASIDE_TIMEOUT_S = 5, 10, 2
_NO_TIME_LEFT_S = 3.0  # a list that took longer asks nothing else
_OLDEST = "1.24"  # that the library speaks; which version an engine speaks any of them may ask
_POOLS = 4  # connections are made in milliseconds, and each that is kept is an open file
_EVENTS = ["start", "die", "destroy", "pause", "unpause", "oom"]


class DockerRuntime:
    """The replicas of one installation (`instance`) on one engine; other containers are never touched."""

    def __init__(self, node: DockerNode, instance: str) -> None:
        self._node, self._instance, self._direct = node, instance, node.direct
        # Several clients: a start that takes its time must not lend its long time-out to the list.
        self._lists = _Client(node, _LIST_TIMEOUT_S)
        self._changes = _Client(node, _CHANGE_TIMEOUT_S)
        self._asides = _Client(node, _ASIDE_TIMEOUT_S)
        self._deaths, self._exits = MemoryDeaths(self._out_of_memory), Exits()
        self._strangers = Strangers(instance)
        self._follower = EventFollower(self._open_events, self._hear)

    def list_replicas(self) -> tuple[Container, ...]:
        """See `ContainerRuntime.list_replicas`."""
        began = monotonic()
        with self._lists.asked() as api:
            found = api.containers(all=True, filters={"label": f"{listing.INSTANCE}={self._instance}"})
        host = self._published_at()
        try:
            found = self._strangers.leave_out(found)
            found = [listing.exited(item, self._exits.exit_code(item["Id"])) for item in found]
            if monotonic() < began + _NO_TIME_LEFT_S:
                self._deaths.learn([item["Id"] for item in found if listing.has_exited(item)])
            name, killed = self._node.name, self._deaths.killed
            return tuple(read_container(item, name, host, killed(item["Id"])) for item in found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RuntimeUnavailable(f"the Docker engine's list of containers cannot be read: {error!r}") from error

    def start_replica(self, spec: ReplicaSpec) -> None:
        """See `ContainerRuntime.start_replica`."""
        name, host = self._name(spec.replica), self._published_at()
        with self._changes.asked(starting=True) as api:
            if self._is_running(api, name):
                return
            _remove(api, name)  # of a start that was cut off half-way
            api.create_container(name=name, **recipe(spec, {listing.INSTANCE: self._instance}, host))
            try:
                api.start(name)
            except (DockerException, requests.RequestException):
                _remove(api, name)
                raise

    def terminate_replica(self, replica: ReplicaId) -> None:
        """See `ContainerRuntime.terminate_replica`."""
        with self._changes.asked() as api:
            try:
                api.kill(self._name(replica), "SIGTERM")
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or not running
                    raise

    def remove_replica(self, replica: ReplicaId) -> None:
        """See `ContainerRuntime.remove_replica`."""
        with self._changes.asked() as api:
            _remove(api, self._name(replica))

    def remove_all(self) -> int:
        """Remove every replica of this installation; how many there were. Blocks for up to 10 s each."""
        replicas = self.list_replicas()
        for container in replicas:
            self.remove_replica(container.replica)
        return len(replicas)

    def last_words(self, replica: ReplicaId) -> str:
        """See `ContainerRuntime.last_words`."""
        # In one call: the library asks first whether there is a terminal, and reads without a limit.
        path = f"/containers/{self._name(replica)}/logs"
        with self._asides.asked() as api, self._asides.get(api, path, logs.QUESTION) as answer:
            if answer.status_code in (404, 409):  # gone, or about to be
                return ""
            answer.raise_for_status()
            return logs.tail(logs.read(answer.iter_content(logs.PIECE)))

    def watch(self, on_event: Callable[[], None]) -> None:
        """See `ContainerRuntime.watch`. A link that breaks is noticed within 10 s, and made again as soon as it can."""
        self._follower.start(on_event, self._node.name)

    def close(self) -> None:
        """See `ContainerRuntime.close`. Blocks for at most 4 s."""
        self._follower.close()
        for client in (self._lists, self._changes, self._asides):
            client.close()

    def _published_at(self) -> str | None:
        """The address at which ports are published; None where containers are reached directly.

        An engine is direct when it is on this machine and not in a network of its own. It is asked once, when it first
        answers: one that is down says nothing of itself.
        """
        if self._direct is None:
            with self._asides.asked() as api:
                said = api.info()
            apart = any("rootless" in option for option in said.get("SecurityOptions") or ())
            self._direct = not apart and said.get("OperatingSystem") != "Docker Desktop"
        return None if self._direct else self._node.host

    def _is_running(self, api: docker.APIClient, name: str) -> bool:
        try:
            found = api.inspect_container(name)
        except NotFound:
            return False
        if found["Config"]["Labels"].get(listing.INSTANCE) != self._instance:
            raise RuntimeRejected(f"the container {name} exists and is not ours; remove or rename it")
        return bool(found["State"]["Running"])

    def _out_of_memory(self, container: str) -> bool:
        with self._asides.asked() as api:
            return bool(api.inspect_container(container)["State"]["OOMKilled"])

    def _hear(self, event: EngineEvent) -> None:
        match event.action:
            case "oom":
                self._deaths.hear(event.container)
            case "die" if event.exit_code is not None:
                self._exits.died(event.container, event.exit_code)
            case "start":
                self._exits.started(event.container)

    def _open_events(self, since: str | None) -> EventStream:
        labels = [f"{listing.INSTANCE}={self._instance}"]
        question = {"filters": json.dumps({"label": labels, "type": ["container"], "event": _EVENTS})}
        with self._asides.asked() as api:
            # Not the library's `events`, which waits for ever where the link has dropped.
            answer = self._asides.get(api, "/events", question | ({"since": since} if since else {}), SILENCE_S)
        return _Events(answer)

    def _name(self, replica: ReplicaId) -> str:
        return name_of(self._instance, replica)


class _Events:
    """An `EventStream` of the engine's answer."""

    def __init__(self, answer: requests.Response) -> None:
        self._answer = answer
        self._lines = CancellableStream(answer.iter_lines(chunk_size=None), answer)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines)

    def cancel(self) -> None:
        """See `EventStream.cancel`."""
        with suppress(OSError, AttributeError, DockerException):  # it has just ended by itself
            self._lines.close()

    def close(self) -> None:
        """See `EventStream.close`."""
        self._answer.close()


class _Client:
    """The library's client, made when it is first needed: making one already asks the engine, which may be down."""

    def __init__(self, node: DockerNode, timeout_s: int) -> None:
        self._node, self._timeout_s = node, timeout_s
        self._lock = threading.Lock()
        self._made: docker.APIClient | None = None

    @contextmanager
    def asked(self, *, starting: bool = False) -> Iterator[docker.APIClient]:
        """The client; its errors in our two words.

        A container that cannot be started (`starting`) the engine calls its own fault (500).
        """
        try:
            yield self._api()
        except APIError as error:
            words = str(error.explanation or error).strip()
            if error.status_code == 400 and "client version" in words:
                self.close()  # the engine was upgraded: the next call finds out which version it speaks
                raise RuntimeUnavailable(f"the Docker engine speaks another version now: {words}") from error
            if error.is_server_error() and not starting:
                raise RuntimeUnavailable(f"the Docker engine failed: {words}") from error
            raise RuntimeRejected(f"the Docker engine refused: {words}") from error
        except TLSParameterError as error:
            raise RuntimeRejected(f"a file that the Docker engine's TLS needs is missing: {self._node.tls}") from error
        except (DockerException, OSError) as error:
            raise RuntimeUnavailable(f"the Docker engine gave no answer: {type(error).__name__}") from error

    def get(
        self, api: docker.APIClient, path: str, question: Mapping[str, Any], silence_s: float = 0.0
    ) -> requests.Response:
        """An answer that is read piece by piece, each of which may take `silence_s` (0: the client's time-out)."""
        timeout = (self._timeout_s, silence_s or self._timeout_s)
        answer = api.get(f"{api.base_url}/v{api.api_version}{path}", params=question, stream=True, timeout=timeout)
        if answer.status_code == 400 or answer.status_code >= 500:
            answer.close()
            self.close()  # see `asked`
            raise RuntimeUnavailable(f"the Docker engine answered {answer.status_code} to {path}")
        return answer

    def close(self) -> None:
        """Give the connections back; the next call makes new ones."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _api(self) -> docker.APIClient:
        made = self._made
        if made is not None:
            return made
        # No fixed version: engines of the field speak 1.41 at most, or 1.44 at least.
        with closing(self._speaking(_OLDEST)) as asking:
            version = asking.version(api_version=False).get("ApiVersion")
        if not isinstance(version, str):
            raise RuntimeUnavailable("what answers in the Docker engine's place does not say which version it speaks")
        made = self._speaking(version)
        with self._lock:
            if self._made is None:
                self._made = made
                return made
            kept = self._made
        made.close()  # another thread was faster; neither waits for the other's time-out
        return kept

    def _speaking(self, version: str) -> docker.APIClient:
        # The library keeps a connection for each path that was asked last, 25 of them unless told otherwise.
        made = docker.APIClient(
            self._node.url, version=version, timeout=self._timeout_s, tls=_tls(self._node.tls), num_pools=_POOLS
        )
        made.trust_env = False  # REQUESTS_CA_BUNDLE would take the place of the node's own authority
        return made


def _tls(files: DockerTls | None) -> TLSConfig | bool:
    if files is None:
        return False
    return TLSConfig(client_cert=(str(files.cert), str(files.key)), ca_cert=str(files.ca), verify=True)


def _remove(api: docker.APIClient, name: str) -> None:
    """Kill and remove. Waits for a removal that the engine is at already, for at most 10 s."""
    try:
        api.remove_container(name, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409 or "already in progress" not in str(error.explanation):
            raise
        _await_removal(api, name)


def _await_removal(api: docker.APIClient, name: str) -> None:
    try:
        api.wait(name, timeout=_CHANGE_TIMEOUT_S, condition="removed")
    except NotFound:
        return
    except requests.Timeout as error:
        text = f"the Docker engine has been removing {name} for more than {_CHANGE_TIMEOUT_S} s"
        raise RuntimeUnavailable(text) from error
