"""What the API answers. Times are ISO 8601 in UTC; None stands for what is not known."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class ReasonOut(BaseModel):
    """One step of the why."""

    code: str
    text: str
    numbers: dict[str, float] = Field(description="The numbers behind it; units are in the names.")


class PoolOut(BaseModel):
    """A pool: its bounds, what it is to have, what it has, and why."""

    pool: str
    model: str
    floor: int
    ceiling: int
    desired: int
    ready: int
    starting: int
    draining: int
    unready: int
    in_flight: float | None = Field(description="Requests that the gateway holds open.")
    start_failures: int = Field(description="Starts in a row that never became ready.")
    reasons: list[ReasonOut] = Field(description="Why it has this size, as of the last tick.")


class ReplicaOut(BaseModel):
    """A replica as the last tick saw it."""

    replica: str
    pool: str
    node: str
    state: str = Field(description="starting, ready, unready, draining or exited: the controller's judgement.")
    phase: str | None = Field(description="The launcher's own word.")
    since: datetime = Field(description="Of the state.")
    created_at: datetime
    ready_at: datetime | None = Field(description="When it was ready for the first time.")
    cold_start_s: float | None
    in_flight: int | None
    waiting: int | None
    routed: bool = Field(description="Whether nginx sends it requests.")
    address: str | None
    why: str


class NodeOut(BaseModel):
    """A machine with replicas."""

    node: str
    answering: bool = Field(description="Whether its container engine answered the last tick.")
    replicas: int


class DecisionOut(BaseModel):
    """A line of the ledger."""

    id: int
    at: datetime
    tick: int
    term: int
    kind: str
    pool: str
    replica: str | None
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
