"""`stoker status`: what runs, once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.installation import Layout
from controller.stack import api_client
from controller.stack.api_client import Client, Row, Seen
from controller.stack.supervisor import ProgramState, Supervisor
from controller.stack.trouble import Trouble

_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Report:
    """The supervisor's programs, and the pools and replicas of the controller's last tick."""

    programs: tuple[ProgramState, ...]
    seen: Seen
    gateway: Row  # how it stands with the settings of nginx here
    gateways: tuple[Row, ...] = ()  # of other machines
    gpus: tuple[Row, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `--json`; pools and replicas are the API's own objects."""
        return {
            "programs": [{"name": one.name, "state": one.state.lower(), "pid": one.pid} for one in self.programs],
            "pools": list(self.seen.pools),
            "replicas": list(self.seen.replicas),
            "gateway": self.gateway,
            "gateways": list(self.gateways),
            "gpus": list(self.gpus),
        }

    def print(self) -> None:
        """The table, under a line for each program that does not run."""
        from controller.stack import gateway_view, gpu_view, view
        from controller.stack.terminal import Terminal

        console = Terminal()
        if not console.is_terminal:
            console.width = _WIDTH  # rich takes 80 columns for a pipe and would cut the reasons
        for one in self.programs:
            if one.state != "RUNNING":
                console.print(f"{one.name} is not running: {one.state.lower()}", highlight=False)
        for line in gateway_view.standing(self.gateway):
            console.print(line, highlight=False, markup=False, style="yellow")
        now = datetime.now(UTC)
        console.print(view.table(self.seen, now))
        if self.gpus:
            console.print(gpu_view.table(self.gpus))
        if self.gateways:
            console.print(gateway_view.table(self.gateways, now))


def look(state_dir: Path) -> Report:
    """Ask the supervisor and the controller. Blocks for a few seconds at most.

    Raises:
        Trouble: nothing runs with this state directory, or the controller does not answer.
    """
    layout = Layout(state_dir)
    programs = Supervisor(layout).states()
    if not programs:
        raise Trouble(f"nothing runs with the state directory {layout.root}; `stoker up` starts it")
    client = Client.of(state_dir) if layout.config.exists() else None
    seen = api_client.look(client.settings, client.token) if client else None
    if client is None or seen is None:
        told = ", ".join(f"{one.name} {one.state.lower()}" for one in programs)
        raise Trouble(f"the controller does not answer yet ({told}); see {layout.logs}")
    gateway, gateways, gpus = (client.ask(f"/api/v1/{name}") for name in ("gateway", "gateways", "gpus"))
    return Report(programs, seen, gateway, tuple(gateways), tuple(gpus))
