"""The folder of the two sockets between nginx and the hot cache: `look.sock` is nginx's, `cache.sock` the service's."""

from __future__ import annotations

import grp
import os
from pathlib import Path

NAME = "hot"  # as nginx.conf and hot.js have it
SOCKET = f"{NAME}/cache.sock"  # in nginx's folder


def make_folder(folder: Path, user: str) -> None:
    """In nginx's `folder`, for its workers and nobody else: who gets in names whose answer he wants, or makes one.

    `user` is what nginx's configuration says, `USER GROUP` of the workers, or nothing where they are our own user.
    Idempotent.
    """
    made = folder / NAME
    made.mkdir(mode=0o700, parents=True, exist_ok=True)
    group = user.partition(" ")[2]
    if group:
        os.chown(made, -1, grp.getgrnam(group).gr_gid)
        made.chmod(0o750)
    else:
        made.chmod(0o700)
