"""Measured rates: requests come at them, and what cannot be played is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controller.simulate.errors import TraceError
from controller.simulate.profile import Profile


def test_requests_come_at_the_rate_of_their_step() -> None:
    profile = Profile("last hour", 600.0, (2.0, 0.0, 8.0), prompt=300, output=40, seed=1)
    requests = list(profile)
    in_step = [sum(1 for request in requests if request.at_s // 600 == step) for step in range(3)]

    assert in_step == [pytest.approx(1200, rel=0.1), 0, pytest.approx(4800, rel=0.05)]
    assert requests == list(profile)
    assert [request.at_s for request in requests] == sorted(request.at_s for request in requests)
    assert sum(request.prompt_tokens for request in requests) / len(requests) == pytest.approx(300, rel=0.05)
    assert profile.duration_s == 1800


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rates": ()}, "day has 0 steps; it must have 1 to 10000"),
        ({"rates": (0.0, 0.0)}, "day has no request in it; choose a time with traffic"),
        ({"rates": (1.0, -1.0)}, "day has a rate of -1/s; rates must lie between 0 and 10000"),
        ({"rates": (float("nan"),)}, "day has a rate of nan/s"),
        ({"step_s": 0.5}, "day has steps of 0.5 s; they must be 1 to 86400 s long"),
        ({"prompt": 0}, "prompt is 0; give 1 to 100000"),
    ],
)
def test_what_cannot_be_played_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TraceError, match=sentence):
        Profile(**({"name": "day", "step_s": 60.0, "rates": (1.0,)} | change))
