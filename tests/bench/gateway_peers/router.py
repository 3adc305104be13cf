"""vllm-router, the gateway of the vLLM project, from its package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from controller.core.model import Address
from tests.bench.gateway_peers.contender import Contender, Running, spawned
from tests.bench.gateway_peers.tools import Tools, version
from tests.e2e.stack import free_ports

POLICIES = {"round_robin": "round robin", "consistent_hash": "consistent hash"}
PACKAGE = "vllm-router"


def name(policy: str) -> str:
    """In tables."""
    return f"{PACKAGE}, {POLICIES[policy]}"


def contenders(tools: Tools) -> list[Contender]:
    """One per policy.

    Raises:
        Trouble: it cannot be installed.
    """
    python = tools.python(PACKAGE, [PACKAGE], ["vllm_router"])
    release = version(python, PACKAGE)
    return [
        Contender(
            name(policy),
            f"{PACKAGE} {release} with the policy {policy}, logging warnings only, all else as by default",
            partial(_run, python.with_name(PACKAGE), policy),
        )
        for policy in POLICIES
    ]


@contextmanager
def _run(program: Path, policy: str, engines: Sequence[Address], folder: Path) -> Iterator[Running]:
    port, metrics = free_ports(2)
    command = [str(program), "--host", "127.0.0.1", "--port", str(port), "--policy", policy]
    command += ["--log-level", "warning", "--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics)]
    command += ["--worker-startup-check-interval", "1", "--worker-urls", *(f"http://{address}" for address in engines)]
    with spawned(command, port, folder) as running:
        yield running
