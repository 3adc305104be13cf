"""Whom Prometheus scrapes: files for its file discovery, written by rename."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from controller.core.model import Address, Container, ContainerState

ENGINE_FILE, LAUNCHER_FILE = "engine.json", "launcher.json"


class FileTargets:
    """Writes `engine.json` and `launcher.json`, and only when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, str] = {}

    def write(self, containers: Sequence[Container]) -> None:
        """See `TargetWriter.write`."""
        running = [container for container in containers if container.state is ContainerState.RUNNING]
        self._put(ENGINE_FILE, render([(container, container.engine) for container in running]))
        self._put(LAUNCHER_FILE, render([(container, container.launcher) for container in running]))

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
