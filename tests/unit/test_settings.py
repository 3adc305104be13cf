"""Every way to get stoker.yaml wrong: the line it is on, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller.core.model import PoolName
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
        "floor above ceiling",
        POOL + "    replicas:\n      floor: 7\n      ceiling: 6\n",
        ("c.yaml:5:", "floor 7 is above ceiling 6; make the floor at most the ceiling"),
    ),
    Bad("floor above the usual ceiling", POOL + "    replicas:\n      floor: 9\n", ("c.yaml:5:", "above ceiling 6")),
    Bad(
        "floor of nothing",
        POOL + "    replicas:\n      floor: 0\n",
        ("c.yaml:6:", "greater than or equal to 1", "not 0"),
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
    assert (policy.scaling.floor, policy.scaling.ceiling, policy.scaling.target_in_flight) == (3, 6, 8.0)
    assert policy.scaling.scale_down_window == timedelta(seconds=90)
    assert policy.scaling.max_reading_age == timedelta(seconds=3)


def test_the_shipped_configuration_is_good() -> None:
    shipped = Path(__file__).parents[2] / "stoker.yaml"

    assert [pool.name for pool in load(shipped).pools] == ["smollm2"]
