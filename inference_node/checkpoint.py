"""Is the checkpoint there, and is it one? Asked before an engine starts, whose own words for this are unclear."""

from __future__ import annotations

from pathlib import Path

GGUF_MAGIC = b"GGUF"


class CheckpointError(Exception):
    """The checkpoint cannot be served. The text is one sentence with the path and what would be right."""


def require_gguf(path: Path) -> None:
    """Return when `path` is a readable GGUF file. Blocks as long as its file system does.

    Raises:
        CheckpointError: with the reason.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except OSError as error:
        wanted = "mount a GGUF file there that this user may read"
        raise CheckpointError(f"The checkpoint {path} cannot be read ({error.strerror}); {wanted}.") from error
    if magic != GGUF_MAGIC:
        raise CheckpointError(f"The checkpoint {path} is no GGUF file (it begins with {magic!r}, not {GGUF_MAGIC!r}).")
