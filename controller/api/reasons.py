"""Why somebody changes something, for the audit log and whoever looks at it later: one line, and none is none."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, Field, StringConstraints

LONGEST = 500
_TOLD = "For the audit log and whoever looks at it later."


def _plain(text: str) -> str:
    """On one line: who looks at it later may sit at a terminal."""
    text = "".join(" " if sign.isspace() else sign for sign in text)
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
        raise ValueError("there is a control character in it; leave it out")
    return text


_Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST), AfterValidator(_plain)]
MaybeWhy = Annotated[_Text, Field(description=_TOLD)]
Why = Annotated[_Text, Field(min_length=1, description=_TOLD)]
AskedWhy = Annotated[_Text, Query(description=_TOLD)]
