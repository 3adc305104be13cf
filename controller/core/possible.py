"""What every policy is checked by."""

from __future__ import annotations


class ImpossiblePolicy(ValueError):
    """A policy that can never act as it says. One sentence: what is wrong, and what would be right."""


def require(holds: bool, sentence: str) -> None:
    """Raise `ImpossiblePolicy` with this sentence unless it holds."""
    if not holds:
        raise ImpossiblePolicy(sentence)
