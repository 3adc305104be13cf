"""`stoker simulate`: a trace under the configuration's own policy, and under others beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from controller.api.simulations import SimulationRefused
from controller.core.policy import ImpossiblePolicy, PoolPolicy, ScalingPolicy
from controller.settings import PoolSettings, Settings, load
from controller.simulate import report, verdict
from controller.simulate.contest import CHANGED, SHADOW, Contest, play, rivals
from controller.simulate.engine import EngineModel
from controller.simulate.errors import SimulateError
from controller.simulate.model_file import load_model
from controller.simulate.report import About
from controller.simulate.setup import Setup
from controller.simulate.traces import Trace, Workload
from controller.simulate.versus import versus
from controller.simulate.workloads import workload
from controller.stack import durations
from controller.stack.bars import Advance, Bars, bars
from controller.stack.simulate_options import SimulateOptions
from controller.stack.simulations.ask import SCRAPES, notes
from controller.stack.simulations.client import history
from controller.stack.simulations.knobs import Overlay, as_yaml, changed_pool, overlay_of
from controller.stack.trouble import Trouble
from controller.stack.writing import outlet

_NAMED = 5  # malformed lines
_LONGEST_H = 10_000
_HISTORY = "history:"  # the pool's own traffic, as the running controller tells it
_DEFAULT_ENGINE = "the default, which is assumed and not measured"


@dataclass(frozen=True, slots=True)
class Simulated:
    """The runs, ready to be told."""

    contest: Contest
    about: About
    report: Path | None
    why: bool
    yaml: str = ""  # of what was changed

    def as_json(self) -> dict[str, Any]:
        """For `--json`. There is no NaN in it: what is not known is null."""
        contest = self.contest
        return {
            "trace": report.facts(contest),
            "pool": self.about.pool,
            "setup": report.setup_of(contest.setup),
            "notes": list(self.about.notes),
            "results": [result.as_dict() for result in contest.results],
            "decisions": [change.as_dict() for change in contest.changes.kept],
            "decisions_count": contest.changes.count,
            "verdict": verdict.sentence(contest.results),
            "changed": self._changed(),
        }

    def _changed(self) -> dict[str, Any] | None:
        """What `--set` came to beside the configuration's own policy."""
        changed = next((result for result in self.contest.results if result.scaler == CHANGED), None)
        if changed is None:
            return None
        found, changes = versus(self.contest.results[0], changed), self.contest.second_changes[CHANGED]
        return {
            "yaml": self.yaml,
            "versus": {**asdict(found), "sentence": found.sentence()},
            "decisions": [change.as_dict() for change in changes.kept],
            "decisions_count": changes.count,
        }

    def print(self) -> None:
        """Facts, table and verdict."""
        from controller.stack import simulate_view

        simulate_view.show(self.contest, self.about, self.report, why=self.why)
        simulate_view.show_changed(self.contest, self.yaml)


def simulate(options: SimulateOptions) -> Simulated:
    """Play it all, and write the report where one is asked for. Says how far it is on stderr.

    Raises:
        Trouble: something that was given cannot be played, or the report cannot be written.
        ConfigError: the configuration is refused.
    """
    console = Console(stderr=True)
    settings = load(options.config)
    pool = _pool(settings, options)
    try:
        setup = _setup(options, pool)
        changes = overlay_of(options.changes or ())
        seconds = {
            name: replace(setup, policy=_policy(policy, options))
            for name, policy in ((SHADOW, pool.shadow), (CHANGED, _changed(settings, pool, changes)))
            if policy is not None
        }
        inputs = (Path(options.trace), options.config, options.engine)
        with outlet(options.report, inputs) if options.report else nullcontext() as page:
            with bars(console) as shown:
                trace = _load(options, pool.pool, shown)
                others = rivals([name.strip() for name in options.compare.split(",") if name.strip()], setup, trace)
                contest = play(trace, setup, others, seconds, lambda name: shown.begin(f"playing {name}"))
            about = About(pool.pool, _engine_name(options), tuple(notes(settings, _section(settings, pool))))
            if page is not None:
                page.put(report.html(contest, about))
    except (SimulateError, ImpossiblePolicy, SimulationRefused) as error:
        raise Trouble(str(error)) from error
    _tell_malformed(trace, console)
    return Simulated(contest, about, options.report, options.why, as_yaml(pool.pool, changes))


