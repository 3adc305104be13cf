"""A recording -> the figures that promises are made of. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.stack.drill.facts import Ending, Fault, Happened, Look, Recording, Request

# How the controller says that it has judged a replica; it may have gone so fast that only its removal is told.
_JUDGED = (
    "replica_suspect",
    "replica_unready",
    "replica_stopped",
    "replica_removed",
    "replica_terminated",
)
_LEAVING = ("replica_drained", "replica_terminated", "replica_removed", "replica_recycled")
_TOO_MANY = "AboveDesired"
_RELOADED_S = 1.0  # from the beginning of the tick that reloads nginx until its new workers have taken over
# What falls silent where no replica is hit; a node's own engine has its name behind it.
_SILENT = {Fault.HIDE_METRICS: "source/metrics", Fault.ENGINE_DOWN: "source/runtime"}
_ROUTES = re.compile(r"Sends requests to (.*)\.")


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures; None for what did not happen, or cannot be said of this fault. Times in seconds after the fault."""

    detected_s: float | None
    out_s: float | None
    whole_s: float | None
    requests: int
    failed: int
    cut: int
    cut_elsewhere: int
    retried: int | None
    replaced: int
    missing: int  # serving replicas below what was desired, at the worst, the victims not counted
    mean_before_s: float | None
    mean_during_s: float | None
    p95_before_s: float | None
    p95_during_s: float | None

    def figure(self, name: str) -> float | None:
        """One of them by its name."""
        value: float | None = getattr(self, name)
        return value

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times to the millisecond."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def measure(recording: Recording) -> Measured:
    """All of them."""
    endings = [request.ending for request in recording.requests]
    out_s = _out(recording)
    before = [one.duration_s for one in _good(recording.requests) if one.ended_s < 0]
    during = [one.duration_s for one in _good(recording.requests) if one.ended_s >= 0]
    return Measured(
        detected_s=_detected(recording),
        out_s=out_s,
        whole_s=_whole(recording),
        requests=len(endings),
        failed=endings.count(Ending.FAILED),
        cut=endings.count(Ending.CUT),
        cut_elsewhere=sum(1 for one in recording.requests if _cut_elsewhere(one, recording, out_s)),
        retried=recording.retried,
        replaced=_replaced(recording),
        missing=_missing(recording),
        mean_before_s=_mean(before),
        mean_during_s=_mean(during),
        p95_before_s=p95(before),
        p95_during_s=p95(during),
    )


def routes(happened: Happened, pool: str) -> frozenset[str] | None:
    """The replicas that nginx sends the pool's requests to, as a reload tells; None where it tells nothing of it."""
    found = _ROUTES.search(happened.message) if happened.event == "gateway_reloaded" else None
    for part in found[1].split("; ") if found else ():
        name, _, servers = part.partition(": ")
        if name == pool:
            return frozenset(servers.split(", ")) - {"none"}
    return None


def p95(values: Sequence[float]) -> float | None:
    """The nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None


def _detected(recording: Recording) -> float | None:
    """The first word of the controller, or the first look in which it no longer took the victim for good."""
    if not recording.victims:
        silent = _SILENT.get(recording.fault, "source/")
        told = (one for one in recording.events if one.event == "source_lost" and one.subject.startswith(silent))
        return _earliest(told)
    victim = recording.victims[0]
    judged = (one for one in recording.events if one.event in _JUDGED and one.subject == f"replica/{victim}")
    times = (_earliest(judged), _first_look(recording, lambda look: _state(look, victim) != "ready"))
    return min((at_s for at_s in times if at_s is not None), default=None)


def _out(recording: Recording) -> float | None:
    if not recording.victims:
        return None
    victim = recording.victims[0]

    def without(names: frozenset[str], at_s: float) -> bool:
        return victim not in names

    return _routed(recording, without, lambda look: victim not in _routed_in(look))


def _whole(recording: Recording) -> float | None:
    """Until as many serve as were desired before, without the victims; or fewer, where the load has become less."""
    hit = frozenset(recording.victims)

    def told(names: frozenset[str], at_s: float) -> bool:
        before = [look for look in _after(recording) if look.at_s <= at_s]
        return len(names - hit) >= _needed(recording, before[-1] if before else None)

    def serves(look: Look) -> bool:
        return len(look.serving() - hit) >= _needed(recording, look)

    short_s = _first_look(recording, lambda look: not serves(look))
    if short_s is None:
        return 0.0 if any(_after(recording)) else None
    if not hit:
        return _first_look(recording, lambda look: look.at_s > short_s and serves(look))
    return _routed(recording, told, serves)


def _needed(recording: Recording, look: Look | None) -> int:
    """What was desired before, or at that look, whichever is less."""
    desired = recording.before.desired
    return desired if look is None or look.desired is None else min(desired, look.desired)


def _routed(
    recording: Recording, told: Callable[[frozenset[str], float], bool], looked: Callable[[Look], bool]
) -> float | None:
    """When nginx was told so: by the event, else by the looks.

    An event has the time at which its tick began. Where a look still showed the old routes after that, it was later.
    """
    at_s = _earliest(
        one for one in recording.events if (names := routes(one, recording.pool)) is not None and told(names, one.at_s)
    )
    first_s = _first_look(recording, looked)
    if at_s is None or first_s is None:
        return _first(at_s, first_s)
    still = [look.at_s for look in _after(recording) if look.at_s < first_s and not looked(look)]
    return max([at_s, *still])


def _cut_elsewhere(request: Request, recording: Recording, out_s: float | None) -> bool:
    """A stream that broke and cannot have been the victim's: it broke before the fault, or was sent after it left.

    The client does not see which replica answers it, so the times are all there is.
    """
    if request.ending is not Ending.CUT:
        return False
    if not recording.victims or request.ended_s < -recording.took_s:
        return True
    return out_s is not None and request.sent_s > out_s + _RELOADED_S


def _replaced(recording: Recording) -> int:
    """Replicas that were taken away although nothing hit them. One that is too many for the load is none of these."""
    hit = {f"replica/{victim}" for victim in recording.victims}
    gone = {one.subject for one in recording.events if one.event in _LEAVING and one.reason != _TOO_MANY}
    return len(gone - hit)


def _missing(recording: Recording) -> int:
    """Where the fault has an end, until then: what happens later is for the load to say."""
    hit, until_s = frozenset(recording.victims), recording.ended_s if recording.over_s is None else recording.over_s
    counts = [
        _needed(recording, look) - len(look.serving() - hit) for look in _after(recording) if look.at_s <= until_s
    ]
    return max([0, *counts])


def _after(recording: Recording) -> Iterator[Look]:
    return (look for look in recording.looks if look.at_s >= 0)


def _first_look(recording: Recording, holds: Callable[[Look], bool]) -> float | None:
    return next((look.at_s for look in _after(recording) if holds(look)), None)


def _state(look: Look, replica: str) -> str | None:
    return next((one.state for one in look.replicas if one.replica == replica), None)


def _routed_in(look: Look) -> frozenset[str]:
    return frozenset(one.replica for one in look.replicas if one.routed)


def _earliest(events: Iterable[Happened]) -> float | None:
    return min((max(one.at_s, 0.0) for one in events), default=None)


def _first(told_s: float | None, looked_s: float | None) -> float | None:
    return looked_s if told_s is None else told_s


def _good(requests: Iterable[Request]) -> Iterator[Request]:
    return (one for one in requests if one.ending is Ending.OK)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
