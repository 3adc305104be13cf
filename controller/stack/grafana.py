"""`stoker grafana`: what a Grafana needs to show this installation, as files that it reads when it starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

import controller
from controller.installation import Layout, replace_text
from controller.settings import Settings, load
from controller.stack.trouble import Trouble

KEPT = Path(controller.__file__).parent.parent / "dashboards/grafana"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")


def write(output: Path, host: str | None, state_dir: Path) -> Path:
    """Write provisioning and boards below `output`; where that is, as an absolute path.

    `host` is where Grafana reaches this machine; None: it runs on this machine. Equal installations give equal bytes,
    and nothing else in the folder is touched.

    Raises:
        Trouble: nothing was started with that state directory, the host is none, or the folder cannot be written.
    """
    layout = Layout(state_dir)
    if not layout.config.exists():
        raise Trouble(f"nothing was started with the state directory {layout.root}; `stoker up` starts it")
    if host is not None and _HOST.fullmatch(host) is None:
        raise Trouble(f"{host!r} is no host; write a name, an IPv4 address, or an IPv6 address in brackets")
    settings, folder = load(layout.config), output.resolve()
    boards, provisioning = folder / "boards", folder / "provisioning"
    try:
        for made in (boards, provisioning / "datasources", provisioning / "dashboards"):
            made.mkdir(parents=True, exist_ok=True)
        sources = _sources(settings, host or settings.controller.monitoring_reach)
        replace_text(provisioning / "datasources/stoker.yml", _text(sources))
        replace_text(provisioning / "dashboards/stoker.yml", _text(_provider(boards)))
        _copy_boards(boards)
    except OSError as error:
        raise Trouble(f"cannot write to {folder}: {error.strerror}; name a folder that you may write to") from error
    return folder


def advice(folder: Path) -> str:
    """What to do with it."""
    return (
        f"Written to {folder}. A Grafana started with GF_PATHS_PROVISIONING={folder / 'provisioning'} shows it. "
        "For one that has provisioning of its own, copy the two files named stoker.yml into that, and restart it."
    )


def _sources(settings: Settings, host: str) -> dict[str, Any]:
    """The data sources with this installation's addresses; without Alertmanager where none runs."""
    document = _kept("datasources")
    prometheus, alertmanager = document["datasources"]
    prometheus["url"] = f"http://{host}:{settings.ports.prometheus}"
    interval_ms = round(settings.controller.scrape_interval.total_seconds() * 1000)
    prometheus["jsonData"]["timeInterval"] = f"{interval_ms}ms"
    alertmanager["url"] = f"http://{host}:{settings.ports.alertmanager}"
    if not settings.alerting.enabled:
        document["datasources"] = [prometheus]
        del prometheus["jsonData"]["alertmanagerUid"]
    return document


def _provider(boards: Path) -> dict[str, Any]:
    document = _kept("dashboards")
    document["providers"][0]["options"]["path"] = str(boards)
    return document


def _copy_boards(folder: Path) -> None:
    """All that there are, and none that are no more."""
    names = {board.name for board in (KEPT / "json").glob("*.json")}
    for old in folder.glob("stoker-*.json"):
        if old.name not in names:
            old.unlink()
    for name in sorted(names):
        replace_text(folder / name, (KEPT / "json" / name).read_text(encoding="utf-8"))


def _kept(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KEPT / "provisioning" / kind / "stoker.yml").read_text(encoding="utf-8"))
    return found


def _text(document: dict[str, Any]) -> str:
    return "# Written by `stoker grafana`, which overwrites it.\n" + yaml.safe_dump(document, sort_keys=False)
