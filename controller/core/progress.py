"""Busy or dead: what a replica makes of its work tells more than whether it answers.

A probe shares the machine, and often the queue, with the requests: the busiest replica fails it first. And an engine
whose core hangs goes on to answer its health check. So a failed probe counts only while tokens stand still, and work
without a token for long enough is dead whatever the probe says.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from controller.core.model import (
    Busy,
    Known,
    LauncherPhase,
    ProbeHistory,
    Reading,
    Replica,
    ReplicaMemory,
    ReplicaState,
)
from controller.core.policy import HealthPolicy
from controller.core.reason import Reason, ReasonCode


def follow(replica: Replica, before: ReplicaMemory) -> ReplicaMemory:
    """The memory with what the newest probe says of the work: what it holds, and since when no token came."""
    probe = replica.probe
    if probe is None or probe.phase is None:
        return before
    holds = None if probe.in_flight is None else probe.in_flight + (probe.waiting or 0)
    busy = _busy(probe, holds, before.busy)
    if (holds is None or holds == before.holds) and busy == before.busy:
        return before
    return replace(before, holds=before.holds if holds is None else holds, busy=busy)


def _busy(probe: ProbeHistory, holds: int | None, before: Busy | None) -> Busy | None:
    """None: it has nothing to do, or never told of a token. Counters that no longer answer may hide work."""
    if holds == 0 or probe.phase is not LauncherPhase.READY or probe.last_token_at is None:
        return None
    return before or Busy(probe.at)


def stalled(replica: Replica, before: ReplicaMemory, policy: HealthPolicy) -> tuple[ReplicaState, Reason] | None:
    """Unready, where there has been work and no token for the stall time-out.

    Up to the probe that says so: where the clock leapt or the machine slept since then, nobody knows of tokens.
    """
    probe, busy = replica.probe, before.busy
    if busy is None or probe is None or probe.phase is None or probe.last_token_at is None or before.ready_at is None:
        return None
    newest = busy.since if _ahead(probe.last_token_at, probe) else max(busy.since, probe.last_token_at)
    waited = probe.at - newest
    if waited < policy.stall_timeout:
        return None
    allowed_s = policy.stall_timeout.total_seconds()
    work = "work that it does not tell of" if probe.in_flight is None else f"{before.holds} requests"
    text = f"it has {work} and made no token for {waited.total_seconds():.0f} s, {allowed_s:.0f} s are allowed"
    numbers = {"stalled_s": round(waited.total_seconds(), 3), "allowed_s": allowed_s}
    return ReplicaState.UNREADY, Reason(ReasonCode.STALLED, text, numbers)


def counted(probe: ProbeHistory, policy: HealthPolicy, tokens: Reading) -> int:
    """How many of the failed probes in a row came since the newest token.

    Where the launcher gives no answer, Prometheus may know of a newer one than it has told of.
    """
    scraped = tokens.at if probe.phase is None and tokens.known is Known.VALUE else None
    newest = [at for at in (probe.last_token_at, scraped) if at is not None and not _ahead(at, probe)]
    if not newest:
        return probe.in_a_row
    still = probe.at - max(newest)
    return min(probe.in_a_row, max(int((still + _SLACK) / policy.probe_interval), 0))


_SLACK = timedelta(milliseconds=500)  # a launcher looks at its engine once a second: its newest token may be younger
_AHEAD = timedelta(seconds=5)  # Prometheus may have asked a little later than the probe


def _ahead(token_at: datetime, probe: ProbeHistory) -> bool:
    """Whether a token seems to come from the future: the clock was set back, and nothing is known of it any more."""
    return token_at > probe.at + _AHEAD
