"""The controller's process: its API, and ticks for as long as it leads. Nobody imports it."""

from __future__ import annotations

import argparse
import contextlib
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from controller.adapters.telemetry import Telemetry
from controller.api.app import create_app
from controller.api.connections import backlog_for, give_up_the_deaf, room_for, serve_in, take_files
from controller.api.deps import LEADS, Sources
from controller.api.proxies import Doorway
from controller.core.errors import LostLease, PermanentError, TransientError
from controller.installation import Layout
from controller.settings import ConfigError, load
from controller.stack.binding import Bound, bound
from controller.wiring import Claim, Leader, Place, claim, complain, lead, standing_by

_RETRY_S, _PATIENCE_S = 1.0, 1.0
_FOR = " and holds"  # for how long somebody leads changes all the time
_LOST, _TROUBLE, _BAD_CONFIGURATION = 1, 2, 78
_GRACE_S = 3  # for answers that are under way when it ends


class Candidate:
    """Tries to take the lead about once a second, in a thread of its own; then it ticks, until it is closed.

    `on_lead` gets what the API tells from then on. `on_end` is called when it cannot go on; `code` is then above 0.
    """

    def __init__(self, place: Place, telemetry: Telemetry) -> None:
        self._place, self._telemetry = place, telemetry
        self._words = "asks who leads"
        self._stopping, self._leading = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="candidate", daemon=True)
        self._leader: Leader | None = None
        self.code = 0
        self.on_lead: Callable[[Sources], None] = lambda sources: None
        self.on_end: Callable[[], None] = lambda: None

    def who_leads(self) -> str:
        """ "leads", or "stands by" and who leads instead."""
        return self._words

    def start(self) -> None:
        """Begin to try. Returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the ticks and give up the lead. Blocks for as long as a tick takes."""
        self._stopping.set()
        with self._leading:
            if self._leader is not None:
                self._leader.close()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)  # longer only where it waits for a lock, which it would give back

    def _run(self) -> None:
        code = _TROUBLE  # of whatever nobody expected: its traceback is in the log
        try:
            code = self._until_it_leads()
        except ConfigError as error:
            complain(str(error))
            code = _BAD_CONFIGURATION
        except (PermanentError, FileNotFoundError) as error:
            complain(str(error))
        finally:
            if code:
                self._end(code)

    def _until_it_leads(self) -> int:
        while not self._stopping.is_set():
            try:
                self._lead(claim(self._place))
            except LostLease as error:
                self._say(f"stands by; {error}".partition(_FOR)[0], stands_by=True)
                self._stopping.wait(_RETRY_S)
            except TransientError as error:
                self._say(f"cannot tell who leads; {error}")
                self._stopping.wait(_RETRY_S)
            else:
                return 0
        return 0

    def _lead(self, taken: Claim) -> None:
        with self._leading:
            if self._stopping.is_set():
                taken.resources.close()
                return
            self._leader = leader = lead(self._place, taken, self._telemetry)
            leader.ticker.on_lost_lease = lambda: self._end(_LOST)
            self._say(LEADS, leads=True)
            self.on_lead(leader.sources)
            leader.start()

    def _say(self, words: str, *, leads: bool = False, stands_by: bool = False) -> None:
        self._telemetry.take_role(leads=leads, stands_by=stands_by)
        if words != self._words:
            complain(words)
        self._words = words

    def _end(self, code: int) -> None:
        self.code = code
        self.on_end()


def main() -> None:
    """`python -m controller.main --state-dir DIR [--port N]`: what the supervisor runs, after a `stoker up`."""
    parser = argparse.ArgumentParser(prog="controller")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, help="of the API; the one of the configuration where it is not given")
    given = parser.parse_args()
    layout = Layout(given.state_dir)
    try:
        settings = load(layout.config)
        code = run(Place(layout, given.port or settings.ports.controller), bound(settings, layout, complain))
    except ConfigError as error:
        complain(str(error))
        code = _BAD_CONFIGURATION
    except FileNotFoundError:
        complain(f"nothing is installed in {layout.root}; run `stoker up` first")
        code = _TROUBLE
    sys.exit(code)


def run(place: Place, served: Bound) -> int:
    """Serve until SIGTERM, SIGINT or the loss of the lead; the exit code. Raises like `Place.read`."""
    telemetry = Telemetry()
    candidate = Candidate(place, telemetry)
    app = create_app(standing_by(place, telemetry, candidate.who_leads))
    config = serving(Doorway(app, served.doors), place.port, served)
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)  # until uvicorn stops on it, which raises it once more for us at its end
    app.state.live.stopping = lambda: server.should_exit  # pages that watch do not keep it from ending
    candidate.on_lead = lambda sources: setattr(app.state, "sources", sources)
    candidate.on_end = stop
    gc.freeze()  # what is loaded stays for good; to look through it again takes 40 ms, for which nobody is answered
    bound_to = listening(config)  # before it may lead: the port is its name, and only one process can have it
    candidate.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[bound_to])
    finally:
        candidate.close()
    return candidate.code


def serving(app: ASGIApp, port: int, served: Bound) -> uvicorn.Config:
    """How uvicorn serves it, so that no number of connections keeps the controller from healing."""
    files = take_files(complain)
    room = room_for(files, complain)
    config = uvicorn.Config(
        app,
        port=port,
        ws="none",  # they would have a protocol of their own, and a way round the doorway
        log_config=None,
        access_log=False,
        backlog=backlog_for(files, room),
        timeout_graceful_shutdown=_GRACE_S,
        **served.uvicorn(),
    )
    serve_in(room, config)
    return config


def listening(config: uvicorn.Config) -> socket.socket:
    """The socket that is served. It listens once uvicorn does."""
    made = config.bind_socket()
    give_up_the_deaf(made)
    return made


if __name__ == "__main__":
    main()
