"""What is asked of a simulation -> the job for its process, refused here where it cannot be played."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from controller.api.simulation_schemas import EngineIn, HistoryTraceIn, SettingOut, SimulationIn, SyntheticTraceIn
from controller.api.simulations import SimulationRefused
from controller.core.overrides import bounded
from controller.core.policy import ImpossiblePolicy, Mode, ScalingPolicy
from controller.settings import PoolSettings, Settings
from controller.simulate.engine import EngineModel
from controller.simulate.errors import SimulateError
from controller.simulate.metrics import SCRAPE_S
from controller.simulate.profile import Profile
from controller.simulate.setup import Setup
from controller.simulate.stoker import TICK_S
from controller.simulate.synthetic import Kind, Synthetic
from controller.stack.simulations.job import File, Job
from controller.stack.simulations.knobs import as_yaml, changed_pool, overlay, settings_out

COLD_START_S = 60.0  # where nothing is learned
USUAL_PROMPT, USUAL_OUTPUT = 1000, 200  # tokens
_MOST_REQUESTS = 2_000_000  # what a process gets through in its time, and some more
SCRAPES = timedelta(seconds=SCRAPE_S)  # in the simulation, whatever the configuration says
_ASSUMED = "The engine model is the default, which is assumed and not measured; `stoker calibrate` measures one."


@dataclass(frozen=True, slots=True)
class PoolNow:
    """A pool as it runs: its section of the file, the policy in force, and what was learned of it."""

    settings: PoolSettings
    policy: ScalingPolicy
    bounds_set: bool = False  # by people, so that the file has others
    cold_start_s: float | None = None
    price_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a pool had: requests per second of each step, and the mean tokens of one; None: not known."""

    step_s: float
    rates: Sequence[float | None]
    prompt: int | None = None
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Ready to be played, and what there is to say of it before."""

    job: Job
    notes: tuple[str, ...]
    settings: list[SettingOut]
    yaml: str


def live_policy(pool: PoolSettings, scrapes: timedelta = SCRAPES) -> ScalingPolicy:
    """As it stands in the file, which has these scrapes; with those of the simulation."""
    return pool.policy(scrapes).scaling.scraped_every(SCRAPES)


def asked(wanted: SimulationIn, pool: PoolNow, trace: Synthetic | Profile | File, settings: Settings) -> Asked:
    """What is to be played.

    Raises:
        SimulationRefused: it cannot be, in one sentence.
    """
    changes = overlay(pool.settings, pool.policy, wanted.changes)
    if pool.bounds_set and "replicas" in changes:  # one of the two alone may not go with the file's other one
        changes["replicas"] = {"floor": pool.policy.floor, "ceiling": pool.policy.ceiling} | changes["replicas"]
    scrapes = settings.controller.scrape_interval
    changed = changed_pool(pool.settings, changes, scrapes)
    try:
        policy = live_policy(changed, scrapes)
        if pool.bounds_set and "replicas" not in changes:
            policy = bounded(policy, pool.policy.floor, pool.policy.ceiling)
        live = _setup(wanted, pool, scrapes)
        other = replace(live, policy=policy) if changes else None
    except (SimulateError, ImpossiblePolicy) as error:
        raise SimulationRefused(str(error)) from error
    job = Job(trace, live, other, tuple(dict.fromkeys(wanted.compare)), _price(wanted, pool) is not None)
    told = dict.fromkeys((*notes(settings, pool.settings), *notes(settings, changed)))
    assumed = () if wanted.engine else (_ASSUMED,)
    return Asked(job, (*told, *assumed), settings_out(pool.policy, policy), as_yaml(pool.settings.name, changes))


def synthetic(wanted: SyntheticTraceIn) -> Synthetic:
    """Traffic as it was asked for. Raises `SimulationRefused` where it is more than can be played."""
    requests = wanted.hours * 3600 * wanted.rps
    if requests > _MOST_REQUESTS:
        raise SimulationRefused(
            f"{wanted.hours:g} hours at {wanted.rps:g}/s make {requests:,.0f} requests; "
            f"make it at most {_MOST_REQUESTS:,}"
        )
    try:
        return Synthetic(Kind(wanted.kind), wanted.hours, wanted.rps, wanted.seed, wanted.prompt, wanted.output)
    except SimulateError as error:
        raise SimulationRefused(str(error)) from error


def profile(wanted: HistoryTraceIn, pool: str, had: Traffic) -> Profile:
    """Measured traffic; a time of which nothing is known has none. Raises `SimulationRefused`."""
    name = f"the last {wanted.hours:g} h of {pool}"
    rates = tuple(rate or 0.0 for rate in had.rates)
    prompt = wanted.prompt or had.prompt or USUAL_PROMPT
    output = wanted.output or had.output or USUAL_OUTPUT
    try:
        found = Profile(name, had.step_s, rates, prompt, output, wanted.seed)
    except SimulateError as error:
        raise SimulationRefused(str(error)) from error
    requests = sum(rates) * had.step_s
    if requests > _MOST_REQUESTS:
        raise SimulationRefused(f"{name} had {requests:,.0f} requests; choose a time with at most {_MOST_REQUESTS:,}")
    return found


def notes(settings: Settings, pool: PoolSettings) -> Iterator[str]:
    """What a reader of the figures would not expect of the configuration."""
    for name, given, played_s in (
        ("tick_interval", settings.controller.tick_interval, TICK_S),
        ("scrape_interval", settings.controller.scrape_interval, SCRAPE_S),
    ):
        if given.total_seconds() != played_s:
            yield f"The configuration's {name} is {given.total_seconds():g} s; the simulation has {played_s:g} s."
    policy = pool.policy(settings.controller.scrape_interval)
    for section, scaling in (("scaling", policy.scaling), ("shadow", policy.shadow)):
        for name, window in scaling.windows().items() if scaling else ():
            if timedelta(0) < window < SCRAPES:
                yield (
                    f"{section}.{name} is {window.total_seconds():g} s; the simulation plays it as {SCRAPE_S:g} s, the "
                    "time between two of its scrapes."
                )
    if pool.mode == Mode.PAUSED.value:
        yield f"The pool {pool.name} is paused; it is played as if it were active."


def _setup(wanted: SimulationIn, pool: PoolNow, scrapes: timedelta) -> Setup:
    cold_start_s = wanted.cold_start_s
    if cold_start_s is None:
        cold_start_s = COLD_START_S if pool.cold_start_s is None else pool.cold_start_s
    return Setup(
        policy=pool.policy,
        health=pool.settings.policy(scrapes).health,
        engine=_engine(wanted.engine),
        cold_start_s=cold_start_s,
        cold_start_jitter=wanted.cold_start_jitter,
        mtbf_s=wanted.mtbf_s,
        seed=wanted.seed,
        slo_first_token_s=wanted.slo_first_token_s,
        slo_duration_s=wanted.slo_duration_s,
        price_per_hour=_price(wanted, pool) or 0.0,
    )


def _price(wanted: SimulationIn, pool: PoolNow) -> float | None:
    return pool.price_per_hour if wanted.price_per_hour is None else wanted.price_per_hour


def _engine(given: EngineIn | None) -> EngineModel:
    return EngineModel() if given is None else EngineModel(**given.model_dump(exclude_none=True))
