"""supervisord.conf and prometheus.yml, byte for byte. To accept a change: UPDATE_GOLDEN=1."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from controller.installation import Layout
from controller.settings import ControllerSettings, PoolSettings, Settings
from controller.stack import prometheus
from controller.stack.supervisor import Program, render, require_short_path
from controller.stack.trouble import Trouble

GOLDEN = Path(__file__).parents[2] / "golden/stack"
ALERTS = Path(__file__).parents[3] / "alerts"
LAYOUT = Layout(Path("/srv/stoker"))
SETTINGS = Settings(pools=(PoolSettings(name="small", model="small", checkpoint="small.gguf"),))


def agrees_with(golden: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_supervisord_conf() -> None:
    programs = (
        Program("nginx", ("/opt/nginx", "-c", "nginx.conf"), Path("/srv/stoker/gateway"), stop_group=True),
        Program("odd", ("/bin/echo", "100%", "a b", ";"), Path("/srv/50% off"), stop_wait_s=3),
    )

    agrees_with(GOLDEN / "supervisord.conf", render(LAYOUT, programs, as_root=True))


def test_supervisord_expands_nothing_of_ours() -> None:
    text = render(LAYOUT, (Program("odd", ("/bin/echo", "100%"), Path("/srv/50% off")),), as_root=False)

    read = configparser.RawConfigParser()
    read.read_string(text)
    assert read["program:odd"]["directory"] % {} == "/srv/50% off"
    assert "user" not in read["supervisord"]


def test_prometheus_yml() -> None:
    agrees_with(GOLDEN / "prometheus.yml", prometheus.render(SETTINGS, LAYOUT))


def test_prometheus_yml_with_ipv6_and_a_slower_scrape() -> None:
    settings = SETTINGS.model_copy(
        update={"controller": ControllerSettings(host="::1", scrape_interval=timedelta(seconds=2.5))}
    )

    text = prometheus.render(settings, LAYOUT)

    assert "scrape_interval: 2500ms" in text
    assert "'[::1]:8000'" in text


def test_prometheus_takes_what_is_prepared(tmp_path: Path) -> None:
    layout = Layout(tmp_path)

    prometheus.prepare(SETTINGS, layout)  # runs promtool

    assert (layout.prometheus / "rules/recording.yml").read_bytes() == (ALERTS / "rules/recording.yml").read_bytes()


def test_prometheus_refusal_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "bad.yml").write_text("groups: [{name: a, rules: [{record: a, expr: 'sum('}]}]")
    monkeypatch.setattr(prometheus, "RULES", rules)

    with pytest.raises(Trouble, match="Prometheus refuses") as refused:
        prometheus.prepare(SETTINGS, Layout(tmp_path / "state"))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", sorted((ALERTS / "tests").glob("*.yml")), ids=lambda file: file.stem)
def test_rules_say_what_they_should(file: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "apt-get install prometheus"

    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_path_too_long_for_a_socket_is_refused_with_the_length_that_fits() -> None:
    with pytest.raises(Trouble, match="at most ([0-9]+) bytes") as refused:
        require_short_path(Layout(Path("/srv/" + "x" * 100)))

    room = int(str(refused.value).split()[-2])
    require_short_path(Layout(Path("/" + "x" * (room - 1))))
    with pytest.raises(Trouble):
        require_short_path(Layout(Path("/" + "x" * room)))
