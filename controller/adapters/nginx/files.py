"""The files of nginx's folder: the configuration that it runs, the one to come, and the plans behind them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from controller.adapters.nginx.config import generation_of
from controller.core.model import GatewayPlan
from controller.core.plan_json import plan_from_json, plan_to_json


class Files:
    """The files of the folder, all written by rename."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "nginx.conf"
        self.candidate = folder / "nginx.conf.next"
        self._plan = folder / "plan.json"
        self._next = folder / "plan.next.json"

    def write_candidate(self, text: str) -> None:
        """What is to be tested."""
        self.candidate.write_text(text, encoding="utf-8")

    def write_next(self, plan: GatewayPlan, generation: str) -> None:
        """The plan that is about to be served."""
        write(self._next, json.dumps({"generation": generation, **plan_to_json(plan)}, indent=1) + "\n")

    def promote_next(self) -> None:
        """It is served now."""
        os.replace(self._next, self._plan)

    def promote(self, generation: str) -> None:
        """Finish what a crash interrupted: the plan of that generation is the one that nginx runs."""
        found = _read_plan(self._next)
        if found is not None and found[0] == generation:
            self.promote_next()

    def text(self) -> str:
        """Of nginx.conf; empty where there is none."""
        try:
            return self.conf.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def generation(self) -> str:
        """Of nginx.conf; empty where there is none."""
        return generation_of(self.text())

    def signature(self) -> tuple[int, int, int] | None:
        """Tells this nginx.conf from one that somebody else wrote; None where there is none."""
        try:
            found = self.conf.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def plans(self) -> dict[str, GatewayPlan]:
        """The known plans by generation."""
        found = [_read_plan(path) for path in (self._next, self._plan)]
        return dict(one for one in found if one is not None)

    def last_plan(self) -> GatewayPlan:
        """The plan that nginx was last seen to serve."""
        found = _read_plan(self._plan)
        return found[1] if found else GatewayPlan()


def write(path: Path, text: str) -> None:
    """By rename, so that a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _read_plan(path: Path) -> tuple[str, GatewayPlan] | None:
    """Generation and plan; None for a file that is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return str(data["generation"]), plan_from_json(data)
    except (OSError, ValueError, LookupError, TypeError):
        return None
