"""Prometheus: its configuration, its rules, and the command that runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import yaml

import controller
from controller.installation import Layout, metrics_token
from controller.settings import Settings
from controller.stack import serving
from controller.stack.supervisor import Program
from controller.stack.trouble import Trouble

RULES = Path(controller.__file__).parent.parent / "alerts/rules"
_CHECK_S = 30.0
# Files are watched, so this is only the time after which a missed change is found all the same.
_REREAD = "30s"
_OWN_EVERY = "15s"


def prepare(settings: Settings, layout: Layout) -> None:
    """Write prometheus.yml and the rules, and have promtool check them.

    Raises:
        Trouble: Prometheus is not installed, or does not like what was written.
    """
    _require("prometheus")
    rules = layout.prometheus / "rules"
    for folder in (rules, layout.targets, layout.prometheus / "data"):
        folder.mkdir(parents=True, exist_ok=True)
    for old in rules.iterdir():
        old.unlink()
    for rule in sorted(RULES.glob("*.yml")):
        shutil.copyfile(rule, rules / rule.name)
    metrics_token(layout)
    file = layout.prometheus / "prometheus.yml"
    file.write_text(render(settings, layout), encoding="utf-8")
    _check(file)


def program(settings: Settings, layout: Layout) -> Program:
    """The process that the supervisor keeps up."""
    folder = layout.prometheus
    command = (
        shutil.which("prometheus") or "/usr/bin/prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={round(settings.controller.metrics_retention.total_seconds())}s",
        f"--storage.tsdb.retention.size={settings.controller.metrics_retention_size}B",
        f"--web.listen-address={_address(settings.controller.monitoring_host, settings.ports.prometheus)}",
    )
    return Program("prometheus", command, folder, stop_wait_s=30)


def render(settings: Settings, layout: Layout) -> str:
    """The text of prometheus.yml; equal settings give equal bytes."""
    interval = f"{round(settings.controller.scrape_interval.total_seconds() * 1000)}ms"
    own, ports = settings.controller, settings.ports
    host = own.monitoring_reach
    document = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(layout.prometheus / "rules" / "*.yml")],
        **_alerting(settings),
        "scrape_configs": [
            _found_in_file("engine", layout.targets / "engine.json"),
            _found_in_file("launcher", layout.targets / "launcher.json"),
            # The exporter of this machine, and those of the gateways of other machines, which the controller tells.
            {**_found_in_file("edge", layout.targets / "edge.json"), **_fixed("edge", f"{host}:{ports.edge}")},
            _found_in_file("gpu", layout.targets / "gpu.json"),
            # The controller of this installation, and one that stood by and leads now.
            {
                **_found_in_file("controller", layout.targets / "controller.json"),
                "authorization": {"type": "Bearer", "credentials_file": str(layout.metrics_token)},
                **({} if own.tls is None else {"scheme": own.scheme, **serving.trust(settings, layout)}),
                **_fixed("controller", f"{own.reach}:{ports.controller}"),
            },
            # Of its own six hundred series nobody needs each second: they would be half of all that it stores.
            {**_fixed("prometheus", f"{host}:{ports.prometheus}"), "scrape_interval": _OWN_EVERY},
            *_hot_cache(settings),
        ],
    }
    return "# Written by `stoker up`. Edits are overwritten.\n" + yaml.safe_dump(document, sort_keys=False)


def _alerting(settings: Settings) -> dict[str, object]:
    """Whom Prometheus tells of alerts; nobody where Alertmanager is switched off."""
    if not settings.alerting.enabled:
        return {}
    target = f"{settings.controller.monitoring_reach}:{settings.ports.alertmanager}"
    return {"alerting": {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}}


def _found_in_file(job: str, file: Path) -> dict[str, object]:
    return {"job_name": job, "file_sd_configs": [{"files": [str(file)], "refresh_interval": _REREAD}]}


def _fixed(job: str, address: str) -> dict[str, object]:
    return {"job_name": job, "static_configs": [{"targets": [address]}]}


def _hot_cache(settings: Settings) -> list[dict[str, object]]:
    """It listens on a socket that nobody but nginx may use, so nginx passes its page on."""
    if settings.gateway.hot_cache is None:
        return []
    return [{**_fixed("hotcache", f"127.0.0.1:{settings.ports.gateway_status}"), "metrics_path": "/hot_cache"}]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _require(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Trouble(f"{name} is not installed; apt-get install prometheus, or run `make up`, which does that")
    return found


def _check(file: Path) -> None:
    try:
        done = subprocess.run(
            [_require("promtool"), "check", "config", str(file)], capture_output=True, text=True, timeout=_CHECK_S
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"promtool has not checked {file} after {_CHECK_S:.0f} s") from error
    if done.returncode != 0:
        raise Trouble(f"Prometheus refuses {file}: {json.dumps(' '.join(done.stderr.split()))}")
