"""Until when the certificates are good with which clients are answered here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from controller.adapters.certificate import CertificateEnds
from controller.adapters.clock import SystemClock
from controller.installation import Layout
from controller.settings import Settings
from controller.stack.gateway_desk import GatewayDesk


class Certificates:
    """That of nginx here, and the controller's own. For one thread."""

    def __init__(self, desk: GatewayDesk, settings: Settings, layout: Layout) -> None:
        self._desk, self._own = desk, CertificateEnds(SystemClock())
        self._file = str(layout.served_pair) if settings.controller.tls is not None else None

    def ends(self) -> Mapping[str, datetime]:
        """By whose they are; without those that there are not, or that cannot be read. Reads a file a minute."""
        own = self._own.of(self._file) if self._file is not None else None
        found = {"gateway": self._desk.certificate_end(), "controller": own}
        return {name: end for name, end in found.items() if end is not None}
