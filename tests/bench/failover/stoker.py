"""Stoker itself, started as a user starts it."""

from __future__ import annotations

from pathlib import Path

from controller.installation import Layout
from controller.stack.trouble import Trouble
from tests.bench.failover.side import REPLICAS, Place, Recipe
from tests.e2e.stack import Stack, environment, write_config


class StokerSide:
    """`stoker up`, floor and ceiling of 3, all else as it is by default."""

    name = "stoker"
    what = f"`stoker up --runtime docker`, floor and ceiling {REPLICAS}, its defaults otherwise"
    url = ""

    def __init__(self, recipe: Recipe, folder: Path, host: str) -> None:
        folder.mkdir()
        self._recipe = recipe
        self._stack = Stack(write_config(folder, ceiling=REPLICAS), folder / "state", environment(host))
        self.url = f"http://127.0.0.1:{self._stack.port('gateway')}"

    def start(self) -> None:
        """Returns when `stoker up` does."""
        came = self._stack.up("--runtime", "docker")
        if came.returncode != 0:
            raise Trouble(f"stoker up failed: {came.stdout}{came.stderr}")

    def places(self) -> list[Place]:
        """By their labels, and not by what Stoker says of them."""
        label = f"stoker.instance={Layout(self._stack.state_dir).instance}"
        found = self._recipe.client.api.containers(filters={"label": label, "status": "running"})
        named = sorted((item["Names"][0], item) for item in found)
        return [place for _, item in named for place in _places(item)]

    def stop(self) -> None:
        """`stoker down`."""
        self._stack.stoker("down")


def _places(item: dict[str, object]) -> list[Place]:
    """None for a container that lost its address meanwhile."""
    labels, settings = item["Labels"], item["NetworkSettings"]
    assert isinstance(labels, dict)
    assert isinstance(settings, dict)
    own = [network["IPAddress"] for network in settings["Networks"].values() if network["IPAddress"]]
    ports = (labels["stoker.engine_port"], labels["stoker.launcher_port"])
    return [Place(str(item["Id"]), f"{own[0]}:{ports[0]}", f"{own[0]}:{ports[1]}")] if own else []
