"""Ready replicas -> what nginx is to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from controller.core.model import (
    GatewayPlan,
    PoolRoutes,
    Replica,
    ReplicaMemory,
    ReplicaState,
    Server,
)
from controller.core.policy import PoolPolicy


def only_remove(wanted: GatewayPlan, applied: GatewayPlan) -> GatewayPlan:
    """What runs, less the replicas that are no longer wanted: all that may be done while nothing can be recorded."""
    kept = wanted.replicas()
    pools = (
        replace(routes, servers=tuple(server for server in routes.servers if server.replica in kept))
        for routes in applied.pools
    )
    return GatewayPlan(tuple(pools))


def plan_routes(policies: Sequence[PoolPolicy], replicas: Iterable[tuple[Replica, ReplicaMemory]]) -> GatewayPlan:
    """Every pool with its ready replicas, sorted, so that equal facts give equal plans."""
    servers: dict[str, list[Server]] = {policy.pool: [] for policy in policies}
    for replica, memory in replicas:
        address = replica.container.engine
        if memory.state is ReplicaState.READY and address is not None and memory.pool in servers:
            servers[memory.pool].append(Server(memory.replica, address))
    routes = (
        PoolRoutes(policy.pool, policy.model, tuple(sorted(servers[policy.pool], key=lambda server: server.replica)))
        for policy in policies
    )
    return GatewayPlan(tuple(sorted(routes, key=lambda route: route.pool)))
