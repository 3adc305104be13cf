"""What a soak holds against the product, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.soak import invariants
from tests.soak.figures import Check
from tests.soak.invariants import Break, Evidence, Vital

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEGABYTE = 10**6


def evidence() -> Evidence:
    seen = Evidence(now=AT + timedelta(minutes=10), whole_after_s=12.0)
    seen.containers = {"stoker-i-smollm2-1": {"one"}, "stoker-i-smollm2-2": {"two"}}
    seen.vitals = [Vital(10, 77, 100 * MEGABYTE, 9, 30), Vital(600, 77, 110 * MEGABYTE, 10, 32)]
    seen.decisions = {1: decision(1), 2: decision(2, replica="smollm2-2")}
    return seen


def decision(
    number: int, *, replica: str = "smollm2-1", outcome: str | None = "done", at: datetime = AT
) -> dict[str, object]:
    return {
        "id": number,
        "kind": "start_replica",
        "replica": replica,
        "pool": "smollm2",
        "outcome": outcome,
        "at": at.isoformat(),
    }


def broken(seen: Evidence) -> list[Check]:
    return [check for check in invariants.at_the_end(seen) if not check.kept]


def only(seen: Evidence) -> str:
    (check,) = broken(seen)
    return f"{check.what}: {check.found}"


def test_a_sound_run_keeps_them_all() -> None:
    assert broken(evidence()) == []
    assert len(invariants.at_the_end(evidence())) == 8


def test_a_name_that_was_started_twice() -> None:
    decided, created, failed = evidence(), evidence(), evidence()
    decided.decisions[3] = decision(3)
    created.containers["stoker-i-smollm2-2"].add("three")
    failed.decisions[3] = decision(3, outcome="RuntimeUnavailable: no answer")

    assert only(decided) == "no name is started twice: smollm2-1"
    assert only(created) == "no name is started twice: stoker-i-smollm2-2"
    assert broken(failed) == [], "one that failed may be tried again"


def test_a_decision_without_an_outcome() -> None:
    late, just_made = evidence(), evidence()
    late.decisions[2] = decision(2, replica="smollm2-2", outcome=None)
    just_made.decisions[2] = decision(2, replica="smollm2-2", outcome=None, at=AT + timedelta(minutes=9, seconds=55))

    assert only(late) == f"every decision has an outcome: 2 start_replica smollm2-2 at {AT.isoformat()}"
    assert broken(just_made) == []


@pytest.mark.parametrize(
    ("kind", "after_s", "is_excused"),
    [("kill-controller", 2, True), ("kill-controller", 60, False), ("kill-controller", -1, False), ("kill", 2, False)],
)
def test_only_a_fault_that_breaks_a_tick_off_excuses_it(kind: str, after_s: float, is_excused: bool) -> None:
    seen = evidence()
    seen.decisions[2] = decision(2, replica="smollm2-2", outcome=None)
    at = AT + timedelta(seconds=after_s)
    seen.breaks = [Break(kind, at, at)]

    assert (broken(seen) == []) is is_excused
    assert bool(invariants.excused(seen)) is is_excused


def test_a_container_that_nobody_knows_a_fuse_and_a_pool_that_does_not_heal() -> None:
    seen = evidence()
    seen.strays, seen.fuses, seen.whole_after_s = {"smollm2-9": "when all was quiet"}, ["blown since 12:00"], None

    assert [(check.what, check.found) for check in broken(seen)] == [
        ("no container of the installation is unknown to the API", "smollm2-9 (when all was quiet)"),
        ("no fuse is blown", "blown since 12:00"),
        ("the pool is whole again within 60 s of the last fault", "not within that time"),
    ]


def test_memory_and_descriptors_that_only_grow() -> None:
    seen = evidence()
    seen.vitals.append(Vital(610, 77, 151 * MEGABYTE, 9, 80))

    assert [check.what for check in broken(seen)] == [
        "the controller's memory grows by no more than a factor of 1.5",
        "the controller leaks no open files",
    ]


def test_a_leak_of_a_life_that_ended_counts_too() -> None:
    seen = evidence()
    seen.vitals.insert(1, Vital(300, 77, 100 * MEGABYTE, 40, 30))
    seen.vitals[2] = Vital(600, 78, 100 * MEGABYTE, 9, 30)

    assert only(seen).startswith("the controller leaks no threads: 9 at first, 9 at last; within one life +31")


def test_a_controller_that_was_never_seen_is_no_success() -> None:
    seen = evidence()
    seen.vitals = []

    assert len(broken(seen)) == 3
