"""One element of the engine's list -> Container. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from controller.core.model import Address, Container, ContainerState, NodeName, PoolName, ReplicaId

INSTANCE, POOL, REPLICA, SPEC_HASH = "stoker.instance", "stoker.pool", "stoker.replica", "stoker.spec_hash"
ENGINE_PORT, LAUNCHER_PORT, GPU = "stoker.engine_port", "stoker.launcher_port", "stoker.gpu"
_EXITED = re.compile(r"Exited \((\d+)\)")


def inner_ports(replica: ReplicaId) -> tuple[int, int]:
    """Where engine and launcher listen inside the container: even and odd, between 10000 and 59999, by name.

    The engine gives the address of a container that exited to the next one at once. With a port of its own a request
    that is on its way to the old one is refused by the new one, which may hold another model, and is tried elsewhere.
    """
    engine = 10000 + 2 * (zlib.crc32(replica.encode()) % 25000)
    return engine, engine + 1


def read_container(item: Mapping[str, Any], node: NodeName, host: str | None, out_of_memory: bool) -> Container:
    """What the list says of one container. `host`: where its ports are published; None: it is reached directly."""
    labels = item["Labels"]
    status = str(item.get("Status", ""))
    exited = _EXITED.match(status)
    return Container(
        replica=ReplicaId(labels.get(REPLICA, "")),
        pool=PoolName(labels.get(POOL, "")),
        node=node,
        spec_hash=labels.get(SPEC_HASH, ""),
        state=_state(str(item["State"])),
        created_at=datetime.fromtimestamp(item["Created"], tz=UTC),
        engine=_address(item, host, labels.get(ENGINE_PORT)),
        launcher=_address(item, host, labels.get(LAUNCHER_PORT)),
        exit_code=int(exited[1]) if exited else None,
        detail=status,
        out_of_memory=out_of_memory,
        gpu=labels.get(GPU, ""),
    )


def exited(item: Mapping[str, Any], code: int | None) -> Mapping[str, Any]:
    """The same as the list will say it in a moment, of one that ended with that code; None: it has not ended."""
    if code is None or has_exited(item):
        return item
    return {**item, "State": "exited", "Status": f"Exited ({code})", "NetworkSettings": {}, "Ports": []}


def has_exited(item: Mapping[str, Any]) -> bool:
    """Whether the list says that it ran and runs no more."""
    return _state(str(item["State"])) is ContainerState.EXITED


def _state(said: str) -> ContainerState:
    if said in ("running", "paused", "restarting"):
        return ContainerState.RUNNING
    return ContainerState.CREATED if said == "created" else ContainerState.EXITED


def _address(item: Mapping[str, Any], host: str | None, label: str | None) -> Address | None:
    if label is None:
        return None
    port = int(label)
    if host is None:
        networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
        own = next((network["IPAddress"] for network in networks.values() if network.get("IPAddress")), None)
        return None if own is None else Address(own, port)
    ports = {known["PrivatePort"]: known.get("PublicPort") for known in item.get("Ports") or ()}
    public = ports.get(port)
    return None if public is None else Address(host, public)
