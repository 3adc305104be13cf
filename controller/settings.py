"""`stoker.yaml`, checked once and refused with the file, the line and what would be right.

Durations carry their unit ("300s", "5m", "500ms"). Unknown keys are refused. Nothing is started before this passed.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from controller.core.model import PoolName
from controller.core.policy import HealthPolicy, PoolPolicy, ScalingPolicy
from controller.faults import ConfigError as ConfigError
from controller.faults import explain, refuse_repeated_keys

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no duration; write a number with its unit, one of ms, s, m, h, such as 300s")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a duration must be above 0")
    return value


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no name; use 1 to 40 lower-case letters, digits and inner hyphens")
    return value


def _model(value: str) -> str:
    if _MODEL.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no model name; use letters, digits and . _ : / - (at most 128)")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_positive)]
Name = Annotated[str, AfterValidator(_name)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ReplicaBounds(_Section):
    """How many replicas a pool has at least and at most."""

    floor: int = Field(default=3, ge=1)
    ceiling: int = Field(default=6, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> ReplicaBounds:
        if self.floor > self.ceiling:
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}; make the floor at most the ceiling")
        return self


class ScalingSettings(_Section):
    """When the count moves between floor and ceiling."""

    target_in_flight: float = Field(default=4.0, gt=0)
    tolerance: float = Field(default=0.1, ge=0, lt=1)
    scale_down_window: Duration = timedelta(seconds=300)
    surge: int = Field(default=2, ge=1)


class HealthSettings(_Section):
    """Probes and deadlines."""

    probe_interval: Duration = timedelta(seconds=1)
    probe_timeout: Duration = timedelta(seconds=1)
    failures: int = Field(default=3, ge=1)
    cold_start_deadline: Duration = timedelta(seconds=300)
    drain_timeout: Duration = timedelta(seconds=30)


class EngineSettings(_Section):
    """How a replica computes."""

    name: Literal["llamacpp"] = "llamacpp"
    slots: int = Field(default=2, ge=1, le=256)
    context_tokens: int = Field(default=1024, ge=64)
    threads: int = Field(default=1, ge=1, le=1024)


class PoolSettings(_Section):
    """One model, one policy, N replicas."""

    name: Name
    model: Annotated[str, AfterValidator(_model)]
    checkpoint: str = Field(min_length=1)  # a path, or package://NAME for the GGUF inside an installed Python package
    engine: EngineSettings = EngineSettings()
    replicas: ReplicaBounds = ReplicaBounds()
    scaling: ScalingSettings = ScalingSettings()
    health: HealthSettings = HealthSettings()

    def policy(self, scrape_interval: timedelta) -> PoolPolicy:
        """What the core needs of this."""
        scaling = ScalingPolicy(
            floor=self.replicas.floor,
            ceiling=self.replicas.ceiling,
            target_in_flight=self.scaling.target_in_flight,
            tolerance=self.scaling.tolerance,
            scale_down_window=self.scaling.scale_down_window,
            surge=self.scaling.surge,
            max_reading_age=3 * scrape_interval,
        )
        health = HealthPolicy(
            failures=self.health.failures,
            probe_interval=self.health.probe_interval,
            probe_timeout=self.health.probe_timeout,
            cold_start_deadline=self.health.cold_start_deadline,
            drain_timeout=self.health.drain_timeout,
        )
        return PoolPolicy(PoolName(self.name), self.model, scaling, health)


class GatewaySettings(_Section):
    """nginx."""

    host: str = "127.0.0.1"
    connect_timeout: Duration = timedelta(seconds=1)
    read_timeout: Duration = timedelta(seconds=300)
    reload_interval: Duration = timedelta(seconds=2)
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)


class PortSettings(_Section):
    """Where everything listens. `gateway_status` and `edge_log` are between our own processes only."""

    gateway: Port = 8080
    gateway_status: Port = 8081
    controller: Port = 8000
    prometheus: Port = 9090
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


class ControllerSettings(_Section):
    """The controller itself. Its API, Prometheus and the edge exporter's metrics listen on `host`."""

    host: str = "127.0.0.1"
    tick_interval: Duration = timedelta(seconds=2)
    scrape_interval: Duration = timedelta(seconds=1)

    @property
    def reach(self) -> str:
        """Where our own processes find what listens on `host`, as it stands in a URL."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host


class Settings(_Section):
    """The whole file."""

    pools: tuple[PoolSettings, ...]
    gateway: GatewaySettings = GatewaySettings()
    ports: PortSettings = PortSettings()
    controller: ControllerSettings = ControllerSettings()

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:  # strict mode takes no list for a tuple, and YAML has only lists
        if isinstance(data, dict) and isinstance(data.get("pools"), list):
            return {**data, "pools": tuple(data["pools"])}
        return data

    @model_validator(mode="after")
    def _unique(self) -> Settings:
        if not self.pools:
            raise ValueError("pools is empty; name at least one pool")
        for field in ("name", "model"):
            values = [getattr(pool, field) for pool in self.pools]
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"two pools have the {field} {value!r}; give each its own")
        return self

    def policies(self) -> tuple[PoolPolicy, ...]:
        """One policy per pool, in the file's order."""
        return tuple(pool.policy(self.controller.scrape_interval) for pool in self.pools)


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
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(root, name, fault, Settings) for fault in error.errors())) from error
