"""The URL of Redis, from a file that only its owner may use: it holds the password."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_URL = re.compile(r"rediss?://\S+")


class Refused(Exception):
    """The text is one sentence for the person who started it, and has nothing of the URL in it."""


def read_url(path: Path) -> str:
    """What the file holds.

    Raises:
        Refused: it cannot be read, others may use it, or it holds no URL.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(4096).decode(errors="replace").strip()
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise Refused(f"{path}: others than its owner may use it (mode {mode:04o}); chmod 600 it")
    if _URL.fullmatch(text) is None:
        raise Refused(f"{path}: holds no URL redis://USER:PASSWORD@HOST:PORT/0, alone on one line")
    return text
