"""The YAML to copy: it stands in a file of its pool, and says the policy that was played."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from controller.api.simulation_schemas import ChangesIn, SyntheticKind
from controller.settings import PoolSettings, parse
from controller.settings.scaling import beneath
from controller.simulate.synthetic import Kind
from controller.stack.simulations.ask import live_policy
from controller.stack.simulations.knobs import KNOBS, as_yaml, changed_pool, duration, overlay

SECOND = timedelta(seconds=1)
PLAIN = "name: small\nmodel: small\ncheckpoint: small.gguf\n"
FULL = (
    PLAIN
    + """replicas: {floor: 2, ceiling: 7}
scaling:
  in_flight: {target: 3}
  scale_down_window: 90s
  utilization: {target: 0.6, threshold: 0.9, for: 30s}
  rate_down: {replicas: 2, percent: 5, per: 20s}
  schedule: [{start: "0 8 * * mon-fri", for: 10h, floor: 4, timezone: Europe/Berlin}]
"""
)
CHANGES: dict[str, Any] = {
    "floor": 1,
    "ceiling": 9,
    "target_in_flight": 2.5,
    "tolerance": 0.2,
    "scale_up_window_s": 10.0,
    "scale_down_window_s": 600.5,
    "surge": 5,
    "rate_up_replicas": 6,
    "rate_down_replicas": 3,
    "utilization_target": 0.65,
    "latency_threshold_s": 1.25,
    "panic_factor": 3.0,
    "forecast": True,
    "zero_after_s": 86_400.0,
}


def pool_of(text: str) -> PoolSettings:
    return parse(yaml.safe_dump({"pools": [yaml.safe_load(text)]}), "stoker.yaml").pools[0]


@pytest.mark.parametrize("text", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize(
    "names", [*[[name] for name in CHANGES], list(CHANGES)], ids=lambda names: ",".join(names)[:30]
)
def test_the_yaml_in_the_file_is_the_policy_that_was_played(text: str, names: list[str]) -> None:
    pool, changes = pool_of(text), ChangesIn(**{name: CHANGES[name] for name in names})
    changed = overlay(pool, live_policy(pool), changes)
    played = live_policy(changed_pool(pool, changed, SECOND))

    copied = yaml.safe_load(as_yaml("small", changed))
    assert set(copied) <= {"replicas", "scaling"}
    again = pool_of(yaml.safe_dump(beneath(copied, yaml.safe_load(text))))
    assert live_policy(again) == played != live_policy(pool)
    values = {knob.name: knob.read(played) for knob in KNOBS}
    assert {name: values[name] for name in names} == {name: CHANGES[name] for name in names}


def test_what_is_as_it_is_live_is_left_out() -> None:
    pool = pool_of(FULL)
    policy = live_policy(pool)
    same = ChangesIn(**{knob.name: knob.read(policy) for knob in KNOBS})

    assert overlay(pool, policy, same) == {}
    assert as_yaml("small", {}) == ""
    assert overlay(pool, policy, same.model_copy(update={"surge": 4})) == {"scaling": {"surge": 4}}


def test_every_value_that_can_be_asked_for_has_a_knob_and_every_kind_of_traffic_a_name() -> None:
    assert {knob.name for knob in KNOBS} == set(ChangesIn.model_fields) == set(CHANGES)
    assert set(SyntheticKind.__args__) == set(Kind)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "300s"), (0.5, "0.5s"), (0, "0s"), (86_400, "86400s"), (0.1 + 0.2, "0.3s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
