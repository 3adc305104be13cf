"""What nginx is told while it runs, over the socket in its folder that only its starter can reach."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.core.errors import GatewayUnavailable

_CONFLICT = 409
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """What nginx says that it knows, by the versions; empty: nothing."""

    keys: str
    blocks: str


class Deadline:
    """By when all has to be done."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float) -> float:
        """Seconds for the next step. Raises `GatewayUnavailable` where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise GatewayUnavailable("nginx did not take the keys in time")
        return min(left, at_most)

    def put_off(self, seconds: float) -> None:
        """There is more to do than was thought."""
        self._end += seconds


class Control:
    """The three questions of nginx's control socket. Each raises `GatewayUnavailable` for all but a proper answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def loaded(self, timeout_s: float) -> Loaded:
        """What it knows."""
        answer = self._ask("GET", "/access", None, timeout_s)
        return Loaded(_text(answer, "version"), _text(answer, "blocks"))

    def keys(self, body: bytes, timeout_s: float) -> bool:
        """Tell it keys. False: it has not what they are the difference to."""
        return self._ask("POST", "/keys", body, timeout_s) is not None

    def blocks(self, body: bytes, timeout_s: float) -> None:
        """Tell it who is blocked."""
        self._ask("POST", "/blocks", body, timeout_s)

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Any:
        """The answer; None for a conflict."""
        connection = _UnixConnection(self._path, timeout_s)
        headers = {"Connection": "close", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            with connection.getresponse() as answer:
                if answer.status == _CONFLICT and path == "/keys":
                    return None
                if answer.status != http.HTTPStatus.OK:
                    raise GatewayUnavailable(f"nginx answered {answer.status} to {method} {path} on {self._path.name}")
                return json.loads(answer.read(_LONGEST_ANSWER))
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise GatewayUnavailable(f"nginx does not answer on {self._path.name} ({words})") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """Every operation blocks for at most `timeout_s`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _text(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str):
        raise GatewayUnavailable(f"nginx answered without its {name} to GET /access")
    return value
