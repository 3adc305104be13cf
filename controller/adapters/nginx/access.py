"""Tells nginx whom to let in: by a file, which it reads when it starts, and over its control socket while it runs.

The file comes first. An nginx that is started in between, or that no controller can reach, has read it. And what the
file said is what nginx was told last: a new controller goes on from there.
"""

from __future__ import annotations

import grp
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.adapters.nginx.control import Control, Deadline, Loaded
from controller.core.access import KeyId, version_of
from controller.core.errors import GatewayUnavailable
from controller.core.quota import Block

_TRUST_S = 10.0  # for so long nginx is believed to have what it was told
_ASK_S, _TELL_S = 1.0, 2.0  # for one answer
_DEADLINE_S, _DEADLINE_PER_POST_S = 3.0, 0.5
_MOST_BYTES = 4_000_000  # of one body
_PART_BYTES = 1_000_000  # of one of several: a worker does nothing else while it reads one, and streams wait
_AROUND, _PER_KEY = 200, 6  # bytes of a body that are no digests and records


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What nginx is to know, with its versions."""

    records: Mapping[str, str]
    version: str
    blocks: Mapping[str, str]
    blocks_version: str

    def loaded(self) -> Loaded:
        """What nginx says once it knows that."""
        return Loaded(self.version, self.blocks_version)


def _as_wanted(records: Mapping[str, str], blocks: Mapping[KeyId, Block], before: _Wanted | None) -> _Wanted:
    """The version of a hundred thousand keys takes its time: of the same mapping it is not made again."""
    version = before.version if before is not None and records is before.records else version_of(records)
    texts = {str(key): block.text() for key, block in blocks.items()}
    return _Wanted(records, version, texts, version_of(texts))


class NginxAccess:
    """See `AccessGate`. `folder` is nginx's, and `user` what its configuration says: `USER GROUP` of the workers, or
    nothing where they are whoever starts it. `now` counts seconds. Not for use by several threads.

    The same mapping of records again is taken for the same records: it must not be changed in between.
    """

    def __init__(self, folder: Path, user: str = "", now: Callable[[], float] = time.monotonic) -> None:
        self._file = _AccessFile(folder / "access", user)
        self._control = Control(folder / "control" / "control.sock")
        self._now = now
        self._wanted: _Wanted | None = None
        self._told: _Wanted | None = None  # the last that nginx was seen to know: the base of a difference
        self._sure_at: float | None = None  # when that was; None: it may know something else by now
        self._torn = False  # a full load has not come to its end

    def apply(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block], *, look: bool = False) -> bool:
        """See `AccessGate.apply`. The file is written also where nginx does not answer."""
        if self._wanted is None:
            self._told = self._file.read()
        wanted = self._wanted = _as_wanted(records, blocks, self._wanted)
        trouble = self._file.keep(wanted)
        told = False
        if look or not self._sure(wanted):
            self._sure_at = None
            told = self._tell(wanted)
            self._told, self._sure_at = wanted, self._now()
        if trouble is not None:
            raise GatewayUnavailable(f"{trouble.filename} cannot be written: {trouble.strerror}") from trouble
        return told

    def _sure(self, wanted: _Wanted) -> bool:
        if self._told is None or self._sure_at is None or self._told.loaded() != wanted.loaded():
            return False
        return 0 <= self._now() - self._sure_at < _TRUST_S

    def _tell(self, wanted: _Wanted) -> bool:
        """Ask what nginx knows, and tell it what it lacks; whether that was anything."""
        deadline = Deadline(_DEADLINE_S)
        has = self._control.loaded(deadline.left(_ASK_S))
        if has == wanted.loaded() and not self._torn:
            return False
        if (has.keys != wanted.version or self._torn) and not self._tell_difference(wanted, has, deadline):
            self._tell_all(wanted, deadline)
        if has.blocks != wanted.blocks_version:
            body = {"version": wanted.blocks_version, "blocks": wanted.blocks}
            self._control.blocks(_encoded(body), deadline.left(_TELL_S))
        return True

    def _tell_difference(self, wanted: _Wanted, has: Loaded, deadline: Deadline) -> bool:
        """Whether nginx took it: it must have what was told last, and that must be known."""
        if self._told is None or self._torn or has.keys != self._told.version:
            return False
        before, after = self._told.records, wanted.records
        body = {
            "base": has.keys,
            "version": wanted.version,
            "set": {digest: text for digest, text in after.items() if before.get(digest) != text},
            "delete": [digest for digest in before if digest not in after],
            "last": True,
        }
        encoded = _encoded(body)
        return len(encoded) <= _MOST_BYTES and self._control.keys(encoded, deadline.left(_TELL_S))

    def _tell_all(self, wanted: _Wanted, deadline: Deadline) -> None:
        """Everything, in as many bodies as it takes. One that was not told to its end is begun again the next time."""
        self._torn, self._told = True, None
        parts = list(_parts(wanted.records))
        deadline.put_off(_DEADLINE_PER_POST_S * (len(parts) - 1))
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            body: dict[str, object] = {"base": None, "version": wanted.version, "set": part, "delete": [], "last": last}
            if not self._control.keys(_encoded(body), deadline.left(_TELL_S)):
                raise GatewayUnavailable("nginx refused to begin its keys anew")
        self._torn = False


def _parts(records: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """At least one."""
    part: dict[str, str] = {}
    size = _AROUND
    for digest, text in records.items():
        more = len(digest) + len(text) + _PER_KEY
        if size + more > _PART_BYTES:
            yield part
            part, size = {}, _AROUND
        part[digest] = text
        size += more
    yield part


def _encoded(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode("ascii")


class _AccessFile:
    """keys.json, which nginx's workers may read and nobody else."""

    def __init__(self, folder: Path, user: str) -> None:
        group = user.partition(" ")[2]
        self._folder, self._path = folder, folder / "keys.json"
        self._group = grp.getgrnam(group).gr_gid if group else None
        self._kept: tuple[Loaded, tuple[int, int, int] | None] | None = None

    def keep(self, wanted: _Wanted) -> OSError | None:
        """Write it where it says something else, or somebody else has changed it; why that could not be done."""
        if self._kept == (wanted.loaded(), self._signature()):
            return None
        text = _encoded({"version": wanted.version, "keys": wanted.records, "blocks": wanted.blocks})
        try:
            self._write(text)
        except OSError as error:
            return error
        self._kept = (wanted.loaded(), self._signature())
        return None

    def read(self) -> _Wanted | None:
        """What it says; None where it is missing or damaged."""
        try:
            found = json.loads(self._path.read_bytes())
            keys, blocks = dict(found["keys"]), dict(found["blocks"])
            if found["version"] != version_of(keys):
                return None
            return _Wanted(keys, found["version"], blocks, version_of(blocks))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _write(self, text: bytes) -> None:
        """By rename, and readable by others at no moment."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(self._folder, 0o750)
        partial = self._path.with_name(self._path.name + ".partial")
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        self._give(partial, 0o640)
        os.replace(partial, self._path)

    def _give(self, path: Path, mode: int) -> None:
        """To the workers' group; where they are our own user, to nobody else."""
        if self._group is not None:
            os.chown(path, -1, self._group)
            path.chmod(mode)
        else:
            path.chmod(mode & 0o700)

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
