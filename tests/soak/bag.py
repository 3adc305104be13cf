"""Which fault comes next. Pure but for its own seeded source of chance."""

from __future__ import annotations

import random
from collections.abc import Sequence


class Bag:
    """All kinds in a random order, then all of them again in another: none is missing from a run that is long enough.

    The same seed gives the same kinds in the same order; which replica is hit also depends on those that are there.
    """

    def __init__(self, kinds: Sequence[str], seed: int) -> None:
        self._chance = random.Random(seed)
        self._kinds = tuple(kinds)
        self._left: list[str] = []

    def next(self) -> str:
        """A kind."""
        if not self._left:
            self._left = self._chance.sample(self._kinds, len(self._kinds))
        return self._left.pop()

    def victim(self, replicas: Sequence[str]) -> str:
        """One of them."""
        return self._chance.choice(sorted(replicas))
