"""What can be changed of a pool's policy in a simulation, and the same as stoker.yaml has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError

from controller.api.simulation_schemas import ChangesIn, KnobOut, SettingOut
from controller.api.simulations import SimulationRefused
from controller.core.policy import ImpossiblePolicy, ScalingPolicy
from controller.settings import PoolSettings
from controller.settings.scaling import ReplicaBounds, ScalingSettings, beneath

Value = float | bool
Unit = Literal["replicas", "requests", "s", "share", "factor", "switch"]
Overlay = dict[str, Any]  # sections of a pool, as YAML has them


@dataclass(frozen=True, slots=True)
class Knob:
    """One value: its name in the API, its key in the file, how a policy has it, and where a slider of it goes."""

    name: str
    key: str
    unit: Unit
    read: Callable[[ScalingPolicy], Value]
    span: tuple[float, float, float] = (0, 1, 1)  # lowest, highest, step
    main: bool = False

    def out(self, policy: ScalingPolicy) -> KnobOut:
        """With its live value; the slider reaches to at least twice of that."""
        live = self.read(policy)
        low, high, step = self.span
        reach = 1 if self.unit == "share" else 2 * live
        return KnobOut(
            name=self.name,
            key=self.key,
            unit=self.unit,
            live=live,
            low=min(low, live),
            high=max(high, reach),
            step=step,
            main=self.main,
        )


KNOBS = (
    Knob("floor", "replicas.floor", "replicas", lambda policy: policy.floor, (0, 12, 1), main=True),
    Knob("ceiling", "replicas.ceiling", "replicas", lambda policy: policy.ceiling, (1, 24, 1), main=True),
    Knob(
        "target_in_flight",
        "scaling.target_in_flight",
        "requests",
        lambda policy: policy.in_flight.target,
        (0.5, 16, 0.5),
        main=True,
    ),
    Knob("tolerance", "scaling.tolerance", "share", lambda policy: policy.tolerance, (0, 0.5, 0.01), main=True),
    Knob(
        "scale_up_window_s",
        "scaling.scale_up_window",
        "s",
        lambda policy: policy.scale_up_window.total_seconds(),
        (0, 300, 5),
        main=True,
    ),
    Knob(
        "scale_down_window_s",
        "scaling.scale_down_window",
        "s",
        lambda policy: policy.scale_down_window.total_seconds(),
        (5, 1800, 5),
        main=True,
    ),
    Knob("surge", "scaling.surge", "replicas", lambda policy: policy.surge, (1, 12, 1)),
    Knob(
        "rate_up_replicas", "scaling.rate_up.replicas", "replicas", lambda policy: policy.rate_up.replicas, (1, 12, 1)
    ),
    Knob(
        "rate_down_replicas",
        "scaling.rate_down.replicas",
        "replicas",
        lambda policy: policy.rate_down.replicas,
        (1, 12, 1),
    ),
    Knob(
        "utilization_target",
        "scaling.utilization.target",
        "share",
        lambda policy: policy.utilization.target,
        (0.1, 1, 0.01),
    ),
    Knob(
        "latency_threshold_s",
        "scaling.latency.threshold",
        "s",
        lambda policy: policy.latency.threshold,
        (0.1, 10, 0.1),
    ),
    Knob("panic_factor", "scaling.panic.factor", "factor", lambda policy: policy.panic.factor, (1.1, 10, 0.1)),
    Knob("forecast", "scaling.forecast.enabled", "switch", lambda policy: policy.forecast.enabled),
    Knob("zero_after_s", "scaling.zero_after", "s", lambda policy: policy.zero_after.total_seconds(), (60, 3600, 30)),
)
_SECTIONS: Mapping[str, type[BaseModel]] = {"replicas": ReplicaBounds, "scaling": ScalingSettings}
_RATES = ("rate_up", "rate_down")


def settings_out(live: ScalingPolicy, changed: ScalingPolicy) -> list[SettingOut]:
    """Each value of both policies."""
    return [SettingOut(name=knob.name, live=knob.read(live), changed=knob.read(changed)) for knob in KNOBS]


def overlay(pool: PoolSettings, live: ScalingPolicy, changes: ChangesIn) -> Overlay:
    """What the pool's section must say for these changes: what is as it is live is left out."""
    found: Overlay = {}
    for knob in KNOBS:
        value: Value | None = getattr(changes, knob.name)
        if value is None or value == knob.read(live):
            continue
        section, *inner = knob.key.split(".")
        if knob.name == "target_in_flight" and pool.scaling.in_flight.target is not None:
            inner = ["in_flight", "target"]  # the file says it so, and takes only one of the two
        if inner[0] in _RATES:
            _put(found, (section, inner[0]), _rate(getattr(live, inner[0]), value))
        else:
            _put(found, (section, *inner), duration(value) if knob.unit == "s" else value)
    return found


def overlay_of(items: Sequence[str]) -> Overlay:
    """The same from a command line: each KEY=VALUE, as in `scaling.tolerance=0.2`, the value as YAML has it.

    Raises:
        SimulationRefused: one of them is none, or is of another section.
    """
    found: Overlay = {}
    for item in items:
        key, equals, text = item.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or len(path) < 2 or path[0] not in _SECTIONS or not all(path):
            raise SimulationRefused(f"--set {item!r} is no KEY=VALUE of a pool's replicas or scaling; see --help")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SimulationRefused(f"--set {item!r}: {text!r} is no value of YAML") from error
        _put(found, path, value)
    return found


def changed_pool(pool: PoolSettings, changed: Overlay, scrape_interval: timedelta) -> PoolSettings:
    """The pool with that in its section.

    Raises:
        SimulationRefused: together it is impossible, in one sentence.
    """
    context = {"scrape_interval": scrape_interval}
    parts: dict[str, BaseModel] = {}
    inside: list[str] = []
    try:
        for name, part in changed.items():
            inside = [name]
            whole = beneath(part, written(getattr(pool, name)))
            parts[name] = _SECTIONS[name].model_validate(whole, context=context)
        made = pool.model_copy(update=parts)
        made.policy(scrape_interval)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join([*inside, *map(str, fault["loc"])])
        message = str(fault["msg"]).removeprefix("Value error, ")
        raise SimulationRefused(f"{place}: {message}" if place else message) from error
    except ImpossiblePolicy as error:
        raise SimulationRefused(str(error)) from error
    return made


def as_yaml(pool: str, changed: Overlay) -> str:
    """For people to copy; empty where nothing changes."""
    if not changed:
        return ""
    text = yaml.safe_dump(changed, sort_keys=False, default_flow_style=False, allow_unicode=True)
    return f"# in stoker.yaml, into the pool {pool}; `stoker apply` takes it in\n{text}"


def written(section: BaseModel) -> Overlay:
    """What the file says of it, as it says it."""
    fields = type(section).model_fields
    return {fields[name].alias or name: _written(getattr(section, name)) for name in _said(section)}


def _said(section: BaseModel) -> Iterator[str]:
    return (name for name in type(section).model_fields if name in section.model_fields_set)


def _written(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return written(value)
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    return duration(value.total_seconds()) if isinstance(value, timedelta) else value


def duration(seconds: float) -> str:
    """As the file has it: 300s, 0.5s."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _rate(live: Any, replicas: Value) -> Overlay:
    """A limit is given as a whole."""
    return {"replicas": replicas, "percent": live.percent, "per": duration(live.period.total_seconds())}


def _put(found: Overlay, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = found.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SimulationRefused(f"{'.'.join(path)} is given twice, once as a whole; give it once")
        found = inner
    found[path[-1]] = value
