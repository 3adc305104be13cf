"""What the API answers of the gateway's traffic."""

from __future__ import annotations

from pydantic import BaseModel, Field

from controller.api.timeline_schemas import AxisOut, Numbers


class CountOut(BaseModel):
    """Requests of the range."""

    requests: int
    by_class: dict[str, int] = Field(description="By class of status: 2xx, 4xx, 5xx.")


class PoolTrafficOut(BaseModel):
    """Of a pool."""

    pool: str
    requests: int
    errors: int = Field(description="Answered with 5xx.")
    retries: int = Field(description="Replicas tried in vain before one answered or failed last.")
    attempts_failed: int
    refused: dict[str, int] = Field(description="By cause.")


class PlanTrafficOut(CountOut):
    """Of a plan; its name is empty for keys without one and for no key."""

    plan: str
    tokens: int
    refused: dict[str, int] = Field(description="By cause.")


class KeyTrafficOut(CountOut):
    """Of a key. Empty: no key was given, or none that is known; `other`: those that have no series of their own."""

    key: str
    name: str | None = Field(description="None for one that is in no list, and for a viewer.")
    plan: str | None = Field(description="None for a viewer.")
    tokens: int


class CacheTrafficOut(BaseModel):
    """Of a layer: `nginx`, each gateway's own for 30 s, or the shared hot cache."""

    layer: str
    asked: int
    by_result: dict[str, int]
    hit_ratio: float | None = Field(description="None where it was asked nothing.")


class QuotaOut(BaseModel):
    """What a key has used of the quotas of its plan."""

    key: str
    name: str | None
    plan: str | None
    tokens_today: int
    per_day: int | None
    tokens_last_minute: int
    per_minute: int | None
    blocked: str = Field(description="Which quota is used up, day or minute; empty: none.")


class TrafficOut(AxisOut):
    """The gateway's traffic of a range. Counts are sums of what was seen to rise, and so off by a request or two."""

    keys_of_minutes: int = Field(
        description="Sums of more than an hour are made of minutes, and of keys in steps of so many minutes: the "
        "newest requests are not among them yet."
    )
    pools: list[PoolTrafficOut] = Field(description="The busiest first.")
    plans: list[PlanTrafficOut]
    keys: list[KeyTrafficOut] = Field(description="The busiest; at most 1000 are told apart.")
    keys_left_out: CountOut = Field(description="All other keys together.")
    caches: list[CacheTrafficOut]
    keys_named: bool = Field(description="Names, plans and quotas of keys are for operators; a viewer gets ids only.")
    quotas: list[QuotaOut] = Field(
        description="Of today, most tokens first; where no plan has a quota, and for a viewer, empty."
    )
    requests_per_second: Numbers = Field(description="By pool, the busiest, and `` for all others.")
    refusals_per_second: Numbers = Field(description="By cause.")
    cache_hit_ratio: Numbers = Field(description="By layer.")
