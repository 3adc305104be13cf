"""`pools[].health` and `pools[].rollout`: when a replica is out, how fast it is replaced, how a new spec comes in."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, model_validator

from controller.core.policy import HealthPolicy, RolloutPolicy
from controller.settings.values import Duration, DurationOrNone, Section, Share

_DEFAULT, _ROLLOUT = HealthPolicy(), RolloutPolicy()


class BudgetSettings(Section):
    """How many failed replicas may be replaced within a window; one more blows the pool's fuse.

    None: twice the ceiling, but 12 at least, so that the loss of a whole host is within it.
    """

    actions: int | None = Field(default=None, ge=1, le=10_000)
    per: Duration = _DEFAULT.budget_window


class GpuHealthSettings(Section):
    """When a GPU is too hot: its heat has slowed it down for so long. Where pools share one the shortest counts."""

    thermal_for: Duration = _DEFAULT.thermal_for


class HealthSettings(Section):
    """Probes, deadlines, and how much may go wrong."""

    probe_interval: Duration = _DEFAULT.probe_interval
    probe_timeout: Duration = _DEFAULT.probe_timeout
    failures: int = Field(default=_DEFAULT.failures, ge=1, le=1000)
    passes: int = Field(default=_DEFAULT.passes, ge=1, le=1000)
    cold_start_deadline: Duration = _DEFAULT.cold_start_deadline
    drain_timeout: Duration = _DEFAULT.drain_timeout
    stall_timeout: Duration = _DEFAULT.stall_timeout
    panic_threshold: Share = _DEFAULT.panic_threshold
    suspect_errors: Share = _DEFAULT.suspect_errors
    suspect_speed: Share = _DEFAULT.suspect_speed
    budget: BudgetSettings = BudgetSettings()
    gpu: GpuHealthSettings = GpuHealthSettings()
    quarantine_after: int = Field(default=_DEFAULT.quarantine_after, ge=1, le=1000)

    def policy(self, node_grace: timedelta, ceiling: int) -> HealthPolicy:
        """As the core has it; `node_grace` is one for the whole installation, `ceiling` the pool's."""
        return HealthPolicy(
            failures=self.failures,
            passes=self.passes,
            probe_interval=self.probe_interval,
            probe_timeout=self.probe_timeout,
            cold_start_deadline=self.cold_start_deadline,
            drain_timeout=self.drain_timeout,
            stall_timeout=self.stall_timeout,
            panic_threshold=self.panic_threshold,
            suspect_errors=self.suspect_errors,
            suspect_speed=self.suspect_speed,
            budget_actions=self.budget.actions or max(_DEFAULT.budget_actions, 2 * ceiling),
            budget_window=self.budget.per,
            quarantine_after=self.quarantine_after,
            node_grace=node_grace,
            thermal_for=self.gpu.thermal_for,
        )

    @model_validator(mode="after")
    def _possible(self) -> HealthSettings:
        between = self.probe_interval + self.probe_timeout
        if self.stall_timeout <= between:
            raise ValueError(
                f"stall_timeout of {_seconds(self.stall_timeout)} is not longer than probe_interval and probe_timeout "
                f"together, {_seconds(between)}: every busy replica would look stalled between two probes"
            )
        return self


class RolloutSettings(Section):
    """How a changed spec replaces the old one."""

    bake: DurationOrNone = _ROLLOUT.bake
    failed_starts: int = Field(default=_ROLLOUT.failed_starts, ge=1, le=1000)

    def policy(self) -> RolloutPolicy:
        """As the core has it."""
        return RolloutPolicy(self.bake, self.failed_starts)


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"
