"""The gateway's part of a leader: nginx here, the other machines, the history and the way back, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from controller.adapters.certificate import CertificateEnds
from controller.adapters.database import SqlStore
from controller.adapters.database.counters import SqlCounters
from controller.adapters.database.keys import SqlKeys
from controller.adapters.nginx import NginxParts
from controller.adapters.nginx.access import NginxAccess
from controller.adapters.nginx.certificate import NAME as SERVED
from controller.adapters.nginx.history import HistoryFolder
from controller.adapters.nginx.revertible import Pin, PinFile, RevertibleGateway, stamp_of
from controller.adapters.nginx.rules import rules_of
from controller.api.deps import Offer
from controller.core.access import KeyId
from controller.core.errors import GatewayRejected
from controller.core.model import GatewayPlan
from controller.core.quota import Block, TokenLimits
from controller.core.revision import Configuration, Reverted, Revision, Standing
from controller.installation import Installation, Layout
from controller.ports import AccessGate, Clock
from controller.reconcile.gateways import Gateways
from controller.reconcile.parts import AccessParts
from controller.settings import Settings
from controller.settings.front import FrontSettings, front_from, front_of, with_front
from controller.stack.gateway_files import history_folder, revert_file

V = TypeVar("V")


class Live(Mapping[str, V], Generic[V]):
    """A mapping that is read anew each time: settings that somebody goes back to hold for keys and quotas, too."""

    def __init__(self, read: Callable[[], Mapping[str, V]]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> V:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


@dataclass(frozen=True, slots=True)
class SharedGate:
    """An `AccessGate` that the other gateways see, too: also where the nginx of this machine does not answer."""

    here: AccessGate
    others: Gateways

    def apply(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block], *, look: bool = False) -> bool:
        """See `AccessGate.apply`."""
        self.others.want_keys(records, blocks)
        return self.here.apply(records, blocks, look=look)


class GatewayDesk:
    """See `Desk` of the API; and what a leader's parts are made of."""

    def __init__(self, layout: Layout, settings: Settings, installation: Installation, clock: Clock) -> None:
        """Find out what nginx runs, and whether somebody went back to other settings; see `RevertibleGateway`."""
        self.parts = NginxParts(
            layout.gateway, layout.logs, settings.gateway, settings.ports, clock, rules_of(settings)
        )
        self.kept, self.others, self._clock = HistoryFolder(history_folder(layout)), Gateways(), clock
        self._readers = HistoryFolder(history_folder(layout))  # of the API's threads
        stamp = stamp_of(installation.run, layout.config.read_text(encoding="utf-8"))
        pins = PinFile(revert_file(layout), stamp)
        self.gateway = RevertibleGateway(self.parts, settings, pins, self._last_settings)
        self.gateway.on_wanted = self._publish
        self._run, self._ends = installation.run, CertificateEnds(clock)
        self._end_told: datetime | None = None  # what a tick found last, for the API's threads

    def certificate_end(self) -> datetime | None:
        """Until when the certificate of nginx is good; None: it has none, or nobody can read it. For one thread."""
        tls, served = self.gateway.settings.gateway.tls, self.parts.folder / SERVED
        if tls is None:
            self._end_told = None
        else:
            self._end_told = self._ends.of(str(served) if served.exists() else tls.certificate)
        return self._end_told

    def current(self) -> Configuration | None:
        """What nginx runs; None while that is not known."""
        now = self.gateway.current()
        return None if now is None else replace(now, run=self._run)

    def access_parts(self, store: SqlStore, place: str) -> AccessParts:
        """With what the API keys are kept, here and on the other machines. `place` is the controller's own name."""
        here = NginxAccess(self.parts.folder, self.parts.config().user)
        counters = SqlCounters(store, place)
        return AccessParts(SqlKeys(store), SharedGate(here, self.others), self._quotas(), counters)

    def offer(self) -> Offer:
        """What API keys can be made for."""
        return Offer(Live(self._plans), Live(self._models), self.gateway.file.gateway.max_keys)

    def standing(self) -> Standing:
        """See `Desk.standing`."""
        pin, newest = self.gateway.pin, self._readers.latest()
        now = Standing(refused=self.gateway.refused, certificate_ends=self._end_told)
        if newest is not None:
            of_it = newest.configuration.generation
            now = replace(now, revision=newest.number, generation=of_it, taken_at=newest.moment.at)
        return now if pin is None else replace(now, reverted_to=pin.number, reverted_at=pin.at, why=pin.why)

    def revisions(self) -> Sequence[Revision]:
        """See `Desk.revisions`."""
        return self._readers.all()

    def revision(self, number: int) -> Revision | None:
        """See `Desk.revision`."""
        return self._readers.find(number)

    def revert(self, number: int, why: str, usable_keys: int) -> Reverted:
        """See `Desk.revert`."""
        found = self._readers.find(number)
        if found is None:
            raise KeyError(number)
        try:
            front = front_from(found.configuration.settings)
            wanted = with_front(self.gateway.file, front)
        except ValueError as error:
            raise GatewayRejected(str(error)) from error
        if _gateway_part(wanted) == _gateway_part(self.gateway.settings) and not self.gateway.refused:
            return Reverted(
                False, f"{number} differs from what nginx runs in {_other(front, wanted)}; nothing is changed."
            )
        if _gateway_part(wanted) == _gateway_part(self.gateway.file):
            return self.undo()
        if usable_keys > front.gateway.max_keys:
            room = front.gateway.max_keys
            raise GatewayRejected(
                f"there are {usable_keys} usable keys, and with gateway.max_keys {room} no room for them"
            )
        self.gateway.try_out(front)
        self.gateway.hold(Pin(number, self._clock.now(), why, front))
        return Reverted(True, f"nginx goes back to the settings of {number}, with the servers of now.")

    def undo(self) -> Reverted:
        """See `Desk.undo`."""
        pin = self.gateway.pin
        if pin is None:
            return Reverted(False, "Nobody went back to other settings; those of the file hold.")
        self.gateway.hold(None)
        return Reverted(True, f"nginx takes the settings of the file again, and no longer those of {pin.number}.")

    def _publish(self, plan: GatewayPlan, settings: Settings) -> None:
        self.others.want(plan, settings, self._clock.now())

    def _last_settings(self) -> Mapping[str, Any] | None:
        newest = self.kept.newest()
        return None if newest is None else newest.configuration.settings

    def _quotas(self) -> Mapping[str, TokenLimits]:
        """The token limits of the plans that have any."""
        return Live(lambda: {name: limits for name, limits in self._plans().items() if limits.any()})

    def _plans(self) -> Mapping[str, TokenLimits]:
        plans = self.gateway.settings.plans
        return {plan.name: TokenLimits(plan.tokens_per_minute, plan.tokens_per_day) for plan in plans}

    def _models(self) -> Mapping[str, str]:
        pools = self.gateway.settings.pools
        return {name: pool.model for pool in pools for name in (pool.model, *pool.gateway.aliases)}


def _other(front: FrontSettings, wanted: Settings) -> str:
    """What else may be different."""
    return "its servers only" if front.gateway == wanted.gateway else "what only `stoker up` can bring to nginx"


def _gateway_part(settings: Settings) -> tuple[object, ...]:
    """What a revert is about: not the targets of scaling, which limits of nginx may follow from."""
    front: FrontSettings = front_of(settings)
    return front.gateway, front.plans, [(pool.name, pool.gateway) for pool in front.pools]
