"""The token that the controller's API wants to see."""

from __future__ import annotations

import os

from controller.installation import TOKEN_VARIABLE, Layout
from controller.stack.trouble import Trouble


def token_of(layout: Layout) -> str:
    """That of the environment, else the one of this installation. Raises `Trouble` where this user may not read it."""
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if given:
        return given
    try:
        return layout.api_token.read_text(encoding="ascii").strip()
    except OSError as error:
        text = (
            f"{layout.api_token} cannot be read ({error.strerror}); run this as who ran `stoker up`, or put a token of "
            f"`stoker tokens create` into the environment as {TOKEN_VARIABLE}"
        )
        raise Trouble(text) from error
