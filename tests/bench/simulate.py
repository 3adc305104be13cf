"""The simulator's figures and the comparison of autoscalers, as a section of docs/benchmarks.md."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from rich.console import Console

from controller.core.policy import ScalingPolicy
from controller.simulate import verdict
from controller.simulate.baselines import NAMES
from controller.simulate.contest import play, rivals
from controller.simulate.figures import percent
from controller.simulate.score import Result
from controller.simulate.setup import Setup
from controller.simulate.synthetic import Kind, Synthetic
from controller.simulate.traces import Trace, load
from tests.bench import plans
from tests.bench.row import Row
from tests.unit.simulate.places import AZURE, MOONCAKE

HEADING = "## Simulator"
_FOLDER = Path(__file__).parents[3] / "shared/traces"
_TRACES = {"Azure (code)": AZURE, "Mooncake (synthetic)": MOONCAKE}
_COLD_STARTS_S = (30.0, 180.0)
_CEILINGS = (20, ScalingPolicy().ceiling)
_DAY_S = 86_400.0
_AS_MANY = 0.99  # of the replica-hours
_WEEK = Synthetic(Kind.DIURNAL, hours=168, rps=0.1)


@dataclass(frozen=True)
class Case:
    """One trace on one fleet, under all autoscalers; Stoker's run is the first, and the third one is the static fleet
    of Stoker's mean size."""

    trace: str
    cold_start_s: float
    ceiling: int
    results: tuple[Result, ...]

    @property
    def name(self) -> str:
        """As it stands in a sentence."""
        return f"{self.trace}, cold start {self.cold_start_s:g} s, ceiling {self.ceiling}"


def section(console: Console) -> str:
    """Measure everything, and write the section. Takes about four minutes."""
    rows, cases = list(_rows(console)), list(_cases(console))
    lines = [HEADING, "", *_head(), "", "| figure | measured | target |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.value} | {row.target} |" for row in rows]
    for ceiling in _CEILINGS:
        mine = [case for case in cases if case.ceiling == ceiling]
        lines += ["", *_table(mine, ceiling)] if mine else []
    lines += ["", *_statement(cases)] if cases else ["", "The public traces were not there: nothing was compared."]
    return "\n".join(lines) + "\n"


def _rows(console: Console) -> Iterator[Row]:
    path = _FOLDER / AZURE
    if path.is_file():
        with console.status("an hour of the Azure trace"):
            began = time.perf_counter()
            trace = load(path)
            play(trace, Setup(), [])
            took_s = time.perf_counter() - began
        yield Row(
            f"the Azure trace ({trace.duration_s / 60:.0f} min), read and played under Stoker",
            f"{took_s:.1f} s",
            "< 10 s",
        )
    with console.status("plans of 1,000 pools"):
        found = plans.measure(1000, 10)
    value = f"{found['median_ms']:.0f} ms (worst {found['worst_ms']:.0f} ms)"
    yield Row(
        "`plan()` of 1,000 pools of 10 replicas, every default signal known (median, CPU time)", value, "< 500 ms"
    )
    with console.status("a simulated week: about three minutes"):
        week = _week()
    day, end = week["day_1_mb"], week["day_7_mb"]
    what = (
        "resident memory after one day and after seven of a simulated week "
        f"({_WEEK.rps:g} requests/s, took {week['took_s']:.0f} s)"
    )
    yield Row(what, f"{day:.1f} MB, {end:.1f} MB: a factor of {end / day:.3f}", "< 1.1")


def _week() -> dict[str, float]:
    """In a process of its own, so that the memory is that of the simulation."""
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _play_week() -> dict[str, float]:
    process, seen = psutil.Process(), dict[str, float]()

    def watch(done_s: float, total_s: float) -> None:
        for name, at_s in (("day_1_mb", _DAY_S), ("day_7_mb", total_s)):
            if done_s >= at_s - 60:
                seen.setdefault(name, process.memory_info().rss / 1e6)

    began = time.perf_counter()
    play(_WEEK, Setup(), [], watch=lambda name: watch)
    return {**seen, "took_s": time.perf_counter() - began}


def _cases(console: Console) -> Iterator[Case]:
    for title, name in _TRACES.items():
        if not (_FOLDER / name).is_file():
            continue
        trace = load(_FOLDER / name)
        for ceiling in _CEILINGS:
            for cold_start_s in _COLD_STARTS_S:
                with console.status(f"{title}, cold start {cold_start_s:g} s, ceiling {ceiling}"):
                    yield Case(title, cold_start_s, ceiling, _contest(trace, cold_start_s, ceiling))


