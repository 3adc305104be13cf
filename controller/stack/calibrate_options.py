"""What `stoker calibrate` can be told. Imported by the command line itself, so nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """As given; times are still texts."""

    url: Annotated[
        str | None, typer.Option(help="An OpenAI server; without it a ready replica of the running stack is measured.")
    ] = None
    state_dir: Annotated[Path, typer.Option(envvar="STOKER_STATE_DIR", help="The running stack's state directory.")] = (
        Path(".stoker")
    )
    pool: Annotated[str | None, typer.Option(help="The running stack's pool, where it has several.")] = None
    model: Annotated[str | None, typer.Option(help="The model's name; else the first one that the server lists.")] = (
        None
    )
    streams: Annotated[int, typer.Option(help="Answers at once, 2 to 256: give more than the server has slots.")] = 8
    limit: Annotated[str, typer.Option(help="For everything.")] = "300s"
    output: Annotated[Path, typer.Option(help="Where the engine model is written.")] = Path("engine.json")
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
