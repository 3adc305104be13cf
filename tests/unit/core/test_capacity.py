"""How many more replicas the GPUs hold."""

from __future__ import annotations

from datetime import timedelta

import pytest

from controller.core.capacity import GIB, room
from controller.core.model import Gpu
from tests.fakes.clock import START
from tests.unit.core.build import gpu

NEED = 18 * GIB
AGE = timedelta(seconds=3)

CASES = [
    # free GiB of each, starting, want
    pytest.param([17.9], 0, 0, id="a little too small"),
    pytest.param([18.0], 0, 1, id="just enough"),
    pytest.param([35.9], 0, 1, id="not quite two"),
    pytest.param([36.0], 0, 2, id="two on one"),
    pytest.param([10.0, 10.0], 0, 0, id="two halves hold none"),
    pytest.param([20.0, 40.0], 0, 3, id="each by itself"),
    pytest.param([40.0], 1, 1, id="one that starts has not taken its memory yet"),
    pytest.param([20.0], 3, 0, id="never less than none"),
    pytest.param([None, 20.0], 0, 1, id="an unknown one holds none"),
    pytest.param([0.0], 0, 0, id="full is known"),
    pytest.param([None, None], 0, None, id="nothing known of any"),
    pytest.param([], 0, None, id="no GPU"),
]


@pytest.mark.parametrize(("free", "starting", "want"), CASES)
def test_room(free: list[float | None], starting: int, want: int | None) -> None:
    gpus = [gpu(number, gib) for number, gib in enumerate(free)]

    assert room(gpus, NEED, starting, START, AGE) == want


def test_a_replica_that_needs_none_is_no_question() -> None:
    assert room([gpu(0, 40)], 0, 0, START, AGE) is None


def test_an_old_reading_is_unknown() -> None:
    gpus: list[Gpu] = [gpu(0, 40)]

    assert room(gpus, NEED, 0, START + timedelta(seconds=2), AGE) == 2
    assert room(gpus, NEED, 0, START + timedelta(seconds=2.1), AGE) is None
