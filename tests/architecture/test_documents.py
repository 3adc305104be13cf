"""The tree that docs/architecture.md draws is the tree that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/architecture.md"
_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^( *)([\w.*-]+(?:/[\w.*-]+)*/?)(?=\s|$)(.*)")


def drawn_paths(text: str) -> Iterator[str]:
    """Paths of the first code block that begins with `controller/`: names, two spaces deeper for each level.

    What follows a name after at least two spaces is its description.
    """
    tree = next((block for block in _BLOCK.findall(text) if block.startswith("controller/")), "")
    above: list[tuple[int, str]] = []
    for line in tree.splitlines():
        match = _ENTRY.match(line)
        if match is None or not (match[3] == "" or match[3].startswith("  ")):
            continue
        depth, name = len(match[1]), match[2]
        if depth > 24:  # a description that goes on below itself
            continue
        above = [(at, folder) for at, folder in above if at < depth]
        path = (above[-1][1] if above else "") + name
        yield path
        if name.endswith("/"):
            above.append((depth, path))


def test_reading_a_drawing() -> None:
    drawing = "controller/    control\n  core/        pure\n    model.py   facts\n  cli.py\ndeploy/  scripts"
    text = f"```\n{drawing}\n```\n"

    assert list(drawn_paths(text)) == [
        "controller/",
        "controller/core/",
        "controller/core/model.py",
        "controller/cli.py",
        "deploy/",
    ]


def test_everything_drawn_is_there() -> None:
    paths = list(drawn_paths(DOCUMENT.read_text(encoding="utf-8")))

    assert len(paths) > 10, "no tree was found in docs/architecture.md"
    assert [path for path in paths if not any(ROOT.glob(path.rstrip("/")))] == []
