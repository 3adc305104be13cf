"""What the terminal shows of simulated runs. To accept a change: UPDATE_GOLDEN=1."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from controller.simulate.report import About
from controller.stack import simulate_view
from tests.unit.simulate.runs import KPA, NOTHING, STATIC, contest
from tests.unit.stack.test_rendering import GOLDEN, agrees_with

ABOUT = About("small", "engine.json", ("Something that one would not expect.",))


def shown(width: int, *, changes: int = 1, why: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in simulate_view.parts(contest(STATIC, KPA, NOTHING, changes=changes), ABOUT, console, why=why):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("width", [80, 140])
def test_everything_fits(width: int) -> None:
    text = shown(width)

    assert "…" not in text
    agrees_with(GOLDEN / f"simulate-{width}.txt", text)


def test_changes_are_listed_only_where_asked_for() -> None:
    assert "AboveTarget" not in shown(140, why=False)
    assert "Stoker never changed the count." in shown(140, changes=0)
    assert "Stoker changed the count 5,000 times, of which the first 1 are listed:" in shown(140, changes=5000)
