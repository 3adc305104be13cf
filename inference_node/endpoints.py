"""Tells who started the launcher which ports it and its engine took."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_endpoints(path: Path, host: str, launcher_port: int, engine_port: int | None) -> None:
    """Put both addresses into `path` in one step: a reader sees the old text or the new one, never half of it.

    Raises:
        OSError: the file cannot be written.
    """
    engine = None if engine_port is None else {"host": host, "port": engine_port}
    text = json.dumps({"engine": engine, "launcher": {"host": host, "port": launcher_port}}) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
