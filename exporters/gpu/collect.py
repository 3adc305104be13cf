"""What is remembered of GPUs between two collections: who was there, what went wrong. Pure: no NVML, no clock.

Values are not among it: one that a GPU does not tell now is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from exporters.edge.sums import Counts
from exporters.gpu import words
from exporters.gpu.facts import DEADLINE, Identity, Look

MAX_GPUS = 64  # that are remembered; those that are gone for the longest time go first
_HIDDEN = "no_permission"


@dataclass(slots=True)
class Known:
    """A GPU that was there since the exporter began."""

    identity: Identity
    lost: bool = False
    hangs: bool = False
    succeeded_at: float | None = None  # seconds since the epoch
    xid: int = 0  # the last one; 0: none since it is there
    xids: Counts = field(default_factory=Counts)
    faults: Counts = field(default_factory=Counts)


class Gpus:
    """All of them, by UUID; one that would not tell it by its index.

    Not safe for several threads: the caller holds a lock.
    """

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._said_hidden: set[str] = set()

    def take(self, looks: Sequence[Look], wall: float) -> list[str]:
        """What one collection saw of all GPUs that there are; gives what is to be said. `wall`: since the epoch."""
        said: list[str] = []
        here = {look.identity.uuid for look in looks}
        if not any(_could_be_any(look) for look in looks):
            for known in self._known.values():
                if known.identity.uuid and known.identity.uuid not in here and not known.lost:
                    said.append(self._lose(known))
        for look in looks:
            said += self._take(look, wall)
        self._forget()
        return said

    def xid(self, identity: Identity, code: int) -> None:
        """An XID has come."""
        known = self._at(identity)
        known.xid = code
        known.xids.add((str(code),))

    def fault(self, identity: Identity, name: str) -> None:
        """A call has failed."""
        self._at(identity).faults.add((name,))

    def known(self) -> Iterator[Known]:
        """In the order of their indices."""
        yield from sorted(self._known.values(), key=lambda known: (known.identity.index, known.identity.uuid))

    def _take(self, look: Look, wall: float) -> Iterator[str]:
        known = self._at(look.identity)
        reading = look.reading
        if look.identity.uuid:
            self._known.pop(_nameless(look.identity.index), None)
        if reading is None:
            known.faults.add((DEADLINE,))
            if not known.hangs:
                yield words.hangs(look.identity.index, look.identity.uuid)
            known.hangs = True
            return
        known.hangs = False
        for name in reading.faults:
            known.faults.add((name,))
        if reading.lost:
            if not known.lost and (look.identity.uuid or not self._is_lost(look.identity.index)):
                yield self._lose(known)
            return
        if known.lost:
            known.lost, known.xid = False, 0
            yield words.back(look.identity.uuid, look.identity.index)
        if _HIDDEN in reading.faults and known.identity.uuid not in self._said_hidden:
            self._said_hidden.add(known.identity.uuid)
            yield words.no_processes(look.identity.index)
        if reading.values or reading.instances:
            known.succeeded_at = wall

    def _lose(self, known: Known) -> str:
        known.lost = True
        return words.lost(known.identity.uuid, known.identity.index)

    def _is_lost(self, index: int) -> bool:
        """Whether a GPU that once told its UUID was there: then it is told already."""
        return any(known.lost and known.identity.index == index for known in self._known.values())

    def _at(self, identity: Identity) -> Known:
        known = self._known.setdefault(identity.uuid or _nameless(identity.index), Known(identity))
        known.identity = identity
        return known

    def _forget(self) -> None:
        gone = sorted(
            (known for known in self._known.values() if known.lost or not known.identity.uuid),
            key=lambda known: known.succeeded_at or 0.0,
        )
        for known in gone[: max(0, len(self._known) - MAX_GPUS)]:
            del self._known[known.identity.uuid or _nameless(known.identity.index)]


def _could_be_any(look: Look) -> bool:
    """Whether one that is missing may be this one: it did not tell its UUID now, and not that it is lost either."""
    return not look.identity.uuid and (look.reading is None or not look.reading.lost)


def _nameless(index: int) -> str:
    return f"index {index}"
