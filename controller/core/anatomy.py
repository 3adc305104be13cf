"""What a cold start is made of, how long those of a pool usually take, and when one that runs will be ready."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from controller.core.model import ColdStart, PoolMemory, Replica, ReplicaMemory

KEPT = 50  # cold starts of a pool that are remembered


def of_start(replica: Replica, now: datetime) -> ColdStart:
    """The stages as the launcher measured them; the engine's clock has whole seconds, so `create_s` is that coarse."""
    probe, created = replica.probe, replica.container.created_at
    began = probe.began_at if probe is not None else None
    stages = dict(probe.stages) if probe is not None else {}
    return ColdStart(
        total_s=round(max((now - created).total_seconds(), 0.0), 3),
        create_s=0.0 if began is None else round(max((began - created).total_seconds(), 0.0), 3),
        fetch_s=stages.get("fetch", 0.0),
        load_s=stages.get("load", 0.0),
        warm_s=stages.get("warm", 0.0),
        first_token_s=stages.get("first_token", 0.0),
    )


def remember(memory: PoolMemory, start: ColdStart) -> tuple[ColdStart, ...]:
    """The pool's newest cold starts with this one."""
    return (*memory.cold_starts, start)[-KEPT:]


def quantile(starts: Sequence[ColdStart], share: float) -> float | None:
    """Of their totals, by nearest rank: a time that was really seen. None where nothing is known."""
    if not starts:
        return None
    ordered = sorted(start.total_s for start in starts)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def eta_s(known: ReplicaMemory, starts: Sequence[ColdStart], now: datetime) -> float | None:
    """Seconds until a starting replica is usually ready, by the pool's median; 0 for one that is late."""
    usual = quantile(starts, 0.5)
    if usual is None or known.ready_at is not None:
        return None
    return round(max(usual - (now - known.created_at).total_seconds(), 0.0), 1)
