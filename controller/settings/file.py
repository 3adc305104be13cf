"""The whole file, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from controller.core.costs import Costs
from controller.core.policy import PoolPolicy
from controller.faults import ConfigError, explain, refuse_repeated_keys
from controller.settings.alerting import AlertingSettings
from controller.settings.controller import ControllerSettings
from controller.settings.costs import CostSettings
from controller.settings.gateway import GatewaySettings, PlanSettings
from controller.settings.nodes import NodeSettings
from controller.settings.pools import PoolSettings
from controller.settings.values import Port, Section

_NODE_FIELDS = ("name", "docker")


class PortSettings(Section):
    """Where everything listens. `gateway_status` and `edge_log` are between our own processes only."""

    gateway: Port = 8080
    gateway_status: Port = 8081
    controller: Port = 8000
    prometheus: Port = 9090
    alertmanager: Port = 9093
    gpu: Port = 9400
    edge: Port = 9401
    edge_log: Port = 9402

    @model_validator(mode="after")
    def _distinct(self) -> PortSettings:
        seen: dict[int, str] = {}
        for name, port in self:
            if port in seen:
                raise ValueError(f"{name} and {seen[port]} are both {port}; give each a port of its own")
            seen[port] = name
        return self


class Settings(Section):
    """The whole file."""

    pools: tuple[PoolSettings, ...]
    nodes: tuple[NodeSettings, ...] = ()  # none: this machine, under the name `local`
    plans: tuple[PlanSettings, ...] = ()
    gateway: GatewaySettings = GatewaySettings()
    ports: PortSettings = PortSettings()
    controller: ControllerSettings = ControllerSettings()
    alerting: AlertingSettings = AlertingSettings()
    costs: CostSettings = CostSettings()

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:  # strict mode takes no list for a tuple, and YAML has only lists
        if not isinstance(data, dict):
            return data
        return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}

    @model_validator(mode="after")
    def _unique(self) -> Settings:
        if not self.pools:
            raise ValueError("pools is empty; name at least one pool")
        for kind, entries, fields in (
            ("pools", self.pools, ("name", "model")),
            ("nodes", self.nodes, _NODE_FIELDS),
            ("plans", self.plans, ("name",)),
        ):
            for field in fields:
                _refuse_repeated([getattr(entry, field) for entry in entries], f"two {kind} have the {field}")
        exporters = [node.gpu_exporter for node in self.nodes if node.gpu_exporter is not None]
        _refuse_repeated(exporters, "two nodes have the gpu_exporter")
        _refuse_repeated(
            # nginx compares them without regard to case
            [name.lower() for pool in self.pools for name in (pool.model, *pool.gateway.aliases)],
            "two models or aliases, upper and lower case being the same, are called",
        )
        return self

    def prices(self) -> Costs:
        """What each pool costs."""
        own = {pool.name: pool.costs.over(self.costs) for pool in self.pools}
        return Costs(self.costs.over(self.costs), own, self.costs.currency)

    def policies(self, spec_hashes: Mapping[str, str] | None = None) -> tuple[PoolPolicy, ...]:
        """One policy per pool, in the file's order. `spec_hashes`, by pool, is what its replicas are to be made of."""
        known, controller = spec_hashes or {}, self.controller
        return tuple(
            pool.policy(controller.scrape_interval, controller.node_grace, known.get(pool.name, ""))
            for pool in self.pools
        )


def _refuse_repeated(values: list[str], what: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{what} {value!r}; give each its own")


def load(path: Path) -> Settings:
    """Read and check the file.

    Raises:
        ConfigError: with every fault found, each on a line of its own.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a configuration with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Settings:
    """Check the text of a configuration; `name` stands for the file in messages. Raises `ConfigError`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line}: is not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict) or root is None:
        raise ConfigError(f"{name}:1: must be a mapping with the key `pools`")
    refuse_repeated_keys(root, name)
    try:
        return Settings.model_validate(data, context={"scrape_interval": _scrape_interval(data)})
    except ValidationError as error:
        raise ConfigError("\n".join(explain(root, name, fault, Settings) for fault in error.errors())) from error


def _scrape_interval(data: dict[str, Any]) -> timedelta | None:
    """What the pools' windows are checked against; None where that section is itself refused."""
    section = data.get("controller")
    try:
        return ControllerSettings.model_validate(section if section is not None else {}).scrape_interval
    except ValidationError:
        return None
