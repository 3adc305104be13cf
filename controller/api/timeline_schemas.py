"""What the API answers of numbers over time. Moments are seconds since the epoch; None stands for what is not known."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

MarkKind = Literal["decision", "alert", "drill", "person", "failure"]
Severity = Literal["info", "warning", "critical"]
Numbers = dict[str, list[float | None]]


class AgeOut(BaseModel):
    """How old the numbers are."""

    as_of: datetime | None = Field(description="When Prometheus told them; none: it never did.")
    stale_since: datetime | None = Field(description="Since then it has told nothing new; none: all is well.")


class AxisOut(AgeOut):
    """One axis of time for all columns."""

    step_s: int
    of_minutes: bool = Field(
        description="Each number is of the `step_s` seconds that begin at its moment: a mean, or what its name says. "
        "Otherwise it is what was said at that moment."
    )
    at: list[int] = Field(description="The moments.")


class MarkOut(BaseModel):
    """Something that happened."""

    id: str = Field(description="`decision/ID`, `event/ID` or `alert/FINGERPRINT`.")
    kind: MarkKind
    what: str = Field(description="The kind of decision, the event, or the alert's name.")
    at: float
    until: float | None = Field(default=None, description="Of an alert or a drill that is over: when it was.")
    severity: Severity
    subject: str
    text: str = Field(description="One sentence.")
    href: str = Field(description="The page that explains it.")


class BillOut(BaseModel):
    """What a pool used in the time."""

    replica_hours: float | None = Field(description="None where nothing is known of that time.")
    gpu_hours: float | None = Field(description="None where no replica is known to hold a GPU.")
    tokens: float | None = Field(description="Generated, as the engines count them; None where no engine told of any.")
    cost: float | None = Field(description="None where no price is configured, or the replica-hours are not known.")
    cost_per_million_tokens: float | None
    currency: str | None


class LatencyOut(BaseModel):
    """Which latency the pool's own threshold is of."""

    measure: str
    statistic: str
    enabled: bool


class TimelineOut(AxisOut):
    """A pool over time."""

    pool: str
    since: int | None = Field(description="The first moment of which anything is known.")
    latency: LatencyOut
    columns: Numbers = Field(description="Each as long as `at`.")
    marks: list[MarkOut] = Field(description="By time, the oldest first.")
    left_out: dict[str, int] = Field(description="By kind, marks that are there and are not told of: the oldest ones.")
    totals: BillOut


class PoolHistoryOut(BaseModel):
    """A pool's last hour."""

    latency: LatencyOut
    shown: Literal["p50", "p95"] = Field(description="The statistic of `latency_s`; its measure is that of `latency`.")
    latency_s: list[float | None]
    latency_threshold_s: float | None
    error_ratio: list[float | None]
    error_threshold: float | None
    requests_per_second: list[float | None]
    demand: list[float | None]
    totals: BillOut


class FleetHistoryOut(AxisOut):
    """All pools over the last hour, minute by minute."""

    pools: dict[str, PoolHistoryOut]
