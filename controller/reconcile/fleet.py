"""All nodes as one: one ContainerRuntime for each, listed at the same time, so that one that hangs delays no other.

Knows no policy. A node that gives no answer keeps the replicas that it was last seen with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from controller.core.errors import PermanentError, RuntimeRejected, RuntimeUnavailable, TransientError
from controller.core.model import Container, Node, NodeName, ReplicaId
from controller.ports import Clock, ContainerRuntime, ReplicaSpec

_LIST_S = 5.0  # what the port promises of a list, and here of all of them together
_SILENT_LIST_S = 0.25  # waited for a node that was silent: one that is gone must not make every tick last 5 s
_REMOVAL_S = 3.0  # a tick waits for so long; killing a process that the kernel holds takes as long as it takes
_HUNG_REMOVAL_S = 0.5  # waited for one that hung or failed before: a list will show its end anyway
_REMOVALS_AT_ONCE = 4  # on one node

_List = Future[tuple[Container, ...]]


@dataclass(frozen=True, slots=True)
class Listing:
    """What all nodes together run. `seen`: those that have given a list at least once in this process."""

    containers: tuple[Container, ...]
    nodes: tuple[Node, ...]
    seen: frozenset[NodeName] = frozenset()


@dataclass(slots=True)
class _Site:
    """One node: its runtime, what it was last seen with (None: never), and the newest call of each sort to it."""

    name: NodeName
    runtime: ContainerRuntime
    lists: ThreadPoolExecutor
    removals: ThreadPoolExecutor
    listing: _List | None = None
    last_seen: tuple[Container, ...] | None = None
    silent_since: datetime | None = None
    back_since: datetime | None = None
    removing: dict[ReplicaId, Future[None]] = field(default_factory=dict)


class Fleet:
    """The runtimes of all nodes. Looks come from one thread; the other calls may come from several at once."""

    def __init__(self, runtimes: Mapping[NodeName, ContainerRuntime], clock: Clock) -> None:
        self._clock, self._lock = clock, Lock()
        self._sites = {name: _site(name, runtime) for name, runtime in runtimes.items()}

    @property
    def names(self) -> tuple[NodeName, ...]:
        """Every node, in the order in which they were given."""
        return tuple(self._sites)

    def look(self) -> Listing:
        """List all nodes at the same time. Blocks for at most 5 s, however many are silent.

        It waits so long only for nodes that answered the last time. One whose earlier list still hangs is not asked
        again until that call is over.

        Raises:
            TransientError, PermanentError: no node has ever given a list; the error is the last one's.
        """
        at, sites = self._clock.now(), tuple(self._sites.values())
        due = [site for site in sites if _answers(site)]
        asked = {site.name: call for site in sites if (call := _ask(site)) is not None}
        wait(asked.values(), _SILENT_LIST_S)
        wait([asked[site.name] for site in due], _LIST_S - _SILENT_LIST_S)
        errors = [error for site in sites if (error := _settle(site, asked.get(site.name), at)) is not None]
        if errors and all(site.last_seen is None for site in sites):
            raise errors[-1]
        with self._lock:
            for site in sites:
                _forget_removed(site)
        containers = tuple(container for site in sites for container in site.last_seen or ())
        nodes = tuple(Node(site.name, site.silent_since, site.back_since) for site in sites)
        return Listing(containers, nodes, frozenset(site.name for site in sites if site.last_seen is not None))

    def start(self, node: NodeName, spec: ReplicaSpec) -> None:
        """See `ContainerRuntime.start_replica`. Raises `RuntimeRejected` for a node that there is not."""
        self._named(node).runtime.start_replica(spec)

    def terminate(self, node: NodeName, replica: ReplicaId) -> None:
        """See `ContainerRuntime.terminate_replica`. Raises `RuntimeRejected` for a node that there is not."""
        self._named(node).runtime.terminate_replica(replica)

    def remove(self, node: NodeName, replica: ReplicaId) -> None:
        """See `ContainerRuntime.remove_replica`, but it blocks for at most 3 s, and for 0.5 s once one hung.

        Raises:
            RuntimeUnavailable: it is not removed yet. It goes on by itself, and who asks meanwhile is told so at once.
            RuntimeRejected: the engine refused, or there is no such node.
        """
        site = self._named(node)
        with self._lock:
            before = site.removing.get(replica)
            if before is not None and not before.done():
                raise _still_removing(replica, node)
            call = site.removals.submit(site.runtime.remove_replica, replica)
            site.removing[replica] = call
        done, _ = wait((call,), _REMOVAL_S if before is None else _HUNG_REMOVAL_S)
        if not done:
            raise _still_removing(replica, node)
        call.result()  # one that failed is remembered until a list says that the replica is gone
        with self._lock:
            site.removing.pop(replica, None)

    def last_words(self, node: NodeName, replica: ReplicaId) -> str:
        """See `ContainerRuntime.last_words`. Raises `RuntimeRejected` for a node that there is not."""
        return self._named(node).runtime.last_words(replica)

    def watch(self, on_event: Callable[[], None]) -> None:
        """See `ContainerRuntime.watch`: of any node."""
        for site in self._sites.values():
            site.runtime.watch(on_event)

    def close(self) -> None:
        """See `ContainerRuntime.close`. Calls that hang are left to their own time-outs."""
        for site in self._sites.values():
            site.lists.shutdown(wait=False, cancel_futures=True)
            site.removals.shutdown(wait=False, cancel_futures=True)
            site.runtime.close()

    def _named(self, node: NodeName) -> _Site:
        site = self._sites.get(node)
        if site is None:
            known = ", ".join(self._sites) or "none"
            raise RuntimeRejected(f"there is no node {node}; the configured ones are: {known}")
        return site


def _site(name: NodeName, runtime: ContainerRuntime) -> _Site:
    lists = ThreadPoolExecutor(1, thread_name_prefix=f"list-{name}")
    return _Site(name, runtime, lists, ThreadPoolExecutor(_REMOVALS_AT_ONCE, thread_name_prefix=f"remove-{name}"))


def _answers(site: _Site) -> bool:
    """Whether a list of it is worth waiting for: the last one came, in time or late."""
    last = site.listing
    return last is None or (last.done() and last.exception() is None)


def _ask(site: _Site) -> _List | None:
    """A new list; None where the last one still hangs."""
    if site.listing is not None and not site.listing.done():
        return None
    site.listing = site.lists.submit(site.runtime.list_replicas)
    return site.listing


def _settle(site: _Site, call: _List | None, at: datetime) -> TransientError | PermanentError | None:
    """Take over what came back; what went wrong, if it did. An answer that comes too late is not used."""
    # Where the clock was set back neither its silence nor its return may seem to be still to come.
    site.silent_since = site.silent_since and min(site.silent_since, at)
    site.back_since = site.back_since and min(site.back_since, at)
    try:
        if call is None or not call.done():
            raise RuntimeUnavailable(f"the engine of node {site.name} gave no answer in time")
        site.last_seen = call.result()
        if site.silent_since is not None:
            site.silent_since, site.back_since = None, at
    except (TransientError, PermanentError) as error:
        site.silent_since = site.silent_since or at
        return error
    return None


def _forget_removed(site: _Site) -> None:
    """Removals that are over, of replicas that are gone."""
    if site.last_seen is None:
        return
    present = {container.replica for container in site.last_seen}
    for replica in [name for name, call in site.removing.items() if call.done() and name not in present]:
        del site.removing[replica]


def _still_removing(replica: ReplicaId, node: NodeName) -> RuntimeUnavailable:
    return RuntimeUnavailable(f"{replica} is still being removed on node {node}; that goes on by itself")
