"""The nginx of another machine: what it reports, what it is answered, and how far it lags. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from controller.core.model import GatewayPlan

LAGS_AFTER = timedelta(seconds=10)
FORGOTTEN_AFTER = timedelta(hours=1)


class TooManyGateways(Exception):
    """No more can join. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What it says of itself. Versions are those that it has taken, empty where there is none; `applied` is the
    generation of its configuration, which depends on its machine. `metrics`: where its exporter is, `HOST:PORT`."""

    name: str
    version: str  # of Stoker
    applied: str = ""
    plan_version: str = ""
    keys_version: str = ""
    error: str = ""
    metrics: str | None = None


@dataclass(frozen=True, slots=True)
class KeysAnswer:
    """The keys that it is to know: all of them, or the difference to the version `base`. Blocks are always all."""

    version: str
    blocks: Mapping[str, str]
    records: Mapping[str, str]
    delete: tuple[str, ...] = ()
    base: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """What it is to run. None is what it has already, or what nobody knows here."""

    version: str
    plan: GatewayPlan | None = None
    settings: Mapping[str, Any] | None = None
    keys: KeysAnswer | None = None


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What is known of one. `current_at`: the last moment at which it was known to run what it was to run."""

    report: GatewayReport
    heard_at: datetime
    current_at: datetime

    def lag(self, now: datetime) -> timedelta:
        """For how long it may have run something old."""
        return max(now - self.current_at, timedelta(0))

    def lags(self, now: datetime) -> bool:
        """Whether that is for too long: it has trouble, or nobody hears of it."""
        return self.lag(now) > LAGS_AFTER