def _pool(settings: Settings, options: SimulateOptions) -> PoolPolicy:
    pools = {policy.pool: policy for policy in settings.policies()}
    names = ", ".join(pools)
    if options.pool is None:
        if len(pools) > 1:
            raise Trouble(f"{options.config} has several pools; choose one with --pool: {names}")
        return next(iter(pools.values()))
    found = next((policy for name, policy in pools.items() if name == options.pool), None)
    if found is None:
        raise Trouble(f"{options.config} has no pool {options.pool!r}; it has {names}")
    return found


def _changed(settings: Settings, pool: PoolPolicy, changes: Overlay) -> ScalingPolicy | None:
    """The pool's policy with what `--set` says; None where it says nothing. Raises `SimulationRefused`."""
    if not changes:
        return None
    interval = settings.controller.scrape_interval
    return changed_pool(_section(settings, pool), changes, interval).policy(interval).scaling


def _section(settings: Settings, pool: PoolPolicy) -> PoolSettings:
    return next(each for each in settings.pools if each.name == pool.pool)


def _policy(policy: ScalingPolicy, options: SimulateOptions) -> ScalingPolicy:
    """With the bounds that were asked for. The simulator scrapes each second, whatever the configuration does."""
    return replace(
        policy.scraped_every(SCRAPES),
        floor=policy.floor if options.floor is None else options.floor,
        ceiling=policy.ceiling if options.ceiling is None else options.ceiling,
    )


def _setup(options: SimulateOptions, pool: PoolPolicy) -> Setup:
    cold_start_s = durations.seconds_or_none("--cold-start", options.cold_start)
    deadline_s = pool.health.cold_start_deadline.total_seconds()
    jitter, price = options.cold_start_jitter, options.price
    mtbf_s = None if options.mtbf is None else durations.seconds("--mtbf", options.mtbf)
    _require(0 <= jitter < 1, f"--cold-start-jitter is {jitter:g}; it must be at least 0 and below 1")
    _require(
        cold_start_s * (1 + jitter) < deadline_s,
        f"--cold-start takes up to {cold_start_s * (1 + jitter):g} s; it must be below the pool's "
        f"health.cold_start_deadline of {deadline_s:g} s, after which a replica is replaced",
    )
    _require(math.isfinite(price) and price >= 0, f"--price is {price:g}; it must be a number, at least 0")
    _require(mtbf_s is None or mtbf_s >= 1, "--mtbf is below 1s; give at least that")
    return Setup(
        policy=_policy(pool.scaling, options),
        health=pool.health,
        engine=load_model(options.engine) if options.engine is not None else EngineModel(),
        cold_start_s=cold_start_s,
        cold_start_jitter=jitter,
        mtbf_s=mtbf_s,
        seed=options.seed,
        slo_first_token_s=durations.seconds("--slo-first-token", options.slo_first_token),
        slo_duration_s=durations.seconds("--slo-duration", options.slo_duration),
        price_per_hour=price,
    )


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise Trouble(sentence)


def _load(options: SimulateOptions, pool: str, shown: Bars) -> Workload:
    text = options.trace
    if text.startswith(_HISTORY):
        return history(options.state_dir, pool, durations.seconds("--trace", text.removeprefix(_HISTORY)) / 3600)
    path = Path(text)
    trace = workload(text, _counted(shown.begin(f"reading {path.name}"), _size(path)))
    hours = trace.duration_s / 3600
    _require(hours <= _LONGEST_H, f"{text} goes over {hours:,.0f} hours; give one of at most {_LONGEST_H:,}")
    return trace


def _size(path: Path) -> int:
    """For the bar only: whether it can be read is for the reading to say."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _counted(advance: Advance, size: int) -> Callable[[int], None]:
    return lambda done: advance(done, size)


def _engine_name(options: SimulateOptions) -> str:
    return _DEFAULT_ENGINE if options.engine is None else str(options.engine)


def _tell_malformed(trace: Workload, console: Console) -> None:
    if not isinstance(trace, Trace) or not trace.malformed_count:
        return
    count, named = trace.malformed_count, trace.malformed[:_NAMED]
    what = "1 line makes no sense and was" if count == 1 else f"{count:,} lines make no sense and were"
    told = [f"{trace.name}: {what} left out:", *(f"  line {number}: {why}" for number, why in named)]
    if count > len(named):
        told.append(f"  and {count - len(named):,} more")
    for line in told:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
