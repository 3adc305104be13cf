"""Alertmanager: what it needs, and the command that runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import controller
from controller.installation import Layout, alerts_token, replace_text
from controller.settings import Settings
from controller.stack.alertmanager_yml import render
from controller.stack.supervisor import Program
from controller.stack.trouble import Trouble

TEMPLATES = Path(controller.__file__).parent.parent / "alerts/templates"
_NAMES = ("alertmanager", "prometheus-alertmanager")  # as its makers call it, and as Debian does
_CHECK_S = 30.0
_INSTALL = "apt-get install prometheus-alertmanager, or run `make up`, which does that"


def require(settings: Settings) -> None:
    """Refuse what Alertmanager could not work with, before anything starts.

    Raises:
        Trouble: it is not installed.
        ConfigError: a file with a secret is not as it must be.
    """
    if not settings.alerting.enabled:
        return
    _binary()
    _require("amtool")
    for receiver in settings.alerting.receivers:
        receiver.secrets()


def prepare(settings: Settings, layout: Layout) -> None:
    """Write alertmanager.yml, its templates and the token for the controller, and have amtool check them.

    Raises:
        Trouble: Alertmanager is not installed, or does not like what was written.
    """
    if not settings.alerting.enabled:
        return
    templates = layout.alertmanager / "templates"
    for folder in (templates, layout.alertmanager / "data"):
        folder.mkdir(parents=True, exist_ok=True)
    for old in templates.iterdir():
        old.unlink()
    for template in sorted(TEMPLATES.glob("*.tmpl")):
        shutil.copyfile(template, templates / template.name)
    alerts_token(layout)
    file = layout.alertmanager / "alertmanager.yml"
    replace_text(file, render(settings, layout), 0o600)
    _check(file)


def programs(settings: Settings, layout: Layout) -> tuple[Program, ...]:
    """The process that the supervisor keeps up; none where it is switched off."""
    if not settings.alerting.enabled:
        return ()
    folder, own = layout.alertmanager, settings.controller
    host = f"[{own.monitoring_host}]" if ":" in own.monitoring_host else own.monitoring_host
    command = (
        _binary(),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={host}:{settings.ports.alertmanager}",
        f"--web.external-url=http://{own.monitoring_reach}:{settings.ports.alertmanager}",
        "--cluster.listen-address=",  # it is alone: no gossip, no port for it
    )
    return (Program("alertmanager", command, folder),)


def _binary() -> str:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise Trouble(f"Alertmanager is not installed; {_INSTALL}; or say alerting: {{enabled: false}}")
    return found


def _require(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Trouble(f"{name}, which comes with Alertmanager, is not installed; {_INSTALL}")
    return found


def _check(file: Path) -> None:
    try:
        done = subprocess.run(
            [_require("amtool"), "check-config", str(file)], capture_output=True, text=True, timeout=_CHECK_S
        )
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"amtool has not checked {file} after {_CHECK_S:.0f} s") from error
    if done.returncode == 0:
        return
    words = " ".join(f"{done.stdout} {done.stderr}".split())
    if "url_file not found" in words:
        raise Trouble("this Alertmanager reads no url_file of a webhook, as 0.26 does; install that, or give its url")
    raise Trouble(f"Alertmanager refuses {file}: {json.dumps(words)}")
