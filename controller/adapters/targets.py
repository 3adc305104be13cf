"""Whom Prometheus scrapes: files for its file discovery, written by rename."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.core.model import Address, Container, ContainerState

ENGINE_FILE, LAUNCHER_FILE, EDGE_FILE = "engine.json", "launcher.json", "edge.json"
CONTROLLER_FILE, GPU_FILE = "controller.json", "gpu.json"


class FileTargets:
    """Writes `engine.json`, `launcher.json`, for the gateways of other machines `edge.json`, and for a controller that
    was to stand by `controller.json`: when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, str] = {}

    def write(self, containers: Sequence[Container]) -> None:
        """See `TargetWriter.write`."""
        running = [container for container in containers if container.state is ContainerState.RUNNING]
        self._put(ENGINE_FILE, render([(container, container.engine) for container in running]))
        self._put(LAUNCHER_FILE, render([(container, container.launcher) for container in running]))

    def write_gateways(self, exporters: Mapping[str, str]) -> None:
        """These edge exporters, `HOST:PORT` by the gateway's name, besides the one of this machine; no others."""
        groups = [{"targets": [address], "labels": {"gateway": name}} for name, address in sorted(exporters.items())]
        self._put(EDGE_FILE, json.dumps(groups, indent=1) + "\n")

    def write_gpus(self, exporters: Mapping[str, str]) -> None:
        """These GPU exporters, `HOST:PORT` by the node's name, no others."""
        groups = [{"targets": [address], "labels": {"node": name}} for name, address in sorted(exporters.items())]
        self._put(GPU_FILE, json.dumps(groups, indent=1) + "\n")

    def write_leader(self, address: str, usual: str) -> None:
        """The controller that leads; the one at the usual address is scraped anyway, and needs no file."""
        if address != usual:
            self._put(CONTROLLER_FILE, json.dumps([{"targets": [address], "labels": {}}], indent=1) + "\n")
        elif (self._folder / CONTROLLER_FILE).exists():
            self._put(CONTROLLER_FILE, "[]\n")

    def gateways(self) -> dict[str, str]:
        """Those that the file has, whoever wrote it."""
        try:
            groups = json.loads((self._folder / EDGE_FILE).read_text(encoding="utf-8"))
            return {str(group["labels"]["gateway"]): str(group["targets"][0]) for group in groups}
        except (OSError, ValueError, LookupError, TypeError):
            return {}

    def _put(self, name: str, text: str) -> None:
        if self._written.get(name) == text:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"{name}.partial"  # Prometheus reads only what ends in .json
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self._folder / name)
        self._written[name] = text


def render(targets: Sequence[tuple[Container, Address | None]]) -> str:
    """Prometheus's file format; pool, replica and node become labels of every series."""
    groups = [
        {
            "targets": [str(address)],
            "labels": {"pool": container.pool, "replica": container.replica, "node": container.node},
        }
        for container, address in sorted(targets, key=lambda item: item[0].replica)
        if address is not None
    ]
    return json.dumps(groups, indent=1) + "\n"
