"""`controller`: the controller itself, and the database that it remembers in."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from controller.core.policy import HealthPolicy
from controller.settings.access import (
    ControllerTlsSettings,
    Host,
    OidcSettings,
    PublicUrl,
    TrustedProxies,
    on_loopback,
    reach_of,
)
from controller.settings.secrets import SecretUrl
from controller.settings.values import AbsolutePath, Duration, Section, Size

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
    """The controller itself. Its API and its pages are on `host`; Prometheus, Alertmanager and the exporters, which ask
    nobody who is there, on `monitoring_host`."""

    host: Host = "127.0.0.1"
    monitoring_host: Host = "127.0.0.1"
    tls: ControllerTlsSettings | None = None
    trusted_proxies: TrustedProxies = ()
    public_url: PublicUrl | None = None  # what people write to get here; none: `url`
    oidc: OidcSettings | None = None
    tick_interval: Duration = timedelta(seconds=2)
    scrape_interval: Duration = Field(default=timedelta(seconds=1), le=timedelta(seconds=5))  # rules look 10 s back
    metrics_retention: Duration = Field(default=timedelta(days=31), ge=timedelta(hours=2))
    metrics_retention_size: Size = 8 * 1024**3  # 31 days of up to 20 replicas, scraped once a second
    node_grace: Duration = HealthPolicy().node_grace
    database: Annotated[Literal["sqlite", "postgresql"], BeforeValidator(_DATABASE_URL.no_url())] = "sqlite"
    database_url_file: Annotated[AbsolutePath, BeforeValidator(_DATABASE_URL.no_url())] | None = None
    instance: Annotated[str, AfterValidator(_instance)] | None = None
    lease_ttl: Duration = timedelta(seconds=10)

    @property
    def reach(self) -> str:
        """Where our own processes find what listens on `host`, as it stands in a URL."""
        return reach_of(self.host)

    @property
    def monitoring_reach(self) -> str:
        """The same of `monitoring_host`."""
        return reach_of(self.monitoring_host)

    @property
    def scheme(self) -> str:
        """How the controller is asked."""
        return "http" if self.tls is None else "https"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return on_loopback(self.host)

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
        if not (self.on_loopback or self.tls or self.trusted_proxies):
            raise ValueError(
                f"host: {self.host} is beyond this machine, and without TLS anybody on the way reads passwords and "
                "tokens; give tls: {certificate, key}, or name the proxy that speaks TLS in trusted_proxies"
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
