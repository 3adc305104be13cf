"""Once per tick: who of the other gateways came, lags or is back, and Prometheus is told where their exporters are."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from controller.core.event import Event
from controller.core.gateways import FORGOTTEN_AFTER
from controller.ports import TickReport
from controller.reconcile import narrate
from controller.reconcile.parts import GatewayParts, Parts


class GatewayWatch:
    """One thread runs it. What an earlier controller had scraped is scraped on until it is heard of, or an hour is
    over: a new controller has heard of nobody yet."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts
        self._began: datetime | None = None

    def run(self, now: datetime) -> list[Event]:
        """What came of it. Blocks for a file's writing where something changed."""
        self._began = self._began or now
        events = self._parts.known.watch(now)
        found = dict(self._parts.scraped) if now - self._began <= FORGOTTEN_AFTER else {}
        for status in self._parts.known.known(now):
            found.pop(status.report.name, None)
            if status.report.metrics:
                found[status.report.name] = status.report.metrics
        try:
            self._parts.scrape(_once(found, self._parts.own))
        except OSError as error:
            events += narrate.of_targets(error, now)
        return events


def with_gateways(report: TickReport, parts: Parts, *, refused: bool) -> TickReport:
    """The report with what is known of nginx here and on other machines."""
    statuses = parts.gateways.known.known(report.at) if parts.gateways else ()
    return replace(
        report,
        gateway_refused=refused,
        gateway_lags={status.report.name: status.lag(report.at).total_seconds() for status in statuses},
        certificate_ends=parts.certificate_ends(),
    )


def _once(addresses: dict[str, str], own: str) -> dict[str, str]:
    """An exporter that is scraped twice counts twice, as would the one here, which has a place of its own."""
    owners = {address: name for name, address in sorted(addresses.items(), reverse=True) if address != own}
    return {name: address for address, name in owners.items()}
