"""Clients that ask and ask while a test does something to the gateway, and how often they got what."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

from tests.fakes.running_nginx import RunningNginx
from tests.waiting import wait_for

BODY = b'{"model":"smollm2","messages":[]}'
STREAM = b'{"model":"smollm2","messages":[],"stream": true}'


class Load:
    """Clients on kept-alive connections, one request after another, until `finish`, or the end of the `with`: clients
    that a failed test left behind would take the machine from all others.

    `ask` gives the body and the headers of a client by its number. What came of an answer that broke off is given to
    `excused`: where that is true the outcome is "cut", and a failure otherwise.
    """

    def __init__(
        self,
        nginx: RunningNginx,
        clients: int,
        *,
        leave_ratio: float = 0.0,
        body: bytes = BODY,
        ask: Callable[[int], tuple[bytes, dict[str, str]]] | None = None,
        excused: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.outcomes: Counter[int | str] = Counter()
        self._nginx, self._excused = nginx, excused
        self._ask = ask or (lambda _: (body, {}))
        self._leave_ratio = leave_ratio
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> Counter[int | str]:
        """How often each status came, or the name of the error."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes

    def await_more(self, requests: int) -> None:
        """Wait until so many more requests have ended in whatever way, however busy the machine is: one at a time."""
        goal = self.outcomes.total() + requests
        while (done := self.outcomes.total()) < goal:
            wait_for(lambda done=done: self.outcomes.total() > done, 30, "another request")  # type: ignore[misc]

    def _run(self, number: int) -> None:
        chance, connection = random.Random(number), self._nginx.connect()
        body, headers = self._ask(number)
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v1/chat/completions", body, headers)
                if chance.random() < self._leave_ratio:
                    connection.close()
                    self.outcomes["left"] += 1
                    continue
                answer = connection.getresponse()
                answer.read()
                self.outcomes[answer.status] += 1
            except http.client.IncompleteRead as error:
                self.outcomes["cut" if self._excused(error.partial) else f"IncompleteRead {error.partial!r}"] += 1
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[type(error).__name__] += 1
                connection.close()
        connection.close()
