"""What a gateway does with what it is told: files, nginx, keys, and what it says of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

from controller.adapters.clock import SystemClock
from controller.adapters.nginx import NginxParts, prepare
from controller.adapters.nginx.access import NginxAccess
from controller.adapters.nginx.config import ordered
from controller.adapters.nginx.revertible import PinFile, RevertibleGateway
from controller.adapters.nginx.rules import Rules, rules_of
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.installation import Layout
from controller.settings import GatewaySettings, PortSettings, Settings
from controller.settings.front import FrontSettings, settings_for, written
from controller.stack.join.kept import Kept, Keys

_LONGEST_ERROR = 2000


@dataclass(frozen=True, slots=True)
class Machine:
    """What is of this machine, and not the controller's to say."""

    layout: Layout
    listen: str
    ports: PortSettings
    metrics: str | None

    def settings(self, front: FrontSettings) -> Settings:
        """As if a file said so. Raises `GatewayRejected` where they are impossible here."""
        try:
            return settings_for(front, self.listen)
        except ValueError as error:
            raise GatewayRejected(str(error)) from error

    def parts(self, settings: Settings | None = None) -> NginxParts:
        """Of the nginx here; without settings only good for its process."""
        layout = self.layout
        gateway, rules = (settings.gateway, rules_of(settings)) if settings else (GatewaySettings(), Rules())
        return NginxParts(layout.gateway, layout.logs, gateway, self.ports, SystemClock(), rules)


class Follower:
    """One thread runs it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._told_file = machine.layout.root / "joined.json"
        self._good_file = machine.layout.root / "joined.good.json"  # the last that nginx took
        self._told: Kept | None = None
        self._good: Kept | None = None
        self._taken = ""  # the version that nginx was seen to run
        self._front: FrontSettings | None = None  # that the gateway was made with
        self._gateway: RevertibleGateway | None = None
        self._access: NginxAccess | None = None
        self._keys: Keys | None = None
        self._all_keys = False  # are wanted: a difference did not fit
        self._heard, self._done = "", ""  # what is wrong with what was said, and with what came of it

    @property
    def serves(self) -> bool:
        """Whether nginx was ever given something to serve."""
        return (self._machine.layout.gateway / "nginx.conf").exists()

    @property
    def error(self) -> str:
        """What is wrong now; empty where nothing is."""
        return "; ".join(filter(None, (self._heard, self._done)))

    def recall(self) -> None:
        """Begin with what an earlier run was told."""
        self._told, self._good = Kept.read(self._told_file), Kept.read(self._good_file)
        self._keys = Keys.read(self._machine.layout.gateway / "access" / "keys.json")
        if self._told is not None:
            self._attempt(self._begin, self._told)

    def report(self) -> dict[str, Any]:
        """What the controller is told."""
        running = self._gateway.current() if self._gateway else None
        return {
            "version": installed_version("stoker"),
            "applied": running.generation if running else "",
            "plan_version": self._taken,
            "keys_version": self._keys.version if self._keys and not self._all_keys else "",
            "error": self.error[:_LONGEST_ERROR],
            "metrics": self._machine.metrics,
        }

    def take(self, answer: Mapping[str, Any]) -> None:
        """Keep what the controller said. What cannot be used changes nothing, and is told."""
        self._heard = ""
        try:
            if "plan" in answer:
                self._told = Kept.from_json(answer)
                self._told.write(self._told_file)
            if "keys" in answer:
                self._all_keys = True  # until it is seen that these fit
                self._keys = Keys.after(self._keys, answer["keys"])
                self._all_keys = False
        except OSError as error:
            self._heard = f"{error.filename} cannot be written: {error.strerror}"
        except ValueError as error:
            self._heard = f"what the controller said cannot be used: {error}"

    def apply(self) -> None:
        """Bring nginx to it. Blocks for a few seconds at most."""
        self._done = ""
        if self._told is not None:
            self._attempt(self._apply_plan, self._told)
        if self._keys is not None and self._access is not None:
            self._attempt(self._access.apply, self._keys.records, self._keys.blocks)

    def _attempt(self, work: Callable[..., object], *given: object) -> None:
        try:
            work(*given)
        except (GatewayRejected, GatewayUnavailable) as error:
            self._done = " ".join(f"{self._done} {error}".split())

    def _begin(self, told: Kept) -> RevertibleGateway:
        """Write all that nginx needs to start; where it refuses that, what it took last is there still."""
        settings = self._machine.settings(told.front)
        parts = self._machine.parts(settings)
        try:
            prepare(parts, told.plan.pools)
        except GatewayRejected:
            if not self.serves:
                raise
        nobody = PinFile(self._machine.layout.root / "nobody.reverts.here", "")
        self._gateway = RevertibleGateway(parts, settings, nobody, self._last_settings)
        self._access = NginxAccess(parts.folder, parts.config().user)
        self._front = told.front
        return self._gateway

    def _apply_plan(self, told: Kept) -> None:
        gateway = self._gateway or self._begin(told)
        if told.front != self._front:
            gateway.become(self._machine.settings(told.front))
            self._front = told.front
        state = gateway.apply(told.plan)
        if state.applied == ordered(told.plan) and gateway.current() is not None:
            self._taken = told.version
            if told != self._good:
                self._good = told
                self._keep_good(told)

    def _keep_good(self, told: Kept) -> None:
        try:
            told.write(self._good_file)
        except OSError as error:
            raise GatewayUnavailable(f"{error.filename} cannot be written: {error.strerror}") from error

    def _last_settings(self) -> Mapping[str, Any] | None:
        return written(self._good.front) if self._good else None
