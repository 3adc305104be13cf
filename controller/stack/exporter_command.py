"""`stoker exporter gpu`: the GPU exporter in the foreground, on a node that has no `stoker up`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from controller.installation import for_programs
from controller.stack.options import taking

app = typer.Typer(help="Exporters that run on other machines, in the foreground.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class ExporterOptions:
    """What the command line said."""

    host: Annotated[str, typer.Option(help="Address of the metrics; whoever reaches it may read them.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port of the metrics.")] = 9400
    node: Annotated[str | None, typer.Option(help="The label Hostname; this machine's name without it.")] = None
    docker: Annotated[
        Path | None, typer.Option(help="Socket of the Docker engine; that of DOCKER_HOST, or the usual one without it.")
    ] = None
    proc: Annotated[Path, typer.Option(help="The machine's /proc, where a container has it.")] = Path("/proc")
    deadline: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds that a scrape waits for the GPUs.")] = 0.5


@app.callback()
def _group() -> None:
    """With one command only, the group itself would be that command."""


@app.command()
@taking(ExporterOptions)
def gpu(options: ExporterOptions) -> None:
    """Tell Prometheus of this machine's GPUs, under the DCGM exporter's names, and of its CPUs and memory."""
    # Else `python -m` looks into the working directory first.
    os.execve(sys.executable, command(options), {**for_programs(os.environ), "PYTHONSAFEPATH": "1"})


def command(options: ExporterOptions) -> list[str]:
    """What runs it."""
    made = [sys.executable, "-m", "exporters.gpu", "--host", options.host, "--port", str(options.port)]
    made += ["--proc", str(options.proc), "--deadline", f"{options.deadline:g}"]
    if options.node:
        made += ["--node", options.node]
    if options.docker:
        made += ["--docker", str(options.docker)]
    return made
