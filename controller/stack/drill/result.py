"""What came of one drill, and the same as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from controller.stack.drill.facts import Ending, Fault, Recording, Request
from controller.stack.drill.measure import Measured
from controller.stack.drill.promise import Verdict


class Outcome(StrEnum):
    """In one word."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_HERE = "not here"  # it cannot be done on this installation
    REFUSED = "refused"  # users would have noticed, or it did not work


@dataclass(frozen=True, slots=True)
class Drill:
    """One fault. Without a recording it was not done, and `why` says why."""

    fault: Fault
    outcome: Outcome
    why: str = ""
    recording: Recording | None = None
    measured: Measured | None = None
    verdicts: tuple[Verdict, ...] = ()

    @staticmethod
    def judged(recording: Recording, measured: Measured, verdicts: tuple[Verdict, ...]) -> Drill:
        """One that was done."""
        outcome = Outcome.PASSED if all(verdict.kept for verdict in verdicts) else Outcome.FAILED
        return Drill(recording.fault, outcome, "", recording, measured, verdicts)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        recording, measured = self.recording, self.measured
        told: dict[str, Any] = {"fault": self.fault.value, "outcome": self.outcome.value, "why": self.why}
        if recording is None or measured is None:
            return told
        return told | {
            "at": recording.at.isoformat(),
            "pool": recording.pool,
            "victims": list(recording.victims),
            "promises": [_verdict(verdict) for verdict in self.verdicts],
            "measured": measured.as_dict(),
            "timeline": [
                {"at_s": round(at_s, 3), "event": event, "subject": subject, "text": text}
                for at_s, event, subject, text in timeline(recording)
            ],
            "replicas": [
                {"replica": replica, "spans": [_span(span) for span in spans]} for replica, spans in lives(recording)
            ],
            "seconds": [
                {"from_s": second, "ok": ok, "failed": failed, "cut": cut}
                for second, ok, failed, cut in per_second(recording)
            ],
            "troubles": [
                {"ended_s": round(one.ended_s, 3), "ending": one.ending.value, "streamed": one.streamed, "why": one.why}
                for one in recording.requests
                if one.ending is not Ending.OK
            ],
        }


@dataclass(frozen=True, slots=True)
class Span:
    """A replica was in one state, and routed or not, from a look to the next one that showed otherwise."""

    from_s: float
    to_s: float
    state: str
    routed: bool


def timeline(recording: Recording) -> list[tuple[float, str, str, str]]:
    """The controller's events among the drill's own steps, in the order of time."""
    steps = [(0.0, "fault", _subject(recording), f"{recording.fault.value} of {_subject(recording)}.")]
    if recording.over_s is not None:
        steps.append((recording.over_s, "fault_over", _subject(recording), "What was done was undone."))
    told = [(one.at_s, one.event, one.subject, one.message) for one in recording.events]
    return sorted([*steps, *told], key=lambda step: step[0])


def lives(recording: Recording) -> list[tuple[str, list[Span]]]:
    """Each replica that was seen, in the order of appearance, with its states over time."""
    names = list(dict.fromkeys(one.replica for look in recording.looks for one in look.replicas))
    return [(name, list(_spans(recording, name))) for name in names]


def per_second(recording: Recording) -> list[tuple[int, int, int, int]]:
    """Requests that ended in each whole second: good, failed and cut. Seconds without any are there, too."""
    ended = sorted(recording.requests, key=_second)
    counts = {second: _counts(list(group)) for second, group in groupby(ended, key=_second)}
    first, last = int(recording.began_s // 1), int(recording.ended_s // 1)
    return [(second, *counts.get(second, (0, 0, 0))) for second in range(first, last + 1)]


def _second(request: Request) -> int:
    return int(request.ended_s // 1)


def _counts(requests: Sequence[Request]) -> tuple[int, int, int]:
    endings = [request.ending for request in requests]
    return endings.count(Ending.OK), endings.count(Ending.FAILED), endings.count(Ending.CUT)


def _spans(recording: Recording, name: str) -> Iterator[Span]:
    """A look without the replica ends its span; a state holds until the next look."""
    ends = [look.at_s for look in recording.looks[1:]] + [recording.ended_s]
    seen = [
        (look.at_s, end_s, next((one for one in look.replicas if one.replica == name), None))
        for look, end_s in zip(recording.looks, ends, strict=False)
    ]
    for known, group in groupby(seen, key=lambda entry: entry[2]):
        held = list(group)
        if known is not None:
            yield Span(held[0][0], held[-1][1], known.state, known.routed)


def _subject(recording: Recording) -> str:
    if recording.victims:
        return recording.victims[0]
    return {Fault.HIDE_METRICS: "Prometheus", Fault.ENGINE_DOWN: "the Docker engine"}.get(recording.fault, "the node")


def _verdict(verdict: Verdict) -> dict[str, Any]:
    promise, measured = verdict.promise, verdict.measured
    return {
        "name": promise.name,
        "limit": promise.limit,
        "measured": round(measured, 3) if measured is not None else None,
        "kept": verdict.kept,
        "why": promise.why,
    }


def _span(span: Span) -> dict[str, Any]:
    return {"from_s": round(span.from_s, 2), "to_s": round(span.to_s, 2), "state": span.state, "routed": span.routed}
