"""`nodes[]`: the machines with a Docker engine that replicas run on."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, model_validator

from controller.settings.values import AbsolutePath, Name, Section

_EXPORTER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?):(\d{1,5})")
_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})")


def _engine(value: str) -> str:
    tcp = _TCP.fullmatch(value)
    if tcp is None and not re.fullmatch(r"unix:///\S+", value):
        raise ValueError(f"{value!r} is no Docker engine; write unix:///PATH or tcp://HOST:PORT")
    if tcp is not None and not 1 <= int(tcp[2]) <= 65535:
        raise ValueError(f"{value!r} has no port between 1 and 65535; write tcp://HOST:PORT")
    return value


def _address(value: str) -> str:
    parsed = _parsed(value)
    if parsed is None or parsed.is_unspecified:
        raise ValueError(f"{value!r} is no address that replicas can be reached at; write an IP address of that node")
    return value


def _exporter(value: str) -> str:
    found = _EXPORTER.fullmatch(value)
    is_host = found is not None and (not found[1].startswith("[") or _parsed(found[1].strip("[]")) is not None)
    if found is None or not is_host or not 1 <= int(found[3]) <= 65535:
        raise ValueError(f"{value!r} is no address of an exporter; write HOST:PORT, such as 10.0.0.2:9400")
    return value


class TlsSettings(Section):
    """The files with which a Docker engine is asked over TLS."""

    ca: AbsolutePath
    cert: AbsolutePath
    key: AbsolutePath


class NodeSettings(Section):
    """A machine with a Docker engine."""

    name: Name
    docker: Annotated[str, AfterValidator(_engine)]
    address: Annotated[str, AfterValidator(_address)] | None = None
    tls: TlsSettings | None = None
    insecure: bool = False
    gpu_exporter: Annotated[str, AfterValidator(_exporter)] | None = None

    @property
    def reach(self) -> str | None:
        """Where its published ports are reached; None for an engine on this machine that is not told otherwise."""
        return self.address or self._host()

    def _host(self) -> str | None:
        found = _TCP.fullmatch(self.docker)
        return found[1].strip("[]") if found else None

    @model_validator(mode="after")
    def _possible(self) -> NodeSettings:
        host = self._host()
        if host is None:
            if self.tls or self.insecure:
                raise ValueError(f"tls and insecure are for tcp://; {self.docker} is a socket of this machine")
            return self
        if self.tls and self.insecure:
            raise ValueError("tls and insecure exclude each other; keep one")
        if not (self.tls or self.insecure or _is_loopback(host)):
            raise ValueError(
                f"whoever reaches {self.docker} is root on that machine, and without tls nobody is asked who they are; "
                "give tls: {ca, cert, key}, or say insecure: true for a network that only you are in"
            )
        if self.address is None and _parsed(host) is None:
            raise ValueError(
                f"{self.docker} names a host, and replicas are published at an address; give address: its IP address"
            )
        if self.address is None:
            _address(host)
        return self


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    parsed = _parsed(host)
    return host == "localhost" if parsed is None else parsed.is_loopback
