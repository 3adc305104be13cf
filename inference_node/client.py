"""HTTP to the engine on this host, every call bounded in time."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from types import TracebackType

from inference_node.engines.contract import EngineSilent

_MAX_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where the engine answers."""

    host: str
    port: int


def reachable(host: str) -> str:
    """The address to connect to for a server that binds to `host`."""
    return "127.0.0.1" if host == "0.0.0.0" else host


class EngineConnection:
    """One connection, for the few requests of one look at the engine. Opened by the first of them."""

    def __init__(self, address: EngineAddress, timeout_s: float) -> None:
        self._connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)

    def __enter__(self) -> EngineConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str) -> str:
        """The text at `path`. Raises `EngineSilent` for anything but a 200 in time."""
        return self._request("GET", path, None)

    def post(self, path: str, body: object) -> str:
        """The answer to `body`, sent as JSON. Raises `EngineSilent` for anything but a 200 in time."""
        return self._request("POST", path, json.dumps(body))

    def _request(self, method: str, path: str, body: str | None) -> str:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, body, headers)
            with self._connection.getresponse() as response:
                text = response.read(_MAX_ANSWER_BYTES).decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # a late answer must not be taken for that to the next request
            raise EngineSilent(f"{path} did not answer: {error or type(error).__name__}") from error
        if response.status != 200:
            raise EngineSilent(f"{path} answered {response.status}")
        return text
