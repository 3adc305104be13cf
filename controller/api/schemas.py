"""What the API answers. Times are ISO 8601 in UTC; None stands for what is not known."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from controller.api.override_schemas import OverrideOut
from controller.api.reasons import MaybeWhy


class ReasonOut(BaseModel):
    """One step of the why."""

    code: str
    text: str
    numbers: dict[str, float] = Field(description="The numbers behind it; units are in the names.")


class SignalOut(BaseModel):
    """What one signal says of a pool."""

    signal: str
    known: str = Field(description="value, idle (no traffic: really zero) or unknown (missing or stale).")
    value: float | None = Field(description="The mean of a replica, or the pool's latency in seconds.")
    load: float | None = Field(description="The sum over the pool, where the signal adds up.")
    target: float
    age_s: float | None = Field(description="Of the oldest reading in it.")
    wanted: int | None = Field(description="Replicas that it asks for; none where it asks for nothing.")


class StepOut(BaseModel):
    """One step of an evaluation that moved the count. The first one is what the signals ask for."""

    before: int
    after: int
    code: str
    text: str
    numbers: dict[str, float]


class FlipOut(BaseModel):
    """The smallest change of one signal that would have led to another count."""

    signal: str
    value: float = Field(description="What it was: of the whole pool for requests in flight, else of a replica.")
    needed: float = Field(description="What it would have had to be.")
    replicas: int = Field(description="The count then.")
    text: str


class ShadowOut(BaseModel):
    """The second policy of a pool in mode shadow, and both scores since it began."""

    desired: int
    since: datetime
    replica_hours: float
    short_s: float = Field(description="Seconds in which its count was too small for the requests in flight.")
    changes: int
    live_replica_hours: float
    live_short_s: float
    live_changes: int


class EvaluationOut(BaseModel):
    """One evaluation of a pool's size. Kept are those that led to a decision, and one a minute otherwise."""

    id: int | None = Field(description="None for that of the last tick, which is not in the ledger.")
    at: datetime
    tick: int
    term: int | None
    pool: str
    mode: str
    changed: bool = Field(description="Whether it led to a decision.")
    current: int
    desired: int
    ready: int
    starting: int
    draining: int
    signals: list[SignalOut]
    steps: list[StepOut]
    held: list[ReasonOut] = Field(description="Why less than decided is done.")
    shadow: int | None = Field(description="What the second policy would have.")
    flip: FlipOut | None
    evidence: dict[str, Any] | None = Field(
        default=None, description="All that went in, for `stoker explain`; only if asked for."
    )


class HealingOut(BaseModel):
    """What may still be replaced, and what stands in the way."""

    budget: int = Field(description="Failed replicas that may be replaced within the window.")
    window_s: float
    spent: int
    fuse_since: datetime | None = Field(description="The budget was spent then: nothing is replaced.")
    quarantined_since: datetime | None = Field(
        description="Too many starts in a row failed: one is tried now and then."
    )


class SpecOut(BaseModel):
    """What the replicas are made of: twelve digits over everything that, changed, needs a new replica."""

    wanted: str
    good: str = Field(description="The last one that all replicas served with.")
    refused: str = Field(description="One that was rolled back.")
    why_refused: str
    serving: dict[str, int] = Field(description="Serving replicas by spec.")


class ColdStartOut(BaseModel):
    """What a start took, in seconds, by stage."""

    total: float
    create: float = Field(description="From the container's creation to the launcher's first moment.")
    fetch: float
    load: float
    warm: float
    first_token: float


class PoolOut(BaseModel):
    """A pool: its bounds, what it is to have, what it has, and why."""

    pool: str
    model: str
    mode: str = Field(description="active, shadow (a second policy is scored beside the live one) or paused.")
    floor: int
    ceiling: int
    desired: int
    ready: int
    starting: int
    draining: int
    unready: int
    in_flight: float | None = Field(description="Requests that the gateway holds open.")
    suspect: int
    quarantined: int
    start_failures: int = Field(description="Starts in a row that never became ready.")
    cold_start_s: float | None = Field(description="Learned: how long a replica takes from its start to its first use.")
    cold_start_p50_s: float | None = Field(description="Of the last 50 starts.")
    cold_start_p95_s: float | None
    healing: HealingOut
    spec: SpecOut
    signals: list[SignalOut] = Field(description="What each signal said in the last tick.")
    shadow: ShadowOut | None
    reasons: list[ReasonOut] = Field(description="Why it has this size, as of the last tick.")
    override: OverrideOut | None = Field(
        description="What people want in place of the configuration; mode, floor and ceiling are those in force."
    )


class ReplicaOut(BaseModel):
    """A replica as the last tick saw it."""

    replica: str
    pool: str
    node: str
    state: str = Field(
        description="starting, ready, suspect, unready, draining, stopped or quarantined: the controller's judgement."
    )
    phase: str | None = Field(description="The launcher's own word.")
    since: datetime = Field(description="Of the state.")
    created_at: datetime
    ready_at: datetime | None = Field(description="When it was ready for the first time.")
    cold_start_s: float | None
    cold_start: ColdStartOut | None
    eta_s: float | None = Field(description="While it starts: seconds until it is usually ready.")
    spec: str
    gpu: str | None = Field(description="The UUID of the one that it was given.")
    in_flight: int | None
    waiting: int | None
    routed: bool = Field(description="Whether nginx sends it requests.")
    address: str | None
    why: str


class NodeOut(BaseModel):
    """A machine with replicas."""

    node: str
    answering: bool = Field(description="Whether its container engine answered the last tick.")
    silent_since: datetime | None
    cordoned: bool = Field(description="Whether somebody wants nothing new on it.")
    order: str | None = Field(description="cordon, or drain: its replicas are replaced elsewhere, too.")
    ordered_at: datetime | None
    why: str = Field(description="Why it was ordered, in somebody's words.")
    replicas: int


class OrderIn(BaseModel):
    """What is wanted."""

    kind: Literal["cordon", "drain", "restart", "quarantine", "release"]
    subject: str = Field(description="node/NAME, gpu/UUID, replica/NAME or pool/NAME.", max_length=200)
    why: MaybeWhy = ""


class OrderOut(BaseModel):
    """An order that holds."""

    kind: str
    subject: str
    at: datetime
    why: str


class ReceiptOut(BaseModel):
    """What a removal cost. None is what is not known."""

    at: datetime
    pool: str
    replica: str
    reason: str
    in_flight: int | None = Field(description="Requests that it had when it left nginx for good.")
    took_s: float | None = Field(description="From then, or from SIGTERM, to its end.")
    cut: int | None = Field(description="Of a drained one: requests that ended with it.")


class LastWordsOut(BaseModel):
    """What a replica that failed wrote last."""

    at: datetime
    pool: str
    replica: str
    reason: str
    text: str


class DecisionOut(BaseModel):
    """A line of the ledger."""

    id: int
    at: datetime
    tick: int
    term: int
    kind: str
    pool: str
    replica: str | None
    gpu: str | None = Field(description="Of a start: the UUID of the one that it gets.")
    current: int | None
    desired: int | None
    reasons: list[ReasonOut]
    outcome: str | None = Field(description='None until it was carried out, then "done" or what went wrong.')


class EventOut(BaseModel):
    """One thing that happened."""

    at: datetime
    event: str
    subject: str
    reason: str
    message: str
    numbers: dict[str, float]
    tick: int
    term: int
