"""What a soak comes to. Pure: reads no clock and starts nothing. Times are seconds on the machine's monotonic clock."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tests.bench.failover.figures import Request

BEFORE_S = 10.0  # a fault may be the cause of a failure so long after its end
NGINX = "kill-nginx"


@dataclass(frozen=True)
class Done:
    """One fault. `ended`: what was done was undone, or is over; `refused`: why it could not be done, else empty.

    `gone`: a wedged replica was ended then; until then it holds the requests that it has.
    """

    kind: str
    at: float
    ended: float
    victim: str = ""
    refused: str = ""
    gone: float | None = None


@dataclass(frozen=True)
class Look:
    """One look at the pool. `ready` is None while the controller does not answer."""

    at: float
    ready: int | None


@dataclass(frozen=True)
class Strength:
    """For how long the pool was below the floor, of the time of which it is known; seconds."""

    known_s: float
    below_s: float
    longest_s: float
    unknown_s: float

    @property
    def share(self) -> float:
        """Of the known time."""
        return self.below_s / self.known_s if self.known_s else 0.0


@dataclass(frozen=True)
class Bad:
    """A request that failed or was cut. `near`: the faults within the 10 s before that."""

    at_s: float  # since the soak's beginning
    took_s: float
    error: str
    cut: bool
    near: list[str]
    nginx: bool  # nginx was killed within that time, and it had begun before the next one served


@dataclass(frozen=True)
class Check:
    """One invariant."""

    what: str
    kept: bool
    found: str


@dataclass(frozen=True)
class Report:
    """A whole run, as its JSON has it."""

    about: dict[str, str]
    seconds: float
    requests: int
    mean_s: float
    p95_s: float
    p99_s: float
    worst_s: float
    strength: Strength
    reloads: int
    replicas_started: int
    postponed: int
    faults: list[Done]
    bad: list[Bad]
    checks: list[Check]
    excused: list[str] = field(default_factory=list)  # sentences on what an invariant leaves out, and why
    vitals: list[dict[str, Any]] = field(default_factory=list)  # of the controller's process, over time

    def failed(self, *, nginx: bool) -> list[Bad]:
        """Without a byte of an answer, within or without the deaths of nginx."""
        return [one for one in self.bad if not one.cut and one.nginx == nginx]

    def cut(self, *, nginx: bool) -> list[Bad]:
        """Answers that broke off, likewise."""
        return [one for one in self.bad if one.cut and one.nginx == nginx]

    @property
    def sound(self) -> bool:
        """Every invariant held, and no request failed but for those that nginx's own death cost."""
        return not self.broken and not self.failed(nginx=False)

    @property
    def broken(self) -> list[Check]:
        """Invariants that do not hold."""
        return [check for check in self.checks if not check.kept]

    def as_json(self) -> dict[str, Any]:
        """Goes through `json.dumps`."""
        return asdict(self)

    @staticmethod
    def of(parsed: dict[str, Any]) -> Report:
        """What `as_json` gave. Raises `KeyError` or `TypeError` where it is something else."""
        lists = {"faults": Done, "bad": Bad, "checks": Check}
        made = {name: [kind(**one) for one in parsed[name]] for name, kind in lists.items()}
        plain = {one.name: parsed[one.name] for one in fields(Report) if one.name not in made}
        return Report(**{**plain, **made, "strength": Strength(**parsed["strength"])})


@dataclass(frozen=True)
class Latency:
    """How long the clients waited, seconds."""

    mean_s: float
    p95_s: float
    p99_s: float
    worst_s: float


def latency(requests: Sequence[Request]) -> Latency:
    """Of all but those that were refused at once. Raises `ValueError` where there is none."""
    waited = sorted(request.ended - request.began for request in requests if not request.refused)
    if not waited:
        raise ValueError("no request was answered, so nothing was measured")
    return Latency(statistics.fmean(waited), _quantile(waited, 0.95), _quantile(waited, 0.99), waited[-1])


def bad(requests: Sequence[Request], faults: Sequence[Done], began: float) -> list[Bad]:
    """The requests that did not end well, in the order in which they ended."""
    found = sorted((request for request in requests if request.error), key=lambda request: request.ended)
    return [_bad(request, faults, began) for request in found]


def strength(looks: Sequence[Look], floor: int) -> Strength:
    """What a look saw holds until the next one."""
    known = below = longest = unknown = run = 0.0
    for look, later in zip(looks, looks[1:], strict=False):
        took = later.at - look.at
        if look.ready is None:
            unknown += took
            continue
        known += took
        run = run + took if look.ready < floor else 0.0
        below += took if look.ready < floor else 0.0
        longest = max(longest, run)
    return Strength(known, below, longest, unknown)


def by_kind(faults: Sequence[Done]) -> dict[str, int]:
    """How many were done of each, the most frequent first."""
    return dict(Counter(fault.kind for fault in faults if not fault.refused).most_common())


def causes(found: Sequence[Bad]) -> dict[tuple[str, str], int]:
    """How many by error and by the faults near, the most frequent first."""
    return dict(Counter((one.error, ", ".join(one.near) or "none") for one in found).most_common())


def _bad(request: Request, faults: Sequence[Done], began: float) -> Bad:
    known = (fault for fault in faults if not fault.refused)
    near = [one for one in known if one.at <= request.ended <= (one.gone or one.ended) + BEFORE_S]
    nginx = any(one.kind == NGINX and request.began <= one.ended for one in near)
    return Bad(
        at_s=round(request.ended - began, 2),
        took_s=round(request.ended - request.began, 2),
        error=request.error,
        cut=request.first is not None,
        near=[one.kind for one in near],
        nginx=nginx,
    )


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[math.ceil(share * len(ascending)) - 1]
