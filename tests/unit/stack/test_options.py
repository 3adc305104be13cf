"""A dataclass whose fields are a command's options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from controller.stack.options import taking


@dataclass(frozen=True, slots=True)
class Wanted:
    must: Annotated[str, typer.Option(help="What must be given.")]
    count: Annotated[int, typer.Option(help="How many.")] = 3
    flag: Annotated[bool, typer.Option("--flag", help="Whether.")] = False


def test_fields_are_options_and_come_together() -> None:
    app, seen = typer.Typer(), list[Wanted]()

    @app.command()
    @taking(Wanted)
    def run(wanted: Wanted) -> None:
        """What it does."""
        seen.append(wanted)

    runner = CliRunner()
    assert runner.invoke(app, ["--must", "a"]).exit_code == 0
    assert runner.invoke(app, ["--must", "b", "--count", "5", "--flag"]).exit_code == 0
    assert runner.invoke(app, []).exit_code == 2

    assert seen == [Wanted("a"), Wanted("b", 5, True)]
    told = runner.invoke(app, ["--help"]).output
    assert "What it does." in told
    assert "How many." in told
