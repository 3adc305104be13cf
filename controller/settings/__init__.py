"""`stoker.yaml`, checked once and refused with the file, the line and what would be right.

Durations carry their unit ("300s", "5m", "500ms"). Unknown keys are refused. Nothing is started before this passed.
"""

from controller.faults import ConfigError
from controller.settings.controller import ControllerSettings
from controller.settings.file import PortSettings, Settings, load, parse
from controller.settings.gateway import GatewaySettings, PlanSettings, PoolGatewaySettings
from controller.settings.nodes import NodeSettings, TlsSettings
from controller.settings.pools import PoolSettings

__all__ = [
    "ConfigError",
    "ControllerSettings",
    "GatewaySettings",
    "NodeSettings",
    "PlanSettings",
    "PoolGatewaySettings",
    "PoolSettings",
    "PortSettings",
    "Settings",
    "TlsSettings",
    "load",
    "parse",
]
