"""Plays a job, and tells what came out as the API has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.api.simulation_schemas import (
    LinesOut,
    MalformedOut,
    ResultOut,
    RunOut,
    StepOut,
    StepsOut,
    TraceOut,
    VersusOut,
    WhyOut,
)
from controller.simulate import traces
from controller.simulate.changes import Changes
from controller.simulate.contest import CHANGED, STOKER, Watch, play, rivals
from controller.simulate.errors import TraceError
from controller.simulate.profile import Profile
from controller.simulate.score import Result
from controller.simulate.synthetic import Synthetic
from controller.simulate.traces import Trace, Workload
from controller.simulate.versus import versus
from controller.stack.simulations.job import File, Job

LIVE = "live"
_LISTED = 300  # changes of the count that are told
_NAMED = 5  # malformed lines
_LONGEST_H = 24 * 31


def trace_of(source: Synthetic | Profile | File) -> Workload:
    """What is to be played.

    Raises:
        TraceError: it cannot be, in a sentence that has the file's name as its owner knows it.
    """
    if not isinstance(source, File):
        return source
    try:
        trace = traces.load(source.path)
    except TraceError as error:
        raise TraceError(str(error).replace(str(source.path), source.called)) from error
    hours = trace.duration_s / 3600
    if hours > _LONGEST_H:
        raise TraceError(f"{source.called} goes over {hours:,.0f} hours; give one of at most {_LONGEST_H:,}")
    return replace(trace, name=source.called)


def told(trace: Workload, requests: int | None = None) -> TraceOut:
    """What there is to know of a trace; `requests` where it is only made while it is played."""
    count = len(trace.requests) if isinstance(trace, Trace) else requests or 0
    bad = trace.malformed[:_NAMED] if isinstance(trace, Trace) else ()
    return TraceOut(
        name=trace.name,
        requests=count,
        duration_s=trace.duration_s,
        mean_rps=count / max(trace.duration_s, 1.0),
        mean_prompt_tokens=trace.mean_prompt_tokens,
        mean_output_tokens=trace.mean_output_tokens,
        malformed_count=trace.malformed_count if isinstance(trace, Trace) else 0,
        malformed=[MalformedOut(line=line, why=why) for line, why in bad],
    )


def outcome(job: Job, trace: Workload, watch: Watch) -> ResultOut:
    """Every policy of the job, one after the other.

    Raises:
        SimulateError: one of them cannot be played.
    """
    assert job.live is not None  # a job without one only reads
    seconds = {} if job.changed is None else {CHANGED: job.changed}
    others = rivals(job.compare, job.live, trace)
    contest = play(trace, job.live, others, seconds, lambda name: watch(LIVE if name == STOKER else name))
    first = contest.results[0]
    changed = contest.results[1] if seconds else None
    steps = {LIVE: contest.changes} | dict(contest.second_changes)
    return ResultOut(
        trace=told(trace, first.requests),
        axis_s=[_short(point.at_s) for point in first.series],
        demand_rps=[_short(point.demand_rps) for point in first.series],
        runs=[_run(result, priced=job.priced) for result in contest.results],
        steps={name: _steps(found) for name, found in steps.items()},
        versus=None if changed is None else _versus(first, changed),
    )


def _run(result: Result, *, priced: bool) -> RunOut:
    points = result.series
    late = [None if point.first_token_p95_s is None else _short(point.first_token_p95_s) for point in points]
    return RunOut(
        name=LIVE if result.scaler == STOKER else result.scaler,
        slo_share=result.slo_share,
        slo_first_token_share=result.slo_first_token_share,
        slo_duration_share=result.slo_duration_share,
        failed=result.failed,
        cut=result.cut,
        first_token_p50_s=result.first_token_p50_s,
        first_token_p95_s=result.first_token_p95_s,
        replica_hours=result.replica_hours,
        cost=result.cost if priced else None,
        changes=result.scale_ups + result.scale_downs,
        flips=result.flips,
        peak_replicas=result.peak_replicas,
        worst_queue=result.worst_queue,
        lines=LinesOut(
            ready=_line([point.ready for point in points]),
            desired=_line([point.desired for point in points]),
            in_flight=_line([point.in_flight for point in points]),
            waiting=_line([point.waiting for point in points]),
            first_token_p95_s=late,
        ),
    )


def _steps(changes: Changes) -> StepsOut:
    first = [
        StepOut(
            at_s=change.at_s,
            before=change.before,
            after=change.after,
            reasons=[WhyOut(code=why.code.value, text=why.text) for why in change.reasons],
        )
        for change in changes.kept[:_LISTED]
    ]
    return StepsOut(count=changes.count, first=first)


def _versus(live: Result, changed: Result) -> VersusOut:
    found = versus(live, changed)
    return VersusOut(
        service=found.service.value,
        slo_live=found.slo_live,
        slo_changed=found.slo_changed,
        hours_percent=found.hours_percent,
        failed=found.failed,
        sentence=found.sentence(),
    )


def _line(values: Sequence[float]) -> list[float]:
    return [_short(value) for value in values]


def _short(value: float) -> float:
    """Enough digits for a chart."""
    return float(f"{value:.6g}")
