"""Where an engine is and how what runs on it is reached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from controller.core.model import NodeName

_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DockerTls:
    """Files in PEM: who may have signed the engine's certificate, and our own certificate with its key."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class DockerNode:
    """Which engine, under which name, and at which address its published ports are reached.

    `host`: an IP address of the engine's machine; ports are published on it and on no other.
    `direct`: its containers' own addresses are reached, too. Then nothing is published: Docker's forwarding of a
    loopback port is a process of the engine and dies with it, and all requests with that. None: the engine is asked
    when it first answers.
    """

    url: str
    name: NodeName = NodeName("local")
    host: str = _HERE
    direct: bool | None = False
    tls: DockerTls | None = None

    @staticmethod
    def at(url: str, name: NodeName, host: str = "", tls: DockerTls | None = None) -> DockerNode:
        """The node of an engine on this machine (unix://) or another (tcp://). Asks nothing and does not block.

        `host` may be left out where the engine's URL names the machine by its IP address.
        """
        if url.startswith("unix://"):
            return DockerNode(url, name, host or _HERE, direct=False if host else None)
        return DockerNode(url, name, host or urlsplit(url).hostname or _HERE, direct=False, tls=tls)
