"""What `stoker up` and `stoker apply` find out and put in place before a controller works with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.installation import Layout, NodeParts, PoolParts, TlsFiles
from controller.settings import NodeSettings, Settings
from controller.stack import checkpoints


def nodes_of(settings: Settings) -> tuple[NodeParts, ...]:
    """The nodes that the configuration names."""
    return tuple(_node(node) for node in settings.nodes)


def locate_all(settings: Settings, config: Path) -> dict[str, Path]:
    """Every pool's checkpoint, found and checked. Raises `Trouble` for the first that is not right."""
    return {pool.name: checkpoints.locate(pool, config) for pool in settings.pools}


def pool_parts(
    found: Mapping[str, Path], layout: Layout, nodes: Sequence[NodeParts], image: str
) -> dict[str, PoolParts]:
    """What every pool's replicas are made of.

    Checkpoints are put where replicas on this machine read them; engines on other machines have them at the path that
    they have here. Raises `Trouble` where they cannot be put there or may not be read.
    """
    elsewhere = any(not node.docker_host.startswith("unix://") for node in nodes)
    placed = {
        pool: checkpoints.require_readable(pool, path) if elsewhere else checkpoints.stage(path, layout.checkpoints)
        for pool, path in found.items()
    }
    return {pool: PoolParts(image=image, checkpoint=str(path)) for pool, path in placed.items()}


def _node(node: NodeSettings) -> NodeParts:
    tls = TlsFiles(ca=node.tls.ca, cert=node.tls.cert, key=node.tls.key) if node.tls else None
    return NodeParts(
        name=node.name, docker_host=node.docker, address=node.reach, tls=tls, gpu_exporter=node.gpu_exporter
    )
