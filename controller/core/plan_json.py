"""A GatewayPlan as JSON: in files, and on its way to other machines."""

from __future__ import annotations

from typing import Any

from controller.core.model import Address, GatewayPlan, PoolName, PoolRoutes, ReplicaId, Server


def plan_to_json(plan: GatewayPlan) -> dict[str, Any]:
    """Nothing but strings, numbers, lists and mappings."""
    return {
        "pools": [
            {
                "pool": routes.pool,
                "model": routes.model,
                "servers": [
                    {"replica": server.replica, "host": server.address.host, "port": server.address.port}
                    for server in routes.servers
                ],
            }
            for routes in plan.pools
        ]
    }


def plan_from_json(data: Any) -> GatewayPlan:
    """Raises `ValueError` where it is something else."""
    try:
        return GatewayPlan(tuple(_routes(routes) for routes in data["pools"]))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"this is no plan of a gateway: {type(error).__name__}: {error}") from error


def _routes(data: Any) -> PoolRoutes:
    servers = tuple(
        Server(ReplicaId(_text(server["replica"])), Address(_text(server["host"]), int(server["port"])))
        for server in data["servers"]
    )
    return PoolRoutes(PoolName(_text(data["pool"])), _text(data["model"]), servers)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value
