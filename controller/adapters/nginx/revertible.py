"""The gateway with settings that somebody can go back to, while its servers are always those of now.

A revert is a file beside the history. It holds for the very configuration that it was made over: the next `stoker up`,
or a `stoker apply` that changes something, is a newer word.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from controller.adapters.nginx.certificate import NAME, ServedCertificate
from controller.adapters.nginx.config import render
from controller.adapters.nginx.files import write
from controller.adapters.nginx.gateway import CHECK_S, NginxGateway, NginxParts
from controller.adapters.nginx.rules import rules_of
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.model import GatewayPlan
from controller.core.revision import Configuration
from controller.ports import GatewayState
from controller.settings import Settings
from controller.settings.front import FrontSettings, front_from, front_of, with_front, written

_TRIAL, _TRIAL_PAIR = "nginx.conf.trial", "tls.trial.pem"


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody went back to the settings of a revision."""

    number: int
    at: datetime
    why: str
    front: FrontSettings


class PinFile:
    """The pin over a configuration. `stamp` tells that one from every other."""

    def __init__(self, path: Path, stamp: str) -> None:
        self._path, self._stamp = path, stamp

    def read(self) -> Pin | None:
        """None where there is none, or one over another configuration, or a damaged one."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if data["over"] != self._stamp:
                return None
            at = datetime.fromisoformat(data["at"])
            return Pin(int(data["number"]), at, str(data["why"]), front_from(data["settings"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def write(self, pin: Pin | None) -> None:
        """Put it there, or take it away. Raises `GatewayUnavailable` where that cannot be."""
        try:
            if pin is None:
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            at = pin.at.astimezone(UTC).isoformat()
            told = {"number": pin.number, "at": at, "why": pin.why, "over": self._stamp}
            write(self._path, json.dumps({**told, "settings": written(pin.front)}, indent=1) + "\n")
        except OSError as error:
            raise GatewayUnavailable(f"{self._path} cannot be written: {error.strerror}") from error


def stamp_of(*texts: str) -> str:
    """Sixteen digits over what a pin is made over."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Settings that nginx may be run with, and the pin that they come from."""

    what: str  # in a sentence
    settings: Settings
    told: Mapping[str, Any]  # the same as JSON, apart from what is not the gateway's
    pin: Pin | None = None

    @staticmethod
    def of(what: str, settings: Settings, pin: Pin | None = None) -> _Choice:
        return _Choice(what, settings, written(front_of(settings)), pin)


