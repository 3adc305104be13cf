"""`gateway`, `plans` and `pools[].gateway`: who may ask what, how much of it, and what nginx does with it."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from controller.settings.secrets import SecretUrl
from controller.settings.values import (
    AbsolutePath,
    Duration,
    DurationOrNone,
    Listed,
    ModelName,
    Name,
    Section,
    Size,
    matching,
)

_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,127}")
_REDIS_URL = SecretUrl(
    key="redis_url_file",
    whose="the hot cache's",
    pattern=re.compile(r"rediss?://\S+"),
    like="redis://USER:PASSWORD@HOST:PORT/0",
)
_HEADER = matching(
    r"[A-Za-z][A-Za-z0-9-]{0,63}", "is no name of a header; write letters, digits and hyphens, such as X-User-Id"
)
_HOST = matching(r"[A-Za-z0-9.:-]{1,253}", "is no address to listen on; write one such as 127.0.0.1, ::1 or 0.0.0.0")
_FILE = matching(
    r"/[A-Za-z0-9._~/-]{1,4000}",
    "has no place in nginx.conf; use letters, digits and . _ ~ - in the path of a file",
)
_NOBODY = "255.255.255.255/32"  # nginx takes it for a mistake
_OWN_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/healthz")


def _network(value: str) -> str:
    if value == _NOBODY:
        raise ValueError(f"{value} is nobody's address; name the proxies that you trust")
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is no network; write one such as 10.0.0.0/8 or 192.0.2.7/32") from error


def _path(value: str) -> str:
    if _PATH.fullmatch(value) is None or "//" in value or ".." in value:
        raise ValueError(f"{value!r} is no path to open; write one such as /tokenize")
    if value == "/" or value.startswith((*_OWN_PATHS, "/_")):
        raise ValueError(f"{value} is the gateway's own; open other paths of the engine only")
    return value


class CertificateSettings(Section):
    """The files with which nginx speaks TLS (1.2 and 1.3, HTTP/2 too)."""

    certificate: Annotated[AbsolutePath, _FILE]
    key: Annotated[AbsolutePath, _FILE]


class HotCacheSettings(Section):
    """A cache in Redis that several gateways share."""

    redis_url_file: Annotated[AbsolutePath, BeforeValidator(_REDIS_URL.no_url())]  # of mode 0600
    cluster: bool = False
    timeout: Duration = timedelta(milliseconds=100)
    max_answer: Size = 1024 * 1024

    def redis_url(self) -> str:
        """What `redis_url_file` holds.

        Raises:
            ConfigError: it cannot be read, others may read it, or it holds no such URL. Its contents are never told.
        """
        return _REDIS_URL.read(Path(self.redis_url_file))


class GatewaySettings(Section):
    """nginx."""

    host: Annotated[str, _HOST] = "127.0.0.1"
    connect_timeout: Duration = timedelta(seconds=1)
    read_timeout: Duration = timedelta(seconds=300)
    reload_interval: Duration = timedelta(seconds=2)
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024, le=1024**3)
    max_header_bytes: int = Field(default=32 * 1024, ge=4096, le=256 * 1024)
    client_timeout: Duration = timedelta(seconds=30)
    queue_timeout: DurationOrNone = timedelta(seconds=30)
    user_header: Annotated[str, _HEADER] = "X-User-Id"
    trusted_proxies: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Listed] = ()
    tls: CertificateSettings | None = None
    max_keys: int = Field(default=100_000, ge=1_000, le=5_000_000)
    cache_size: Size = 256 * 1024 * 1024
    hot_cache: HotCacheSettings | None = None

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


class PlanSettings(Section):
    """What the keys of a plan may use. What is not given has no limit."""

    name: Name
    requests_per_second: int | None = Field(default=None, ge=1, le=1_000_000)
    burst: int | None = Field(default=None, ge=0, le=1_000_000)
    concurrent: int | None = Field(default=None, ge=1, le=65_535)
    max_body_bytes: int | None = Field(default=None, ge=1024)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_day: int | None = Field(default=None, ge=1)
    priority: Literal["low", "normal", "high"] = "normal"

    @model_validator(mode="after")
    def _possible(self) -> PlanSettings:
        if self.burst is not None and self.requests_per_second is None:
            raise ValueError("burst is above requests_per_second, which is not given; give both")
        return self


class PoolGatewaySettings(Section):
    """How requests of one pool are taken in and spread."""

    aliases: Annotated[tuple[ModelName, ...], Listed] = ()
    access: Literal["keys", "open"] | None = None  # none: open where only this machine can reach it
    routing: Literal["consistent_hash", "least_connections", "random_two"] = "consistent_hash"
    max_in_flight: int | None = Field(
        default=None, ge=1, le=65_535
    )  # per replica; none: 1.25 times its target in flight
    keep_alive: bool = False
    cache: Literal["off", "deterministic", "all"] = "deterministic"
    cache_for: Duration = timedelta(seconds=30)
    share_cache: bool = False
    open_paths: Annotated[tuple[Annotated[str, AfterValidator(_path)], ...], Listed] = ()
