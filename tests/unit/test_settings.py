"""Every way to get stoker.yaml wrong: the line it is on, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.cron import FloorWindow
from controller.core.model import PoolName
from controller.core.policy import (
    ErrorsPolicy,
    ForecastPolicy,
    LatencyPolicy,
    Measure,
    MemoryOf,
    MemoryPolicy,
    Mode,
    PanicPolicy,
    RateLimit,
    ScalingPolicy,
    Source,
    TargetPolicy,
    UtilizationPolicy,
)
from controller.settings import ConfigError, load, parse

POOL = "pools:\n  - name: small\n    model: small\n    checkpoint: small.gguf\n"


@dataclass(frozen=True)
class Bad:
    name: str
    text: str
    said: tuple[str, ...]  # in this order, one per line of the message


CASES = [
    Bad("unknown key", POOL + "    replica: {floor: 3}\n", ("c.yaml:5: unknown key", "did you mean `replicas`?")),
    Bad("unknown key, nothing like it", POOL + "    zebra: 1\n", ("c.yaml:5: unknown key", "known here: name, model")),
    Bad(
        "unknown key inside",
        POOL + "    scaling:\n      serge: 2\n",
        ("c.yaml:6:", "`pools.0.scaling.serge`", "`surge`"),
    ),
    Bad("unknown key at the top", POOL + "port:\n  gateway: 1\n", ("c.yaml:5: unknown key `port`", "`ports`")),
    Bad("no unit", POOL + "    scaling:\n      scale_down_window: 300\n", ("c.yaml:6:", "300 is no duration", "300s")),
    Bad("wrong unit", POOL + "    health:\n      probe_timeout: 1 sec\n", ("c.yaml:6:", "'1 sec'", "ms, s, m, h")),
    Bad("no time at all", POOL + "    health:\n      probe_timeout: 0s\n", ("c.yaml:6:", "must be above 0")),
    Bad(
        "aeons", POOL + "    health:\n      probe_timeout: 99999999999999999h\n", ("c.yaml:6:", "is longer than a year")
    ),
    Bad(
        "floor above ceiling",
        POOL + "    replicas:\n      floor: 7\n      ceiling: 6\n",
        ("c.yaml:5:", "floor 7 is above ceiling 6; make the floor at most the ceiling"),
    ),
    Bad("floor above the usual ceiling", POOL + "    replicas:\n      floor: 9\n", ("c.yaml:5:", "above ceiling 6")),
    Bad(
        "less than nothing",
        POOL + "    replicas:\n      floor: -1\n",
        ("c.yaml:6:", "greater than or equal to 0", "not -1"),
    ),
    Bad(
        "a target of nothing",
        POOL + "    scaling:\n      utilization: {target: 0}\n",
        ("c.yaml:6:", "utilization.target", "greater than 0", "not 0"),
    ),
    Bad(
        "a threshold below its target",
        POOL + "    scaling:\n      utilization: {target: 0.9}\n",
        ("c.yaml:6:", "threshold is 0.85; it must be at least the target 0.9"),
    ),
    Bad(
        "a window shorter than the scrape",
        POOL + "    scaling:\n      scale_down_window: 4s\ncontroller: {scrape_interval: 5s}\n",
        ("c.yaml:5:", "scale_down_window of 4 s is shorter than the time between two scrapes, 5 s"),
    ),
    Bad(
        "a threshold's time shorter than the scrape",
        POOL + "    scaling:\n      latency: {for: 500ms}\n",
        ("c.yaml:5:", "latency.for of 0.5 s is shorter than the time between two scrapes, 1 s"),
    ),
    Bad(
        "no signal at all",
        POOL + "    scaling:\n      in_flight: {enabled: false}\n      utilization: {enabled: false}\n"
        "      latency: {enabled: false}\n",
        ("c.yaml:5:", "no signal is enabled, so that nothing could ever scale the pool"),
    ),
    Bad(
        "an unknown signal's key",
        POOL + "    scaling:\n      latency: {treshold: 1s}\n",
        ("c.yaml:6:", "unknown key", "did you mean `threshold`?"),
    ),
    Bad(
        "the target in flight twice",
        POOL + "    scaling:\n      target_in_flight: 4\n      in_flight: {target: 4}\n",
        ("c.yaml:5:", "target_in_flight and in_flight.target say the same; keep one"),
    ),
    Bad(
        "no cron",
        POOL + "    scaling:\n      schedule:\n        - {start: 8 o'clock, for: 1h, floor: 4}\n",
        ("c.yaml:7:", "has 2 fields; write minute, hour, day of month, month, day of week"),
    ),
    Bad(
        "no time zone",
        POOL + "    scaling:\n      schedule:\n        - {start: 0 8 * * *, for: 1h, floor: 4, timezone: Mars}\n",
        ("c.yaml:7:", "'Mars' is no time zone here"),
    ),
    Bad(
        "a scheduled floor above the ceiling",
        POOL + "    scaling:\n      schedule:\n        - {start: 0 8 * * *, for: 1h, floor: 9}\n",
        ("c.yaml:2:", "a scheduled floor 9 is above ceiling 6"),
    ),
    Bad("no size", POOL + "    resources: {gpu_memory: 18GB}\n", ("c.yaml:5:", "'18GB' is no size", "18GiB")),
    Bad("shadow without a policy", POOL + "    mode: shadow\n", ("c.yaml:2:", "needs the second policy under shadow")),
    Bad(
        "a policy without shadow",
        POOL + "    shadow: {target_in_flight: 8}\n",
        ("c.yaml:2:", "needs the second policy under shadow, and only such a pool has one"),
    ),
    Bad(
        "a fault in the second policy",
        POOL + "    mode: shadow\n    shadow: {tolerance: 2}\n",
        ("c.yaml:6:", "shadow.tolerance", "less than 1, not 2"),
    ),
    Bad("a word for a number", POOL + "    replicas:\n      floor: three\n", ("c.yaml:6:", "integer", "not 'three'")),
    Bad("a number in quotes", POOL + "    replicas:\n      floor: '3'\n", ("c.yaml:6:", "integer", "not '3'")),
    Bad(
        "an engine that is not there", POOL + "    engine: {name: magic}\n", ("c.yaml:5:", "'llamacpp'", "not 'magic'")
    ),
    Bad("a name that nginx cannot have", POOL.replace("name: small", "name: Small_1"), ("c.yaml:2:", "lower-case")),
    Bad("a model with a space", POOL.replace("model: small", "model: a b"), ("c.yaml:3:", "'a b' is no model name")),
    Bad(
        "no checkpoint",
        POOL.replace("    checkpoint: small.gguf\n", ""),
        ("c.yaml:2:", "`pools.0.checkpoint` is missing"),
    ),
    Bad("an empty checkpoint", POOL.replace("small.gguf", "''"), ("c.yaml:4:", "at least 1 character")),
    Bad("the same key twice", POOL + "    model: other\n", ("c.yaml:5:", "the key `model` stands here twice")),
    Bad("two pools of a name", POOL + POOL.removeprefix("pools:\n"), ("c.yaml:1:", "two pools have the name 'small'")),
    Bad("no pool", "pools: []\n", ("c.yaml:1:", "name at least one pool")),
    Bad("no pools", "ports: {gateway: 1}\n", ("c.yaml:1:", "`pools` is missing")),
    Bad("ports alike", POOL + "ports:\n  gateway: 9090\n", ("c.yaml:5:", "prometheus and gateway are both 9090")),
    Bad("a port beyond all ports", POOL + "ports:\n  gateway: 80800\n", ("c.yaml:6:", "65535", "not 80800")),
    Bad("a tab", "pools:\n\t- name: small\n", ("c.yaml:2: is not YAML",)),
    Bad("a list", "- name: small\n", ("c.yaml:1: must be a mapping",)),
    Bad("empty", "", ("c.yaml:1: must be a mapping",)),
    Bad(
        "several faults at once",
        POOL + "    replica: 3\n    scaling:\n      tolerance: 2\n",
        ("c.yaml:7:", "less than 1", "\n", "c.yaml:5:", "`replicas`"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_with_its_line_and_what_would_be_right(case: Bad) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(case.text, "c.yaml")

    message, begin = str(refused.value), 0
    for words in case.said:
        assert words in message[begin:], message
        begin = message.index(words, begin) + len(words)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        load(tmp_path / "none.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"pools: \xff\xfe")

    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "c.yaml")


def test_units_and_defaults_become_a_policy() -> None:
    settings = parse(POOL + "    scaling:\n      scale_down_window: 1.5m\n      target_in_flight: 8\n", "c.yaml")

    (policy,) = settings.policies()
    assert policy.pool == PoolName("small")
    assert (policy.scaling.floor, policy.scaling.ceiling, policy.scaling.in_flight.target) == (3, 6, 8.0)
    assert policy.scaling.scale_down_window == timedelta(seconds=90)
    assert policy.scaling.max_reading_age == timedelta(seconds=3)


def test_the_shipped_configuration_is_good() -> None:
    shipped = Path(__file__).parents[2] / "stoker.yaml"

    assert [pool.name for pool in load(shipped).pools] == ["smollm2"]


EVERY_KEY = """\
    mode: shadow
    resources: {gpu_memory: 18GiB}
    replicas: {floor: 0, ceiling: 12}
    shadow:
      latency: {threshold: 2s}
      surge: 6
    scaling:
      in_flight: {enabled: true, target: 6}
      utilization: {target: 0.6, threshold: 0.9, for: 30s}
      kv_cache: {target: 0.75}
      tokens_per_second: {enabled: false, target: 400}
      latency: {enabled: false, threshold: 800ms, for: 20s, measure: duration, statistic: mean}
      errors: {threshold: 0.05, for: 1m}
      memory: {of: gpu, threshold: 0.95, for: 2m}
      scale_up_window: 10s
      rate_up: {replicas: 2, percent: 50, per: 30s}
      rate_down: {replicas: 2, per: 1m}
      panic: {factor: 3, after: 5s, hold: 2m}
      forecast: {enabled: true, window: 3m}
      schedule:
        - {start: "0 8 * * mon-fri", for: 10h, floor: 5, timezone: Europe/Berlin}
      zero_after: 20m
      recycle_interval: 10m
