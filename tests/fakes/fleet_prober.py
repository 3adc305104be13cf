"""A prober whose launchers tell of the stages of their start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from controller.core.model import ProbeHistory, ProbeTarget, ReplicaId
from tests.fakes.world import FakeProber, FakeReplica

_SHARES = (("fetch", 0.15), ("load", 0.6), ("warm", 0.15), ("first_token", 0.06))  # of a cold start


class FleetProber(FakeProber):
    """See `FakeProber`."""

    def probe(self, targets: Sequence[ProbeTarget]) -> Mapping[ReplicaId, ProbeHistory]:
        return {name: self._with_stages(name, told) for name, told in super().probe(targets).items()}

    def _with_stages(self, name: ReplicaId, told: ProbeHistory) -> ProbeHistory:
        entry = self._find(name)
        if entry is None or told.phase is None:
            return told
        return replace(told, began_at=entry.started_at + timedelta(seconds=1), stages=_stages(entry, told.at))


def _stages(entry: FakeReplica, now: datetime) -> tuple[tuple[str, float], ...]:
    left, found = (now - entry.started_at).total_seconds() - 1, []
    for stage, share in _SHARES:
        if left > 0:
            found.append((stage, round(min(share * entry.cold_start_s, left), 2)))
        left -= share * entry.cold_start_s
    return tuple(found)