class RevertibleGateway:
    """See `Gateway`. `hold` and `try_out` are for other threads, everything else is the tick's.

    Settings that nginx refuses keep no dead replica in it: then those of the file serve with the servers of now, or
    those that nginx took last (`last`, of the history), and the refusal is raised all the same.
    """

    def __init__(
        self,
        parts: NginxParts,
        settings: Settings,
        pins: PinFile,
        last: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        """Find out what nginx runs; see `NginxGateway`."""
        self._parts, self.file, self._pins, self._last = parts, settings, pins, last
        self._changing = threading.Lock()
        self.pin = self._heeded = pins.read()
        self._wanted = self._standing = self._loaded = self._choice(self.pin)
        self._gateway = NginxGateway(self._parts_for(self._loaded.settings))
        self.refused = ""  # why nginx runs with other settings than it should
        self.on_wanted: Callable[[GatewayPlan, Settings], None] = lambda plan, settings: None

    @property
    def settings(self) -> Settings:
        """Those that hold, as if the file said so: for the other machines, for keys and for quotas, too."""
        return self._standing.settings

    def become(self, settings: Settings) -> None:
        """Those of the file are others now."""
        self.file = settings
        self._wanted = self._standing = self._choice(self.pin)
        self.refused = ""

    def state(self) -> GatewayState:
        """See `Gateway.state`."""
        return self._gateway.state()

    def current(self) -> Configuration | None:
        """What nginx runs; None while that is not known, or not what the settings make of it yet."""
        running = self._gateway.running()
        if running is None:
            return None
        loaded, pin = self._loaded, self._loaded.pin
        back, why = (pin.number, pin.why) if pin else (None, "")
        return Configuration(running.generation, running.text, running.plan, loaded.told, back, why)

    def apply(self, plan: GatewayPlan) -> GatewayState:
        """See `Gateway.apply`."""
        if self.pin is not self._heeded:
            self._heeded = self.pin
            self._wanted = self._standing = self._choice(self._heeded)
            self.refused = ""
        self.on_wanted(plan, self.settings)
        try:
            state = self._load(self._wanted).apply(plan)
        except GatewayRejected as error:
            return self._fall_back(plan, error)
        if self._gateway.running() is not None:
            self._standing, self.refused = self._wanted, ""
        return state

    def _fall_back(self, plan: GatewayPlan, refusal: GatewayRejected) -> NoReturn:
        for choice in self._others():
            try:
                self._load(choice).apply(plan)
            except GatewayRejected:  # the plan may be what it refuses
                continue
            self._standing, self.refused = choice, str(refusal)
            self.on_wanted(plan, self.settings)
            raise GatewayRejected(f"{refusal}; {choice.what} serve until that is mended") from refusal
        raise refusal

    def _load(self, choice: _Choice) -> NginxGateway:
        if choice is not self._loaded:
            self._gateway.use(self._parts_for(choice.settings))
            self._loaded = choice
        return self._gateway

    def _choice(self, pin: Pin | None) -> _Choice:
        """A pin that the file does not go with is as good as none; `try_out` has seen that it does."""
        if pin is not None:
            with contextlib.suppress(ValueError):
                return _Choice.of(f"the settings of {pin.number}", with_front(self.file, pin.front), pin)
        return _Choice.of("the settings of the file", self.file)

    def _others(self) -> Iterator[_Choice]:
        """What nginx may take where it refuses what it should, without the same settings twice."""
        tried = [self._wanted.settings]
        for choice in (self._choice(None), self._taken_last()):
            if choice is not None and choice.settings not in tried:
                tried.append(choice.settings)
                yield choice

    def _taken_last(self) -> _Choice | None:
        kept = self._last()
        try:
            front = None if kept is None else front_from(kept)
            return None if front is None else _Choice.of("those that it took last", with_front(self.file, front))
        except ValueError:  # of another version
            return None

    def _parts_for(self, settings: Settings) -> NginxParts:
        return replace(self._parts, gateway=settings.gateway, rules=rules_of(settings))

    def try_out(self, front: FrontSettings) -> Settings:
        """The settings with that of the gateway, which nginx was asked about with the servers of now.

        Raises:
            GatewayRejected: they are impossible, or nginx refuses them.
            GatewayUnavailable: nginx gave no verdict.
        """
        try:
            settings = with_front(self.file, front)
        except ValueError as error:
            raise GatewayRejected(str(error)) from error
        parts = self._parts_for(settings)
        config = parts.config()
        text = render(self.state().applied, config).replace(f" {NAME};", f" {_TRIAL_PAIR};")
        trial, pair = parts.folder / _TRIAL, parts.folder / _TRIAL_PAIR
        with self._changing:
            try:
                ServedCertificate(parts.folder, _TRIAL_PAIR).take(config)
                trial.write_text(text, encoding="utf-8")
                parts.process().check(_TRIAL, CHECK_S)
            except OSError as error:
                raise GatewayUnavailable(f"{trial} cannot be written: {error.strerror}") from error
            finally:
                trial.unlink(missing_ok=True)
                pair.unlink(missing_ok=True)
        return settings

    def hold(self, pin: Pin | None) -> None:
        """From the next `apply` on the settings are these; None: those of the file. Raises `GatewayUnavailable`."""
        with self._changing:
            self._pins.write(pin)
            self.pin = pin
