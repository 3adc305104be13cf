"""What a simulation is asked for with, and what comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_UPLOAD_BYTES = 20 << 20
MOST_HOURS = 48
SyntheticKind = Literal["flat", "ramp", "burst", "diurnal", "spike", "crowd", "outage"]
Peer = Literal["static", "hpa", "kpa", "ray", "skyserve", "dstack"]
State = Literal["waiting", "running", "done", "failed", "cancelled"]

_Name = Annotated[str, Field(max_length=64)]
_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
_Above0 = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
_Tokens = Annotated[int, Field(ge=1, le=100_000)]
_Seed = Annotated[int, Field(ge=0, le=2**31)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SyntheticTraceIn(_In):
    """Made-up traffic: Poisson arrivals at a rate that goes as the kind says, and exponential lengths."""

    source: Literal["synthetic"]
    kind: SyntheticKind
    hours: float = Field(default=1.0, ge=0.01, le=MOST_HOURS, allow_inf_nan=False)
    rps: float = Field(default=3.0, ge=0.001, le=1000, allow_inf_nan=False, description="Mean requests per second.")
    prompt: _Tokens = Field(default=1000, description="Mean tokens of a prompt.")
    output: _Tokens = Field(default=200, description="Mean tokens of an answer.")
    seed: _Seed = 0


class HistoryTraceIn(_In):
    """The last hours of the pool itself, as Prometheus has them: requests per second, and mean lengths where none are
    given."""

    source: Literal["history"]
    hours: float = Field(default=6.0, ge=0.25, le=MOST_HOURS, allow_inf_nan=False)
    prompt: _Tokens | None = None
    output: _Tokens | None = None
    seed: _Seed = 0


class UploadTraceIn(_In):
    """A file that was uploaded before, within the last hour."""

    source: Literal["upload"]
    id: str = Field(max_length=64)


TraceIn = Annotated[SyntheticTraceIn | HistoryTraceIn | UploadTraceIn, Field(discriminator="source")]


class ChangesIn(_In):
    """What is different in the changed policy; what is left out stays as it is live. Times in seconds."""

    floor: int | None = Field(default=None, ge=0, le=10_000)
    ceiling: int | None = Field(default=None, ge=1, le=10_000)
    target_in_flight: float | None = Field(default=None, gt=0, le=10_000, allow_inf_nan=False)
    tolerance: float | None = Field(default=None, ge=0, lt=1)
    scale_up_window_s: _Seconds | None = None
    scale_down_window_s: _Above0 | None = None
    surge: int | None = Field(default=None, ge=1, le=10_000)
    rate_up_replicas: int | None = Field(default=None, ge=1, le=10_000)
    rate_down_replicas: int | None = Field(default=None, ge=1, le=10_000)
    utilization_target: float | None = Field(default=None, gt=0, le=1)
    latency_threshold_s: _Above0 | None = None
    panic_factor: float | None = Field(default=None, gt=1, le=1000, allow_inf_nan=False)
    forecast: bool | None = None
    zero_after_s: _Above0 | None = None


class EngineIn(_In):
    """How fast a replica is, as `stoker calibrate` measures it; what is left out is assumed."""

    slots: int | None = Field(default=None, ge=1, le=10**9)
    prefill_tokens_per_s: float | None = Field(default=None, ge=0.001, le=1e7)
    decode_tokens_per_s: float | None = Field(default=None, ge=0.001, le=1e7)
    decode_s_per_sequence: float | None = Field(default=None, ge=0, le=10)
    decode_share_during_prefill: float | None = Field(default=None, ge=0.001, le=1)
    kv_cache_tokens: int | None = Field(default=None, ge=1, le=10**9)


class SimulationIn(_In):
    """A trace, the pool whose live policy is played, and what is changed beside it."""

    pool: _Name
    trace: TraceIn
    changes: ChangesIn = ChangesIn()
    compare: list[Peer] = Field(default_factory=list, max_length=6, description="Other autoscalers to play, too.")
    cold_start_s: _Seconds | None = Field(
        default=None, description="From a replica's order to its first token; None: as learned of the pool, or 60."
    )
    cold_start_jitter: float = Field(default=0.0, ge=0, lt=1)
    mtbf_s: float | None = Field(default=None, ge=60, le=1e9, description="Mean time between failures of a replica.")
    slo_first_token_s: _Above0 = 2.0
    slo_duration_s: _Above0 = 30.0
    price_per_hour: float | None = Field(
        default=None, ge=0, le=1e6, description="Of one replica; None: as the configuration's `costs` have it."
    )
    engine: EngineIn | None = None
    seed: _Seed = Field(default=0, description="Of failures and jitter.")


class MalformedOut(BaseModel):
    """A line that makes no sense and is left out."""

    line: int
    why: str


class TraceOut(BaseModel):
    """What was played, or can be."""

    name: str
    requests: int
    duration_s: float
    mean_rps: float
    mean_prompt_tokens: float
    mean_output_tokens: float
    malformed_count: int = 0
    malformed: list[MalformedOut] = Field(default_factory=list, description="The first of them.")


class UploadOut(TraceOut):
    """An upload that can be played until it is forgotten."""

    id: str
    until: datetime


class TrafficOut(BaseModel):
    """What a pool had in the last hours. None: not known."""

    step_s: float
    rates: list[float | None] = Field(description="Requests per second of each step.")
    prompt: int | None = Field(description="Mean tokens of a prompt.")
    output: int | None = Field(description="Mean tokens of an answer.")


class LinesOut(BaseModel):
    """A run over time, on the result's axis."""

    ready: list[float]
    desired: list[float]
    in_flight: list[float]
    waiting: list[float]
    first_token_p95_s: list[float | None]


