"""Options that most commands have. Light: every command imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StateDir = Annotated[
    Path, typer.Option(envvar="STOKER_STATE_DIR", help="Where everything that this installation writes is kept.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option(help="The reason, for the audit log and whoever looks at it later.")]
STATE_DIR = Path(".stoker")
