"""Every alert: what it says, its runbook, its tests, and that Prometheus takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from controller.cli import app
from controller.core.xids import TABLE, Verdict

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "alerts/rules").glob("*.yml"))
TESTS = sorted((ROOT / "alerts/tests").glob("*.yml"))
NAMES = {
    *("StokerGpuUtilizationHigh", "StokerMemoryHigh", "StokerLatencyHigh", "StokerErrorsHigh"),
    *("StokerPoolBelowFloor", "StokerPoolDown", "StokerCannotScale", "StokerReplicaFlapping", "StokerColdStartSlow"),
    *("StokerQuarantine", "StokerFuseBlown", "StokerPanicThreshold", "StokerSpecRefused", "StokerNoNode"),
    *("StokerGpuFault", "StokerNodeDown", "StokerExporterStale", "StokerTargetDown"),
    *("StokerGatewayRefused", "StokerGatewayLagging", "StokerNoLeader", "StokerCertificateExpiring"),
    *("StokerErrorBudgetBurnFast", "StokerErrorBudgetBurnSlow"),
}
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True)
class Alert:
    """One rule."""

    name: str
    rule: dict[str, Any]

    def annotation(self, name: str) -> str:
        return str(self.rule["annotations"][name])


def alerts() -> list[Alert]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [Alert(rule["alert"], rule) for group in groups for rule in group["rules"] if "alert" in rule]


def looks() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each look of promtool's at an alert, and which are to fire then."""
    for file in TESTS:
        for group in yaml.safe_load(file.read_text())["tests"]:
            for look in group.get("alert_rule_test", ()):
                yield look["alertname"], look.get("exp_alerts", [])


def by_rule(given: Alert) -> str:
    return f"{given.name}-{given.rule['labels'].get('reason', given.rule['labels']['severity'])}"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    assert found, "apt-get install prometheus"
    return subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60)


def test_these_are_the_alerts_that_there_are() -> None:
    assert {alert.name for alert in alerts()} == NAMES


def test_prometheus_takes_the_rules() -> None:
    done = promtool("check", "rules", "--lint-fatal", *map(str, RULES))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts(), ids=by_rule)
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(alert: Alert) -> None:
    assert alert.rule["labels"]["severity"] in ("critical", "warning", "info")
    summary = _TEMPLATE.sub("X", alert.annotation("summary"))
    assert summary.endswith("."), "a sentence"
    assert not re.search(r"[.!?]\s", summary), "one sentence"
    assert alert.annotation("description")
    assert alert.annotation("runbook_url") == f"docs/runbooks/{alert.name}.md"


# Of these there is no value but that it is so.
FACTS = {"StokerFuseBlown", "StokerQuarantine", "StokerPanicThreshold", "StokerSpecRefused", "StokerNoNode"}
FACTS |= {"StokerGatewayRefused", "StokerTargetDown", "StokerNodeDown"}


@pytest.mark.parametrize("alert", [one for one in alerts() if one.name not in FACTS], ids=by_rule)
def test_a_description_has_the_value(alert: Alert) -> None:
    description = alert.annotation("description")

    assert "$value" in description or "| value" in description


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_alert_is_tested_both_ways(name: str) -> None:
    fires = [bool(expected) for alert, expected in looks() if alert == name]

    assert {True, False} <= set(fires), "once it fires, and once it does not"
    assert fires.count(True) >= 2, "and it holds over a gap, or over the controller's death"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_way_of_an_alert_is_seen_to_fire(name: str) -> None:
    """Rules of one name differ in a label."""
    static = [rule.rule["labels"] for rule in alerts() if rule.name == name]
    seen = [fired["exp_labels"] for alert, expected in looks() if alert == name for fired in expected]

    assert [labels for labels in static if not any(labels.items() <= one.items() for one in seen)] == []


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_runbook_says_what_it_means_how_to_check_and_how_to_mend(name: str) -> None:
    text = (ROOT / f"docs/runbooks/{name}.md").read_text()

    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Meaning", "Check", "Fix"]
    assert len(text.splitlines()) < 60, "short"


def test_there_is_no_runbook_for_an_alert_that_is_gone() -> None:
    assert {file.stem for file in (ROOT / "docs/runbooks").glob("*.md")} == NAMES


def commands() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "docs/runbooks").glob("*.md")):
        for command in re.findall(r"`(stoker [^`]+)`|^    (stoker .+)$", file.read_text(), re.MULTILINE):
            yield file.stem, command[0] or command[1]
    for alert in alerts():
        for command in re.findall(r"`(stoker [^`]+)`", " ".join(alert.rule["annotations"].values())):
            yield alert.name, command


@pytest.mark.parametrize(("where", "command"), sorted(set(commands())), ids=lambda text: text)
def test_the_commands_exist_with_their_options(where: str, command: str) -> None:
    known: Any = get_command(app)
    words = _TEMPLATE.sub("POOL", command).split()[1:]
    while words and hasattr(known, "commands"):
        assert words[0] in known.commands, f"{where}: there is no `{command}`"
        known = known.commands[words.pop(0)]
    options = {option for parameter in known.params for option in parameter.opts if option.startswith("--")}
    assert {word for word in words if word.startswith("--")} <= options, f"{where}: `{command}`"


def test_the_xids_of_the_rule_are_those_for_which_the_controller_cordons() -> None:
    text = (ROOT / "alerts/rules/known.yml").read_text()
    named = re.findall(r'xid=~"([0-9|]+)"', text)

    broken = {code for code, xid in TABLE.items() if xid.verdict in (Verdict.CORDON, Verdict.DEAD)}
    assert [{int(code) for code in one.split("|")} for one in named] == [broken, broken]
