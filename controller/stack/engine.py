"""Finds a Docker engine that answers; as root, starts one where none does. Where nodes are named, asks theirs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

from controller.adapters.docker_image import ping
from controller.installation import Layout, NodeParts
from controller.stack.progress import Progress
from controller.stack.supervisor import Program, Supervisor, last_line
from controller.stack.trouble import Trouble
from controller.stack.waiting import wait_until

DEFAULT_HOST = "unix:///var/run/docker.sock"
_PING_S = 5.0
_SERVICE_S = 30.0
_OWN_S = 60.0


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker engine. `own`: the supervisor of this installation keeps it up, and it must be started first."""

    host: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class NoEngine:
    """There is none, and why, as the end of a sentence."""

    why: str


def find(layout: Layout, progress: Progress) -> Engine | NoEngine:
    """The engine to use: the one of DOCKER_HOST, else the system's, started where that works, else one of our own.

    Blocks for at most about 40 s. Nothing of ours runs yet when it returns.
    """
    named = os.environ.get("DOCKER_HOST")
    if named:
        if ping(named, _PING_S):
            return Engine(named)
        return NoEngine(f"no Docker engine answers at {named}, which DOCKER_HOST names")
    if ping(DEFAULT_HOST, _PING_S):
        return Engine(DEFAULT_HOST)
    if os.geteuid() != 0:
        return NoEngine(
            f"no Docker engine answers at {DEFAULT_HOST.removeprefix('unix://')}; start it (sudo service docker "
            "start) and be in the group docker"
        )
    if shutil.which("dockerd") is None:
        return NoEngine("no Docker engine is installed; apt-get install docker.io")
    if _start_service(progress):
        return Engine(DEFAULT_HOST)
    if rival := _rival():
        return NoEngine(
            f"a dockerd runs already (pid {rival}) but does not answer at {DEFAULT_HOST.removeprefix('unix://')}; "
            "name its socket in DOCKER_HOST"
        )
    progress.say(f"The Docker service does not start here: taking a dockerd of our own, kept in {layout.engine}")
    return Engine(own_host(layout), own=True)


def answering(nodes: Sequence[NodeParts]) -> tuple[NodeParts, ...]:
    """Those whose engine answers, in their order; all are asked at once. Blocks for a few seconds at most."""
    with ThreadPoolExecutor(len(nodes) or 1, thread_name_prefix="ping") as pool:
        answers = pool.map(lambda node: ping(node.docker_host, _PING_S, node.tls), nodes)
        return tuple(node for node, answers_now in zip(nodes, answers, strict=True) if answers_now)


def require_all(nodes: Sequence[NodeParts]) -> None:
    """Raises `Trouble` with a line for each node whose files of `tls` are missing or whose engine does not answer."""
    faults = [
        f"node {node.name}: the file {path} (tls.{name}) does not exist"
        for node in nodes
        for name, path in (node.tls or ())
        if not Path(path).is_file()
    ]
    answers = answering(nodes)
    faults += [
        f"node {node.name}: no Docker engine answers at {node.docker_host}; start it, or take the node out of nodes"
        for node in nodes
        if node not in answers
    ]
    if faults:
        raise Trouble("\n".join(faults))


def own_host(layout: Layout) -> str:
    """Where a dockerd of our own listens."""
    return f"unix://{layout.engine / 'docker.sock'}"


# A killed dockerd leaves its pidfile, and the next one refuses to start where that pid is in use again. Its containerd
# goes on for a while, too: the next one would take it for a living one, and wait in vain for a socket that is gone.
# What runs the containers is a process for each of them, which nobody here ends.
_FRESH = (
    'old=$(cat "$0/run/containerd/containerd.pid" 2>/dev/null); '
    'if grep -qsF "$0" "/proc/$old/cmdline"; then kill -9 "$old"; fi; '
    'rm -f "$0/docker.pid" "$0/run/containerd/containerd.pid"; exec "$@"'
)


def own_program(layout: Layout, extra: Sequence[str] = ()) -> Program:
    """The dockerd of our own. Its containers outlive it (--live-restore), as those of the system's should."""
    folder = layout.engine
    fresh = ("/bin/sh", "-c", _FRESH, str(folder))
    command = (
        *fresh,
        shutil.which("dockerd") or "/usr/sbin/dockerd",
        *("--host", own_host(layout)),
        *("--data-root", str(folder / "data")),
        *("--exec-root", str(folder / "run")),
        *("--pidfile", str(folder / "docker.pid")),
        "--live-restore",
        *extra,
    )
    return Program("dockerd", command, folder, stop_wait_s=30)


def start_own(layout: Layout, supervisor: Supervisor) -> None:
    """Start it and return when it answers.

    Raises:
        Trouble: it does not, within 60 s; the last line of its log is in the text.
    """
    supervisor.start_programs(["dockerd"])
    if not wait_until(lambda: ping(own_host(layout), _PING_S), _OWN_S):
        log = layout.logs / "dockerd.log"
        raise Trouble(f"the Docker engine of our own does not answer: {last_line(log)} (all of it in {log})")


def _rival() -> int | None:
    """The pid of a dockerd in our network namespace: a second one would change the address of its bridge docker0."""
    ours = os.readlink("/proc/self/ns/net")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == "dockerd" and os.readlink(f"/proc/{process.pid}/ns/net") == ours:
                return process.pid
    return None


def forget_mounts(layout: Layout) -> None:
    """Undo the mounts that a dockerd of our own left because it was killed: its folder could not be deleted."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    left = [point for point in points if Path(point).is_relative_to(layout.engine)]
    for point in sorted(left, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True, timeout=_SERVICE_S, check=False)


def _start_service(progress: Progress) -> bool:
    """Whether the system's own service could be started."""
    service = shutil.which("service")
    if service is None:
        return False
    with progress.step("starting the Docker service"):
        try:
            subprocess.run([service, "docker", "start"], capture_output=True, timeout=_SERVICE_S, check=True)
        except (OSError, subprocess.SubprocessError):
            return False
        return wait_until(lambda: ping(DEFAULT_HOST, _PING_S), _PING_S)
