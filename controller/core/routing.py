"""Ready replicas -> what nginx is to run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.core.health import PASSIVE
from controller.core.model import (
    ContainerState,
    GatewayPlan,
    PoolName,
    PoolRoutes,
    Replica,
    ReplicaId,
    ReplicaMemory,
    ReplicaState,
    Server,
)
from controller.core.policy import PoolPolicy
from controller.core.reason import Reason, ReasonCode

_CERTAIN = (
    ReasonCode.LAUNCHER_FAILED.value,
    ReasonCode.OUT_OF_MEMORY.value,
    ReasonCode.COLD_START_DEADLINE.value,
    ReasonCode.GPU_LOST.value,
)


@dataclass(frozen=True, slots=True)
class Routing:
    """The plan, and the pools of which nothing doubtful is taken out because too many are doubtful."""

    plan: GatewayPlan
    held: Mapping[PoolName, Reason] = field(default_factory=dict)


def only_remove(wanted: GatewayPlan, applied: GatewayPlan) -> GatewayPlan:
    """What runs, less the replicas that are no longer wanted: all that may be done while nothing can be recorded."""
    kept = wanted.replicas()
    pools = (
        replace(routes, servers=tuple(server for server in routes.servers if server.replica in kept))
        for routes in applied.pools
    )
    return GatewayPlan(tuple(pools))


def plan_routes(
    policies: Sequence[PoolPolicy],
    replicas: Iterable[tuple[Replica, ReplicaMemory]],
    leaving: Collection[ReplicaId] = (),
) -> Routing:
    """Every pool with its serving replicas, sorted, so that equal facts give equal plans.

    Those `leaving` go although too many look bad at once.
    """
    mine: dict[PoolName, list[tuple[Replica, ReplicaMemory]]] = {policy.pool: [] for policy in policies}
    for item in replicas:
        if item[1].pool in mine and item[0].container.engine is not None:
            mine[item[1].pool].append(item)
    routes: list[PoolRoutes] = []
    held: dict[PoolName, Reason] = {}
    for policy in policies:
        chosen, reason = _choose(mine[policy.pool], policy, leaving)
        servers = [Server(known.replica, at) for item, known in chosen if (at := item.container.engine) is not None]
        routes.append(PoolRoutes(policy.pool, policy.model, tuple(sorted(servers, key=lambda server: server.replica))))
        if reason is not None:
            held[policy.pool] = reason
    return Routing(GatewayPlan(tuple(sorted(routes, key=lambda route: route.pool))), held)


def _choose(
    mine: Sequence[tuple[Replica, ReplicaMemory]], policy: PoolPolicy, leaving: Collection[ReplicaId]
) -> tuple[list[tuple[Replica, ReplicaMemory]], Reason | None]:
    """Those that serve. Where most look bad at once it is hardly them: then those in nginx stay.

    So does the only one, until another serves. One that certainly cannot answer any more is no question of looks.
    """
    good = [item for item in mine if _good(item[1])]
    doubtful = [item for item in mine if _doubtful(*item)]
    limit = policy.health.panic_threshold
    share = len(doubtful) / (len(doubtful) + len(good)) if doubtful else 0.0
    kept = [item for item in doubtful if item[0].routed and item[1].replica not in leaving]
    if share <= limit or not kept:
        return good, None
    text = (
        f"{len(doubtful)} of {len(doubtful) + len(good)} replicas look bad at once, more than {limit:.0%}: "
        f"{', '.join(known.replica for _, known in kept)} stay in nginx"
    )
    numbers = {"doubtful": float(len(doubtful)), "good": float(len(good)), "threshold": limit}
    return [*good, *kept], Reason(ReasonCode.PANIC_THRESHOLD, text, numbers)


def _good(known: ReplicaMemory) -> bool:
    return known.state is ReplicaState.READY or (known.state is ReplicaState.SUSPECT and known.code not in PASSIVE)


def _doubtful(replica: Replica, known: ReplicaMemory) -> bool:
    if known.state is ReplicaState.SUSPECT:
        return known.code in PASSIVE
    runs = replica.container.state is ContainerState.RUNNING
    return known.state is ReplicaState.UNREADY and runs and known.code not in _CERTAIN
