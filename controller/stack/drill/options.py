"""What `stoker drill` can be told. Imported by the command line itself, so nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from controller.stack.drill.facts import Fault


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """As given."""

    pool: Annotated[str | None, typer.Option(help="The pool, where there are several.")] = None
    fault: Annotated[Fault | None, typer.Option(help="What goes wrong; kill where nothing is said.")] = None
    every: Annotated[bool, typer.Option("--all", help="Every fault that can be done here, one after the other.")] = (
        False
    )
    load: Annotated[int, typer.Option(help="Clients, each with one request at a time, 1 to 256.", min=1, max=256)] = 8
    force: Annotated[bool, typer.Option("--force", help="Also where users may notice it.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with what happened over time.")] = False
    chart: Annotated[Path | None, typer.Option(help="Draw what happened over time, an SVG file.")] = None
    why: Annotated[str, typer.Option(help="For the ledger.")] = ""
    drill_id: Annotated[str, typer.Option(hidden=True)] = ""  # under which the controller that began it knows it
    state_dir: Annotated[Path, typer.Option(envvar="STOKER_STATE_DIR", help="The running stack's state directory.")] = (
        Path(".stoker")
    )
