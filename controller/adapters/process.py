"""ContainerRuntime without containers: each replica is a local process in a session of its own.

For machines without a Docker engine. A replica outlives the controller; the folder that each has under the state
directory is the truth about what exists, as labels are for containers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from controller.core.errors import RuntimeRejected, RuntimeUnavailable
from controller.core.model import Address, Container, ContainerState, NodeName, PoolName, ReplicaId
from controller.ports import Clock, ReplicaSpec

_KILL_TIMEOUT_S = 5.0
_FOLDER_VARIABLE = "STOKER_REPLICA_DIR"
_POLL_S = 0.5
_WORDS_LINES, _WORDS_CHARACTERS, _WORDS_BYTES = 20, 4000, 65536


@dataclass(frozen=True, slots=True)
class ProcessNode:
    """Where the replicas' folders lie, and the environment that every replica gets on top of its own."""

    folder: Path
    environment: dict[str, str]
    name: NodeName = NodeName("local")


class ProcessRuntime:
    """Starts `python -m inference_node` on this machine."""

    def __init__(self, node: ProcessNode, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._children: dict[ReplicaId, subprocess.Popen[bytes]] = {}
        self._exit_codes: dict[ReplicaId, int] = {}
        self._closing = threading.Event()

    def list_replicas(self) -> tuple[Container, ...]:
        """See `ContainerRuntime.list_replicas`."""
        if not self._node.folder.is_dir():
            return ()
        records = [(folder, _read_json(folder / "replica.json")) for folder in sorted(self._node.folder.iterdir())]
        return tuple(self._container(folder, record) for folder, record in records if record is not None)

    def start_replica(self, spec: ReplicaSpec) -> None:
        """See `ContainerRuntime.start_replica`."""
        folder = self._folder(spec.replica)
        known = _read_json(folder / "replica.json")
        if known is not None and self._find(folder, known) is not None:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        made = {"pool": spec.pool, "spec_hash": spec.spec_hash, "gpu": spec.gpu}
        record = {**made, "created_at": self._clock.now().isoformat(), "pid": None}
        # Written before the start: whoever finds it without a pid looks for a process that names this folder.
        _write_json(folder / "replica.json", record)
        try:
            child = self._spawn(spec, folder)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise RuntimeRejected(f"the replica cannot be started: {error}") from error
        self._children[spec.replica] = child
        began = born(child.pid)
        _write_json(folder / "replica.json", {**record, "pid": child.pid, "born": began})

    def terminate_replica(self, replica: ReplicaId) -> None:
        """See `ContainerRuntime.terminate_replica`."""
        process = self._process(replica)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)

    def remove_replica(self, replica: ReplicaId) -> None:
        """See `ContainerRuntime.remove_replica`."""
        process = self._process(replica)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the session's leader: its engine goes with it
            _, alive = psutil.wait_procs([process], timeout=_KILL_TIMEOUT_S)
            if alive:
                text = f"process {process.pid} of {replica} still runs {_KILL_TIMEOUT_S:g} s after SIGKILL"
                raise RuntimeUnavailable(text)
        child = self._children.pop(replica, None)
        if child is not None:
            child.wait()
        self._exit_codes.pop(replica, None)
        shutil.rmtree(self._folder(replica), ignore_errors=True)

    def last_words(self, replica: ReplicaId) -> str:
        """See `ContainerRuntime.last_words`."""
        return _end_of(self._folder(replica) / "log")

    def remove_all(self) -> int:
        """Remove every replica of this installation; how many there were."""
        replicas = self.list_replicas()
        for container in replicas:
            self.remove_replica(container.replica)
        return len(replicas)

    def watch(self, on_event: Callable[[], None]) -> None:
        """See `ContainerRuntime.watch`."""
        arguments = (on_event, self._alive())  # what runs now, not what runs when the thread gets its turn
        threading.Thread(target=self._follow, args=arguments, name="process-events", daemon=True).start()

    def close(self) -> None:
        """See `ContainerRuntime.close`."""
        self._closing.set()

    def _follow(self, on_event: Callable[[], None], before: frozenset[tuple[ReplicaId, ContainerState]]) -> None:
        """Nobody tells us when a process that is not our child ends: look."""
        while not self._closing.wait(_POLL_S):
            now = self._alive()
            if now != before:
                on_event()
            before = now

    def _alive(self) -> frozenset[tuple[ReplicaId, ContainerState]]:
        return frozenset((container.replica, container.state) for container in self.list_replicas())

    def _spawn(self, spec: ReplicaSpec, folder: Path) -> subprocess.Popen[bytes]:
        environment = {
            **self._node.environment,
            **spec.environment(),
            _FOLDER_VARIABLE: str(folder),
            "STOKER_HOST": "127.0.0.1",
            "STOKER_ENGINE_PORT": "0",
            "STOKER_LAUNCHER_PORT": "0",
            "STOKER_ENDPOINTS_FILE": str(folder / "endpoints.json"),
            **({"CUDA_VISIBLE_DEVICES": spec.gpu} if spec.gpu else {}),
        }
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "inference_node"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _container(self, folder: Path, record: dict[str, Any]) -> Container:
        replica = ReplicaId(folder.name)
        process = self._find(folder, record)
        endpoints = _read_json(folder / "endpoints.json") or {}
        state, code = ContainerState.RUNNING, None
        if process is None:
            started = record.get("pid") is not None
            state = ContainerState.EXITED if started else ContainerState.CREATED
            code = self._exit_code(replica)
        return Container(
            replica=replica,
            pool=PoolName(record["pool"]),
            node=self._node.name,
            spec_hash=record["spec_hash"],
            state=state,
            created_at=datetime.fromisoformat(record["created_at"]).astimezone(UTC),
            engine=_address(endpoints.get("engine")),
            launcher=_address(endpoints.get("launcher")),
            exit_code=code,
            detail=f"process {record.get('pid')}" if process is not None else _ended(code),
            gpu=record.get("gpu", ""),  # what an older version started has none
        )

    def _exit_code(self, replica: ReplicaId) -> int | None:
        """Known only for our own children."""
        child = self._children.get(replica)
        if child is not None and child.poll() is not None:
            self._exit_codes[replica] = child.returncode
        return self._exit_codes.get(replica)

    def _process(self, replica: ReplicaId) -> psutil.Process | None:
        folder = self._folder(replica)
        record = _read_json(folder / "replica.json")
        return None if record is None else self._find(folder, record)

    def _find(self, folder: Path, record: dict[str, Any]) -> psutil.Process | None:
        """The living process of a folder. The time of its birth tells it from another that got its number later."""
        child = self._children.get(ReplicaId(folder.name))
        try:
            if child is not None:  # ours: the kernel says when it ended, and polling reaps it
                return psutil.Process(child.pid) if child.poll() is None else None
            if record.get("pid") is None:
                return _find_by_folder(folder)
            process = psutil.Process(record["pid"])
            same = born(process.pid) == record["born"]
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return None

    def _folder(self, replica: ReplicaId) -> Path:
        return self._node.folder / replica


def born(pid: int) -> str:
    """The boot, and the clock ticks since it, at which the process began: unlike a time of day it never moves."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    return f"{boot} {after_name.split()[19]}"


def _find_by_folder(folder: Path) -> psutil.Process | None:
    """The launcher whose controller died between starting it and writing its number down."""
    for process in psutil.process_iter():
        try:
            named = process.environ().get(_FOLDER_VARIABLE) == str(folder)
            if named and os.getsid(process.pid) == process.pid:
                return process
        except (psutil.Error, ProcessLookupError):
            continue
    return None


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as written:
            written.seek(max(0, written.seek(0, os.SEEK_END) - _WORDS_BYTES))
            said = written.read(_WORDS_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    text = said.decode("utf-8", "replace").replace("\0", "").strip("\n")
    return "\n".join(text.split("\n")[-_WORDS_LINES:])[-_WORDS_CHARACTERS:]


def _address(said: Any) -> Address | None:
    return None if said is None else Address(said["host"], said["port"])


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value), encoding="utf-8")
    os.replace(partial, path)


def _ended(code: int | None) -> str:
    return "exit code not known" if code is None else f"exit code {code}"
