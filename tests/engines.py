"""Several Docker engines on one machine, each as if on another: a network namespace for each, joined by a bridge.

A second engine in our own namespace would take the first one's bridge away, hence the namespaces. From here an engine
is reached over TCP with TLS at its own address, and so are the ports that its containers publish there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker
import psutil
import pytest

from controller.adapters.docker import DockerNode, DockerTls
from controller.adapters.docker_image import ping
from controller.core.model import NodeName
from tests.waiting import wait_for

NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="it makes a network namespace, which the kernel lets only root do: run `make test` as root",
)
_START_S, _STOP_S = 60.0, 30.0
_PORT = 2376


@dataclass
class Engine:
    """One of them: what it is called, where it is, and its dockerd while one runs."""

    name: NodeName
    address: str
    folder: Path
    namespace: str
    cable: str  # our end of it
    tls: DockerTls
    live_restore: bool = True
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Its socket, which works while it is cut off, too: for what a person at the machine does."""
        return f"unix://{self.folder / 'd.sock'}"

    @property
    def node(self) -> DockerNode:
        """As a controller on this machine is told of it."""
        return DockerNode.at(f"tcp://{self.address}:{_PORT}", self.name, tls=self.tls)


@dataclass
class Engines:
    """Up to twenty of them, numbered from 0."""

    folder: Path
    each: list[Engine] = field(default_factory=list)

    def copy_image(self, host: str, tag: str) -> None:
        """Bring an image of the engine at `host` to all of these."""
        with contextlib.closing(docker.APIClient(base_url=host, version="auto", timeout=120)) as giver:
            for engine in self.each:
                with contextlib.closing(docker.APIClient(base_url=engine.host, version="auto", timeout=120)) as taker:
                    for _ in taker.load_image(giver.get_image(tag)):  # type: ignore[no-untyped-call]
                        pass

    def stop(self, number: int) -> None:
        """End its dockerd as a shutdown does.

        With live-restore its containers go on, and ports that they publish are reached no more; else they end, too.
        """
        process = self.each[number].process
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(_STOP_S)
        self.each[number].process = None

    def freeze(self, number: int) -> None:
        """Its dockerd takes connections and answers none."""
        process = self.each[number].process
        if process is not None:
            process.send_signal(signal.SIGSTOP)

    def cut(self, number: int) -> None:
        """Pull the cable: nothing gets through, and nobody is told."""
        _do(["ip", "link", "set", self.each[number].cable, "down"])

    def heal(self, number: int) -> None:
        """Undo whatever was done to it, and return when it answers."""
        engine = self.each[number]
        _do(["ip", "link", "set", engine.cable, "up"])
        if engine.process is None:
            engine.process = _dockerd(engine)
        engine.process.send_signal(signal.SIGCONT)
        wait_for(lambda: ping(engine.host, 1.0) and _reachable(engine), _START_S, f"the engine of {engine.name}")


@contextlib.contextmanager
def engines(count: int, *, forgetful: frozenset[int] = frozenset()) -> Iterator[Engines]:
    """So many engines, which answer; the `forgetful` ones have no live-restore. Needs root. Leaves nothing."""
    made = Engines(Path(tempfile.mkdtemp(prefix="se-")))  # short: a socket's path has 108 bytes
    bridge, net = f"se{os.getpid()}", f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
    try:
        addresses = [f"{net}.{10 + number}" for number in range(count)]
        tls = _certificates(made.folder, addresses)
        _bridge(bridge, f"{net}.1/24")
        for number, address in enumerate(addresses):
            folder = made.folder / str(number)
            folder.mkdir()
            name = f"{bridge}n{number}"
            engine = Engine(NodeName(f"node-{number}"), address, folder, name, f"{bridge}v{number}", tls)
            engine.live_restore = number not in forgetful
            made.each.append(engine)
            _cable(engine, bridge, f"{net}.1")
            engine.process = _dockerd(engine)
        for number in range(count):
            made.heal(number)
        yield made
    finally:
        for engine in made.each:
            _end(engine)
        _do(["ip", "link", "delete", bridge], check=False)
        shutil.rmtree(made.folder, ignore_errors=True)


