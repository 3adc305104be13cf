"""A change and its line in the audit log, which says afterwards what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fastapi import HTTPException

from controller.api.access import Caller, note, note_healing
from controller.api.deps import Sources
from controller.core.errors import ControllerError, LostLease
from controller.core.people import LastAdmin, NotAdmin

_OURS = "something went wrong here; the controller's log has more"


@contextmanager
def doing(
    sources: Sources, who: Caller, action: str, subject: str, why: str = "", *, healing: bool = False
) -> Iterator[None]:
    """Around a change: see `note`, or `note_healing` for what mends something. Where the change comes to nothing a
    second line says so, since the first one, which had to be there before, says that it was done."""
    (note_healing if healing else note)(sources, who, action, subject, why)
    try:
        yield
    except Exception as error:
        who.noted.append(action)  # so the refusal is not written down as well
        with suppress(LostLease):  # whoever leads by now keeps the log
            note_healing(sources, who, action, subject, why, f"failed: {_told(error)}")
        raise


def _told(error: Exception) -> str:
    if isinstance(error, HTTPException):
        return str(error.detail)
    return str(error) if isinstance(error, ControllerError | LastAdmin | NotAdmin) else _OURS
