"""`pools[]`: one model, one policy, N replicas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from controller.core.model import PoolName
from controller.core.policy import HealthPolicy, Mode, PoolPolicy
from controller.settings.costs import PriceSettings
from controller.settings.gateway import PoolGatewaySettings
from controller.settings.health import HealthSettings, RolloutSettings
from controller.settings.scaling import ReplicaBounds, ScalingSettings, beneath
from controller.settings.values import ModelName, Name, Section, Size

_NODE_GRACE = HealthPolicy().node_grace


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
    rollout: RolloutSettings = RolloutSettings()
    resources: ResourceSettings = ResourceSettings()
    gateway: PoolGatewaySettings = PoolGatewaySettings()
    costs: PriceSettings = PriceSettings()
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
        if self.rollout.failed_starts > self.health.quarantine_after:
            raise ValueError(
                f"rollout.failed_starts {self.rollout.failed_starts} is above health.quarantine_after "
                f"{self.health.quarantine_after}: the pool would be quarantined before a bad spec is taken back"
            )
        return self

    def policy(
        self, scrape_interval: timedelta, node_grace: timedelta = _NODE_GRACE, spec_hash: str = ""
    ) -> PoolPolicy:
        """What the core needs of this."""
        gpu_memory = self.resources.gpu_memory or 0
        return PoolPolicy(
            pool=PoolName(self.name),
            model=self.model,
            scaling=self.scaling.policy(self.replicas, gpu_memory, scrape_interval),
            health=self.health.policy(node_grace, self.replicas.ceiling),
            mode=Mode(self.mode),
            shadow=self.shadow.policy(self.replicas, gpu_memory, scrape_interval) if self.shadow else None,
            rollout=self.rollout.policy(),
            spec_hash=spec_hash,
        )
