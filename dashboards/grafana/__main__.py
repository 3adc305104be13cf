"""`python -m dashboards.grafana [--check]`: the boards' JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana import controller, fleet, gateway, node, pool
from dashboards.grafana.frame import Board

FOLDER = Path(__file__).parent / "json"


def boards() -> tuple[Board, ...]:
    """All of them."""
    return fleet.board(), pool.board(), node.board(), gateway.board(), controller.board()


def text_of(board: Board) -> str:
    """The JSON of a board; equal boards give equal bytes."""
    return json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def write(folder: Path) -> None:
    """Write all boards there, and delete whatever else is JSON there."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{board.uid}.json": text_of(board) for board in boards()}
    for file in folder.glob("*.json"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def stale(folder: Path) -> list[str]:
    """Names of the files there that are not what the code says, or that should not be there, or are missing."""
    wanted = {f"{board.uid}.json": text_of(board) for board in boards()}
    there = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> int:
    """Write, or with `--check` only compare: exit code 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.grafana")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the JSON is not what the code says"
    )
    if not parser.parse_args().check:
        write(FOLDER)
        return 0
    if wrong := stale(FOLDER):
        sys.stderr.write(f"not what the code says: {', '.join(wrong)}; `make boards` writes them\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
