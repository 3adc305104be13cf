"""What the configuration wants of the gateway besides replicas: how each pool is entered, spread and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from controller.core.policy import ScalingPolicy
from controller.settings import PlanSettings, PoolSettings, Settings

_TARGET = ScalingPolicy().in_flight.target
# The bound of consistent hashing with bounded loads that its authors settled on (Mirrokni and others, 2016).
_LOAD_BOUND = 1.25
_BALANCING = {
    "consistent_hash": "hash $stoker_ring consistent",
    "least_connections": "least_conn",
    "random_two": "random two least_conn",
}


@dataclass(frozen=True, slots=True)
class PoolRules:
    """How requests of one pool are taken in and spread. `max_in_flight` is of each replica; 0: as many as come."""

    aliases: tuple[str, ...] = ()
    open: bool = True  # whether it takes requests without a key
    routing: str = "consistent_hash"
    max_in_flight: int = 0
    keep_alive: bool = False  # whether connections to its replicas are used again
    cache: str = "off"
    cache_s: int = 30
    share_cache: bool = False
    open_paths: tuple[str, ...] = ()

    @property
    def balancing(self) -> str:
        """The directive of its upstream."""
        return _BALANCING[self.routing]

    @property
    def others_again(self) -> bool:
        """Whether a request that is begun anew is spread in another way: not by user, and not by who is full."""
        return self.routing == "consistent_hash" or self.max_in_flight > 0


@dataclass(frozen=True, slots=True)
class Rules:
    """Those of every pool, and the plans. A pool without rules has the default ones."""

    pools: Mapping[str, PoolRules] = field(default_factory=dict)
    plans: tuple[PlanSettings, ...] = ()

    def of(self, pool: str) -> PoolRules:
        """Of that pool."""
        return self.pools.get(pool, PoolRules())


def rules_of(settings: Settings) -> Rules:
    """What the file says, and what follows from it where it says nothing."""
    pools = {pool.name: _pool(pool, settings.gateway.on_loopback) for pool in settings.pools}
    return Rules(pools, tuple(sorted(settings.plans, key=lambda plan: plan.name)))


def _pool(pool: PoolSettings, on_loopback: bool) -> PoolRules:
    """Where no limit is given it is a quarter above the target: what comes on top of that goes to the next replica."""
    given = pool.gateway
    target = pool.scaling.target_in_flight or pool.scaling.in_flight.target or _TARGET
    return PoolRules(
        aliases=given.aliases,
        open=on_loopback if given.access is None else given.access == "open",
        routing=given.routing,
        max_in_flight=given.max_in_flight or ceil(_LOAD_BOUND * target),
        keep_alive=given.keep_alive,
        cache=given.cache,
        cache_s=max(1, ceil(given.cache_for.total_seconds())),
        share_cache=given.share_cache,
        open_paths=given.open_paths,
    )
