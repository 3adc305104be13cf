"""Plain nginx in front of three containers that Docker restarts."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path

from docker.errors import NotFound
from docker.types import IPAMConfig, IPAMPool, LogConfig

from tests.bench.failover import nginx
from tests.bench.failover.side import ENGINE_PORT, LAUNCHER_PORT, REPLICAS, Place, Recipe
from tests.e2e.stack import free_ports
from tests.waiting import wait_for

_NETWORK, _SUBNET = "bench-plain", "10.213.7"


class PlainSide:
    """Containers with `restart: always` at fixed addresses, and nginx in front of them."""

    def __init__(self, recipe: Recipe, folder: Path, *, name: str = "nginx", retry: str = nginx.RETRY) -> None:
        folder.mkdir()
        self.name, self._retry = name, retry
        self.what = (
            f"{REPLICAS} containers with Docker's restart policy `always` at fixed addresses behind "
            f"{nginx.WHAT.format(retry=retry)}"
        )
        self._recipe, self._folder = recipe, folder
        self._port = free_ports(1)[0]
        self._nginx: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when nginx listens."""
        pools = [IPAMPool(subnet=f"{_SUBNET}.0/24", gateway=f"{_SUBNET}.1")]
        self._recipe.client.networks.create(_NETWORK, driver="bridge", ipam=IPAMConfig(pool_configs=pools))
        for number in range(1, REPLICAS + 1):
            self._start_replica(number)
        servers = [f"{_address(number)}:{ENGINE_PORT}" for number in range(1, REPLICAS + 1)]
        text = nginx.configuration(f"127.0.0.1:{self._port}", servers, str(self._folder), retry=self._retry)
        (self._folder / "nginx.conf").write_text(text)
        command = [str(self._recipe.nginx), "-p", f"{self._folder}/", "-c", "nginx.conf", "-g", "daemon off;"]
        self._nginx = subprocess.Popen([*command, "-e", "error.log"], start_new_session=True)
        wait_for(self._listens, 10, "nginx to listen")

    def places(self) -> list[Place]:
        """Those that run now."""
        found = self._recipe.client.api.containers(filters={"network": _NETWORK, "status": "running"})
        named = sorted((item["Names"][0], item) for item in found)
        own = [(item["Id"], item["NetworkSettings"]["Networks"][_NETWORK]["IPAddress"]) for _, item in named]
        return [Place(key, f"{at}:{ENGINE_PORT}", f"{at}:{LAUNCHER_PORT}") for key, at in own if at]

    def stop(self) -> None:
        """Containers, network, nginx."""
        if self._nginx is not None:
            self._nginx.terminate()
            self._nginx.wait(10)
            self._nginx = None
        for container in self._recipe.client.containers.list(all=True, filters={"network": _NETWORK}):
            container.remove(force=True)
        with contextlib.suppress(NotFound):
            self._recipe.client.networks.get(_NETWORK).remove()

    def _start_replica(self, number: int) -> None:
        """As Stoker makes them, but for the restart policy and the address."""
        api = self._recipe.client.api
        folder = str(self._recipe.checkpoint.parent)
        host = api.create_host_config(
            restart_policy={"Name": "always"},
            binds={folder: {"bind": folder, "mode": "ro"}},
            read_only=True,
            tmpfs={"/tmp": "size=64m"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            log_config=LogConfig(type="json-file", config={"max-size": "5m", "max-file": "2"}),
        )
        own = api.create_endpoint_config(ipv4_address=_address(number))
        name = f"bench-plain-{number}"
        made = api.create_container(
            self._recipe.image,
            name=name,
            environment=self._recipe.environment(name),
            host_config=host,
            networking_config=api.create_networking_config({_NETWORK: own}),  # type: ignore[arg-type]
        )
        api.start(made)

    def _listens(self) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self._port)) == 0


def _address(number: int) -> str:
    return f"{_SUBNET}.{10 + number}"
