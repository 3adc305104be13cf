"""Progress on a terminal, and silence elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from controller.stack.bars import bars


def drawn(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with bars(console) as shown:
        for name in ("reading [day].csv", "playing stoker"):
            advance = shown.begin(name)
            advance(0, 0)
            advance(30, 60)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_sees_one_bar_for_each_thing() -> None:
    text = drawn(terminal=True)

    assert "reading [day].csv" in text
    assert "playing stoker" in text
    assert "50%" in text


def test_elsewhere_nothing_is_said() -> None:
    assert drawn(terminal=False) == ""
