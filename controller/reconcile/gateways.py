"""The nginx of other machines: what they are to run, who was heard of, and who lags.

A tick says what is wanted; threads of the API tell it to whoever asks. Nothing here waits for another machine.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from controller.core.access import KeyId, version_of
from controller.core.event import Event
from controller.core.gateways import (
    FORGOTTEN_AFTER,
    GatewayAnswer,
    GatewayReport,
    GatewayStatus,
    KeysAnswer,
    TooManyGateways,
)
from controller.core.model import GatewayPlan
from controller.core.plan_json import plan_to_json
from controller.core.quota import Block
from controller.settings import Settings
from controller.settings.front import front_of, written

MOST = 100  # gateways; whoever has the token cannot fill the memory
_REMEMBERED = 64  # versions, and differences between those of the keys
_MOST_CHANGES = 20_000  # in these differences; beyond that all keys are told


class _Versions:
    """The versions of something, and until when each was the newest."""

    def __init__(self) -> None:
        self.newest = ""
        self._ended: dict[str, datetime] = {}

    def begin(self, version: str, now: datetime) -> None:
        """That one is the newest from now on."""
        if version == self.newest:
            return
        if self.newest:
            self._ended[self.newest] = now
        self.newest = version
        self._ended.pop(version, None)
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def good_at(self, version: str, now: datetime) -> datetime | None:
        """The last moment at which it was the newest; None: nobody remembers."""
        return now if version == self.newest else self._ended.get(version)


@dataclass(slots=True)
class _Keys:
    """Records and blocks, their version, and the last differences between records."""

    records: Mapping[str, str] = field(default_factory=dict)
    blocks: Mapping[str, str] = field(default_factory=dict)
    of_records: str = ""
    steps: deque[tuple[str, dict[str, str], tuple[str, ...]]] = field(default_factory=deque)  # from, set, delete

    @property
    def version(self) -> str:
        """Of records and blocks."""
        return f"{self.of_records}.{version_of(self.blocks)}"

    def become(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block]) -> None:
        """Other ones."""
        self.blocks = {str(key): block.text() for key, block in blocks.items()}
        if records is self.records:
            return
        before, version = self.records, version_of(records)
        if self.of_records and version != self.of_records:
            changed = {digest: text for digest, text in records.items() if before.get(digest) != text}
            gone = tuple(digest for digest in before if digest not in records)
            self.steps.append((self.of_records, changed, gone))
        self.records, self.of_records = records, version
        while len(self.steps) > _REMEMBERED or sum(len(step[1]) + len(step[2]) for step in self.steps) > _MOST_CHANGES:
            self.steps.popleft()

    def since(self, version: str) -> KeysAnswer:
        """The difference to that version where it is remembered, else everything."""
        base = version.partition(".")[0]
        if base == self.of_records:
            return KeysAnswer(self.version, self.blocks, {}, (), base)
        begins = next((number for number, step in enumerate(self.steps) if step[0] == base), None)
        if begins is None:
            return KeysAnswer(self.version, self.blocks, self.records)
        changed: dict[str, str] = {}
        gone: set[str] = set()
        for _, more, less in list(self.steps)[begins:]:
            changed = {digest: text for digest, text in (changed | more).items() if digest not in less}
            gone = (gone - more.keys()) | set(less)
        return KeysAnswer(self.version, self.blocks, changed, tuple(sorted(gone)), base)


class Gateways:
    """What is wanted of them and what they reported. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plan: GatewayPlan | None = None
        self._settings: Settings | None = None
        self._settings_json: Mapping[str, Any] = {}
        self._plans, self._key_versions = _Versions(), _Versions()
        self._offered: tuple[Mapping[str, str], Mapping[KeyId, Block]] | None = None
        self._taken: object = None  # of what was offered
        self._keys = _Keys()
        self._known: dict[str, GatewayStatus] = {}
        self._lagging: set[str] = set()
        self._told: set[str] = set()

    def want(self, plan: GatewayPlan, settings: Settings, now: datetime) -> None:
        """They are to run this."""
        if plan == self._plan and settings is self._settings:
            return
        told = self._settings_json if settings is self._settings else written(front_of(settings))
        text = json.dumps({"plan": plan_to_json(plan), "settings": told}, sort_keys=True)
        version = hashlib.sha256(text.encode()).hexdigest()[:16]
        with self._lock:
            self._plan, self._settings, self._settings_json = plan, settings, told
            self._plans.begin(version, now)

    def want_keys(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block]) -> None:
        """They are to know these keys. The same mappings again are the same keys."""
        offered = self._offered
        if offered is None or offered[0] is not records or offered[1] is not blocks:
            self._offered = (records, blocks)

    def hear(self, report: GatewayReport, now: datetime) -> GatewayAnswer | None:
        """Note what it says, and what it is to run; None: nobody knows yet. Raises `TooManyGateways`."""
        with self._lock:
            self._take_keys(now)
            self._note(report, now)
            if self._plan is None:
                return None
            answer = GatewayAnswer(self._plans.newest)
            if report.plan_version != self._plans.newest:
                answer = replace(answer, plan=self._plan, settings=self._settings_json)
            if self._key_versions.newest and report.keys_version != self._key_versions.newest:
                answer = replace(answer, keys=self._keys.since(report.keys_version))
            return answer

    def refuse(self, report: GatewayReport, now: datetime) -> None:
        """Note it, though it gets nothing: its error says why."""
        with self._lock:
            self._note(report, now, refused=True)

    def known(self, now: datetime) -> tuple[GatewayStatus, ...]:
        """Those that were heard of within the last hour, by name."""
        with self._lock:
            found = [status for status in self._known.values() if now - status.heard_at <= FORGOTTEN_AFTER]
        return tuple(sorted(found, key=lambda status: status.report.name))

    def watch(self, now: datetime) -> list[Event]:
        """Who came, who lags and who does not any more. Those that are not heard of any more are forgotten."""
        known = self.known(now)
        with self._lock:
            self._known = {status.report.name: status for status in known}
        events = [_event("gateway_joined", status, "Heard", now) for status in known if self._is_new(status)]
        for status in known:
            name, lags = status.report.name, status.lags(now)
            if lags and name not in self._lagging:
                events.append(_event("gateway_lags", status, "Lags", now))
            elif not lags and name in self._lagging:
                events.append(_event("gateway_current", status, "Current", now))
            (self._lagging.add if lags else self._lagging.discard)(name)
        names = {status.report.name for status in known}
        self._lagging &= names
        self._told &= names
        return events

    def _is_new(self, status: GatewayStatus) -> bool:
        new = status.report.name not in self._told
        self._told.add(status.report.name)
        return new

    def _take_keys(self, now: datetime) -> None:
        """The version of a hundred thousand keys takes its time: it is made only where somebody asks."""
        offered = self._offered
        if offered is not None and offered is not self._taken:
            self._keys.become(*offered)
            self._key_versions.begin(self._keys.version, now)
            self._taken = offered

    def _note(self, report: GatewayReport, now: datetime, *, refused: bool = False) -> None:
        before = self._known.get(report.name)
        if before is None and len(self._known) >= MOST:
            raise TooManyGateways(f"{MOST} gateways are known already; one that is gone is forgotten after an hour")
        current_at = before.current_at if before else now
        if not refused and not report.error:
            current_at = max(current_at, self._good_at(report, now) or current_at)
        self._known[report.name] = GatewayStatus(report, now, current_at)

    def _good_at(self, report: GatewayReport, now: datetime) -> datetime | None:
        """The last moment at which all that it has was the newest."""
        moments = [self._plans.good_at(report.plan_version, now)]
        if self._key_versions.newest:
            moments.append(self._key_versions.good_at(report.keys_version, now))
        known = [moment for moment in moments if moment is not None]
        return min(known) if len(known) == len(moments) else None


def _event(name: str, status: GatewayStatus, reason: str, now: datetime) -> Event:
    seconds = status.lag(now).total_seconds()
    silent = (now - status.heard_at).total_seconds()
    message = {
        "gateway_joined": f"Asks for its configuration; it has {status.report.applied or 'none yet'}.",
        "gateway_lags": f"Has not taken what it should for {seconds:.0f} s, and was heard of {silent:.0f} s ago"
        + (f": {status.report.error}." if status.report.error else "."),
        "gateway_current": "Runs what it should again.",
    }[name]
    return Event(now, name, f"gateway/{status.report.name}", reason, message, {"lag_s": seconds})
