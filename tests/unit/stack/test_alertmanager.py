"""alertmanager.yml byte for byte, and what amtool makes of it. To accept a change: UPDATE_GOLDEN=1."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.installation import Layout
from controller.settings import ConfigError, Settings, parse
from controller.stack import alertmanager, prometheus
from controller.stack.alertmanager_yml import render
from controller.stack.programs import STOP_ORDER, programs
from controller.stack.trouble import Trouble

GOLDEN = Path(__file__).parents[2] / "golden/stack"
LAYOUT = Layout(Path("/srv/stoker"))
POOL = "pools:\n  - {name: small, model: small, checkpoint: small.gguf}\n"
EVERYTHING = """\
ports: {alertmanager: 9193, controller: 8100}
controller: {host: "::1", monitoring_host: "::"}
alerting:
  group_wait: 0s
  group_interval: 30s
  repeat_interval: 1h
  receivers:
    - name: oncall
      severities: [critical]
      webhook: {url: "https://pager.example.org/hook?team=a", token_file: /etc/stoker/pager.token}
    - name: team
      slack: {url_file: /etc/stoker/slack.url, channel: "#operations"}
    - name: mail
      severities: [critical, warning, info]
      email:
        smarthost: mail.example.org:587
        from: stoker@example.org
        to: [a@example.org, b@example.org]
        username: stoker
        password_file: /etc/stoker/mail.password
    - name: plain-mail
      email: {smarthost: "localhost:25", from: stoker@example.org, to: [c@example.org], tls: false}
