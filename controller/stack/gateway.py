"""nginx as `stoker up` starts it."""

from __future__ import annotations

import shutil

from controller.adapters.clock import SystemClock
from controller.adapters.nginx import gateway as nginx
from controller.adapters.nginx import hot
from controller.adapters.nginx.rules import rules_of
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import PoolRoutes
from controller.installation import Layout
from controller.settings import Settings
from controller.stack.supervisor import Program
from controller.stack.trouble import Trouble


def parts(settings: Settings, layout: Layout) -> nginx.NginxParts:
    """The parts of this installation's gateway."""
    clock, rules = SystemClock(), rules_of(settings)
    return nginx.NginxParts(layout.gateway, layout.logs, settings.gateway, settings.ports, clock, rules)


def prepare(settings: Settings, layout: Layout) -> None:
    """Write its configuration, with empty pools, and have nginx check it.

    Raises:
        Trouble: nginx refuses it, or cannot be run.
    """
    _clear(layout)
    made = parts(settings, layout)
    if settings.gateway.hot_cache is not None:
        hot.make_folder(layout.gateway, made.config().user)
    pools = [PoolRoutes(policy.pool, policy.model) for policy in settings.policies()]
    try:
        nginx.prepare(made, pools)
    except (GatewayRejected, GatewayUnavailable) as error:
        raise Trouble(f"nginx cannot be started: {' '.join(str(error).split())}") from error


def _clear(layout: Layout) -> None:
    """No replica of an earlier run lives, and others may have their ports by now. Keys are the same as before."""
    kept = layout.gateway / "access"
    for entry in layout.gateway.glob("*"):
        if entry.is_dir() and entry != kept:
            shutil.rmtree(entry, ignore_errors=True)
        elif entry != kept:
            entry.unlink(missing_ok=True)


def program(settings: Settings, layout: Layout) -> Program:
    """The process that the supervisor keeps up."""
    return Program("nginx", nginx.command(parts(settings, layout)), layout.gateway, stop_group=True)
