"""What the audit log has of changes, logins and joins that were asked for and not made."""

from __future__ import annotations

from fastapi import Request
from starlette.exceptions import HTTPException

from controller.api.access import READING, Caller, address_of, note_refused
from controller.core.printable import printable

_NOTED = (401, 403, 409, 429)


def is_noted(request: Request, error: HTTPException) -> bool:
    """Whether such an answer is written down."""
    return error.status_code in _NOTED and request.method not in READING


def note_answer(request: Request, error: HTTPException) -> None:
    """Unless the route has done so itself. As far as there is room for refusals; of who asked as much as is known, and
    nothing of what was sent: that may be a password."""
    who = getattr(request.state, "caller", None)
    if not isinstance(who, Caller):  # a public route asks nobody who that is
        who = Caller("", None, "", address_of(request))
    if not who.noted:
        subject = f"{request.method} {request.url.path}"
        note_refused(request.app.state.sources, who, subject, printable(str(error.detail)))
