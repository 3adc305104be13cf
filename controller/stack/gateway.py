"""nginx as `stoker up` starts it."""

from __future__ import annotations

import shutil

from controller.adapters.clock import SystemClock
from controller.adapters.nginx import gateway as nginx
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import PoolRoutes
from controller.installation import Layout
from controller.settings import Settings
from controller.stack.supervisor import Program
from controller.stack.trouble import Trouble


def parts(settings: Settings, layout: Layout) -> nginx.NginxParts:
    """The parts of this installation's gateway."""
    return nginx.NginxParts(layout.gateway, layout.logs, settings.gateway, settings.ports, SystemClock())


def prepare(settings: Settings, layout: Layout) -> None:
    """Write its configuration, with empty pools, and have nginx check it.

    Raises:
        Trouble: nginx refuses it, or cannot be run.
    """
    # No replica of an earlier run lives, and others may have their ports by now.
    shutil.rmtree(layout.gateway, ignore_errors=True)
    pools = [PoolRoutes(policy.pool, policy.model) for policy in settings.policies()]
    try:
        nginx.prepare(parts(settings, layout), pools)
    except (GatewayRejected, GatewayUnavailable) as error:
        raise Trouble(f"nginx cannot be started: {' '.join(str(error).split())}") from error


def program(settings: Settings, layout: Layout) -> Program:
    """The process that the supervisor keeps up."""
    return Program("nginx", nginx.command(parts(settings, layout)), layout.gateway, stop_group=True)
