"""What every side of the comparison gives, and what the replicas of all of them are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import docker

REPLICAS = 3
MODEL = "smollm2"
ENGINE_PORT, LAUNCHER_PORT = 8000, 9000
SLOTS, CONTEXT_TOKENS, THREADS, DRAIN_S = 2, 512, 1, 30  # as in tests/e2e/stack.py


@dataclass(frozen=True)
class Place:
    """A running replica, and where its own ports are reached."""

    container: str
    engine: str
    launcher: str


class Side(Protocol):
    """One way to keep three replicas serving behind one address."""

    name: str
    what: str  # how it is set up, as a clause
    url: str  # of the gateway; known once started

    def start(self) -> None:
        """Start everything. Returns before all replicas serve."""
        ...

    def places(self) -> list[Place]:
        """The replicas whose containers run now, in a fixed order."""
        ...

    def stop(self) -> None:
        """End everything. Idempotent; also after a start that was cut off half-way."""
        ...


@dataclass(frozen=True)
class Recipe:
    """The replica that all sides run."""

    client: docker.DockerClient
    image: str
    checkpoint: Path
    nginx: Path  # the binary in front of the peers' replicas; Stoker takes the same by itself

    def environment(self, replica: str) -> dict[str, str]:
        """What the launcher is told, as Stoker tells it."""
        return {
            "STOKER_POOL": MODEL,
            "STOKER_REPLICA": replica,
            "STOKER_SPEC_HASH": "bench",
            "STOKER_MODEL": MODEL,
            "STOKER_ENGINE": "llamacpp",
            "STOKER_CHECKPOINT": str(self.checkpoint),
            "STOKER_SLOTS": str(SLOTS),
            "STOKER_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
            "STOKER_THREADS": str(THREADS),
            "STOKER_DRAIN_TIMEOUT_S": str(DRAIN_S),
        }
