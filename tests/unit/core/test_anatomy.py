"""What a cold start is made of, and how long one usually takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction

import pytest

from controller.core import anatomy
from controller.core.model import ColdStart, PoolMemory, ReplicaState
from tests.fakes.clock import START
from tests.unit.core.build import POOL, memory, probe, replica

S = ReplicaState


def starts(*seconds: float) -> tuple[ColdStart, ...]:
    return tuple(ColdStart(total_s) for total_s in seconds)


@pytest.mark.parametrize(
    ("seconds", "p50", "p95"),
    [
        ([], None, None),
        ([7], 7, 7),
        ([1, 2], 1, 2),
        ([3, 1, 2], 2, 3),
        ([4, 1, 3, 2], 2, 4),
        (range(1, 21), 10, 19),
        (range(1, 51), 25, 48),
        ([5, 5, 5, 100], 5, 100),
    ],
)
def test_a_quantile_is_a_time_that_was_seen(seconds: Sequence[float], p50: float | None, p95: float | None) -> None:
    seen = starts(*seconds)

    assert (anatomy.quantile(seen, 0.5), anatomy.quantile(seen, 0.95)) == (p50, p95)


def test_the_ranks_are_exact_for_every_length() -> None:
    """Shares are no exact numbers: 0.95 of 20 must not become the 20th."""
    for count in range(1, anatomy.KEPT + 1):
        for share in (Fraction(1, 2), Fraction(19, 20)):
            want = math.ceil(share * count)
            assert anatomy.quantile(starts(*range(1, count + 1)), float(share)) == want, (count, share)


@pytest.mark.parametrize(
    ("age_s", "known", "ready", "want"),
    [
        (0, (10, 20, 30), False, 20.0),
        (4.44, (10, 20, 30), False, 15.6),
        (25, (10, 20, 30), False, 0.0),
        (5, (), False, None),
        (5, (10, 20, 30), True, None),
    ],
)
def test_when_it_will_be_ready(age_s: float, known: Sequence[float], ready: bool, want: float | None) -> None:
    starting = memory("llama-1", S.READY if ready else S.STARTING)

    assert anatomy.eta_s(starting, starts(*known), START + timedelta(seconds=age_s)) == want


def test_fifty_are_kept_the_newest_last() -> None:
    known = PoolMemory(POOL, 3)
    for second in range(60):
        known = known.but(cold_starts=anatomy.remember(known, ColdStart(second)))

    assert [start.total_s for start in known.cold_starts] == list(range(10, 60))


def test_the_stages_are_the_launchers() -> None:
    began = START + timedelta(seconds=1)
    stages = (("fetch", 0.5), ("load", 2.0), ("warm", 0.25), ("first_token", 1.5))
    told = replica("llama-1", S.STARTING, probe(True, began_at=began, stages=stages))

    found = anatomy.of_start(told, START + timedelta(seconds=6.5432))

    assert found == ColdStart(6.543, 1.0, 0.5, 2.0, 0.25, 1.5)


def test_an_image_without_a_launcher_tells_of_no_stage() -> None:
    now = START + timedelta(seconds=6)

    assert anatomy.of_start(replica("llama-1", S.STARTING, probe(True, phase=None)), now) == ColdStart(6.0)
    assert anatomy.of_start(replica("llama-1", S.STARTING), now) == ColdStart(6.0)


def test_no_stage_is_shorter_than_nothing() -> None:
    """The engine's clock has whole seconds, and may be ahead."""
    early = replica("llama-1", S.STARTING, probe(True, began_at=START - timedelta(seconds=1)))

    assert anatomy.of_start(early, START - timedelta(seconds=1)) == ColdStart(0.0)
