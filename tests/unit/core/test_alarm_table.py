"""What the controller evaluates by itself is what alerts/rules has: names, severities, times, labels and words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.core.alarm_table import ELSEWHERE, KINDS
from controller.core.policy import ErrorsPolicy, LatencyPolicy, MemoryPolicy, UtilizationPolicy
from controller.settings.values import _duration
from tests.unit.core.sights import Case, Timeline
from tests.unit.core.test_alarms import CASES, CASES_BY_ID

ALERTS = Path(__file__).parents[3] / "alerts"
_LABEL = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
_EITHER = re.compile(r'\{\{ if eq \$labels\.(\w+) "(\w+)" \}\}([^{]*)\{\{ else \}\}([^{]*)\{\{ end \}\}')
# What the controller sees is a source of its numbers, and not each target of Prometheus: it knows of no `instance`.
_OTHERWISE = "StokerTargetDown"


@cache
def rules() -> tuple[dict[str, Any], ...]:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ALERTS / "rules").glob("*.yml"))]
    return tuple(rule for file in files for group in file["groups"] for rule in group["rules"] if "alert" in rule)


def which(rule: dict[str, Any]) -> str:
    """What tells it from other rules of its name, as in KINDS."""
    labels = rule["labels"]
    several = sum(other["alert"] == rule["alert"] for other in rules()) > 1
    return labels.get("reason", labels["severity"]) if several else ""


@cache
def labels_in_tests() -> dict[tuple[str, str], set[frozenset[str]]]:
    """The names of the labels that each alert has where promtool evaluates it, by name and severity."""
    found: defaultdict[tuple[str, str], set[frozenset[str]]] = defaultdict(set)
    for path in sorted((ALERTS / "tests").glob("*.yml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for look in test.get("alert_rule_test", []):
                for expected in look.get("exp_alerts") or []:
                    labels = expected["exp_labels"]
                    found[look["alertname"], labels["severity"]].add(frozenset(labels))
    return found


def test_every_rule_is_evaluated_or_it_is_said_why_not() -> None:
    names = {rule["alert"] for rule in rules()}

    assert {name for name, _ in KINDS} | ELSEWHERE.keys() == names
    assert not {name for name, _ in KINDS} & ELSEWHERE.keys()
    assert all(len(reason) > 40 for reason in ELSEWHERE.values())


@pytest.mark.parametrize(
    "rule",
    [pytest.param(rule, id=f"{rule['alert']} {which(rule)}") for rule in rules() if rule["alert"] not in ELSEWHERE],
)
def test_it_is_as_bad_and_takes_as_long(rule: dict[str, Any]) -> None:
    kind = KINDS[rule["alert"], which(rule)]

    assert kind.severity.value == rule["labels"]["severity"]
    assert kind.lasts == _duration(rule.get("for", "0s"))
    assert kind.keeps == _duration(rule.get("keep_firing_for", "0s"))


def test_a_pools_thresholds_take_as_long_unless_it_says_otherwise() -> None:
    policies = {
        "StokerGpuUtilizationHigh": UtilizationPolicy(),
        "StokerMemoryHigh": MemoryPolicy(),
        "StokerLatencyHigh": LatencyPolicy(),
        "StokerErrorsHigh": ErrorsPolicy(),
    }

    assert {name: policy.duration for name, policy in policies.items()} == {
        name: KINDS[name, ""].lasts for name in policies
    }


def test_there_is_a_case_of_each() -> None:
    tested = {(case.name, case.severity.value) for case in CASES} | {("StokerReplicaFlapping", "warning")}

    assert tested == {(name, kind.severity.value) for (name, _), kind in KINDS.items()}


@pytest.mark.parametrize("case", CASES_BY_ID)
def test_it_has_the_labels_that_it_has_in_prometheus(case: Case) -> None:
    mine = frozenset({"severity", *case.labels})
    theirs = labels_in_tests()[case.name, case.severity.value]

    if case.name == _OTHERWISE:
        assert any(mine - {"pool", "replica"} <= labels for labels in theirs)
    else:
        assert mine in theirs


@pytest.mark.parametrize("case", [item for item in CASES_BY_ID if item.values[0].name != _OTHERWISE])
def test_it_says_what_it_says_there(case: Case) -> None:
    found = [alarm.finding for alarm in Timeline().see(case.on, case.lasts_s).firing(case.name)]
    finding = next(item for item in found if dict(item.labels) == case.labels)

    assert finding.summary in set(_summaries(case))


def _summaries(case: Case) -> Iterator[str]:
    for rule in rules():
        if rule["alert"] == case.name and rule["labels"]["severity"] == case.severity.value:
            text = " ".join(rule["annotations"]["summary"].split())
            text = _EITHER.sub(lambda match: match[3] if case.labels[match[1]] == match[2] else match[4], text)
            yield _LABEL.sub(lambda match: case.labels[match[1]], text)
