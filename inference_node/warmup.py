"""A replica is ready when it has made a real token, not when a port is open."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from inference_node.client import EngineAddress, EngineConnection
from inference_node.engines.contract import Engine, EngineSilent
from inference_node.events import EngineHealthy, EngineWarm, Event, WarmUpFailed

HEALTH_RETRY_S = 0.1


class WarmUp:
    """Waits for health without limit, then asks for one token, in a thread of its own. Both become events."""

    def __init__(self, engine: Engine, address: EngineAddress, model: str, timeout_s: float) -> None:
        self._engine = engine
        self._address = address
        self._model = model
        self._timeout_s = timeout_s  # for the token
        self._cancelled = threading.Event()

    def start(self, on_event: Callable[[Event], None]) -> None:
        """Does not block."""
        threading.Thread(target=self._run, args=(on_event,), name="warm-up", daemon=True).start()

    def cancel(self) -> None:
        """Wait for health no longer."""
        self._cancelled.set()

    def _run(self, on_event: Callable[[Event], None]) -> None:
        while not self._is_healthy():
            if self._cancelled.wait(HEALTH_RETRY_S):
                return
        on_event(EngineHealthy())
        try:
            with EngineConnection(self._address, self._timeout_s) as connection:
                request_token(connection, self._model)
        except EngineSilent as error:
            on_event(WarmUpFailed(str(error)))
        else:
            on_event(EngineWarm())

    def _is_healthy(self) -> bool:
        try:
            with EngineConnection(self._address, timeout_s=1.0) as connection:
                connection.get(self._engine.health_path)
        except EngineSilent:
            return False
        return True


def request_token(connection: EngineConnection, model: str) -> None:
    """Have the engine make one token. Raises `EngineSilent` when it makes none."""
    message = {"role": "user", "content": "Hello"}
    answer = connection.post(
        "/v1/chat/completions", {"model": model, "messages": [message], "max_tokens": 1, "stream": False}
    )
    try:
        made = json.loads(answer)["usage"]["completion_tokens"]
    except (ValueError, KeyError, TypeError) as error:
        raise EngineSilent("the answer to the first request has no token count") from error
    if not isinstance(made, int) or made < 1:
        raise EngineSilent(f"the first request made {made} tokens")
