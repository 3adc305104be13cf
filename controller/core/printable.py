"""What may be shown of a text that comes from outside."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """The same with a space for each character that is not printable, but for those to `keep`.

    A terminal takes an escape for an order, and half a surrogate pair cannot be sent to anybody.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else " " for char in text)
