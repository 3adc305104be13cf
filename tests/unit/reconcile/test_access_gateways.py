"""Token quotas over several gateways, and plans that change under a leader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest

from controller.core.access import KeyId
from controller.core.errors import LostLease, TransientError
from controller.core.quota import TokenLimits
from controller.core.streams import Stream
from controller.ports import Sample
from controller.reconcile.access import TOKENS, AccessKeeper
from controller.reconcile.parts import AccessParts
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.store import FakeKeys, FakeStore
from tests.scenarios.world import World
from tests.unit.reconcile.test_access import GOLD, ONE

A, B = "10.0.0.1:9401", "10.0.0.2:9401"


@dataclass
class Counters:
    """See `CounterStore`, of one database."""

    saved: dict[Stream, float] = field(default_factory=dict)
    gone: bool = False

    def counters(self) -> Mapping[Stream, float]:
        return dict(self.saved)

    def save_counters(self, counters: Mapping[Stream, float], at: datetime) -> None:
        if self.gone:
            raise TransientError("the database is away")
        self.saved |= counters


@dataclass
class Tokens:
    """See `MetricSource`: what each exporter counts of the one key. None: it is not scraped."""

    clock: FakeClock
    counts: dict[str, float | None] = field(default_factory=dict)

    def query(self, promql: str) -> tuple[Sample, ...]:
        assert promql == TOKENS
        now = self.clock.now()
        told = [
            Sample({"key": GOLD.id, "instance": instance}, value, now)
            for instance, value in self.counts.items()
            if value is not None
        ]
        return (*told, Sample({}, 1.0, now))


@dataclass
class Case:
    """A keeper on fakes. `read` is a tick, 2 s after the one before: what the key has used today."""

    limits: dict[str, TokenLimits] = field(default_factory=lambda: {"gold": TokenLimits(per_day=1000)})
    clock: FakeClock = field(default_factory=FakeClock)
    counters: Counters = field(default_factory=Counters)
    gate: FakeGate = field(default_factory=FakeGate)

    def __post_init__(self) -> None:
        self.store = FakeStore()
        self.keys, self.tokens = FakeKeys(self.store), Tokens(self.clock)
        self.keys.add_key(GOLD)
        self.lead()

    def lead(self) -> None:
        """Another leader, on the same database."""
        parts = replace(World().ticker._parts, clock=self.clock, metrics=self.tokens, store=self.store)
        self.keeper = AccessKeeper(parts, AccessParts(self.keys, self.gate, self.limits, self.counters))

    def read(self, a: float | None = None, b: float | None = None, seconds: float = 2) -> float:
        self.clock.advance(seconds)
        self.tokens.counts = {A: a, B: b}
        self.events = [event.event for event in self.keeper.run()]
        used = self.keeper.state.quota.usage.get(GOLD.id)
        return used.today(self.clock.now()) if used else 0.0


@pytest.fixture
def case() -> Case:
    return Case()


def test_what_each_gateway_counts_is_added_up(case: Case) -> None:
    assert case.read(0, 0) == 0
    assert case.read(10, 5) == 15
    assert case.read(30, 5) == 35


def test_a_gateway_that_goes_and_comes_back_uses_nothing(case: Case) -> None:
    """The sum over both falls by what it had counted, and rises again."""
    case.read(0, 0)
    case.read(100, 400)
    assert case.read(101, None) == 501
    assert case.read(102, None) == 502
    assert case.read(103, 400) == 503
    assert case.read(103, 410) == 513
    assert case.gate.blocks == {}


def test_a_gateway_that_joins_with_a_past_brings_nothing_along(case: Case) -> None:
    case.read(0)
    assert case.read(10, 900_000) == 10
    assert case.read(10, 900_001) == 11


def test_an_exporter_that_was_restarted_counts_from_zero(case: Case) -> None:
    case.read(0, 0)
    case.read(100, 50)
    assert case.read(100, 7) == 157


def test_a_new_leader_goes_on_from_where_each_was(case: Case) -> None:
    case.read(0, 0)
    case.read(100, 400, seconds=10)
    assert case.counters.saved == {Stream(A, GOLD.id): 100, Stream(B, GOLD.id): 400}
    case.lead()
    assert case.read(101, None) == 501, "one of them is not scraped just then"
    assert case.read(101, 402) == 503


def test_what_was_not_saved_is_counted_by_nobody_rather_than_twice(case: Case) -> None:
    case.read(0, 0)
    case.read(100, 0, seconds=10)
    case.counters.gone = True
    case.read(150, 0, seconds=10)
    assert case.events == ["usage_save_failed"]
    assert [total.tokens for total in case.keys.usage(case.clock.now().date())] == [100]
    case.counters.gone = False
    case.read(150, 0, seconds=2)
    case.keeper.close()
    assert [total.tokens for total in case.keys.usage(case.clock.now().date())] == [150]


def test_a_lost_lead_is_told(case: Case) -> None:
    def lost(counters: Mapping[Stream, float], at: datetime) -> None:
        raise LostLease("another leads")

    case.read(0, 0)
    case.counters.save_counters = lost  # type: ignore[method-assign]
    with pytest.raises(LostLease):
        case.read(5, 0, seconds=10)


def test_a_plan_that_changes_holds_with_the_next_tick(case: Case) -> None:
    """Somebody went back to other settings: no key was changed, and no controller started anew."""
    case.keys.add_key(ONE)
    case.read(0)
    case.read(50)
    assert case.gate.blocks == {}
    records = case.gate.records

    case.limits["gold"] = TokenLimits(per_day=40)
    case.read(50)
    assert list(case.gate.blocks or ()) == [GOLD.id]
    case.limits["gold"] = TokenLimits(per_day=100)
    case.read(50)
    assert (case.gate.blocks, case.gate.records) == ({}, records)


def test_keys_that_did_not_change_are_the_very_same_records(case: Case) -> None:
    """nginx and the other gateways compare a hundred thousand of them by that."""
    told: list[int] = []
    apply = case.gate.apply

    def noted(records: Mapping[str, str], blocks: Mapping[KeyId, object], *, look: bool = False) -> bool:
        told.append(id(records))
        return apply(records, blocks, look=look)  # type: ignore[arg-type]

    case.gate.apply = noted  # type: ignore[method-assign, assignment]
    case.read(0)
    case.limits["gold"] = TokenLimits(per_day=40)
    case.read(1)
    assert len(set(told)) == 1
