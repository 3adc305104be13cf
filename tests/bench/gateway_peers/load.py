"""Runs what asks, and gives its figures together with the CPU time that the asked took meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import psutil

from controller.stack.trouble import Trouble
from tests.bench.gateway_peers import workload
from tests.bench.gateway_peers.contender import Running

_GRACE_S = 60.0  # longer than any of them needs to end
_ZIPF_S = 60  # at most


def asks_with() -> str:
    """The program that asks, as a clause."""
    return "wrk with one thread" if shutil.which("wrk") else "a client in Python (wrk, which is faster, is not here)"


def ask(running: Running, connections: int, seconds: int, keys: Sequence[str] = ()) -> dict[str, float]:
    """Whole answers, one after the other on each connection, for so long.

    Raises:
        Trouble: what asks has failed, or `keys` are given and wrk is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None and keys:
        raise Trouble("keys are sent by wrk, which is not installed (Debian's package is called wrk)")
    if wrk is None:
        command = _module("asker", running.port, connections=connections, seconds=seconds)
        return _with_rates(_measured(running, command, seconds))
    with tempfile.NamedTemporaryFile("w", prefix="sg-", suffix=".lua") as script:
        script.write(workload.wrk_script(keys))
        script.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name]
        command = [wrk, *options, f"http://127.0.0.1:{running.port}"]
        return _with_rates(_measured(running, command, seconds))


def ask_zipf(running: Running, salt: int) -> dict[str, float]:
    """Requests for prompts of Zipf's law; `repeated` is the share that no engine made. Another salt, other prompts."""
    command = _module("asker", running.port, connections=workload.CONNECTIONS, seconds=_ZIPF_S, salt=salt)
    command += ["--zipf", str(workload.PROMPTS), str(workload.ZIPF_REQUESTS)]
    return _with_rates(_measured(running, command, _ZIPF_S))


def stream(running: Running, seconds: int) -> dict[str, float]:
    """Streams of so many seconds."""
    found = _measured(running, _module("client", running.port, seconds=seconds), 4 * seconds)
    return {**found, "cpu_s_per_1000": 1000 * found["cpu_s"] / max(1.0, found["tokens"])}


def _module(name: str, port: int, **options: int) -> list[str]:
    given = [part for option, value in options.items() for part in (f"--{option}", str(value))]
    return [sys.executable, "-m", f"tests.bench.gateway_peers.{name}", str(port), *given]


def _with_rates(found: dict[str, float]) -> dict[str, float]:
    rate, count = found["requests"] / found["seconds"], max(1.0, found["requests"])
    return {**found, "per_s": rate, "cpu_s_per_1000": 1000 * found["cpu_s"] / count}


def _measured(running: Running, command: Sequence[str], seconds: float) -> dict[str, float]:
    before = _cpu_s(running)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"{command[0]} did not end within {error.timeout:g} s") from error
    if done.returncode != 0 or not done.stdout.strip():
        raise Trouble(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**found, "cpu_s": _cpu_s(running) - before}


def _cpu_s(running: Running) -> float:
    try:
        return running.cpu_s()
    except psutil.NoSuchProcess as error:
        raise Trouble("it has ended while it was measured") from error