class RunOut(BaseModel):
    """How one policy did. Shares are 0..1 of all requests."""

    name: str = Field(description="`live`, `changed`, or another autoscaler.")
    slo_share: float
    slo_first_token_share: float
    slo_duration_share: float
    failed: int = Field(description="Requests that found no ready replica.")
    cut: int = Field(description="Answers whose replica died under them.")
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    replica_hours: float
    cost: float | None = Field(description="None where no price is known.")
    changes: int = Field(description="Of the wanted count.")
    flips: int = Field(description="Changes of direction within ten minutes.")
    peak_replicas: int
    worst_queue: int
    lines: LinesOut


class WhyOut(BaseModel):
    """A reason in the controller's words."""

    code: str
    text: str


class StepOut(BaseModel):
    """One change of the count; `at_s` counts from the trace's start."""

    at_s: float
    before: int
    after: int
    reasons: list[WhyOut]


class StepsOut(BaseModel):
    """The changes of the count of one policy."""

    count: int
    first: list[StepOut] = Field(description="The first of them, 300 at most.")


class VersusOut(BaseModel):
    """The changed policy against the live one."""

    service: Literal["same", "better", "worse"]
    slo_live: float
    slo_changed: float
    hours_percent: float | None = Field(description="More replica-hours, in %; None where the live policy had none.")
    failed: int = Field(description="More requests that failed or were cut.")
    sentence: str


class ResultOut(BaseModel):
    """What came out."""

    trace: TraceOut
    axis_s: list[float] = Field(description="Seconds from the trace's start; 600 points at most.")
    demand_rps: list[float]
    runs: list[RunOut]
    steps: dict[str, StepsOut] = Field(description="Of `live` and `changed`.")
    versus: VersusOut | None = Field(description="None where nothing was changed.")


class SettingOut(BaseModel):
    """A value of both policies."""

    name: str
    live: float | bool
    changed: float | bool


class SimulationOut(BaseModel):
    """How it stands with a simulation."""

    id: str
    state: State
    made_at: datetime
    asked: SimulationIn
    ahead: int = Field(description="How many are played before this one.")
    progress: float = Field(description="0..1")
    playing: str = Field(description="Which policy is being played.")
    problem: str | None = Field(default=None, description="Why there is no result.")
    notes: list[str] = Field(default_factory=list, description="What a reader of the figures would not expect.")
    settings: list[SettingOut] = Field(description="Each that can be changed, live and changed.")
    yaml: str = Field(description="The changed keys, for the pool's section of stoker.yaml; empty where none is.")


class SimulationResultOut(SimulationOut):
    """With what came out, once it is done."""

    result: ResultOut | None = None


class KnobOut(BaseModel):
    """A value that can be changed."""

    name: str
    key: str = Field(description="As stoker.yaml has it, below the pool.")
    unit: Literal["replicas", "requests", "s", "share", "factor", "switch"]
    live: float | bool
    low: float
    high: float
    step: float
    main: bool = Field(description="Whether most people want it.")


class OptionsOut(BaseModel):
    """What can be simulated of a pool."""

    pool: str
    pools: list[str]
    knobs: list[KnobOut]
    cold_start_s: float
    cold_start_learned: bool
    price_per_hour: float | None
    currency: str
    suggested_rps: float = Field(description="What keeps about a third of the pool's ceiling busy.")
    history: bool = Field(description="Whether the pool's own traffic can be had.")
