"""What a gateway was told last, in files: it serves that when it starts and no controller answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.core.access import KeyId, version_of
from controller.core.model import GatewayPlan
from controller.core.plan_json import plan_from_json, plan_to_json
from controller.core.quota import Block, QuotaKind
from controller.installation import replace_text
from controller.settings.front import FrontSettings, front_from, written


@dataclass(frozen=True, slots=True)
class Kept:
    """The plan, and the settings that it is rendered with. `version` is the controller's."""

    version: str
    plan: GatewayPlan
    front: FrontSettings

    @staticmethod
    def from_json(data: Any) -> Kept:
        """Raises `ValueError` where it is something else."""
        version = data["version"] if isinstance(data, dict) and isinstance(data.get("version"), str) else None
        if version is None:
            raise ValueError("there is no version")
        return Kept(version, plan_from_json(data.get("plan")), front_from(data.get("settings")))

    @staticmethod
    def read(path: Path) -> Kept | None:
        """None where there is none, or one that this version cannot read."""
        try:
            return Kept.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def write(self, path: Path) -> None:
        """By rename. Raises `OSError`."""
        told = {"version": self.version, "plan": plan_to_json(self.plan), "settings": written(self.front)}
        replace_text(path, json.dumps(told, indent=1) + "\n", 0o600)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that nginx is to know. `records` is never changed in place."""

    records: Mapping[str, str]
    blocks: Mapping[KeyId, Block]
    of_records: str

    @property
    def version(self) -> str:
        """As the controller has it: of records and blocks."""
        return f"{self.of_records}.{version_of({str(key): block.text() for key, block in self.blocks.items()})}"

    @staticmethod
    def read(path: Path) -> Keys | None:
        """What `access/keys.json` says; None where it is missing or damaged."""
        try:
            found = json.loads(path.read_bytes())
            return _keys(_texts(found["keys"]), found["blocks"], found["version"])
        except (OSError, ValueError, LookupError, TypeError):
            return None

    @staticmethod
    def after(before: Keys | None, data: Any) -> Keys:
        """What the controller said: all of them, or the difference to those before. Raises `ValueError`."""
        try:
            version = str(data["version"]).partition(".")[0]
            if "records" in data:
                return _keys(_texts(data["records"]), data["blocks"], version)
            if before is None or data["base"] != before.of_records:
                raise ValueError("it is the difference to other keys than those that are here")
            gone = set(data["delete"])
            kept = {digest: text for digest, text in before.records.items() if digest not in gone}
            changed = _texts(data["set"])
            # The very same mapping is the very same keys: of a hundred thousand none is looked at then.
            records = {**kept, **changed} if gone or changed else before.records
            return _keys(records, data["blocks"], version, known=records is before.records)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"it has not the form of keys ({type(error).__name__})") from error


def _keys(records: Mapping[str, str], blocks: Any, version: str, *, known: bool = False) -> Keys:
    if not known and version_of(records) != version:
        raise ValueError("they are not what their version says")
    return Keys(records, {KeyId(key): _block(text) for key, text in _texts(blocks).items()}, version)


def _block(text: str) -> Block:
    until, _, why = text.partition(" ")
    return Block(datetime.fromtimestamp(int(until), UTC), QuotaKind(why))


def _texts(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise ValueError("it has not the form of keys")
    return data