"""


def test_every_key_of_scaling_reaches_the_policy() -> None:
    (policy,) = parse(POOL + EVERY_KEY, "c.yaml").policies()
    scaling = policy.scaling

    assert (policy.mode, scaling.floor, scaling.ceiling, scaling.gpu_memory_bytes) == (Mode.SHADOW, 0, 12, 18 * 1024**3)
    assert scaling.in_flight == TargetPolicy(6.0)
    assert scaling.utilization == UtilizationPolicy(0.6, 0.9, timedelta(seconds=30), Source.GPU)
    assert scaling.kv_cache == TargetPolicy(0.75), "a signal that is given a target is used"
    assert scaling.tokens == TargetPolicy(400.0, enabled=False)
    assert scaling.latency == LatencyPolicy(0.8, timedelta(seconds=20), Measure.DURATION, None, enabled=False)
    assert scaling.errors == ErrorsPolicy(0.05, timedelta(minutes=1))
    assert scaling.memory == MemoryPolicy(0.95, timedelta(minutes=2), MemoryOf.GPU)
    assert scaling.scale_up_window == timedelta(seconds=10)
    assert scaling.rate_up == RateLimit(2, 50, timedelta(seconds=30))
    assert scaling.rate_down == RateLimit(2, 0, timedelta(minutes=1))
    assert scaling.panic == PanicPolicy(3, timedelta(seconds=5), timedelta(minutes=2))
    assert scaling.forecast == ForecastPolicy(timedelta(minutes=3), enabled=True)
    assert scaling.schedule == (FloorWindow("0 8 * * mon-fri", timedelta(hours=10), 5, "Europe/Berlin"),)
    assert (scaling.zero_after, scaling.recycle_interval) == (timedelta(minutes=20), timedelta(minutes=10))


def test_the_second_policy_differs_only_where_it_says_so() -> None:
    (policy,) = parse(POOL + EVERY_KEY, "c.yaml").policies()

    latency = replace(policy.scaling.latency, threshold=2.0)
    assert policy.shadow == replace(policy.scaling, latency=latency, surge=6)


def test_a_pool_without_a_gpu_goes_by_its_share_of_the_cpu() -> None:
    (policy,) = parse(POOL, "c.yaml").policies()

    assert policy.scaling.utilization.source is Source.CPU
    assert policy.scaling == ScalingPolicy(), "the file's defaults are the core's"
