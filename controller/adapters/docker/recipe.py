"""What an engine is told to create for a replica. Pure: the words are those of its API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from controller.adapters.docker import listing
from controller.ports import ReplicaSpec


def recipe(spec: ReplicaSpec, labels: Mapping[str, str], host: str | None) -> dict[str, Any]:
    """The arguments of `create_container`, without the name. `host`: where its ports are published, if they are.

    The checkpoints are mounted where they lie on the node, read-only. The process in it gets nothing that it does not
    need: no capability, no new privilege, no writable file but /tmp.
    """
    folder = str(PurePosixPath(spec.checkpoint).parent)
    engine, launcher = listing.inner_ports(spec.replica)
    published = () if host is None else (engine, launcher)
    host_config: dict[str, Any] = {
        "NetworkMode": "default",
        "Binds": [f"{folder}:{folder}:ro"],
        "PortBindings": {f"{port}/tcp": [{"HostIp": host, "HostPort": ""}] for port in published},
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": "size=64m"},
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "2"}},
    }
    known = {
        listing.POOL: spec.pool,
        listing.REPLICA: spec.replica,
        listing.SPEC_HASH: spec.spec_hash,
        listing.ENGINE_PORT: str(engine),
        listing.LAUNCHER_PORT: str(launcher),
    }
    if spec.gpu:
        # By its UUID: the engine gives a GPU to as many as ask, and one of a count is always the first one.
        host_config["DeviceRequests"] = [_request(spec.gpu)]
        known[listing.GPU] = spec.gpu
    listen = {"STOKER_ENGINE_PORT": str(engine), "STOKER_LAUNCHER_PORT": str(launcher)}
    return {
        "image": spec.image,
        "environment": spec.environment() | listen,
        "labels": {**labels, **known},
        "ports": list(published),
        "host_config": host_config,
    }


def _request(gpu: str) -> dict[str, Any]:
    return {"Driver": "", "Count": 0, "DeviceIDs": [gpu], "Capabilities": [["gpu"]], "Options": {}}
