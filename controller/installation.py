"""One installation on one machine: where its files lie, and what `stoker up` found out before it started anything.

`stoker up` writes `installation.json`; the controller reads nothing else but it and the copy of the
configuration beside it, so that editing `stoker.yaml` changes nothing until the next `stoker up`.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Layout:
    """The files under a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.root = state_dir.resolve()
        self.installation = self.root / "installation.json"
        self.config = self.root / "stoker.yaml"  # the copy that is in force
        self.logs = self.root / "logs"
        self.database = self.root / "controller.db"
        self.lock = self.root / "controller.lock"
        self.gateway = self.root / "gateway"  # nginx.conf, plan.json, route.js, temporary bodies
        self.prometheus = self.root / "prometheus"  # prometheus.yml, data
        self.targets = self.prometheus / "targets"  # *.json, written by the controller
        self.checkpoints = self.root / "checkpoints"  # mounted read-only into every replica
        self.replicas = self.root / "replicas"  # the process runtime's
        self.engine = self.root / "docker"  # a dockerd of our own, where no other answers
        self.supervisor = self.root / "supervisor"  # supervisord.conf, socket, pid

    @property
    def instance(self) -> str:
        """Twelve hexadecimal digits that tell this installation's containers from another's on the same engine."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:12]


class PoolParts(BaseModel):
    """What a pool's replicas are made of, as found at `stoker up`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str  # "" for the process runtime
    checkpoint: str  # absolute path


class Installation(BaseModel):
    """What `stoker up` decided."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["docker", "process"]
    docker_host: str | None = None  # unix:///... ; None for the process runtime
    pools: dict[str, PoolParts]
    run: str = Field(default_factory=lambda: uuid.uuid4().hex)  # tells one `stoker up` from the next

    @staticmethod
    def load(layout: Layout) -> Installation:
        """Read it back. Raises `FileNotFoundError` where `stoker up` never ran."""
        return Installation.model_validate_json(layout.installation.read_text(encoding="utf-8"))

    def save(self, layout: Layout) -> None:
        """Write it by rename, so that a reader never sees half of it."""
        layout.root.mkdir(parents=True, exist_ok=True)
        partial = layout.installation.with_suffix(".partial")
        partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        os.replace(partial, layout.installation)
