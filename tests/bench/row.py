"""One line of a table of figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure, and what it is meant to be (empty: it is only told)."""

    what: str
    value: str
    target: str = ""
