"""The two processes of a gateway: nginx and the edge exporter. Each is started again whenever it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from controller.adapters.nginx.process import NginxProcess
from controller.core.errors import GatewayUnavailable
from controller.installation import Layout
from controller.stack import leftovers
from controller.stack.waiting import wait_until

_AGAIN_S = 1.0  # at the earliest, after the last start
_FINISH_S, _END_S = 10.0, 5.0  # for what is in flight, and then for the rest
EXPORTER = "exporters.edge"

Say = Callable[[str], None]


class Child:
    """A process that is to run. It is in a session of its own: Ctrl-C is for us, and we end it in our own way."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], say: Say) -> None:
        self._name, self._command, self._environment, self._say = name, command, environment, say
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at: float | None = None

    def ensure(self) -> None:
        """Start it where it does not run."""
        if self.runs():
            return
        if self._process is not None and self._process.returncode is not None:
            self._say(f"{self._name} has ended (exit code {self._process.returncode}) and is started again")
            self._process = None
        now = time.monotonic()
        if self._started_at is None or now - self._started_at >= _AGAIN_S:
            self._started_at = now
            self._process = subprocess.Popen(self._command, env=self._environment, start_new_session=True)

    def runs(self) -> bool:
        """Whether it does."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it. Blocks for at most 5 s."""
        if self._process is not None and self.runs():
            self._process.terminate()
            if not wait_until(lambda: not self.runs(), _END_S):
                self._process.kill()
                self._process.wait()


class NginxChild(Child):
    """nginx. One that an earlier run of ours has left behind goes on, as do the requests in it."""

    def __init__(self, nginx: NginxProcess, command: Sequence[str], environment: Mapping[str, str], say: Say) -> None:
        super().__init__("nginx", command, environment, say)
        self._nginx = nginx

    def runs(self) -> bool:
        """Whether a master of that folder does, whoever started it."""
        return super().runs() or self._master() is not None

    def stop(self) -> None:
        """Let it finish what is in flight, for at most 10 s, and end it. Blocks for at most 15 s."""
        master = self._master()
        if master is not None:
            with contextlib.suppress(psutil.Error, OSError):
                os.kill(master.pid, signal.SIGQUIT)
            if not wait_until(lambda: not self.runs(), _FINISH_S):
                with contextlib.suppress(psutil.Error):
                    master.terminate()
        super().stop()

    def _master(self) -> psutil.Process | None:
        """Never that of another folder, which may have the number that ours had before the machine was started anew."""
        try:
            master = self._nginx.master()
            return master if Path(master.cwd()) == self._nginx.folder else None
        except (GatewayUnavailable, psutil.Error):
            return None


def exporter_command(host: str, port: int, log_port: int, status_port: int) -> tuple[str, ...]:
    """What runs the edge exporter of this gateway."""
    return (
        *(sys.executable, "-m", EXPORTER, "--host", host, "--port", str(port), "--log-port", str(log_port)),
        *("--gateway-status", f"http://127.0.0.1:{status_port}"),
    )


def end_exporter(layout: Layout) -> None:
    """One that an earlier run has left behind has the ports of the next one."""
    leftovers.end(one for one in leftovers.processes(layout) if leftovers.runs_module(one, EXPORTER))


def has_configuration(folder: Path) -> bool:
    """Whether nginx can be started there, with whatever it was given last."""
    return (folder / "nginx.conf").exists()
