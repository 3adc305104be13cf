"""One installation on one machine: where its files lie, and what `stoker up` found out before it started anything.

`stoker up` writes `installation.json`; the controller reads nothing else but it and the copy of the
configuration beside it, so that editing `stoker.yaml` changes nothing until `stoker apply` or the next `stoker up`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TOKEN_VARIABLE = "STOKER_TOKEN"  # what the commands show, where a person sets it
LOCAL = "local"  # the node's name where the configuration names none
_TOKEN = re.compile(r"[0-9a-f]{64}")


class Layout:
    """The files under a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.root = state_dir.resolve()
        self.installation = self.root / "installation.json"
        self.config = self.root / "stoker.yaml"  # the copy that is in force
        self.previous_installation = self.root / "installation.json.previous"  # before the last `stoker apply`
        self.previous_config = self.root / "stoker.yaml.previous"
        self.logs = self.root / "logs"
        self.database = self.root / "controller.db"
        self.lock = self.root / "controller.lock"
        self.api_token = self.root / "api.token"  # who may read it may give orders
        self.alerts_token = self.root / "alerts.token"  # Alertmanager reads it
        self.metrics_token = self.root / "metrics.token"  # Prometheus reads it
        self.served_pair = self.root / "controller.pem"  # certificate and key that the controller serves with
        self.served_certificate = self.root / "controller.crt"  # of it the certificate, which our own clients verify
        self.gateway = self.root / "gateway"  # nginx.conf, plan.json, route.js, temporary bodies
        self.prometheus = self.root / "prometheus"  # prometheus.yml, data
        self.targets = self.prometheus / "targets"  # *.json, written by the controller
        self.alertmanager = self.root / "alertmanager"  # alertmanager.yml, templates, data
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


class TlsFiles(BaseModel):
    """With what a Docker engine is asked over TLS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: str
    cert: str
    key: str


class NodeParts(BaseModel):
    """One node's engine. `address` is where published ports are reached; None: it is on this machine, so look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    docker_host: str  # unix:///... or tcp://...
    address: str | None = None
    tls: TlsFiles | None = None
    gpu_exporter: str | None = None  # HOST:PORT


class Installation(BaseModel):
    """What `stoker up` decided."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["docker", "process"]
    docker_host: str | None = None  # of the one node `local`; None for the process runtime, and where there are nodes
    nodes: tuple[NodeParts, ...] = ()
    pools: dict[str, PoolParts]
    instance: str = ""  # "": the state directory's
    image_base: str = ""  # id of the image that the replica image was built on
    run: str = Field(default_factory=lambda: uuid.uuid4().hex)  # tells one `stoker up` from the next

    @property
    def engines(self) -> tuple[NodeParts, ...]:
        """The Docker engines that replicas run on; none for the process runtime."""
        if self.nodes or self.docker_host is None:
            return self.nodes
        return (NodeParts(name=LOCAL, docker_host=self.docker_host),)

    def instance_in(self, layout: Layout) -> str:
        """What the labels of this installation's containers say; controllers that share a database share it, too."""
        return self.instance or layout.instance

    @staticmethod
    def load(layout: Layout) -> Installation:
        """Read it back. Raises `FileNotFoundError` where `stoker up` never ran."""
        return Installation.model_validate_json(layout.installation.read_text(encoding="utf-8"))

    def save(self, layout: Layout) -> None:
        """Write it by rename, so that a reader never sees half of it."""
        layout.root.mkdir(parents=True, exist_ok=True)
        replace_text(layout.installation, self.model_dump_json(indent=2) + "\n")


def for_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """What a program or a replica inherits of it: not the token of whoever starts it, who may be an admin."""
    return {name: value for name, value in environment.items() if name != TOKEN_VARIABLE}


def replace_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file by rename; whoever reads it sees all of the old text or all of the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, path)


def api_token(layout: Layout) -> str:
    """What whoever gives orders to the controller must show; made where there is none yet."""
    return kept_token(layout.api_token)


def alerts_token(layout: Layout) -> str:
    """What Alertmanager must show when it tells the controller of alerts; it is good for nothing else."""
    return kept_token(layout.alerts_token)


def metrics_token(layout: Layout) -> str:
    """What Prometheus must show when it reads the controller's metrics; it is good for nothing else."""
    return kept_token(layout.metrics_token)


def kept_token(path: Path) -> str:
    """The token in that file; made where there is none yet. Nobody but its owner may read the file: where others may,
    somebody copied or changed it, and that ends here."""
    try:
        known = path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        known = ""
    if _TOKEN.fullmatch(known):
        if path.stat().st_mode & 0o077:
            with suppress(OSError):  # it is somebody else's, or on a disk that is only read: no reason not to start
                path.chmod(0o600)
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_hex(32)
    replace_text(path, made + "\n", 0o600)
    return made
