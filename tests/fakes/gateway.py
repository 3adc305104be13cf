"""A gateway in memory that keeps every promise of the port."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import GatewayPlan, PoolRoutes
from controller.ports import Clock, GatewayState


def _possible(plan: GatewayPlan) -> bool:
    return all(0 < server.address.port < 65536 for routes in plan.pools for server in routes.servers)


class FakeGateway:
    """See `Gateway`. `down` makes it unavailable, `accepts` decides what it refuses, `reloads` counts."""

    def __init__(
        self,
        clock: Clock,
        applied: GatewayPlan | None = None,
        *,
        reload_interval: timedelta = timedelta(seconds=2),
        accepts: Callable[[GatewayPlan], bool] = _possible,
    ) -> None:
        self.down = False
        self.reloads = 0
        self.accepts = accepts
        self._clock = clock
        self._interval = reload_interval
        self._applied = applied or GatewayPlan()
        self._reloaded_at: datetime | None = None

    def state(self) -> GatewayState:
        """The plan that was applied last."""
        return GatewayState(self._applied)

    def apply(self, plan: GatewayPlan) -> GatewayState:
        """See `Gateway.apply`; never blocks."""
        plan = _ordered(plan)
        if plan == self._applied:
            return self.state()
        now = self._clock.now()
        if self._reloaded_at is not None and timedelta(0) <= now - self._reloaded_at < self._interval:
            return GatewayState(self._applied, self._reloaded_at + self._interval)
        if self.down:
            raise GatewayUnavailable("nginx is not running")
        if not self.accepts(plan):
            raise GatewayRejected("invalid port in upstream")
        self._applied, self._reloaded_at = plan, now
        self.reloads += 1
        return self.state()


def _ordered(plan: GatewayPlan) -> GatewayPlan:
    pools = (
        PoolRoutes(routes.pool, routes.model, tuple(sorted(routes.servers, key=lambda server: server.replica)))
        for routes in plan.pools
    )
    return GatewayPlan(tuple(sorted(pools, key=lambda routes: routes.pool)))
