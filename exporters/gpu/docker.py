"""What a container is called and which replica it is: asked of Docker once, over its socket."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.gpu.facts import Owner

POOL, REPLICA = "stoker.pool", "stoker.replica"  # labels of the controller's containers
FORGET_AFTER_S = 60.0  # since it was last asked for
AGAIN_AFTER_S = 10.0  # an engine that did not answer
TIMEOUT_S = 0.2  # of a scrape; one that does not answer in that time is left alone for a while
_LARGEST_BYTES = 4 * 1024**2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SHORT = 12  # digits of an id, as `docker ps` shows them


@dataclass(slots=True)
class _Known:
    owner: Owner
    used_at: float


class Containers:
    """Not safe for several threads. `now` is a clock in seconds that is never set."""

    def __init__(self, sockets: tuple[Path, ...], now: Callable[[], float]) -> None:
        self._sockets, self._now = sockets, now
        self._known: dict[str, _Known] = {}
        self._silent_until: dict[Path, float] = {}

    def owner(self, container: str) -> Owner:
        """Whose it is. Blocks for at most 0.2 s for each engine that does not answer, and then for 10 s not at all.

        Where no engine knows it, or none answers, it is called by the beginning of its id.
        """
        now = self._now()
        known = self._known.get(container)
        if known is None:
            found, sure = self._ask(container, now)
            known = _Known(found or Owner(container[:_SHORT]), now)
            if sure:
                self._known[container] = known
        known.used_at = now
        return known.owner

    def forget(self) -> None:
        """Drop those that nobody has asked for of late."""
        before = self._now() - FORGET_AFTER_S
        self._known = {name: known for name, known in self._known.items() if known.used_at >= before}

    def _ask(self, container: str, now: float) -> tuple[Owner | None, bool]:
        """What the engines say, and whether all that could know it were asked."""
        sure = True
        for path in self._sockets:
            if not path.exists():
                continue
            if self._silent_until.get(path, now) > now:
                sure = False
                continue
            try:
                found = inspect(path, container)
            except (OSError, http.client.HTTPException, ValueError):
                self._silent_until[path] = now + AGAIN_AFTER_S
                sure = False
                continue
            if found is not None:
                return owner_in(found, container), True
        return None, sure


def owner_in(found: Any, container: str) -> Owner:
    """What Docker's answer says; what cannot be a name is left out."""
    name = _name(str(found.get("Name") or "").removeprefix("/")) if isinstance(found, dict) else ""
    config = found.get("Config") if isinstance(found, dict) else None
    labels = config.get("Labels") if isinstance(config, dict) else None
    if not isinstance(labels, dict):
        labels = {}
    return Owner(name or container[:_SHORT], _name(labels.get(POOL)), _name(labels.get(REPLICA)))


def inspect(path: Path, container: str) -> Any:
    """Docker's answer; None where it knows no such container. Raises `OSError`, `HTTPException`, `ValueError`."""
    connection = _Connection(path)
    try:
        connection.request("GET", f"/containers/{container}/json", headers={"Host": "docker", "Connection": "close"})
        with connection.getresponse() as answer:
            body = answer.read(_LARGEST_BYTES)
            if answer.status == http.client.NOT_FOUND:
                return None
            if answer.status != http.client.OK:
                raise ValueError(f"Docker answers with {answer.status}")
            return json.loads(body)
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _name(said: object) -> str:
    return said if isinstance(said, str) and _NAME.fullmatch(said) else ""
