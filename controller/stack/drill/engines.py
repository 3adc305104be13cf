"""The replicas of an installation that has one Docker engine or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from controller.adapters.docker_faults import FaultRefused
from controller.stack.drill.injury import Replicas
from controller.stack.trouble import Trouble


class Separately:
    """See `Restorable`. Each engine is opened by itself: one that is silent keeps nothing from the others."""

    def __init__(self, engines: Sequence[Callable[[], Replicas]]) -> None:
        self._engines = tuple(engines)

    def restore(self, replica: str) -> bool:
        """See `Replicas.restore`. Raises `Trouble` where none had anything to give, and one that may have is silent."""
        silent = ""
        for opened in self._engines:
            try:
                with closing(opened()) as engine:
                    if engine.restore(replica):
                        return True
            except (Trouble, FaultRefused) as error:
                silent = silent or str(error)
        if silent:
            raise Trouble(silent)
        return False

    def close(self) -> None:
        """Nothing is open."""


class Engines:
    """See `Replicas`: each replica is hurt by the engine that it runs on, and given back by the same one.

    `hosts` are the engines' own addresses, unix://... or tcp://..., in the same order.
    """

    def __init__(self, engines: Sequence[Replicas], pool: str, hosts: Sequence[str] = ()) -> None:
        self._engines, self._pool, self._hosts = tuple(engines), pool, tuple(hosts)
        self._homes: dict[str, Replicas] = {}

    def running(self, pool: str) -> frozenset[str]:
        """See `Replicas.running`. An engine that does not answer has none."""
        found: set[str] = set()
        for engine in self._engines:
            try:
                names = engine.running(pool)
            except FaultRefused:
                continue
            self._homes |= dict.fromkeys(names, engine)
            found |= names
        return frozenset(found)

    def by_host(self) -> dict[str, frozenset[str]]:
        """The pool's running replicas of each engine that has some, by the engine's address."""
        found: dict[str, frozenset[str]] = {}
        for host, engine in zip(self._hosts, self._engines, strict=True):
            with suppress(FaultRefused):
                found[host] = engine.running(self._pool)
        return {host: names for host, names in found.items() if names}

    def kill(self, replica: str) -> None:
        """See `Replicas.kill`."""
        self._home(replica).kill(replica)

    def freeze(self, replica: str) -> None:
        """See `Replicas.freeze`."""
        self._home(replica).freeze(replica)

    def thaw(self, replica: str) -> None:
        """See `Replicas.thaw`."""
        self._home(replica).thaw(replica)

    def slow(self, replica: str, share: float) -> None:
        """See `Replicas.slow`."""
        self._home(replica).slow(replica, share)

    def unslow(self, replica: str) -> None:
        """See `Replicas.unslow`."""
        self._home(replica).unslow(replica)

    def pids(self, replica: str) -> tuple[int, ...]:
        """See `Replicas.pids`."""
        return self._home(replica).pids(replica)

    def starve(self, replica: str) -> None:
        """See `Replicas.starve`."""
        self._home(replica).starve(replica)

    def unstarve(self, replica: str) -> None:
        """See `Replicas.unstarve`."""
        self._home(replica).unstarve(replica)

    def restore(self, replica: str) -> bool:
        """See `Replicas.restore`. Each engine is asked: one that has been silent until now may have it."""
        return any(engine.restore(replica) for engine in self._engines)

    def close(self) -> None:
        """See `Replicas.close`."""
        for engine in self._engines:
            engine.close()

    def _home(self, replica: str) -> Replicas:
        """Where it was seen last; else the first engine, which then says in its own words that it has none."""
        if replica not in self._homes:
            self.running(self._pool)
        return self._homes.get(replica, self._engines[0])
