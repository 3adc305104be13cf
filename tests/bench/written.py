"""What a bench has written with `--json`, read again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")


def read(path: Path, of: Callable[[Any], R]) -> R:
    """The report, as `of` makes it of the JSON; a sentence and exit code 1 where it is none."""
    try:
        return of(json.loads(path.read_text()))
    except OSError as error:
        sys.exit(f"{path} cannot be read: {error.strerror}.")
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"{path} is not what --json writes: {error!r}.")
