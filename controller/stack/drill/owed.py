"""What a drill has yet to undo, as a file of the state directory: where its process is killed, others undo it.

It is written before anything is hurt, and goes when all is undone. A drill holds `drill.lock` for as long as it lives,
however it ends: whoever holds that lock and finds the file knows that the process is gone which wrote it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import psutil

from controller.adapters.docker_faults import FaultRefused
from controller.adapters.process import born
from controller.installation import replace_text
from controller.stack.drill.pid_file import last
from controller.stack.single import locked
from controller.stack.trouble import Trouble

_FILE = "drill-owed.json"


class Restorable(Protocol):
    """Replicas that may get back what was taken from them; see `Replicas`."""

    def restore(self, replica: str) -> bool:
        """See `Replicas.restore`."""
        ...

    def close(self) -> None:
        """See `Replicas.close`."""
        ...


_Find = Callable[[str], Restorable]  # those of a pool; may raise `Trouble`


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be undone; `what` says it once it is: "Prometheus goes on".

    Of a process of this machine, known by its number and when it was `born`: it goes on, or gets its `limits` of the
    size of files, soft and hard. Or of a `replica` of a `pool`: it gets back all that was taken from it.
    """

    what: str
    pid: int = 0
    born: str = ""
    limits: tuple[int, int] | None = None
    pool: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class Mended:
    """What others undid of a drill, and what they could not, and why. `drill` is empty where nobody knows its id."""

    drill: str
    undone: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        told = f"undone for it: {', '.join(self.undone)}" if self.undone else "nothing was left to undo"
        return f"not undone: {'; '.join(self.left)}" if self.left else told


def process_goes_on(what: str, pid: int) -> Step:
    """Of a process that will stand still. Raises `OSError` where it is gone."""
    return Step(what, pid, born(pid))


def owe(root: Path, steps: Iterable[Step]) -> None:
    """Write them down, beside those that are there. Raises `Trouble` where that cannot be; hurt nothing then."""
    try:
        _write(root, [*_read(root)[1], *steps])
    except OSError as error:
        raise Trouble(
            f"{root / _FILE} cannot be written ({error.strerror}), so nothing was done: it is what others would undo "
            "the fault by"
        ) from error


def settle(root: Path, steps: Iterable[Step]) -> None:
    """They are undone. Idempotent. Where that cannot be written they are undone once more, which does no harm."""
    paid = frozenset(steps)
    if not paid:
        return
    left = [step for step in _read(root)[1] if step not in paid]
    with suppress(OSError):
        if left:
            _write(root, left)
        else:
            (root / _FILE).unlink(missing_ok=True)


def mend_if_gone(root: Path, find: _Find) -> Mended | None:
    """As `mend`, where no drill lives. Blocks as that does, and needs no room on the disk."""
    if not (root / _FILE).exists():
        return None
    with suppress(Trouble), locked(root / "drill.lock", "a drill lives"):
        return mend(root, find)
    return None


def mend(root: Path, find: _Find) -> Mended | None:
    """Undo what a drill left that was killed; None where there is nothing. The caller holds `drill.lock`.

    What cannot be undone stays in the file, for the next one. Blocks for some seconds where an engine is silent.
    """
    (pid, began), steps = _read(root)
    if not steps:
        return None
    undone, left = dict[str, None](), dict[str, None]()
    for step in steps:
        try:
            if _undo(step, find):
                undone[step.what] = None
        except (Trouble, FaultRefused, OSError, psutil.Error) as error:
            left[f"{step.what}: {error}"] = None
    if not left:
        settle(root, steps)
    known = last(root)
    name = known.id if known is not None and (known.pid, known.began) == (pid, began) else ""
    return Mended(name, tuple(undone), tuple(left))


def _undo(step: Step, find: _Find) -> bool:
    """Whether there was anything to undo. What is gone needs nothing."""
    if step.replica:
        with closing(find(step.pool)) as replicas:
            return replicas.restore(step.replica)
    with suppress(ProcessLookupError, FileNotFoundError, psutil.NoSuchProcess):
        if born(step.pid) != step.born:  # its number is another's by now
            return False
        return _go_on(step.pid) if step.limits is None else _limit(step.pid, step.limits)
    return False


def _go_on(pid: int) -> bool:
    stood = psutil.Process(pid).status() == psutil.STATUS_STOPPED
    os.kill(pid, signal.SIGCONT)
    return stood


def _limit(pid: int, limits: tuple[int, int]) -> bool:
    if resource.prlimit(pid, resource.RLIMIT_FSIZE)[0] != 0:
        return False
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    return True


def _write(root: Path, steps: Iterable[Step]) -> None:
    by = {"pid": os.getpid(), "born": born(os.getpid())}
    replace_text(root / _FILE, json.dumps({"by": by, "steps": [asdict(step) for step in steps]}), 0o600)


def _read(root: Path) -> tuple[tuple[int, str], list[Step]]:
    """Who wrote it, and what is owed; nothing where there is no such file."""
    try:
        found = json.loads((root / _FILE).read_text(encoding="utf-8"))
        steps = [Step(**{**one, "limits": tuple(one["limits"]) if one["limits"] else None}) for one in found["steps"]]
        return (int(found["by"]["pid"]), str(found["by"]["born"])), steps
    except (OSError, ValueError, LookupError, TypeError):
        return (0, ""), []
