"""Which evaluations are kept: each that led to a decision, and one a minute of every pool otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.core.decision import Plan, RecycleReplica, ScalePool
from controller.core.evaluation import Evaluation
from controller.core.model import PoolName
from controller.core.sensitivity import with_flip

QUIET = timedelta(minutes=1)
# Finding the smallest change that matters takes a few milliseconds; a thousand pools must not hold a tick up.
_FLIPS = 20


class Ledger:
    """Remembers what was kept last."""

    def __init__(self) -> None:
        self._kept: dict[PoolName, datetime] = {}

    def due(self, wanted: Plan) -> tuple[Evaluation, ...]:
        """The evaluations of this plan to keep, each with the smallest change that would have made a difference."""
        changed = {item.pool for item in wanted.decisions if isinstance(item, ScalePool | RecycleReplica)}
        # Those that changed something first: they get their flip even where many are due.
        found = [wanted.evaluations[pool] for pool in wanted.evaluations if pool in changed]
        quiet = [item for pool, item in wanted.evaluations.items() if pool not in changed and self._is_due(item)]
        found += quiet
        for item in found:
            self._kept[item.pool] = item.at
        return tuple(with_flip(item) if place < _FLIPS else item for place, item in enumerate(found))

    def _is_due(self, item: Evaluation) -> bool:
        last = self._kept.get(item.pool)
        return last is None or not timedelta(0) <= item.at - last < QUIET
