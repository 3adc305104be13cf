"""`pools[]`: one model, one policy, N replicas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from controller.core.model import PoolName
from controller.core.policy import HealthPolicy, Mode, PoolPolicy
from controller.settings.scaling import ReplicaBounds, ScalingSettings, beneath
from controller.settings.values import Duration, ModelName, Name, Section, Size


class HealthSettings(Section):
    """Probes and deadlines."""

    probe_interval: Duration = timedelta(seconds=1)
    probe_timeout: Duration = timedelta(seconds=1)
    failures: int = Field(default=3, ge=1)
    cold_start_deadline: Duration = timedelta(seconds=300)
    drain_timeout: Duration = timedelta(seconds=30)


class EngineSettings(Section):
    """How a replica computes."""

    name: Literal["llamacpp"] = "llamacpp"
    slots: int = Field(default=2, ge=1, le=256)
    context_tokens: int = Field(default=1024, ge=64)
    threads: int = Field(default=1, ge=1, le=1024)


class ResourceSettings(Section):
    """What a replica needs of its node."""

    gpu_memory: Size | None = None  # free on one GPU; none: it needs no GPU


class PoolSettings(Section):
    """One model, one policy, N replicas."""

    name: Name
    model: ModelName
    checkpoint: str = Field(min_length=1)  # a path, or package://NAME for the GGUF inside an installed Python package
    engine: EngineSettings = EngineSettings()
    replicas: ReplicaBounds = ReplicaBounds()
    scaling: ScalingSettings = ScalingSettings()
    health: HealthSettings = HealthSettings()
    resources: ResourceSettings = ResourceSettings()
    mode: Literal["active", "shadow", "paused"] = "active"
    shadow: ScalingSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _shadow_differs_only(cls, data: Any) -> Any:
        if isinstance(data, dict) and "shadow" in data:
            return {**data, "shadow": beneath(data["shadow"], data.get("scaling", {}))}
        return data

    @model_validator(mode="after")
    def _possible(self) -> PoolSettings:
        self.policy(timedelta(0))
        return self

    def policy(self, scrape_interval: timedelta) -> PoolPolicy:
        """What the core needs of this."""
        gpu_memory = self.resources.gpu_memory or 0
        health = HealthPolicy(
            failures=self.health.failures,
            probe_interval=self.health.probe_interval,
            probe_timeout=self.health.probe_timeout,
            cold_start_deadline=self.health.cold_start_deadline,
            drain_timeout=self.health.drain_timeout,
        )
        return PoolPolicy(
            pool=PoolName(self.name),
            model=self.model,
            scaling=self.scaling.policy(self.replicas, gpu_memory, scrape_interval),
            health=health,
            mode=Mode(self.mode),
            shadow=self.shadow.policy(self.replicas, gpu_memory, scrape_interval) if self.shadow else None,
        )
