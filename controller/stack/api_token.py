"""The token that the controller's API wants to see before it changes anything."""

from __future__ import annotations

from controller.installation import Layout
from controller.stack.trouble import Trouble


def token_of(layout: Layout) -> str:
    """Of this installation. Raises `Trouble` where this user may not read it."""
    try:
        return layout.api_token.read_text(encoding="ascii").strip()
    except OSError as error:
        text = f"{layout.api_token} cannot be read ({error.strerror}); run this as who ran `stoker up`"
        raise Trouble(text) from error
