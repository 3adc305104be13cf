"""A Docker engine of the bench's own, in a network namespace of its own, and the replica image on it.

A Swarm does not start on an engine with live-restore, and nobody else's engine should become one. The namespace keeps
its bridges and iptables rules from those of other engines; it ends with the last process in it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker

from controller.adapters.docker_image import ping
from controller.installation import Layout
from controller.stack import engine, image
from controller.stack.progress import Progress
from controller.stack.trouble import Trouble
from tests.waiting import wait_for

_NEEDED = ("dockerd", "iptables", "ip", "unshare")
_CLONE_NEWNET = 0x40000000
_PING_S, _START_S, _STOP_S = 2.0, 60.0, 60.0


class BenchEngine:
    """A dockerd that keeps everything in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._layout = Layout(folder)
        self._log = folder / "dockerd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.host = engine.own_host(self._layout)

    def start(self) -> None:
        """Return when it answers.

        Raises:
            Trouble: this is not root, a program is missing, or it does not answer within 60 s.
        """
        missing = [name for name in _NEEDED if shutil.which(name) is None]
        if os.geteuid() != 0 or missing:
            why = f"{', '.join(missing)} is missing" if missing else "this is not root"
            raise Trouble(f"the bench makes a Docker engine in a network namespace of its own, and {why}")
        folder = self._layout.engine
        folder.mkdir(parents=True)
        dockerd = ["dockerd", "--host", self.host, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run"]
        dockerd += ["--pidfile", f"{folder}/docker.pid"]
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *dockerd]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: ping(self.host, _PING_S), _START_S, "a dockerd in its own network namespace")
        except AssertionError as error:
            raise Trouble(f"{error}; its log ends with: {self._log.read_text()[-500:]}") from error

    def enter(self) -> None:
        """Put this thread, and all that it starts from now on, into the engine's network namespace. For good."""
        assert self._process is not None
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self._process.pid}/ns/net").open("rb") as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "the network namespace of the bench cannot be entered")

    def stop(self) -> None:
        """End it with all its containers. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        engine.forget_mounts(self._layout)
        self._process = None


def bring_image(host: str, cache: Path, progress: Progress) -> str:
    """The tag of the replica image on the engine at `host`. Call it before `enter`: it may need the network.

    Where another engine answers, the image is made there, as `stoker up` does it, and copied.
    """
    other = os.environ.get("DOCKER_HOST", engine.DEFAULT_HOST)
    cache.mkdir(exist_ok=True)
    if ping(other, _PING_S):
        tag = image.ensure(other, cache, progress)
        with progress.step(f"copying {tag} to the bench's engine"):
            _copy(other, host, tag, cache)
    return image.ensure(host, cache, progress)


def _copy(source: str, target: str, tag: str, folder: Path) -> None:
    """With the base that it was built on: `stoker up` looks for that first."""
    there = docker.DockerClient(base_url=source, timeout=300)
    here = docker.DockerClient(base_url=target, timeout=300)
    try:
        bases = [name for known in there.images.list() for name in known.tags if name.startswith("stoker/base:")]
        for name in (*bases, tag):
            with tempfile.TemporaryFile(dir=folder) as kept:
                for piece in there.images.get(name).save(named=name):
                    kept.write(piece)
                kept.seek(0)
                here.images.load(kept)
    finally:
        there.close()
        here.close()
