"""The demand of a pool: unknown is never zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from controller.core.model import UNKNOWN, Known, PoolReadings, Reading, ReplicaId
from controller.core.signals import Demand, demand_of, fresh
from tests.fakes.clock import START
from tests.unit.core.build import reading

MAX_AGE = timedelta(seconds=3)
A, B = ReplicaId("llama-1"), ReplicaId("llama-2")


@dataclass(frozen=True)
class Case:
    name: str
    gateway: Reading
    replicas: dict[ReplicaId, Reading] = field(default_factory=dict)
    want: Demand | None = None


CASES = [
    Case("nothing known", UNKNOWN),
    Case("gateway alone", reading(7), {}, Demand(7, True, 1)),
    Case("gateway idle is really zero", reading(0), {}, Demand(0, True, 1)),
    Case("replicas alone, all known", UNKNOWN, {A: reading(2), B: reading(3)}, Demand(5, True, 1)),
    Case("replicas alone, one missing", UNKNOWN, {A: reading(2)}, Demand(2, False, 1)),
    Case("gateway sees more", reading(9), {A: reading(2), B: reading(3)}, Demand(9, True, 1)),
    Case("replicas see more", reading(4), {A: reading(2), B: reading(3)}, Demand(5, True, 1)),
    Case("a stale reading is unknown", reading(9, age_s=3.1), {A: reading(2, 2)}, Demand(2, False, 2)),
    Case("all stale", reading(9, age_s=60), {A: reading(1, 60), B: reading(1, 60)}, None),
    Case("the age is that of the oldest", reading(9, 0.5), {A: reading(1, 2.5)}, Demand(9, True, 2.5)),
    Case("one that does not serve is not asked", reading(1), {ReplicaId("llama-9"): reading(50)}, Demand(1, True, 1)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_demand(case: Case) -> None:
    assert demand_of(PoolReadings(case.gateway, case.replicas), (A, B), START, MAX_AGE) == case.want


def test_no_serving_replica_and_no_gateway_is_no_evidence_of_idleness() -> None:
    assert demand_of(PoolReadings(), (), START, MAX_AGE) is None


def test_zero_is_idle_and_old_is_unknown() -> None:
    assert Reading.of(0, START).known is Known.IDLE
    assert fresh(Reading.of(1, START), START + MAX_AGE, MAX_AGE).known is Known.VALUE
    assert fresh(Reading.of(1, START), START + MAX_AGE + timedelta(milliseconds=1), MAX_AGE).known is Known.UNKNOWN
