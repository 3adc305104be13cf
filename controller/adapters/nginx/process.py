"""The nginx process: test a file, reload the master, ask what it serves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import Address

ASK_TIMEOUT_S = 0.5
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class NginxProcess:
    """One nginx, found by the pid file in its folder."""

    folder: Path
    binary: Path
    status: Address

    def check(self, name: str, timeout_s: float) -> None:
        """Run `nginx -t` on the file `name` of the folder; the running nginx notices nothing.

        Raises:
            GatewayRejected: nginx refuses the file; the message is nginx's own words.
            GatewayUnavailable: no verdict in time (a host name that does not resolve, say), or nginx cannot be run.
        """
        command = [str(self.binary), "-t", "-q", "-p", f"{self.folder}/", "-c", name, "-e", "stderr"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=self.folder
            )
        except subprocess.TimeoutExpired as error:
            raise GatewayUnavailable(f"nginx -t gave no verdict within {timeout_s:g} s") from error
        except OSError as error:
            raise GatewayUnavailable(f"{self.binary} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            raise GatewayRejected(_words(done.stderr))

    def master(self) -> psutil.Process:
        """The running master. Raises `GatewayUnavailable` where none runs."""
        try:
            process = psutil.Process(int((self.folder / "nginx.pid").read_text()))
            if process.name().startswith("nginx") and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except (OSError, ValueError, psutil.Error):
            pass
        raise GatewayUnavailable("nginx is not running")

    def reload(self, generation: str, timeout_s: float) -> None:
        """Have the master read nginx.conf again and wait until no worker accepts requests but under `generation`.

        Raises:
            GatewayUnavailable: nginx is not running, or did not come to it in time.
        """
        master = self.master()
        old = _accepting_workers(master)
        deadline = time.monotonic() + timeout_s
        try:
            os.kill(master.pid, signal.SIGHUP)
        except OSError as error:
            raise GatewayUnavailable(f"nginx cannot be signalled: {error.strerror}") from error
        while (
            self.generation() != generation
            or old & _accepting_workers(master)
            or self.count_newest_rooms() != generation
        ):
            if time.monotonic() > deadline:
                raise GatewayUnavailable(f"nginx did not take the new configuration within {timeout_s:g} s")
            threading.Event().wait(POLL_S)

    def generation(self) -> str | None:
        """The generation that nginx answers with; None where it does not answer. Blocks for at most 0.5 s."""
        return self._generation("/generation")

    def count_newest_rooms(self) -> str | None:
        """Let the requests that wait in as the newest configuration has room for them; answers as `generation`.

        To be called when no worker of an older one accepts requests: those would be let in to a worker that does not
        know the replicas that the room is of. Idempotent.
        """
        return self._generation("/rooms")

    def _generation(self, path: str) -> str | None:
        connection = http.client.HTTPConnection(self.status.host, self.status.port, timeout=ASK_TIMEOUT_S)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            with connection.getresponse() as answer:
                return str(json.loads(answer.read())["generation"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return None
        finally:
            connection.close()


def _accepting_workers(master: psutil.Process) -> frozenset[int]:
    """Workers that still take connections. One that was told to quit renames itself before it stops listening."""
    found = set()
    try:
        for child in master.children():
            title = _title(child)
            if title.startswith("nginx: worker process") and "shutting down" not in title:
                found.add(child.pid)
    except psutil.NoSuchProcess as error:
        raise GatewayUnavailable("nginx is not running") from error
    return frozenset(found)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _words(stderr: str) -> str:
    """What nginx complained about, without its closing line."""
    lines = [line.removeprefix("nginx: ") for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if "emerg" in line or "alert" in line] or lines
    return "; ".join(dict.fromkeys(told)) or "nginx refused the configuration and said nothing"
