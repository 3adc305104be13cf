"""Containers are found by their labels, hurt and given back, as an engine that only plays its part is told."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from controller.adapters import docker_faults
from controller.adapters.docker_faults import DockerFaults, FaultRefused


class Engine:
    """Two containers of the installation `mine`, in the shape of Docker's own client."""

    def __init__(self, **_: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.states = {"small-1": "running", "small-2": "running"}
        self.limits = {"CpuPeriod": 0, "CpuQuota": 0, "Memory": 0}
        self.busy = 0  # so many pauses fail
        self.error: Exception | None = None
        self.processes: list[list[str]] | None = [["root", "100"], ["root", "101"]]

    def containers(self, all: bool = False, filters: Any = None) -> list[dict[str, Any]]:
        """Those that the labels ask for; stopped ones only with `all`."""
        if self.error is not None:
            raise self.error
        labels = dict(label.split("=") for label in filters["label"])
        if labels.pop("stoker.instance") != "mine":
            return []
        return [
            {"Id": f"id-{name}", "State": state, "Labels": {"stoker.replica": name, "stoker.pool": "small"}}
            for name, state in self.states.items()
            if (all or state != "exited") and labels.items() <= {"stoker.replica": name, "stoker.pool": "small"}.items()
        ]

    def kill(self, name: str, signal: str) -> None:
        """Noted."""
        self.calls.append(("kill", name, signal))

    def pause(self, name: str) -> None:
        """Some runtimes fail to freeze a busy container."""
        if self.busy:
            self.busy -= 1
            raise APIError("cannot freeze", explanation="unable to  freeze")
        self.states[name.removeprefix("id-")] = "paused"

    def unpause(self, name: str) -> None:
        """It runs."""
        self.states[name.removeprefix("id-")] = "running"

    def inspect_container(self, name: str) -> dict[str, Any]:
        """Its limits."""
        return {"HostConfig": self.limits}

    def update_container(self, name: str, **limits: int) -> None:
        """Noted."""
        self.calls.append((name, limits))

    def top(self, name: str) -> dict[str, Any]:
        """Its processes as the engine's machine numbers them."""
        return {"Titles": ["UID", "PID"], "Processes": self.processes}

    def stats(self, name: str, *, stream: bool, one_shot: bool) -> dict[str, Any]:
        """What it uses."""
        return {"memory_stats": {"usage": 300 * 1024**2}}

    def info(self) -> dict[str, Any]:
        """The machine."""
        return {"MemTotal": 24 * 1024**3}

    def exec_create(self, name: str, command: list[str]) -> dict[str, str]:
        """Noted, without the program."""
        self.calls.append(("exec", name, *command[:2]))
        return {"Id": "exec"}

    def exec_start(self, name: str, *, detach: bool) -> None:
        """The kernel kills the engine at once, and all of the container ends with it."""
        self.processes = None

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(docker_faults.docker, "APIClient", lambda **_: made)
    return made


@pytest.fixture
def faults(engine: Engine) -> DockerFaults:
    return DockerFaults("unix:///engine.sock", "mine")


def test_only_its_own_are_seen(faults: DockerFaults, engine: Engine) -> None:
    engine.states["small-2"] = "exited"

    assert faults.running("small") == {"small-1"}
    assert faults.running("big") == frozenset()
    assert DockerFaults("unix:///engine.sock", "another").running("small") == frozenset()


def test_killed(faults: DockerFaults, engine: Engine) -> None:
    faults.kill("small-1")

    assert engine.calls == [("kill", "id-small-1", "SIGKILL")]


def test_one_that_does_not_run_is_refused(faults: DockerFaults, engine: Engine) -> None:
    engine.states["small-1"] = "exited"

    with pytest.raises(FaultRefused, match="no container of small-1 runs"):
        faults.kill("small-1")
    assert engine.calls == []


def test_freezing_is_tried_again(faults: DockerFaults, engine: Engine) -> None:
    engine.busy = 3

    faults.freeze("small-1")
    assert engine.states["small-1"] == "paused"
    faults.thaw("small-1")
    faults.thaw("small-1")

    assert engine.states["small-1"] == "running"


def test_what_cannot_be_frozen_is_told_in_one_line(faults: DockerFaults, engine: Engine) -> None:
    engine.busy = 1000

    with pytest.raises(FaultRefused, match="^unable to freeze$"):
        faults.freeze("small-1")


@pytest.mark.parametrize(
    ("limits", "restored"),
    [
        ({"CpuPeriod": 0, "CpuQuota": 0}, {"cpu_period": 100_000, "cpu_quota": -1}),
        ({"CpuPeriod": 50_000, "CpuQuota": 75_000}, {"cpu_period": 50_000, "cpu_quota": 75_000}),
    ],
)
def test_slowed_and_given_back(
    faults: DockerFaults, engine: Engine, limits: dict[str, int], restored: dict[str, int]
) -> None:
    engine.limits |= limits

    faults.unslow("small-1")  # nothing was done yet
    faults.slow("small-1", 0.1)
    faults.unslow("small-1")

    assert engine.calls == [("id-small-1", {"cpu_period": 100_000, "cpu_quota": 10_000}), ("id-small-1", restored)]


@pytest.mark.parametrize(("had", "gets"), [(0, 24 * 1024**3), (512 * 1024**2, 512 * 1024**2)])
def test_starved_and_given_back(faults: DockerFaults, engine: Engine, had: int, gets: int) -> None:
    engine.limits["Memory"] = had

    faults.unstarve("small-1")  # nothing was done yet
    faults.starve("small-1")
    faults.unstarve("small-1")

    little = 316 * 1024**2
    assert engine.calls == [
        ("id-small-1", {"mem_limit": little, "memswap_limit": little}),
        ("exec", "id-small-1", "python3", "-c"),
        ("id-small-1", {"mem_limit": gets, "memswap_limit": gets}),
    ]


def test_one_that_is_gone_needs_nothing_back(faults: DockerFaults, engine: Engine) -> None:
    faults.slow("small-1", 0.1)
    faults.starve("small-1")
    engine.states = {}
    engine.calls.clear()

    faults.unslow("small-1")
    faults.unstarve("small-1")
    faults.thaw("small-1")

    assert engine.calls == []


@pytest.mark.parametrize(
    ("state", "limits", "calls"),
    [
        ("paused", {}, []),
        ("running", {"CpuQuota": 5000}, [("id-small-1", {"cpu_period": 100_000, "cpu_quota": -1})]),
        (
            "running",
            {"Memory": 316 * 1024**2},
            [("id-small-1", {"mem_limit": 24 * 1024**3, "memswap_limit": 24 * 1024**3})],
        ),
    ],
)
def test_given_back_by_another_process(
    engine: Engine, state: str, limits: dict[str, int], calls: list[tuple[object, ...]]
) -> None:
    engine.states["small-1"] = state
    engine.limits |= limits
    later = DockerFaults("unix:///engine.sock", "mine")

    assert later.restore("small-1")
    assert (engine.states["small-1"], engine.calls) == ("running", calls)
    engine.limits |= {"CpuQuota": -1, "Memory": 24 * 1024**3}  # as it is then
    assert not later.restore("small-1")
    engine.states = {}
    assert not later.restore("small-1")
    assert engine.calls == calls


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectionError("refused"), "the Docker engine gave no answer: ConnectionError"),
        (NotFound("no such"), "the container is gone"),
        (APIError("boom", explanation="it  broke\nhere"), "it broke here"),
    ],
)
def test_the_engines_own_words(faults: DockerFaults, engine: Engine, error: Exception, words: str) -> None:
    engine.error = error

    with pytest.raises(FaultRefused, match=f"^{words}$"):
        faults.running("small")


def test_pids(faults: DockerFaults) -> None:
    assert faults.pids("small-2") == (100, 101)