def _bridge(name: str, address: str) -> None:
    _do(["ip", "link", "add", name, "type", "bridge"])
    _do(["ip", "address", "add", address, "dev", name])
    _do(["ip", "link", "set", name, "up"])


def _cable(engine: Engine, bridge: str, gateway: str) -> None:
    inside = ["ip", "-n", engine.namespace]
    _do(["ip", "netns", "add", engine.namespace])
    _do(["ip", "link", "add", engine.cable, "type", "veth", "peer", "name", "eth0", "netns", engine.namespace])
    _do(["ip", "link", "set", engine.cable, "master", bridge, "up"])
    _do([*inside, "address", "add", f"{engine.address}/24", "dev", "eth0"])
    for device in ("lo", "eth0"):
        _do([*inside, "link", "set", device, "up"])
    _do([*inside, "route", "add", "default", "via", gateway])


def _dockerd(engine: Engine) -> subprocess.Popen[bytes]:
    folder, tls = engine.folder, engine.tls
    (folder / "pid").unlink(missing_ok=True)
    (folder / "daemon.json").write_text("{}")
    command = [
        *("nsenter", f"--net=/var/run/netns/{engine.namespace}", "unshare", "--uts"),
        *("sh", "-c", f'hostname {engine.name} && exec "$0" "$@"', shutil.which("dockerd") or "/usr/sbin/dockerd"),
        *("--host", engine.host, "--host", f"tcp://{engine.address}:{_PORT}", "--tlsverify"),
        *("--tlscacert", str(tls.ca), "--tlscert", str(folder.parent / "engine.pem")),
        *("--tlskey", str(folder.parent / "engine-key.pem")),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "run"), "--pidfile", str(folder / "pid")),
        *("--config-file", str(folder / "daemon.json"), "--bip", "172.30.0.1/24"),
        *(("--live-restore",) if engine.live_restore else ()),
    ]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _reachable(engine: Engine) -> bool:
    try:
        with contextlib.closing(docker.APIClient(base_url=engine.host, version="auto", timeout=5)) as api:
            return bool(api.ping())
    except docker.errors.DockerException:
        return False


def _certificates(folder: Path, addresses: Sequence[str]) -> DockerTls:
    """An authority, one certificate for all engines (engine.pem) and one for who asks them."""
    names = ",".join(f"IP:{address}" for address in addresses)
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    signed = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca-key.pem")]
    for name, extra in (
        ("ca", ["-addext", "keyUsage=critical,keyCertSign"]),
        ("engine", [*signed, "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"]),
        (
            "client",
            [*signed, "-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE"],
        ),
    ):
        files = ["-keyout", str(folder / f"{name}-key.pem"), "-out", str(folder / f"{name}.pem")]
        _do([*new, *files, "-subj", f"/CN=stoker test {name}", *extra])
    return DockerTls(folder / "ca.pem", folder / "client.pem", folder / "client-key.pem")


def _end(engine: Engine) -> None:
    """Its containers, its dockerd and whatever else is in its namespace, its mounts, the namespace."""
    if engine.process is not None:
        engine.process.send_signal(signal.SIGCONT)
        engine.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.process.wait(_STOP_S)
    ours = [process for process in psutil.process_iter() if _belongs(process, engine)]
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(ours, _STOP_S)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for point in sorted((point for point in mounts if point.startswith(f"{engine.folder}/")), key=len, reverse=True):
        _do(["umount", "--lazy", point], check=False)
    _do(["ip", "link", "delete", engine.cable], check=False)
    _do(["ip", "netns", "delete", engine.namespace], check=False)
    shutil.rmtree(engine.folder, ignore_errors=True)


def _belongs(process: psutil.Process, engine: Engine) -> bool:
    """Whether it was started below this engine: it, or what started it, names the engine's folder."""
    try:
        family = [process, *process.parents()]
        return any(str(engine.folder) in argument for member in family for argument in member.cmdline())
    except psutil.Error:
        return False


def _do(command: Sequence[str], *, check: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_STOP_S, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
