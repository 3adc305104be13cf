"""Are the ports free, and if not: who has them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from controller.settings import Settings
from controller.stack.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Wanted:
    """An address that one of our processes is going to listen on, and the settings that choose it."""

    port_setting: str
    host_setting: str
    host: str
    port: int
    kind: socket.SocketKind = socket.SOCK_STREAM


def wanted(settings: Settings) -> tuple[Wanted, ...]:
    """Every address that the stack listens on, replicas apart (those take free ports)."""
    ports, gateway = settings.ports, settings.gateway.host
    controller, monitoring = settings.controller.host, settings.controller.monitoring_host
    name = "controller.monitoring_host"
    alerts = (Wanted("ports.alertmanager", name, monitoring, ports.alertmanager),)
    return (
        Wanted("ports.gateway", "gateway.host", gateway, ports.gateway),
        Wanted("ports.gateway_status", "", "127.0.0.1", ports.gateway_status),
        Wanted("ports.controller", "controller.host", controller, ports.controller),
        Wanted("ports.prometheus", name, monitoring, ports.prometheus),
        *(alerts if settings.alerting.enabled else ()),
        Wanted("ports.gpu", name, monitoring, ports.gpu),
        Wanted("ports.edge", name, monitoring, ports.edge),
        Wanted("ports.edge_log", "", "127.0.0.1", ports.edge_log, socket.SOCK_DGRAM),
    )


def require_free(settings: Settings) -> None:
    """Try to listen on every address, and let go again.

    Raises:
        Trouble: one line per address that cannot be had, with its setting and, where it can be seen, its owner.
    """
    faults = [fault for address in wanted(settings) for fault in _faults(address)]
    if faults:
        raise Trouble("\n".join(faults))


def _faults(address: Wanted) -> Iterator[str]:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, address.kind) as attempt:
        if address.kind is socket.SOCK_STREAM:
            # What a server that just stopped left in TIME_WAIT is no obstacle to the next one.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((address.host, address.port))
            if address.kind is socket.SOCK_STREAM:
                attempt.listen(1)
        except OSError as error:
            yield _explain(address, error)


def _explain(address: Wanted, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {address.port} ({address.port_setting}) is in use{_owner(address)}; "
            f"stop that, or give {address.port_setting} another port in the configuration"
        )
    if error.errno == errno.EACCES:
        return (
            f"port {address.port} ({address.port_setting}) may be opened by root only; "
            f"give {address.port_setting} a port above 1023 in the configuration"
        )
    setting = address.host_setting or address.port_setting
    return f"cannot listen on {address.host} port {address.port} ({setting}): {os.strerror(error.errno or 0)}"


def _owner(address: Wanted) -> str:
    """by NAME (pid N), or nothing where it belongs to somebody whose processes we may not see."""
    kind = "tcp" if address.kind is socket.SOCK_STREAM else "udp"
    try:
        for connection in psutil.net_connections(kind):
            listens = connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
            if listens and connection.laddr and connection.laddr.port == address.port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
