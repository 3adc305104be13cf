"""The token that the gateways of other machines show when they ask what to run. It is good for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from controller.installation import Layout, kept_token
from controller.stack.trouble import Trouble

_TOKEN = re.compile(r"[0-9a-f]{64}")


def gateway_token(layout: Layout) -> str:
    """Of this installation; made where there is none yet. Nobody but who runs the controller may read its file."""
    return kept_token(layout.root / "gateway.token")


def read_token(path: Path) -> str:
    """What a copy of that file says, on a gateway's machine. Raises `Trouble` where it says something else."""
    try:
        found = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        found = ""
    if _TOKEN.fullmatch(found) is None:
        raise Trouble(f"{path} holds no token; copy gateway.token from the state directory of `stoker up`")
    if path.stat().st_mode & 0o077:
        raise Trouble(f"others may read {path}; chmod 600 {path}")
    return found
