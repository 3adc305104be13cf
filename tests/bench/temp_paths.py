"""Where an nginx of a bench keeps what does not fit into its memory."""

from __future__ import annotations

from pathlib import Path


def temp_paths(folder: Path | str) -> str:
    """The directives of it, for the `http` section."""
    kinds = {"client_body": "body", "proxy": "proxy", "fastcgi": "fastcgi", "uwsgi": "uwsgi", "scgi": "scgi"}
    return "\n".join(f"    {kind}_temp_path {folder}/{name};" for kind, name in kinds.items())
