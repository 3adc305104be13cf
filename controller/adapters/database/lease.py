"""FileLease: one controller per state directory."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from controller.adapters.database.store import SqlStore
from controller.core.errors import LostLease
from controller.core.model import Term

_LOCK_TIMEOUT_S = 5.0
_RETRY_S = 0.1


class FileLock:
    """The kernel's lock on a file, which it takes back from a process that is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Hold it from now on; a second time does nothing. Blocks for at most 5 s, for one that is about to end.

        Raises:
            LostLease: another controller holds it.
        """
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        waited = threading.Event()
        for _ in range(int(_LOCK_TIMEOUT_S / _RETRY_S)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited.wait(_RETRY_S)
                continue
            self._file = file
            return
        os.close(file)
        raise LostLease(f"another controller runs on {self._path.parent}; stop it first")

    def release(self) -> None:
        """Let the next one in at once. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class FileLease:
    """See `Lease`: the lock, and a new term that fences every older one off."""

    def __init__(self, lock: FileLock, store: SqlStore) -> None:
        self._lock, self._store = lock, store

    def acquire(self) -> Term:
        """See `Lease.acquire`."""
        self._lock.acquire()
        return self._store.take_term()
