"""A state directory that a controller can lead from, with plans in its configuration."""

from __future__ import annotations

from pathlib import Path

from controller.installation import Installation, Layout, PoolParts
from controller.wiring import Place

FILE = """\
pools:
  - {name: small, model: small, checkpoint: small.gguf, replicas: {floor: 0}, gateway: {aliases: [tiny]}}
plans:
  - {name: gold, tokens_per_day: 1000}
  - {name: free, concurrent: 2}
gateway: {max_keys: 2000}
"""


def place_in(folder: Path) -> Place:
    """Where nothing has run yet."""
    layout = Layout(folder)
    layout.config.write_text(FILE)
    layout.gateway.mkdir()
    Installation(runtime="process", pools={"small": PoolParts(image="", checkpoint="/c/small.gguf")}).save(layout)
    return Place(layout, 8000)
