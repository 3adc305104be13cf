"""A fleet of fakes behind a real server, for a browser to look at."""

from __future__ import annotations

import socket
import threading

import uvicorn

from tests.fakes.big_fleet import BigFleet, app_of
from tests.waiting import wait_for


class Served:
    """The fleet, and a server that can be stopped and started on the same port."""

    def __init__(self) -> None:
        self.fleet = BigFleet(pools=8, nodes=8).warm_up(30)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        app = app_of(self.fleet)
        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_config=None, timeout_graceful_shutdown=3))
        self.live = app.state.live
        self.live.stopping = lambda: self._server.should_exit
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self._server.started, 20, "the server listens")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "open streams keep the server from ending"
