"""Ports that are taken are named, with the setting and the owner."""

from __future__ import annotations

import os
import socket

import pytest

from controller.settings import GatewaySettings, PoolSettings, PortSettings, Settings
from controller.stack import listening
from controller.stack.trouble import Trouble


def free_ports(count: int) -> list[int]:
    with_numbers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in with_numbers]
    finally:
        for one in with_numbers:
            one.close()


@pytest.fixture
def settings() -> Settings:
    names = ("gateway", "gateway_status", "controller", "prometheus", "alertmanager", "gpu", "edge", "edge_log")
    ports = PortSettings(**dict(zip(names, free_ports(len(names)), strict=True)))
    return Settings(pools=(PoolSettings(name="small", model="small", checkpoint="x"),), ports=ports)


def test_free_ports_are_free_again_after_the_question(settings: Settings) -> None:
    listening.require_free(settings)
    listening.require_free(settings)


def test_every_taken_port_is_named_with_its_setting_and_owner(settings: Settings) -> None:
    tcp = socket.create_server(("127.0.0.1", settings.ports.gateway))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", settings.ports.edge_log))
    with tcp, udp, pytest.raises(Trouble) as refused:
        listening.require_free(settings)

    first, second = str(refused.value).splitlines()
    assert first.startswith(f"port {settings.ports.gateway} (ports.gateway) is in use by ")
    assert f"(pid {os.getpid()})" in first
    assert second.startswith(f"port {settings.ports.edge_log} (ports.edge_log) is in use by ")


def test_a_port_that_listens_on_every_address_is_taken_too(settings: Settings) -> None:
    with socket.create_server(("0.0.0.0", settings.ports.controller)), pytest.raises(Trouble, match="ports.controller"):
        listening.require_free(settings)


def test_a_host_that_is_not_ours(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"gateway": GatewaySettings(host="192.0.2.1")})

    with pytest.raises(Trouble, match=r"192\.0\.2\.1 port \d+ \(gateway.host\): Cannot assign"):
        listening.require_free(elsewhere)
