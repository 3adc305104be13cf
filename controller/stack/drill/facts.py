"""What a drill saw, as plain values. Times are seconds since the fault; those before it are negative. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Fault(StrEnum):
    """What a drill does to one replica, or to one part of the installation."""

    KILL = "kill"
    FREEZE = "freeze"
    SLOW = "slow"
    WEDGE = "wedge"
    OOM = "oom"
    EXIT_ON_START = "exit-on-start"
    HIDE_METRICS = "hide-metrics"
    ENGINE_DOWN = "engine-down"
    DISK_FULL = "disk-full"
    LOST_NODE = "lost-node"


class Ending(StrEnum):
    """How a request ended."""

    OK = "ok"
    FAILED = "failed"  # an error before the first byte of its answer
    CUT = "cut"  # its answer had begun, and broke off


# A suspect one that is still in nginx still serves.
SERVING = ("ready", "suspect")


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the drill's own load. `first_s` is the first byte of its answer; `why` says what went wrong."""

    sent_s: float
    first_s: float | None
    ended_s: float
    ending: Ending
    streamed: bool
    why: str = ""

    @property
    def duration_s(self) -> float:
        """From sending to the end."""
        return self.ended_s - self.sent_s


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica of the pool in one look. `state` is the controller's word."""

    replica: str
    state: str
    routed: bool


@dataclass(frozen=True, slots=True)
class Look:
    """The pool's replicas at one time. `desired` is None where that was not asked then."""

    at_s: float
    replicas: tuple[Seen, ...]
    desired: int | None = None

    def serving(self) -> frozenset[str]:
        """Those that nginx sends requests to and that are fit for them."""
        return frozenset(one.replica for one in self.replicas if one.routed and one.state in SERVING)


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of the controller that came after the fault."""

    at_s: float
    event: str
    subject: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Before:
    """How the pool was when the fault came."""

    replicas: tuple[str, ...]
    desired: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that was seen of one fault. `victims` are the replicas that it hit, the first one first."""

    fault: Fault
    pool: str
    at: datetime
    victims: tuple[str, ...]
    before: Before
    began_s: float
    ended_s: float
    looks: Sequence[Look] = ()
    events: Sequence[Happened] = ()
    requests: Sequence[Request] = ()
    retried: int | None = None
    took_s: float = 0.0  # that the fault took to come
    over_s: float | None = None  # what was done was undone then, where the fault itself has an end
