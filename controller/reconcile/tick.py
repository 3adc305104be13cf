"""One tick: observe -> plan -> record -> act -> report, and after that the API keys and the other gateways.

The only place that catches everything, and it counts. Nothing is carried out that was not recorded first, so after a
crash anywhere in between the next controller finds either nothing begun or a decision with its reasons.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.core import thresholds
from controller.core.alarm import Alarm
from controller.core.alarms import Sight
from controller.core.decision import Decision, Plan, RemoveReplica
from controller.core.errors import LostLease, TransientError
from controller.core.event import Event
from controller.core.model import PoolName, ReplicaId, Snapshot, Term
from controller.core.overrides import Override
from controller.core.planner import after_failures, plan
from controller.core.policy import PoolPolicy
from controller.core.reason import Reason
from controller.core.revision import Moment
from controller.core.routing import only_remove
from controller.ports import AccessState, LastWords, TickReport
from controller.reconcile import act, narrate
from controller.reconcile.access import AccessKeeper
from controller.reconcile.alarms import AlarmKeeper
from controller.reconcile.gpu_report import with_gpus
from controller.reconcile.history import HistoryKeeper
from controller.reconcile.ledger import Ledger
from controller.reconcile.observe import Observer
from controller.reconcile.overrides import OverrideKeeper
from controller.reconcile.parts import Parts
from controller.reconcile.pools import with_nodes, with_policies, with_pools
from controller.reconcile.watch import GatewayWatch, with_gateways


@dataclass(frozen=True, slots=True)
class Tick:
    """What a tick saw and wanted, and to whom nginx sends requests at its end.

    `again_at`: come again then, sooner than usual; None: the interval will do. `policies` were in force, by what people
    want: `overrides`.
    """

    snapshot: Snapshot
    plan: Plan
    routed: frozenset[ReplicaId]
    again_at: datetime | None = None
    policies: tuple[PoolPolicy, ...] = ()
    overrides: tuple[Override, ...] = ()


class Ticker:
    """Runs ticks, one at a time. `latest` is the last one that ended well, for those who only look."""

    def __init__(self, parts: Parts, policies: Sequence[PoolPolicy]) -> None:
        self._parts = parts
        self._overrides = OverrideKeeper(parts.overrides, policies)
        self._observer = Observer(parts, policies)
        self._access = AccessKeeper(parts, parts.access) if parts.access else None
        self._history = HistoryKeeper(parts.history) if parts.history else None
        self._watch = GatewayWatch(parts.gateways) if parts.gateways else None
        self._alarms = AlarmKeeper(parts.alarms) if parts.alarms else None
        self._ledger = Ledger()
        self._number = 0
        self._unknown: tuple[str, ...] = ()
        self._term: Term | None = None
        self._decided: tuple[Decision, ...] = ()
        self._standing: Mapping[PoolName, tuple[Reason, ...]] = {}
        self._revised: list[Event] = []  # of the history and of overrides, not in the store yet
        self._refused = False  # nginx runs something older than it should
        self._reported: Tick | None = None
        self.latest: Tick | None = None
        self.lost_lease = False
        self.on_lost_lease: Callable[[], None] = lambda: None

    def lead(self) -> Term:
        """Take the lead, once. Raises `LostLease` where another controller runs."""
        if self._term is None:
            self._term = self._parts.lease.acquire()
        return self._term

    def run(self) -> datetime | None:
        """One tick; when to come again if sooner than usual. Never raises."""
        self._number += 1
        started = self._parts.clock.now()
        changed = self._attempt(self._tick, started)
        # Last, so that nothing of it keeps a replica from healing; and also where healing failed: a key that was
        # revoked must not wait for a container engine.
        kept = self.lost_lease or self._attempt(lambda: self._keep_access(look=bool(changed)), started) is not None
        kept = (self.lost_lease or self._attempt(self._watch_gateways, started) is not None) and kept
        saw = changed is not None
        kept = (self.lost_lease or self._attempt(lambda: self._keep_alarms(saw=saw), started) is not None) and kept
        self._report(started, changed is None or not kept, bool(changed))
        return self.latest.again_at if self.latest and changed is not None else None

    def close(self) -> None:
        """The lead ends, and no more ticks come: save what was only counted. Blocks for at most 5 s."""
        if self._access is not None:
            self._tell(self._access.close())

    def access(self) -> AccessState:
        """What is known of the API keys."""
        return self._access.state if self._access is not None else AccessState()

    def alarms(self) -> tuple[Alarm, ...]:
        """The alerts that fire by the controller's own evaluation."""
        return self._alarms.firing if self._alarms is not None else ()

    def _attempt(self, work: Callable[[], bool], started: datetime) -> bool | None:
        """What it gave; None where it failed, which is told and counted."""
        try:
            return work()
        except LostLease as error:
            self.lost_lease = True
            self._tell([Event(started, "lease_lost", "controller", "NewerTerm", str(error))])
            self.on_lost_lease()
            return False
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            self._tell([Event(started, "tick_failed", "tick", type(error).__name__, message)])
            return None

    def _tick(self) -> bool:
        """From the observation to the report; whether nginx took a new configuration."""
        parts = self._parts
        term = self.lead()
        self._hold(term)
        self._look_for_overrides()
        snapshot, sighting = self._observer.observe(self._number)
        wanted = plan(snapshot, self._overrides.policies)
        ids = self._record(snapshot, wanted, term)
        routes = act.apply_routes(parts, wanted.gateway)
        # One that waits for its time has not been taken either.
        self._refused = routes.error is not None or (self._refused and routes.state.retry_at is not None)
        changed = bool(self._attempt(lambda: self._keep_history(wanted, snapshot), snapshot.at)) or routes.changed
        self._hold(term)  # what follows may take its time, and nobody else may act meanwhile
        outcomes = act.carry_out(parts, wanted)
        self._finish(wanted, dict(zip(ids, outcomes, strict=True)), term)
        self._keep_last_words(outcomes, snapshot.at)
        self._narrate(snapshot, wanted, outcomes, routes)
        self._tell(narrate.of_targets(act.write_targets(parts, sighting.containers), snapshot.at))
        done = any(outcome.error is None for outcome in outcomes)
        # The very same decisions again have moved nothing, whatever their outcome says: no hurry.
        moved = changed or (done and wanted.decisions != self._decided)
        self._decided = wanted.decisions
        again = parts.clock.now() if moved else self._next(wanted, snapshot.at, routes.state.retry_at)
        routed = routes.state.applied.replicas()
        self.latest = Tick(snapshot, wanted, routed, again, self._overrides.policies, self._overrides.known)
        return changed

    def _next(self, wanted: Plan, now: datetime, retry_at: datetime | None) -> datetime | None:
        """When something is due by then: a reload that was put off, or a threshold that will have been crossed for long
        enough."""
        known = wanted.memory.pools
        pools = [
            (known[policy.pool].over_since, policy.scaling)
            for policy in self._overrides.policies
            if policy.pool in known
        ]
        due = [thresholds.next_due(since, scaling, now) for since, scaling in pools]
        return min((at for at in (retry_at, *due) if at is not None), default=None)

    def _hold(self, term: Term) -> None:
        """Keep the lead. Raises `LostLease` once it is over."""
        with contextlib.suppress(TransientError):  # the database is away: the record, which needs it, tells of that
            self._parts.lease.renew(term)

    def _record(self, snapshot: Snapshot, wanted: Plan, term: Term) -> tuple[int, ...]:
        """Save the plan; the ids of its decisions.

        Where that fails nothing is decided, for there is no decision without its record. But replicas that failed
        leave nginx even then.
        """
        parts = self._parts
        try:
            evaluations = self._ledger.due(wanted)
            return parts.store.save(wanted, tick=snapshot.tick, term=term, at=snapshot.at, evaluations=evaluations)
        except LostLease:
            raise
        except Exception:
            act.apply_routes(parts, only_remove(wanted.gateway, parts.gateway.state().applied))
            raise

    def _finish(self, wanted: Plan, outcomes: dict[int, act.Outcome], term: Term) -> None:
        if not outcomes:
            return
        memory = after_failures(wanted.memory, act.failed(outcomes.values()), self._parts.clock.now())
        texts = {number: outcome.text for number, outcome in outcomes.items()}
        self._parts.store.finish(texts, memory, term=term)

    def _keep_last_words(self, outcomes: Sequence[act.Outcome], at: datetime) -> None:
        for outcome in outcomes:
            if outcome.last_words and isinstance(outcome.decision, RemoveReplica):
                decision = outcome.decision
                code = decision.reasons[-1].code.value
                words = LastWords(at, decision.pool, decision.replica, code, outcome.last_words)
                self._parts.store.keep_last_words(words)

    def _narrate(
        self, snapshot: Snapshot, wanted: Plan, outcomes: Sequence[act.Outcome], routes: act.GatewayOutcome
    ) -> None:
        at = snapshot.at
        events = narrate.of_sources(self._unknown, snapshot.unknown, at)
        events += [narrate.of_gpu(change, at) for change in wanted.gpu_changes]
        events += [narrate.of_change(change, at) for change in wanted.changes]
        events += narrate.of_alarms(self._standing, wanted.standing, at)
        events += narrate.of_gateway(routes, wanted.gateway, at)
        events += [narrate.of_outcome(outcome, at) for outcome in outcomes]
        self._unknown, self._standing = snapshot.unknown, wanted.standing
        self._tell(events)
        if rows := [*self._revised, *events]:
            self._parts.store.append(narrate.stamp(rows, self._number, self._term or Term(0)))
        self._revised.clear()

    def _keep_history(self, wanted: Plan, snapshot: Snapshot) -> bool:
        """What nginx runs is in the history; whether it is another configuration than before. Its rows come later: a
        database that is away must not keep what was decided from being done."""
        if self._history is None:
            return False
        events = self._history.look(wanted, Moment(snapshot.at, snapshot.tick, self._term or Term(0)))
        self._tell(events)
        self._revised += _changes(events)
        return self._history.changed

    def _look_for_overrides(self) -> None:
        """What people want of the pools by now. The rows of what ended come with the tick's others."""
        events = self._overrides.look(self._parts.clock.now())
        self._tell(events)
        self._revised += events

    def _keep_access(self, *, look: bool) -> bool:
        """The API keys and their quotas; whether anything came of it."""
        events = self._access.run(look=look) if self._access is not None and self._term is not None else []
        self._tell_of_changes(events)
        return bool(events)

    def _watch_gateways(self) -> bool:
        """The other machines with an nginx; whether anything came of it."""
        events = self._watch.run(self._parts.clock.now()) if self._watch is not None and self._term is not None else []
        self._tell_of_changes(events)
        return bool(events)

    def _keep_alarms(self, *, saw: bool) -> bool:
        """The alerts that stand, and who is told of them; whether anything came of it."""
        if self._alarms is None or self._term is None:
            return False
        now, seen = self._parts.clock.now(), self.latest if saw else None
        events = self._alarms.look(self._sight(seen, now) if seen is not None else None, self._overrides.policies, now)
        self._tell_of_changes(events)
        self._alarms.save()
        return bool(events)

    def _sight(self, seen: Tick, now: datetime) -> Sight:
        parts = self._parts
        others = parts.gateways.known.known(now) if parts.gateways is not None else ()
        return Sight(seen.snapshot, seen.plan, self._refused, parts.certificate_ends(), others)

    def _tell_of_changes(self, events: Sequence[Event]) -> None:
        """Only changes become rows, and failures, which come again and again, only lines."""
        self._tell(events)
        if changes := _changes(events):
            self._parts.store.append(narrate.stamp(changes, self._number, self._term or Term(0)))

    def _tell(self, events: Sequence[Event]) -> None:
        self._parts.sink.emit(narrate.stamp(events, self._number, self._term or Term(0)))

    def _report(self, started: datetime, failed: bool, changed: bool) -> None:
        now, seconds = self._parts.clock.now(), (self._parts.clock.now() - started).total_seconds()
        report = with_policies(TickReport(now, seconds, failed, self._unknown, changed), self._overrides.policies)
        if self.latest is not None:
            report = with_nodes(report, self.latest.snapshot)
            report = with_gpus(report, self.latest.snapshot, self.latest.plan)
            report = with_pools(
                report, self.latest.plan, self._overrides.policies, new=self.latest is not self._reported
            )
        self._reported = self.latest
        self._parts.sink.report(with_gateways(report, self._parts, refused=self._refused))


def _changes(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if not event.event.endswith("_failed")]
