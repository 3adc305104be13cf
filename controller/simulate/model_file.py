"""An engine model as a JSON file. What else is in it (how it was measured) is for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from controller.simulate.engine import FIELDS, EngineModel
from controller.simulate.errors import ModelError

MEASURED = "measured"
_LARGEST = 1 << 20


def load_model(path: Path) -> EngineModel:
    """What `save_model` wrote; a field that is not there has its default.

    Raises:
        ModelError: it cannot be read, or describes no possible engine.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}; give a file that exists") from error
    try:
        found = json.loads(text.decode()) if len(text) <= _LARGEST else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is no engine model; it must be a JSON object with some of {', '.join(FIELDS)}")
    unknown = [name for name in found if name not in FIELDS and name != MEASURED]
    if unknown:
        raise ModelError(f"{path}: an engine model has no {unknown[0]!r}; give some of {', '.join(FIELDS)}")
    try:
        return EngineModel(**{name: found[name] for name in FIELDS if name in found})
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def save_model(path: Path, model: EngineModel, measured: Mapping[str, Any] | None = None) -> None:
    """Write it, for `load_model` and for people.

    Raises:
        ModelError: the file cannot be written.
    """
    content = {**asdict(model), **({MEASURED: measured} if measured else {})}
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror or error}; give a place where it can") from error
