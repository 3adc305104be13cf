"""Finds the checkpoint of every pool, checks it, and puts it where replicas mount it from."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from controller.settings import PoolSettings
from controller.stack.trouble import Trouble

_PACKAGE = "package://"
_MAGIC = b"GGUF"


def locate(pool: PoolSettings, config: Path) -> Path:
    """The pool's checkpoint, checked to be a readable GGUF file.

    A path is relative to the configuration file. `package://NAME` is the one *.gguf in the folder of that installed
    Python package, which is not imported.

    Raises:
        Trouble: there is none, or it cannot be read, or is no GGUF.
    """
    wanted = pool.checkpoint
    if wanted.startswith(_PACKAGE):
        path = _in_package(pool.name, wanted.removeprefix(_PACKAGE))
    else:
        path = (config.resolve().parent / Path(wanted).expanduser()).resolve()
    _require_gguf(pool.name, path)
    return path


def stage(source: Path, folder: Path) -> Path:
    """Make `source` a file of `folder`, by hard link where it lies on the same disk, else by a copy.

    Another size or time gives another name, so that a changed checkpoint is another spec and the old one stays for a
    way back. One that is there already is left alone. Blocks as long as the copy takes.

    Raises:
        Trouble: the disk is full or refuses.
    """
    try:
        known = source.stat()
        # With its path: two pools may have files of the same name.
        identity = f"{source}\0{known.st_size}\0{known.st_mtime_ns}"
        target = folder / f"{source.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}{source.suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # the engine in the container may be another user
        if not _same(source, target):
            partial = target.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            _link_or_copy(source, partial)
            os.replace(partial, target)
            partial.unlink(missing_ok=True)  # rename does nothing where both are links to one file
    except OSError as error:
        raise Trouble(f"the checkpoint {source} cannot be put into {folder}: {error.strerror}") from error
    return target


def require_readable(pool: str, path: Path) -> Path:
    """The checkpoint itself, for nodes on other machines, which have it at the same path.

    Raises:
        Trouble: the engine in the container, which is another user, could not read it.
    """
    if not path.stat().st_mode & stat.S_IROTH:
        raise Trouble(f"pool {pool}: replicas may not read the checkpoint {path}; chmod o+r it, here and on each node")
    return path


def forget_others(folder: Path, kept: Iterable[Path]) -> None:
    """Delete staged checkpoints that no pool names any more."""
    keep = set(kept)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path not in keep:
            path.unlink()


def _in_package(pool: str, package: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise Trouble(
            f"pool {pool}: the checkpoint {_PACKAGE}{package} names a Python package that is not installed here; "
            "`make up` installs the one of the default configuration"
        )
    found = sorted(path for folder in spec.submodule_search_locations for path in Path(folder).glob("*.gguf"))
    if len(found) != 1:
        raise Trouble(f"pool {pool}: the package {package} holds {len(found)} *.gguf files, and one is needed")
    return found[0]


def _require_gguf(pool: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except FileNotFoundError as error:
        raise Trouble(f"pool {pool}: the checkpoint {path} does not exist") from error
    except OSError as error:
        raise Trouble(f"pool {pool}: the checkpoint {path} cannot be read: {error.strerror}") from error
    if not magic:
        raise Trouble(f"pool {pool}: the checkpoint {path} is empty")
    if magic != _MAGIC:
        raise Trouble(f"pool {pool}: the checkpoint {path} is no GGUF file (it does not begin with GGUF)")


def _same(source: Path, target: Path) -> bool:
    try:
        there, wanted = target.stat(), source.stat()
    except FileNotFoundError:
        return False
    return (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        if not source.stat().st_mode & stat.S_IROTH:
            raise PermissionError("a link would keep that mode")
        os.link(source, target)
    except OSError:  # another disk, a file system without links, a file of another user, or for one user alone
        shutil.copy2(source, target)
        target.chmod(0o644)  # the engine in the container may be another user
