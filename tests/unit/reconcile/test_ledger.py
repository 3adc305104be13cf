"""Which evaluations are kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from controller.core.decision import Memory, Plan, ScalePool
from controller.core.evaluation import Evaluation
from controller.core.model import GatewayPlan, PoolMemory, PoolName, PoolReadings, Signal
from controller.core.policy import ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.votes import PoolView
from controller.reconcile.ledger import Ledger
from tests.fakes.clock import START, FakeClock
from tests.unit.core.build import POOL, reading


def evaluation(now: datetime, load: float, pool: PoolName = POOL) -> Evaluation:
    readings = PoolReadings({Signal.IN_FLIGHT: reading(load, now=now)})
    return decide_scale(PoolView(PoolMemory(pool, 3), readings=readings), ScalingPolicy(), now)[0]


def planned(*evaluations: Evaluation) -> Plan:
    scaled = tuple(
        ScalePool(item.pool, item.current, item.desired, item.reasons)
        for item in evaluations
        if item.current != item.desired
    )
    return Plan(scaled, GatewayPlan(), Memory(), (), evaluations={item.pool: item for item in evaluations})


def test_one_a_minute_while_nothing_changes() -> None:
    clock, ledger = FakeClock(), Ledger()
    kept = [ledger.due(planned(evaluation(clock.advance(2), 8))) for _ in range(91)]

    assert [len(items) for items in kept].count(1) == 4, "at once, and then once a minute"


def test_each_that_changes_something_and_the_minute_counts_from_it() -> None:
    clock, ledger = FakeClock(), Ledger()
    assert len(ledger.due(planned(evaluation(clock.now(), 8)))) == 1
    assert len(ledger.due(planned(evaluation(clock.advance(2), 40)))) == 1
    assert ledger.due(planned(evaluation(clock.advance(59), 8))) == ()
    assert len(ledger.due(planned(evaluation(clock.advance(1), 8)))) == 1


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    ledger = Ledger()
    ledger.due(planned(evaluation(START, 8)))

    assert len(ledger.due(planned(evaluation(START - timedelta(hours=1), 8)))) == 1


def test_what_is_kept_says_what_would_have_made_a_difference() -> None:
    (kept,) = Ledger().due(planned(evaluation(START, 8)))

    assert kept.flip is not None
    assert (kept.flip.signal, kept.flip.replicas) == (Signal.IN_FLIGHT, 4)


def test_many_pools_at_once_are_all_kept_and_the_changed_ones_get_their_flip() -> None:
    quiet = [evaluation(START, 8, PoolName(f"quiet-{number}")) for number in range(40)]
    changed = evaluation(START, 40, PoolName("changed"))
    kept = Ledger().due(planned(*quiet, changed))

    assert len(kept) == 41
    assert next(item for item in kept if item.pool == "changed").flip is not None
    assert sum(1 for item in kept if item.flip is not None) == 20
