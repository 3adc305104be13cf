"""`controller`: the controller itself, and the database that it remembers in."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from controller.core.policy import HealthPolicy
from controller.settings.secrets import SecretUrl
from controller.settings.values import AbsolutePath, Duration, Section

_INSTANCE = re.compile(r"[0-9a-f]{12}")
_DATABASE_URL = SecretUrl(
    key="database_url_file",
    whose="a database's",
    pattern=re.compile(r"postgres(ql)?://\S+"),
    like="postgresql://USER:PASSWORD@HOST/DATABASE",
)
_BEATS = 3  # of the lease before it runs out: one tick that is late must not lose it


def _instance(value: str) -> str:
    if _INSTANCE.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no instance; write 12 hexadecimal digits, such as `openssl rand -hex 6` prints")
    return value


class ControllerSettings(Section):
    """The controller itself. Its API, Prometheus and the exporters' metrics listen on `host`."""

    host: str = "127.0.0.1"
    tick_interval: Duration = timedelta(seconds=2)
    scrape_interval: Duration = Field(default=timedelta(seconds=1), le=timedelta(seconds=5))  # rules look 10 s back
    node_grace: Duration = HealthPolicy().node_grace
    database: Annotated[Literal["sqlite", "postgresql"], BeforeValidator(_DATABASE_URL.no_url())] = "sqlite"
    database_url_file: Annotated[AbsolutePath, BeforeValidator(_DATABASE_URL.no_url())] | None = None
    instance: Annotated[str, AfterValidator(_instance)] | None = None
    lease_ttl: Duration = timedelta(seconds=10)

    @property
    def reach(self) -> str:
        """Where our own processes find what listens on `host`, as it stands in a URL."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host

    def database_url(self) -> str:
        """What `database_url_file` holds.

        Raises:
            ConfigError: it cannot be read, others may read it, or it holds no such URL. Its contents are never told.
        """
        return _DATABASE_URL.read(Path(self.database_url_file or ""))

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, data: Any) -> Any:
        if isinstance(data, dict) and "database_url" in data:
            raise ValueError(_DATABASE_URL.advice)
        return data

    @model_validator(mode="after")
    def _possible(self) -> ControllerSettings:
        if self.node_grace <= self.tick_interval:
            raise ValueError(
                f"node_grace of {self.node_grace.total_seconds():g} s is not longer than tick_interval, "
                f"{self.tick_interval.total_seconds():g} s: one look that fails would be a lost node"
            )
        if self.database == "sqlite" and self.database_url_file is not None:
            raise ValueError("database_url_file is for database: postgresql; say that, or take the file out")
        if self.database == "postgresql":
            self._require_shared()
        return self

    def _require_shared(self) -> None:
        """What several controllers on one database need."""
        if self.database_url_file is None:
            raise ValueError("database: postgresql needs database_url_file, a file of mode 0600 that holds the URL")
        if self.instance is None:
            raise ValueError(
                "database: postgresql needs instance, 12 hexadecimal digits that are the same for every controller of "
                "this database; `openssl rand -hex 6` prints such"
            )
        if self.lease_ttl < _BEATS * self.tick_interval:
            raise ValueError(
                f"lease_ttl of {self.lease_ttl.total_seconds():g} s is shorter than {_BEATS} ticks of "
                f"{self.tick_interval.total_seconds():g} s: a tick that is late would lose the lead"
            )
