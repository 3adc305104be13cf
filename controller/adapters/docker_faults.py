"""Hurts the containers of one installation on one Docker engine, and undoes it. Only `stoker drill` uses this.

A container is found by its labels, so one of another installation is never touched. Every method raises
`FaultRefused` with the engine's own words, and blocks for at most about 10 s unless it says otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.tls import TLSConfig

_ANSWER_S = 10
_FREEZE_TRIES = 10
_STARVE_S = 30.0
_LOOK_S = 0.02
_PERIOD_US, _NO_QUOTA = 100_000, -1
_MARGIN_BYTES = 16 * 1024**2
_INSTANCE, _POOL, _REPLICA = "stoker.instance", "stoker.pool", "stoker.replica"


class FaultRefused(Exception):
    """The engine cannot or will not do this to the container; the text says why, in one line."""


class DockerFaults:
    """The replicas of one installation (`instance`). `tls` are the files of the authority, the certificate, the key."""

    def __init__(self, url: str, instance: str, tls: tuple[str, str, str] | None = None) -> None:
        self._instance = instance
        secure = TLSConfig(ca_cert=tls[0], client_cert=tls[1:], verify=True) if tls else False
        with _in_one_line():
            self._api = docker.APIClient(base_url=url, version="auto", timeout=_ANSWER_S, tls=secure)
        self._cpu: dict[str, tuple[int, int]] = {}  # period and quota, as they were
        self._memory: dict[str, int] = {}  # the limits, as they were

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._api.close()

    def running(self, pool: str) -> frozenset[str]:
        """The names of the pool's replicas whose container runs."""
        labels = [f"{_INSTANCE}={self._instance}", f"{_POOL}={pool}"]
        with _in_one_line():
            found = self._api.containers(filters={"label": labels})
        return frozenset(item["Labels"].get(_REPLICA, "") for item in found)

    def kill(self, replica: str) -> None:
        """SIGKILL for its main process."""
        with _in_one_line():
            self._api.kill(self._id(replica), "SIGKILL")

    def freeze(self, replica: str) -> None:
        """Stop everything in it where it stands. The runtime may fail to freeze a busy one: it is asked again."""
        for tried in range(_FREEZE_TRIES):
            with _in_one_line():
                try:
                    self._api.pause(self._id(replica))
                except APIError:
                    if tried == _FREEZE_TRIES - 1:
                        raise
            if self._is_paused(replica):
                return

    def thaw(self, replica: str) -> None:
        """Let it go on. One that is gone, or goes on already, is success."""
        with _in_one_line():
            if self._is_paused(replica):
                self._api.unpause(self._id(replica))

    def slow(self, replica: str, share: float) -> None:
        """Give it no more than so much of one core."""
        with _in_one_line():
            before = self._api.inspect_container(self._id(replica))["HostConfig"]
        self._cpu[replica] = (before["CpuPeriod"] or _PERIOD_US, before["CpuQuota"] or _NO_QUOTA)
        self._quota(replica, _PERIOD_US, int(share * _PERIOD_US))

    def unslow(self, replica: str) -> None:
        """Give it what it had. One that is gone is success."""
        if replica in self._cpu:
            with _forgiving():
                self._quota(replica, *self._cpu[replica])

    def pids(self, replica: str) -> tuple[int, ...]:
        """Its processes, with the numbers that they have on the engine's own machine."""
        with _in_one_line():
            said = self._api.top(self._id(replica))
        column = said["Titles"].index("PID")
        return tuple(int(row[column]) for row in said["Processes"] or ())  # none while it ends

    def starve(self, replica: str) -> None:
        """Give it little more memory than it has, and use that up from inside. Returns when the kernel killed in it.

        Blocks for up to 30 s. The limit is one for memory and swap together, on both versions of cgroups.
        """
        with _in_one_line():
            name, before = self._id(replica), frozenset(self.pids(replica))
            used = int(self._api.stats(name, stream=False, one_shot=True)["memory_stats"]["usage"])
            self._memory[replica] = int(self._api.inspect_container(name)["HostConfig"]["Memory"])
            limit = used + _MARGIN_BYTES
            self._api.update_container(name, mem_limit=limit, memswap_limit=limit)
            made = self._api.exec_create(name, ["python3", "-c", _DEVOUR])
            self._api.exec_start(made["Id"], detach=True)
        until_s = time.monotonic() + _STARVE_S
        while before <= self._alive(replica):
            if time.monotonic() > until_s:
                raise FaultRefused(f"the kernel killed nothing within {_STARVE_S:g} s, although the memory was used up")
            threading.Event().wait(_LOOK_S)

    def unstarve(self, replica: str) -> None:
        """Give back the memory. One that is gone is success.

        Docker cannot take such a limit away: where there was none, it gets one that is the whole machine's memory.
        """
        if replica not in self._memory:
            return
        with _forgiving(), _in_one_line():
            limit = self._memory[replica] or int(self._api.info()["MemTotal"])
            self._api.update_container(self._id(replica), mem_limit=limit, memswap_limit=limit)

    def restore(self, replica: str) -> bool:
        """Give it back whatever any of these took, done by whom it was; whether there was anything to give back.

        One that is gone is success. A container of ours has no limits of its own.
        """
        with _in_one_line():
            found = self._find(replica, everything=True)
            try:
                return found is not None and self._give_back(found["Id"], found["State"])
            except NotFound:
                return False

    def _give_back(self, name: str, state: str) -> bool:
        had, whole = self._api.inspect_container(name)["HostConfig"], int(self._api.info()["MemTotal"])
        paused, slowed = state == "paused", had["CpuQuota"] not in (0, _NO_QUOTA)
        starved = had["Memory"] not in (0, whole)
        if paused:
            self._api.unpause(name)
        if slowed:
            self._api.update_container(name, cpu_period=_PERIOD_US, cpu_quota=_NO_QUOTA)
        if starved:
            self._api.update_container(name, mem_limit=whole, memswap_limit=whole)
        return paused or slowed or starved

    def _alive(self, replica: str) -> frozenset[int]:
        try:
            return frozenset(self.pids(replica))
        except FaultRefused:  # the whole container ended
            return frozenset()

    def _quota(self, replica: str, period_us: int, quota_us: int) -> None:
        with _in_one_line():
            self._api.update_container(self._id(replica), cpu_period=period_us, cpu_quota=quota_us)

    def _is_paused(self, replica: str) -> bool:
        with _in_one_line():
            found = self._find(replica, everything=True)
        return found is not None and found["State"] == "paused"

    def _id(self, replica: str) -> str:
        found = self._find(replica, everything=False)
        if found is None:
            raise FaultRefused(f"no container of {replica} runs")
        return found["Id"]

    def _find(self, replica: str, *, everything: bool) -> dict[str, str] | None:
        labels = [f"{_INSTANCE}={self._instance}", f"{_REPLICA}={replica}"]
        found: list[dict[str, str]] = self._api.containers(all=everything, filters={"label": labels})
        return found[0] if found else None


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise FaultRefused("the container is gone") from error
    except APIError as error:
        raise FaultRefused(" ".join(str(error.explanation or error).split())) from error
    except (DockerException, requests.RequestException) as error:
        raise FaultRefused(f"the Docker engine gave no answer: {type(error).__name__}") from error
    except (LookupError, ValueError) as error:
        raise FaultRefused(f"the Docker engine says nothing of {error}") from error


@contextmanager
def _forgiving() -> Iterator[None]:
    """What is gone needs nothing undone."""
    try:
        yield
    except FaultRefused:
        return


# Runs inside the container. The largest process is the engine; a score of 1000 has the kernel choose it, and not
# this one. It ends with its victim, or is killed itself.
_DEVOUR = """
import os
def size(pid):
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1])
    except OSError:
        return -1
others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()]
engine = max(others, key=size)
try:
    with open(f"/proc/{engine}/oom_score_adj", "w") as file:
        file.write("1000")
except OSError:
    pass
held = []
while os.path.exists(f"/proc/{engine}"):
    held.append(bytearray(b"x") * (2 << 20))
"""
