"""What `stoker pause|resume|bounds` ask of the controller, and what they say of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from controller.stack.api_client import Client, Row
from controller.stack.pool_choice import choose_pool


@dataclass(frozen=True, slots=True)
class Overridden:
    """What people want of the pool by now. `said` is what has just been done."""

    row: Row
    said: str

    def as_json(self) -> Row:
        """For `--json`: the API's own object."""
        return self.row

    def print(self) -> None:
        """One sentence."""
        print(self.said)


class PoolClient:
    """The routes of one pool. Every method blocks for a few seconds at most, and raises `Trouble`."""

    def __init__(self, state_dir: Path, pool: str) -> None:
        self._api = Client.of(state_dir)
        self._name = choose_pool(self._api.settings, pool).name

    def pause(self, why: str, for_s: float | None) -> Overridden:
        """Keep its count."""
        row = self._ask("pause", {"why": why, "for_s": for_s})
        until = row["pause"]["until"]
        end = f" until {until[:19].replace('T', ' ')} UTC" if until else f" until `stoker resume {self._name}`"
        return Overridden(row, f"{self._name} keeps its count{end}. Failed replicas are still replaced.")

    def resume(self, why: str) -> Overridden:
        """End that."""
        return Overridden(self._ask("resume", {"why": why}), f"{self._name} follows its load again.")

    def bound(self, floor: int, ceiling: int, why: str) -> Overridden:
        """Other bounds than those of the configuration."""
        row = self._ask("bounds", {"floor": floor, "ceiling": ceiling, "why": why}, "PUT")
        said = f"{self._name} has {floor} to {ceiling} replicas, until `stoker bounds {self._name} --clear`."
        return Overridden(row, said)

    def clear(self, why: str) -> Overridden:
        """Those of the configuration again."""
        row = self._ask(f"bounds?{urlencode({'why': why})}", None, "DELETE")
        return Overridden(row, f"{self._name} has the bounds of its configuration again.")

    def _ask(self, what: str, wanted: Row | None, method: str = "POST") -> Row:
        path = f"/api/v1/pools/{quote(self._name, safe='')}/{what}"
        found: Row = self._api.ask(path, wanted, method=method)
        return found