"""
OFF = "alerting: {enabled: false}\n"


def settings(more: str = "") -> Settings:
    return parse(POOL + more, "c.yaml")


def amtool(*arguments: str) -> str:
    found = shutil.which("amtool")
    assert found, "apt-get install prometheus-alertmanager"
    done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("name", "more"), [("alertmanager.yml", ""), ("alertmanager-everything.yml", EVERYTHING)])
def test_alertmanager_yml(name: str, more: str) -> None:
    text, golden = render(settings(more), LAYOUT), GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")

    assert text == golden.read_text(encoding="utf-8")
    amtool("check-config", str(golden))


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "alertmanager.yml"
    file.write_text(render(settings(EVERYTHING), LAYOUT))
    return str(file)


@pytest.mark.parametrize(
    ("severity", "receivers"),
    [
        ("critical", "controller,people-oncall,people-team,people-mail,people-plain-mail"),
        ("warning", "controller,people-team,people-mail,people-plain-mail"),
        ("info", "controller,people-mail"),
        ("", "controller"),
    ],
)
def test_people_are_told_by_severity_and_the_controller_always(config: str, severity: str, receivers: str) -> None:
    told = amtool("config", "routes", "test", "--config.file", config, "alertname=StokerX", f"severity={severity}")

    assert told == receivers


def test_prepared_it_is_for_its_owner_only_and_has_no_secret(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "alertmanager/templates").mkdir(parents=True)
    (tmp_path / "alertmanager/templates/old.tmpl").write_text("{{ broken")

    alertmanager.prepare(settings(), layout)  # runs amtool

    file, token = layout.alertmanager / "alertmanager.yml", layout.alerts_token
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, token)] == [0o600, 0o600]
    assert token.read_text().strip() not in file.read_text()
    assert [path.name for path in (layout.alertmanager / "templates").iterdir()] == ["stoker.tmpl"]
    before = token.read_text()
    alertmanager.prepare(settings(), layout)
    assert token.read_text() == before, "an Alertmanager that runs still has the right one"


def test_no_secret_and_no_open_port_in_the_process_list(tmp_path: Path) -> None:
    (program,) = alertmanager.programs(settings(EVERYTHING), Layout(tmp_path))

    assert program.name in STOP_ORDER
    assert Path(program.command[0]).name in ("alertmanager", "prometheus-alertmanager")
    assert "--cluster.listen-address=" in program.command
    assert "--web.listen-address=[::]:9193" in program.command
    assert not any("token" in word for word in program.command)


def test_a_refusal_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "bad.tmpl").write_text('{{ define "a" }}')
    monkeypatch.setattr(alertmanager, "TEMPLATES", templates)

    with pytest.raises(Trouble, match="Alertmanager refuses") as refused:
        alertmanager.prepare(settings(), Layout(tmp_path / "state"))

    assert "\n" not in str(refused.value)


def test_an_alertmanager_that_knows_no_url_file_is_said_to_be_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "amtool"
    tool.write_text("#!/bin/sh\necho 'line 4: field url_file not found in type config.plain' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    secret = "alerting: {receivers: [{name: a, webhook: {url_file: /u}}]}\n"

    with pytest.raises(Trouble, match=r"reads no url_file of a webhook, as 0\.26 does"):
        alertmanager.prepare(settings(secret), Layout(tmp_path / "state"))


@pytest.mark.parametrize(
    ("there", "said"),
    [((), "Alertmanager is not installed"), (("alertmanager",), "amtool, which comes with Alertmanager, is not")],
)
def test_what_is_not_installed_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], said: str
) -> None:
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Trouble, match=said):
        alertmanager.require(settings())
    alertmanager.require(settings(OFF))


def test_either_name_of_the_program_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("prometheus-alertmanager", "alertmanager"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        (program,) = alertmanager.programs(settings(), LAYOUT)
        assert program.command[0] == str(tmp_path / name)


def test_a_secret_that_others_may_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "slack"
    file.write_text("https://hooks.slack.com/services/hunter2")
    file.chmod(0o644)

    with pytest.raises(ConfigError, match="others than its owner may use it"):
        alertmanager.require(settings(f"alerting: {{receivers: [{{name: a, slack: {{url_file: {file}}}}}]}}\n"))


def test_switched_off_there_is_nothing_of_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    alertmanager.prepare(settings(OFF), layout)

    assert not layout.alertmanager.exists()
    assert "alertmanager" not in [one.name for one in programs(settings(OFF), layout, own_engine=False)]
    assert "alerting" not in yaml.safe_load(prometheus.render(settings(OFF), layout))


def test_prometheus_tells_it(tmp_path: Path) -> None:
    told = yaml.safe_load(prometheus.render(settings(EVERYTHING), Layout(tmp_path)))["alerting"]

    assert told == {"alertmanagers": [{"static_configs": [{"targets": ["[::1]:9193"]}]}]}


def sample(status: str, *annotations: dict[str, str], severity: str = "critical") -> dict[str, Any]:
    """What a template gets."""
    labels = {"alertname": "StokerLatencyHigh", "pool": "small", "severity": severity}
    times = {"startsAt": "2026-01-05T13:00:00+01:00", "endsAt": "2026-01-05T12:03:00Z"}
    alerts = [{"status": status, "labels": labels, "annotations": one, **times} for one in annotations]
    group = {"alertname": "StokerLatencyHigh", "pool": "small"}
    return {"receiver": "a", "status": status, "alerts": alerts, "groupLabels": group, "commonLabels": labels}


SLOW = {
    "summary": "Requests of small wait too long.",
    "description": "95 % of them wait 0.912 s, more than 0.5 s.",
    "runbook_url": "docs/runbooks/StokerLatencyHigh.md",
}


def shown(tmp_path: Path, name: str, data: dict[str, Any]) -> str:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(data))
    text = f'{{{{ template "{name}" . }}}}'
    glob = str(alertmanager.TEMPLATES / "*.tmpl")
    return amtool("template", "render", "--template.glob", glob, "--template.text", text, "--template.data", str(file))


def test_slack_says_what_since_when_its_value_and_what_to_do(tmp_path: Path) -> None:
    firing = sample("firing", SLOW)

    assert shown(tmp_path, "stoker.title", firing) == "1 firing: StokerLatencyHigh of small"
    assert shown(tmp_path, "stoker.slack.text", firing) == (
        "*Requests of small wait too long.*\n"
        "since 2026-01-05 12:00:00 UTC\n"
        "95 % of them wait 0.912 s, more than 0.5 s.\n"
        "What to do: docs/runbooks/StokerLatencyHigh.md"
    )


def test_an_end_says_when(tmp_path: Path) -> None:
    over = sample("resolved", {"summary": "Slow."})

    assert shown(tmp_path, "stoker.title", over) == "resolved: StokerLatencyHigh of small"
    assert shown(tmp_path, "stoker.slack.text", over) == (
        "*Slow.*\nsince 2026-01-05 12:00:00 UTC, over at 12:03:00 UTC"
    )


def test_slack_cannot_be_made_to_call_everybody(tmp_path: Path) -> None:
    text = shown(tmp_path, "stoker.slack.text", sample("firing", {"summary": "<!channel> & <https://x|y>"}))

    assert "*&lt;!channel&gt; &amp; &lt;https://x|y&gt;*" in text


def test_mails_say_the_same_and_a_flood_is_cut(tmp_path: Path) -> None:
    mail = shown(tmp_path, "stoker.mail.text", sample("firing", SLOW))
    many = sample("firing", *[{"summary": f"{number}."} for number in range(60)])

    assert mail.splitlines() == [
        "Requests of small wait too long.",
        "  since 2026-01-05 12:00:00 UTC",
        "  95 % of them wait 0.912 s, more than 0.5 s.",
        "  What to do: docs/runbooks/StokerLatencyHigh.md",
    ]
    assert shown(tmp_path, "stoker.mail.text", many).endswith("These are 50 of 60.")
    assert shown(tmp_path, "stoker.slack.text", many).endswith("These are 10 of 60.")


@pytest.mark.parametrize(
    ("status", "severity", "color"),
    [("firing", "critical", "danger"), ("firing", "warning", "warning"), ("resolved", "critical", "good")],
)
def test_the_colour_is_that_of_the_severity(tmp_path: Path, status: str, severity: str, color: str) -> None:
    assert shown(tmp_path, "stoker.color", sample(status, SLOW, severity=severity)) == color
