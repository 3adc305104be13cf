"""How a pool is healed, and how a changed spec gets in: policies, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from controller.core.possible import require


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When a replica is out, and how long each step may take."""

    failures: int = 3  # probes in a row that take it out
    passes: int = 1  # probes in a row that bring it back
    probe_interval: timedelta = timedelta(seconds=1)
    probe_timeout: timedelta = timedelta(seconds=1)
    cold_start_deadline: timedelta = timedelta(seconds=300)
    drain_timeout: timedelta = timedelta(seconds=30)
    backoff_base: timedelta = timedelta(seconds=10)  # after n failed starts in a row: base * 2^(n-1), at most the cap
    backoff_cap: timedelta = timedelta(seconds=300)
    stall_timeout: timedelta = timedelta(seconds=30)  # with work and without a token for so long it is dead
    panic_threshold: float = 0.5  # above this share of doubtful replicas nothing leaves nginx
    suspect_errors: float = 0.2  # above this share of failed requests, and twice its peers', it is suspect
    suspect_speed: float = 0.2  # below this share of its peers' tokens per request it is suspect
    budget_actions: int = 12  # failed replicas replaced within `budget_window`; one more blows the fuse
    budget_window: timedelta = timedelta(minutes=10)
    quarantine_after: int = 5  # failed starts in a row
    node_grace: timedelta = timedelta(seconds=15)  # an engine that is silent for longer is lost
    thermal_for: timedelta = timedelta(minutes=5)  # a GPU that its heat slows down for so long is cordoned

    def __post_init__(self) -> None:
        for name in ("failures", "passes", "budget_actions", "quarantine_after"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("panic_threshold", "suspect_errors", "suspect_speed"):
            require(0 < getattr(self, name) < 1, f"{name} is {getattr(self, name):g}; it must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """How a changed spec replaces the old one: one replica at a time, new first.

    Each new one serves for `bake` before an old one goes. Where `failed_starts` new ones in a row never get ready, or
    the new ones' errors stand out from the old ones', the spec is refused and the old one comes back.
    """

    bake: timedelta = timedelta(seconds=10)
    failed_starts: int = 2

    def __post_init__(self) -> None:
        require(self.failed_starts >= 1, f"failed_starts is {self.failed_starts}; it must be at least 1")
