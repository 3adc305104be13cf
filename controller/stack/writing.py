"""Files that a command leaves behind: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.stack.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Outlet:
    """A file that is being made: `partial` is there to be written, and gets the name `path` with `finish`."""

    path: Path
    partial: Path

    def put(self, text: str) -> None:
        """Write it all, and finish. Raises `Trouble` where that cannot be."""
        try:
            self.partial.write_text(text, encoding="utf-8")
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.finish()

    def finish(self) -> None:
        """Give it its name. Raises `Trouble` where that cannot be."""
        try:
            os.replace(self.partial, self.path.resolve())  # a link stays a link
        except OSError as error:
            raise _unwritable(self.path, error) from error


@contextmanager
def outlet(path: Path, inputs: Iterable[Path | None] = ()) -> Iterator[Outlet]:
    """Begin a file. It is begun at once, so that a place where nothing can be written is found before the work.

    What is not finished when the body ends is removed.

    Raises:
        Trouble: nothing can be written there, or `path` is one of the files that are read, `inputs`.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name[:200]}.{os.getpid()}.partial")
    if any(given is not None and given.resolve() == target for given in inputs):
        raise Trouble(f"{path} is read by this very command; give another name to write to")
    try:
        if target.exists() and not target.is_file():
            raise Trouble(f"{path} cannot be written: it is no ordinary file; give another name")
        partial.touch()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield Outlet(path, partial)
    finally:
        partial.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> Trouble:
    return Trouble(f"{path} cannot be written: {error.strerror or error}; give a place where it can")
