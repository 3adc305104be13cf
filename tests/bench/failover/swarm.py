"""A Swarm service of three replicas with a health check, behind nginx, which asks Swarm's DNS for its tasks."""

from __future__ import annotations

from pathlib import Path

from docker.errors import APIError
from docker.types import EndpointSpec, Healthcheck, Mount, RestartPolicy, ServiceMode

from controller.stack.trouble import Trouble
from tests.bench.failover import nginx
from tests.bench.failover.side import ENGINE_PORT, LAUNCHER_PORT, REPLICAS, Place, Recipe
from tests.waiting import wait_for

_SERVICE, _NETWORK, _FRONT = "replicas", "bench-swarm", "bench-swarm-nginx"
_GATEWAY_BRIDGE = "docker_gwbridge"  # through it the machine reaches what is on an overlay
_PORT = 8080
_SECOND = 1_000_000_000
# A Swarm asks for the image's repository before it starts a task; this one refuses at once.
_REPOSITORY, _TAG = "127.0.0.1:9/stoker-replica", "1"
# Python starts fast without its site, and by default this has to be done within a second, on busy cores.
_CHECK = (
    "import socket\n"
    f"asked = socket.create_connection(('127.0.0.1', {LAUNCHER_PORT}), 0.9)\n"
    "asked.sendall(b'GET /status HTTP/1.0\\r\\n\\r\\n')\n"
    "said = b''.join(iter(lambda: asked.recv(65536), b''))\n"
    'raise SystemExit(not (b\'"phase": "ready"\' in said and b\'"answering": true\' in said))\n'
)


class SwarmSide:
    """One node, one service, an overlay, and nginx in a container on it."""

    name = "swarm"
    url = ""

    def __init__(self, recipe: Recipe, folder: Path, check_timeout_s: int = 1) -> None:
        folder.mkdir()
        self._recipe, self._folder, self._check_timeout_s = recipe, folder, check_timeout_s
        self.what = (
            f"a Swarm service of {REPLICAS} tasks (HEALTHCHECK of the launcher's /status: interval 1 s, "
            f"timeout {check_timeout_s} s, retries 3, start period 60 s; restart delay 0 instead of Swarm's 5 s, stop "
            "grace period 10 s as by default; "
            "endpoint mode dnsrr) behind the same nginx, which resolves the tasks each second"
        )

    def start(self) -> None:
        """Returns when nginx has an address."""
        client = self._recipe.client
        client.images.get(self._recipe.image).tag(_REPOSITORY, _TAG)
        client.swarm.init(advertise_addr="127.0.0.1")
        client.networks.create(_NETWORK, driver="overlay", attachable=True)
        self._start_service()
        self._start_nginx()
        front = client.containers.get(_FRONT)
        try:
            address = wait_for(lambda: self._addresses().get(str(front.id)), 30, "an address for nginx")
        except AssertionError as error:
            raise Trouble(f"{error}; it says: {front.logs(tail=3).decode()}") from error
        self.url = f"http://{address}:{_PORT}"

    def places(self) -> list[Place]:
        """The tasks whose containers run now, by the addresses that the machine reaches them at."""
        label = f"com.docker.swarm.service.name={_SERVICE}"
        found = self._recipe.client.api.containers(filters={"label": label, "status": "running"})
        named = sorted((item["Names"][0], item["Id"]) for item in found)
        known = self._addresses()
        own = [(key, known[key]) for _, key in named if key in known]
        return [Place(key, f"{at}:{ENGINE_PORT}", f"{at}:{LAUNCHER_PORT}") for key, at in own]

    def stop(self) -> None:
        """Leaving the Swarm ends its tasks and its network."""
        client = self._recipe.client
        for container in client.containers.list(all=True, filters={"name": _FRONT}):
            container.remove(force=True)
        try:
            client.swarm.leave(force=True)
        except APIError as error:
            if "not part of a swarm" not in str(error.explanation):
                raise

    def _addresses(self) -> dict[str, str]:
        found = self._recipe.client.api.inspect_network(_GATEWAY_BRIDGE)["Containers"]
        return {key: known["IPv4Address"].partition("/")[0] for key, known in found.items()}

    def _start_service(self) -> None:
        folder = str(self._recipe.checkpoint.parent)
        variables = self._recipe.environment("swarm-{{.Task.Slot}}")
        self._recipe.client.services.create(  # type: ignore[no-untyped-call]
            f"{_REPOSITORY}:{_TAG}",
            name=_SERVICE,
            env=[f"{name}={value}" for name, value in variables.items()],
            mode=ServiceMode("replicated", replicas=REPLICAS),
            mounts=[Mount(folder, folder, type="bind", read_only=True), Mount("/tmp", None, type="tmpfs")],
            read_only=True,
            cap_drop=["ALL"],
            networks=[_NETWORK],
            endpoint_spec=EndpointSpec(mode="dnsrr"),
            restart_policy=RestartPolicy(condition="any", delay=0),
            stop_grace_period=10 * _SECOND,
            healthcheck=Healthcheck(
                test=["CMD", "python3", "-I", "-S", "-c", _CHECK],
                interval=_SECOND,
                timeout=self._check_timeout_s * _SECOND,
                retries=3,
                start_period=60 * _SECOND,
            ),
        )

    def _start_nginx(self) -> None:
        servers = [f"tasks.{_SERVICE}:{ENGINE_PORT} resolve"]
        text = nginx.configuration(f"{_PORT}", servers, "/tmp", resolver="resolver 127.0.0.11 valid=1s ipv6=off;")
        (self._folder / "nginx.conf").write_text(text)
        binds = {
            str(self._recipe.nginx.parent): {"bind": "/nginx", "mode": "ro"},
            str(self._folder): {"bind": "/bench", "mode": "ro"},
        }
        self._recipe.client.containers.run(
            self._recipe.image,
            ["-p", "/tmp/", "-c", "/bench/nginx.conf", "-g", "daemon off;"],
            entrypoint=[f"/nginx/{self._recipe.nginx.name}"],
            name=_FRONT,
            network=_NETWORK,
            tmpfs={"/tmp": ""},
            volumes=binds,
            detach=True,
        )
