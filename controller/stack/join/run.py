"""`stoker gateway join`, in the foreground until it is told to stop."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from ipaddress import ip_address
from urllib.parse import urlsplit

from controller.adapters.nginx import command
from controller.installation import Layout
from controller.settings import PortSettings
from controller.stack.gateway_token import read_token
from controller.stack.join.children import Child, NginxChild, end_exporter, exporter_command
from controller.stack.join.client import Away, Controllers, Refused
from controller.stack.join.follower import Follower, Machine
from controller.stack.join.options import JoinOptions
from controller.stack.programs import environment
from controller.stack.single import interruptible, locked, undisturbed
from controller.stack.trouble import Trouble
from controller.stack.unix_http import LONGEST_SOCKET_PATH

_ASK_EVERY_S = 1.0
_LOOK_EVERY_S = 0.2  # at the two processes
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def join(options: JoinOptions) -> None:
    """Serve, and follow the controller, until SIGTERM, SIGINT or SIGHUP. Then nothing of it runs any more.

    Raises:
        Trouble: something given is wrong, or a controller will not have this gateway and there is nothing to serve.
    """
    os.umask(0o022)  # nginx's workers are other users than root, and must read what is written here
    layout, name = Layout(options.state_dir), options.name or _machine_name()
    _refuse(options, layout, name)
    controllers = Controllers(options.controller, read_token(options.token_file), options.ca_file)
    machine = Machine(layout, options.listen, _ports(options), _metrics(options))
    _warn(options)
    _make(layout)
    with locked(layout.root / "join.lock", f"another gateway uses the state directory {layout.root}"), interruptible():
        end_exporter(layout)
        follower = Follower(machine)
        follower.recall()
        _Gateway(name, machine, follower, controllers, options.reach or "127.0.0.1").run()


class _Gateway:
    """The two processes, looked after by this thread, and the controller, asked by another: it may be slow."""

    def __init__(
        self, name: str, machine: Machine, follower: Follower, controllers: Controllers, exporter_host: str
    ) -> None:
        self._name, self._follower, self._controllers = name, follower, controllers
        own, parts, ports = environment(machine.layout, os.environ), machine.parts(), machine.ports
        self._nginx = NginxChild(parts.process(), command(parts), own, say)
        exporter = exporter_command(exporter_host, ports.edge, ports.edge_log, ports.gateway_status)
        self._exporter = Child("the edge exporter", exporter, own, say)
        self._stopping = threading.Event()
        self._refused: str | None = None  # for good: there was never anything to serve
        self._words, self._said = "", "nothing yet"
        self._asker: threading.Thread | None = None

    def run(self) -> None:
        """Until `KeyboardInterrupt`. Raises `Trouble`."""
        try:
            while self._refused is None:
                if self._follower.serves:
                    self._nginx.ensure()
                self._exporter.ensure()
                self._keep_asking()
                self._stopping.wait(_LOOK_EVERY_S)
            raise Trouble(self._refused)
        except KeyboardInterrupt:
            say("stops")
        finally:
            with undisturbed():
                self._stopping.set()
                self._nginx.stop()
                self._exporter.stop()

    def _keep_asking(self) -> None:
        """A fault that nobody expected has its traceback in the log, and ends neither this nor what nginx serves."""
        if self._asker is None or not self._asker.is_alive():
            self._asker = threading.Thread(target=self._ask_on, name="asker", daemon=True)
            self._asker.start()

    def _ask_on(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self._say(self._ask() or self._follower.error)
            self._follower.apply()
            self._stopping.wait(max(0.0, began + _ASK_EVERY_S - time.monotonic()))

    def _ask(self) -> str:
        """What is wrong with the controller; empty where nothing is."""
        try:
            self._follower.take(self._controllers.ask(self._name, self._follower.report()))
        except Away as error:
            return f"{error}; this gateway goes on with what it has"
        except Refused as error:
            if not self._follower.serves:
                self._refused = str(error)
            return str(error)
        return ""

    def _say(self, words: str) -> None:
        """Each trouble once, if it does not pass at once, and its end."""
        if words != self._said and words in ("", self._words):
            say(words or "follows the controller")
            self._said = words
        self._words = words


def say(words: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"gateway: {words}\n")
    sys.stderr.flush()


def _refuse(options: JoinOptions, layout: Layout, name: str) -> None:
    too_long = len(os.fsencode(layout.gateway / "control/control.sock")) - LONGEST_SOCKET_PATH
    if too_long > 0:
        raise Trouble(
            f"the path of {layout.root} is {too_long} bytes too long for the socket of nginx; give a shorter one"
        )
    if layout.installation.exists():
        raise Trouble(f"{layout.root} is the state directory of a `stoker up`; give --state-dir another one")
    if _NAME.fullmatch(name) is None:
        raise Trouble(f"{name!r} is no name of a gateway; give --name 1 to 40 lower-case letters, digits and hyphens")


def _make(layout: Layout) -> None:
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        layout.logs.mkdir(exist_ok=True)
    except OSError as error:
        raise Trouble(f"the state directory {layout.root} cannot be used: {error.strerror}") from error


def _warn(options: JoinOptions) -> None:
    if options.reach is None:
        say("without --reach Prometheus cannot find it: nobody counts its requests, and pools do not grow with them")
    elif _local(options.reach) and not all(_local(urlsplit(url).hostname or "") for url in options.controller):
        say(f"Prometheus, on another machine, does not find it at {options.reach}; give --reach this machine's address")


def _local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _metrics(options: JoinOptions) -> str | None:
    if options.reach is None:
        return None
    host = options.reach
    return f"[{host}]:{options.edge_port}" if ":" in host else f"{host}:{options.edge_port}"


def _ports(options: JoinOptions) -> PortSettings:
    """Those that were given; all the others are any, as nothing here listens on them."""
    given = {
        "gateway": options.port,
        "gateway_status": options.status_port,
        "edge": options.edge_port,
        "edge_log": options.log_port,
    }
    others = [name for name in PortSettings.model_fields if name not in given]
    unused = [port for port in range(1, len(given) + len(others) + 1) if port not in given.values()]
    try:
        return PortSettings(**given, **dict(zip(others, unused, strict=False)))
    except ValueError as error:
        raise Trouble("two of the ports are the same; give each its own") from error


def _machine_name() -> str:
    """As far as it can be a name."""
    return re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:40].strip("-")
