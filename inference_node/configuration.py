"""The launcher's environment, checked once. The engine's process reads the same variables with the same code."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_node.engines import ENGINES


class ConfigurationError(Exception):
    """A variable is missing or wrong. The text is one sentence that names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What this replica is and how it serves."""

    pool: str
    replica: str
    spec_hash: str
    model: str  # the name that clients ask for
    engine: str
    checkpoint: Path
    slots: int  # requests that the engine computes at once
    context_tokens: int  # of each slot
    threads: int
    drain_timeout_s: float
    host: str  # IPv4 address to bind to
    engine_port: int  # 0: any free one
    launcher_port: int  # 0: any free one
    endpoints_file: Path | None


def from_environment(environment: Mapping[str, str]) -> Configuration:
    """Read the `STOKER_*` variables.

    Raises:
        ConfigurationError: at the first variable that is missing or wrong.
    """
    read = _Reader(environment)
    return Configuration(
        pool=read.text("STOKER_POOL"),
        replica=read.text("STOKER_REPLICA"),
        spec_hash=read.text("STOKER_SPEC_HASH"),
        model=read.text("STOKER_MODEL"),
        engine=read.engine("STOKER_ENGINE"),
        checkpoint=read.absolute_path("STOKER_CHECKPOINT"),
        slots=read.integer("STOKER_SLOTS", 1, 256),
        context_tokens=read.integer("STOKER_CONTEXT_TOKENS", 64, 2**24),
        threads=read.integer("STOKER_THREADS", 1, 1024),
        drain_timeout_s=read.seconds("STOKER_DRAIN_TIMEOUT_S"),
        host=read.address("STOKER_HOST", "127.0.0.1"),
        engine_port=read.integer("STOKER_ENGINE_PORT", 0, 65535, default="0"),
        launcher_port=read.integer("STOKER_LAUNCHER_PORT", 0, 65535, default="0"),
        endpoints_file=read.absolute_path("STOKER_ENDPOINTS_FILE")
        if environment.get("STOKER_ENDPOINTS_FILE")
        else None,
    )


class _Reader:
    """Each method takes one variable and raises `ConfigurationError` where it is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str = "") -> str:
        value = self._environment.get(name, "").strip() or default
        if not value:
            raise ConfigurationError(f"{name} is missing; set it to a text that is not empty.")
        return value

    def engine(self, name: str) -> str:
        value = self.text(name)
        if value not in ENGINES:
            raise ConfigurationError(f"{name} is {value!r}; this image knows only {', '.join(sorted(ENGINES))}.")
        return value

    def absolute_path(self, name: str) -> Path:
        path = Path(self.text(name))
        if not path.is_absolute():
            raise ConfigurationError(
                f"{name} is {str(path)!r}; make it an absolute path, one that begins with a slash."
            )
        return path

    def integer(self, name: str, lowest: int, highest: int, *, default: str = "") -> int:
        text = self.text(name, default)
        wanted = f"a whole number from {lowest} to {highest}"
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            raise ConfigurationError(f"{name} is {text!r}; make it {wanted}.")
        return int(text)

    def seconds(self, name: str) -> float:
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise ConfigurationError(f"{name} is {text!r}; make it a number of seconds, 0 or more.")
        return value

    def address(self, name: str, default: str) -> str:
        text = self.text(name, default)
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ConfigurationError(f"{name} is {text!r}; make it an IPv4 address, such as 0.0.0.0.") from None
