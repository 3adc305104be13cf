"""The last configurations of nginx, a file for each, beside the state directory's other files.

Files and not the database: they are of this nginx alone, are there when the database is not, and what reads them needs
no controller. Pure files, written by rename: half of one is never seen, and a damaged one is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.adapters.nginx.files import write
from controller.core.model import ReplicaId
from controller.core.plan_json import plan_from_json, plan_to_json
from controller.core.revision import KEPT, Cause, Configuration, Moment, Revision


class HistoryFolder:
    """Revisions by number. One writer; whoever reads may be another process."""

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self._folder, self._kept = folder, kept
        self._newest: Revision | None = None

    def newest(self) -> Revision | None:
        """The last one, for the writer: it is read only once."""
        if self._newest is None:
            self._newest = self.latest()
        return self._newest

    def keep(self, revision: Revision) -> None:
        """Add it, and drop the oldest beyond those that are kept. Raises `OSError` where it cannot be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write(self._path(revision.number), json.dumps(_to_json(revision)) + "\n")
        self._newest = revision
        for number in self._numbers()[self._kept :]:
            self._path(number).unlink(missing_ok=True)

    def latest(self) -> Revision | None:
        """The last one, read anew."""
        return next(self._read_all(), None)

    def all(self) -> tuple[Revision, ...]:
        """Those that are kept, the newest first."""
        return tuple(self._read_all())

    def find(self, number: int) -> Revision | None:
        """That one; None where it is not kept."""
        return _read(self._path(number))

    def _read_all(self) -> Iterator[Revision]:
        found = (self.find(number) for number in self._numbers())
        return (revision for revision in found if revision is not None)

    def _numbers(self) -> list[int]:
        """Of the files, the newest first."""
        stems = [path.stem for path in self._folder.glob("*.json")]
        return sorted((int(stem) for stem in stems if stem.isdecimal()), reverse=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.json"


def _to_json(revision: Revision) -> dict[str, Any]:
    moment, now = revision.moment, revision.configuration
    return {
        "number": revision.number,
        "at": moment.at.astimezone(UTC).isoformat(),
        "tick": moment.tick,
        "term": moment.term,
        "generation": now.generation,
        "causes": [{"code": cause.code, "text": cause.text} for cause in revision.causes],
        "entered": list(revision.entered),
        "left": list(revision.left),
        "reverted_to": now.reverted_to,
        "why": now.why,
        "run": now.run,
        "plan": plan_to_json(now.plan),
        "settings": now.settings,
        "text": now.text,
    }


def _read(path: Path) -> Revision | None:
    """None for a file that is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _revision(data)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _revision(data: Any) -> Revision:
    back = data["reverted_to"]
    return Revision(
        number=int(data["number"]),
        moment=Moment(datetime.fromisoformat(data["at"]), int(data["tick"]), int(data["term"])),
        causes=tuple(Cause(str(cause["code"]), str(cause["text"])) for cause in data["causes"]),
        entered=tuple(ReplicaId(name) for name in data["entered"]),
        left=tuple(ReplicaId(name) for name in data["left"]),
        configuration=Configuration(
            generation=str(data["generation"]),
            text=str(data["text"]),
            plan=plan_from_json(data["plan"]),
            settings=dict(data["settings"]),
            reverted_to=None if back is None else int(back),
            why=str(data["why"]),
            run=str(data["run"]),
        ),
    )