def _contest(trace: Trace, cold_start_s: float, ceiling: int) -> tuple[Result, ...]:
    setup = Setup(policy=replace(ScalingPolicy(), ceiling=ceiling), cold_start_s=cold_start_s)
    others = [name for name in NAMES if name not in ("stoker", "static")]
    ours, most, *peers = play(trace, setup, rivals(["static", *others], setup, trace)).results
    mean = max(round(ours.replica_hours * 3600 / ours.duration_s), 1)
    return (ours, most, *play(trace, setup, rivals([f"static:{mean}"], setup, trace)).results[1:], *peers)


def _head() -> list[str]:
    policy, setup = ScalingPolicy(), Setup()
    return [
        'Written by `make bench`, or alone by `make bench ARGS="--only simulate"`. Every autoscaler plays the same '
        "trace on the same model of an engine, the default, which is assumed and not measured "
        f"([simulator.md](simulator.md)), from {policy.floor} replicas on, with a target of "
        f"{policy.in_flight.target:g} in flight for each. Stoker has one policy, the default but for the ceiling; the "
        "others have their own defaults. Within the SLO is a request whose first token comes within "
        f"{setup.slo_first_token_s:g} s and whose whole answer comes within {setup.slo_duration_s:g} s.",
    ]


def _table(cases: Sequence[Case], ceiling: int) -> list[str]:
    """Policies downwards, traces and cold starts across."""
    heads = [f"{case.trace}, {case.cold_start_s:g} s" for case in cases]
    lines = [
        f"Ceiling {ceiling}: share within the SLO, replica-hours, flips; the time is that of a cold start.",
        "",
        f"| | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
    ]
    for place, result in enumerate(cases[0].results):
        name = "static, Stoker's mean" if place == 2 else result.scaler
        cells = []
        for case in cases:
            run = case.results[place]
            size = f" ({run.peak_replicas})" if place == 2 else ""
            cells.append(f"{percent(run.slo_share)}, {run.replica_hours:.2f}, {run.flips}{size}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _statement(cases: Sequence[Case]) -> list[str]:
    """Where Stoker is not the best, as the numbers have it."""
    peers = [(case, run) for case in cases for run in case.results[1:] if not run.scaler.startswith("static")]
    less = sum(run.slo_share < case.results[0].slo_share for case, run in peers)
    better = [(case, run) for case in cases for run in _once(verdict.as_often(case.results))]
    cheaper = [f"{run.scaler} ({case.name})" for case, run in better if _ratio(case, run) < _AS_MANY]
    return [
        f"Of the {len(peers)} runs of the other autoscalers {less} met the SLO less often than Stoker. These runs, of "
        "autoscalers and of static fleets, met it at least as often:",
        "",
        "| trace, cold start, ceiling | who | within SLO (Stoker) | replica-hours (Stoker) | why |",
        "|---|---|---|---|---|",
        *(_line(case, run) for case, run in better),
        "",
        f"At least as often and with fewer replica-hours (by more than 1 %): {', '.join(cheaper) or 'none'}.",
    ]


def _once(runs: Sequence[Result]) -> list[Result]:
    """The static fleet of Stoker's mean size may be the one at the ceiling."""
    return list({run.scaler: run for run in runs}.values())


def _ratio(case: Case, run: Result) -> float:
    return run.replica_hours / case.results[0].replica_hours


def _line(case: Case, run: Result) -> str:
    ours = case.results[0]
    return (
        f"| {case.name} | {run.scaler} | {percent(run.slo_share)} ({percent(ours.slo_share)}) "
        f"| {run.replica_hours:.2f} ({ours.replica_hours:.2f}) | {_why(ours, run)} |"
    )


def _why(ours: Result, run: Result) -> str:
    """Only what the runs show."""
    short = sum(point.ready < point.desired - 0.5 for point in ours.series) / len(ours.series)
    waited = f"Stoker had fewer ready than it wanted for {100 * short:.0f} % of the time"
    if run.scaler.startswith("static"):
        return f"all {run.peak_replicas} are ready from the start; {waited}"
    (most, at_s), (our_most, our_at_s) = _most(run), _most(ours)
    if most == our_most and not run.scale_downs and not ours.scale_downs:
        return (
            f"both wanted {most} until the end, it from {at_s:.0f} s and Stoker from {our_at_s:.0f} s on: the count is "
            f"hardly what tells them apart; {waited}"
        )
    return f"it wanted its most, {most}, after {at_s:.0f} s, Stoker {our_most} after {our_at_s:.0f} s; {waited}"


def _most(run: Result) -> tuple[int, float]:
    """The highest count that it wanted, and when it first did."""
    most = max(point.desired for point in run.series)
    return round(most), next(point.at_s for point in run.series if point.desired > most - 0.5)


if __name__ == "__main__":
    print(json.dumps(_play_week()))
