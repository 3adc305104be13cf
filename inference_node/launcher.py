"""A replica's life: fetching -> loading -> warming -> ready -> draining, or failed.

One thread takes events from a queue and changes the phase; all others only put events there or read.
"""

from __future__ import annotations

import json
import queue
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CONTENT_TYPE_LATEST

from inference_node.checkpoint import CheckpointError, require_gguf
from inference_node.client import EngineAddress, reachable
from inference_node.configuration import Configuration
from inference_node.endpoints import write_endpoints
from inference_node.engine_process import EngineProcess
from inference_node.engines.contract import Engine
from inference_node.events import (
    EngineDraining,
    EngineExited,
    EngineFailed,
    EngineHealthy,
    EngineListening,
    EngineWarm,
    Event,
    StopRequested,
    WarmUpFailed,
)
from inference_node.logfmt import log
from inference_node.memory_kills import MemoryKills
from inference_node.phases import Phase, PhaseLog
from inference_node.poller import Poller, describe, lost
from inference_node.resources import Resources
from inference_node.server import StatusServer
from inference_node.stages import Stage, Stages
from inference_node.status import Status, as_json, exposition
from inference_node.warmup import WarmUp

EXIT_OK = 0
EXIT_ENGINE_FAILED = 1
EXIT_CANNOT_START = 2
EXIT_REQUESTS_CUT = 3


@dataclass(frozen=True, slots=True)
class Timings:
    """In seconds."""

    poll_interval_s: float = 1.0
    warm_up_timeout_s: float = 60.0
    failed_linger_s: float = 2.0  # a controller that probes each second reads why, before the port is gone


class Launcher:
    """Runs one replica."""

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        timings: Timings | None = None,
        kills: MemoryKills | None = None,
    ) -> None:
        self._stages = Stages()
        self._kills = kills or MemoryKills()
        self._configuration = configuration
        self._engine = engine
        self._timings = timings or Timings()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._phases = PhaseLog(configuration.replica)
        self._poller = Poller(engine, self._timings.poll_interval_s)
        self._warm_up: WarmUp | None = None
        self._why = ""  # what the engine said before it exited
        self._engine_gone = False

    def request_stop(self) -> None:
        """Drain and end. Returns at once; safe in a signal handler and from any thread; idempotent."""
        self._events.put(StopRequested())

    def status(self) -> Status:
        """How the replica is. Microseconds: reads only what was found before."""
        reading = lost(self._poller.reading) if self._engine_gone else self._poller.reading
        silent = self._phases.current in (Phase.READY, Phase.DRAINING)
        detail = self._phases.detail or (describe(reading, time.monotonic()) if silent else "")
        changes = self._phases.changes
        now = datetime.now(UTC)
        return Status(self._configuration, self._phases.current, changes, reading, detail, self._stages, now)

    def run(self) -> int:
        """Live, and return the exit code. Call it once, from the main thread; it ends after `request_stop`.

        Raises:
            OSError: the launcher's port cannot be had, or the endpoints file cannot be written.
        """
        self._phases.enter(Phase.FETCHING)
        scrape = exposition(self.status, Resources(self._configuration.threads).read)
        routes = {
            "/status": ("application/json", lambda: json.dumps(as_json(self.status())).encode()),
            "/metrics": (CONTENT_TYPE_LATEST, scrape),
        }
        server = StatusServer(self._configuration.host, self._configuration.launcher_port, routes)
        try:
            self._tell_endpoints(server.port, None)
            return self._start_engine(server.port)
        finally:
            server.close()

    def _start_engine(self, launcher_port: int) -> int:
        try:
            require_gguf(self._configuration.checkpoint)
        except CheckpointError as error:
            return self._fail(str(error), EXIT_CANNOT_START)
        self._stages.finish(Stage.FETCH)
        self._phases.enter(Phase.LOADING)
        process = EngineProcess(self._engine.command, self._events.put)
        try:
            return self._serve(process, launcher_port)
        finally:
            if self._warm_up is not None:
                self._warm_up.cancel()
            process.kill()
            self._poller.stop()

    def _serve(self, process: EngineProcess, launcher_port: int) -> int:
        while True:
            event = self._events.get()
            match event:
                case EngineListening(port):
                    self._stages.finish(Stage.LOAD)
                    self._tell_endpoints(launcher_port, port)
                    self._bring_up(EngineAddress(reachable(self._configuration.host), port))
                case EngineHealthy():
                    self._stages.finish(Stage.WARM)
                    self._phases.enter(Phase.WARMING)
                case EngineWarm():
                    self._stages.finish(Stage.FIRST_TOKEN)
                    self._poller.look_now()  # a replica that is ready has made a token
                    self._phases.enter(Phase.READY)
                case WarmUpFailed(why):
                    return self._fail(f"The engine did not make its first token: {why}.", EXIT_ENGINE_FAILED)
                case EngineFailed(why):
                    self._why = why
                case EngineExited(code):
                    return self._engine_exited(code)
                case StopRequested():
                    return self._stop(process)
                case EngineDraining():
                    pass  # it was told to by somebody else; its exit follows

    def _bring_up(self, address: EngineAddress) -> None:
        self._poller.watch(address)
        self._warm_up = WarmUp(self._engine, address, self._configuration.model, self._timings.warm_up_timeout_s)
        self._warm_up.start(self._events.put)

    def _stop(self, process: EngineProcess) -> int:
        was_ready = self._phases.current is Phase.READY
        self._phases.enter(Phase.DRAINING)
        if not was_ready:
            return EXIT_OK  # nobody was sent here yet
        process.terminate()
        deadline = time.monotonic() + self._configuration.drain_timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            match event:
                case EngineDraining(port):
                    self._poller.watch(EngineAddress("127.0.0.1", port))
                case EngineExited(0):
                    log("drained", replica=self._configuration.replica)
                    return EXIT_OK
                case EngineExited(code):
                    return self._engine_exited(code)
                case _:
                    pass
        return self._cut()

    def _cut(self) -> int:
        """The deadline passed: say how many requests end with the engine."""
        reading = self._poller.reading
        known = reading.in_flight is not None and reading.waiting is not None
        cut = (reading.in_flight or 0) + (reading.waiting or 0) if known else "unknown"
        timeout_s = self._configuration.drain_timeout_s
        log("requests_cut", replica=self._configuration.replica, cut=cut, drain_timeout_s=timeout_s)
        return EXIT_REQUESTS_CUT

    def _engine_exited(self, code: int) -> int:
        self._engine_gone = True
        end = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGKILL and self._kills.happened():
            end = f"was killed by signal {-code}, out of memory,"
        sentence = f"The engine {end} while {self._phases.current}."
        return self._fail(f"{sentence} {self._why}".rstrip(), EXIT_ENGINE_FAILED)

    def _fail(self, detail: str, code: int) -> int:
        """Enter `failed`, stay a moment so that it can be read, and return `code`."""
        self._phases.enter(Phase.FAILED, detail)
        deadline = time.monotonic() + self._timings.failed_linger_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                if isinstance(self._events.get(timeout=left), StopRequested):
                    break
            except queue.Empty:
                break
        return code

    def _tell_endpoints(self, launcher_port: int, engine_port: int | None) -> None:
        path = self._configuration.endpoints_file
        if path is not None:
            write_endpoints(path, self._configuration.host, launcher_port, engine_port)
