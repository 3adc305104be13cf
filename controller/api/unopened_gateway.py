"""What the API of a controller that stands by says of nginx and of other gateways: they are the leader's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.core.errors import LostLease
from controller.core.gateways import GatewayAnswer, GatewayReport, GatewayStatus
from controller.core.revision import Reverted, Revision, Standing

_REFUSAL = "this controller stands by; ask the one that leads"


class UnopenedDesk:
    """See `Desk`: nothing is told, and nothing can be changed."""

    def standing(self) -> Standing:
        """Nothing."""
        return Standing()

    def revisions(self) -> Sequence[Revision]:
        """None."""
        return ()

    def revision(self, number: int) -> Revision | None:
        """None."""
        return None

    def revert(self, number: int, why: str, usable_keys: int) -> Reverted:
        """Refused."""
        raise LostLease(_REFUSAL)

    def undo(self) -> Reverted:
        """Refused."""
        raise LostLease(_REFUSAL)


class UnopenedGateways:
    """See `OtherGateways`: whoever asks is sent to the leader."""

    def hear(self, report: GatewayReport, now: datetime) -> GatewayAnswer | None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def refuse(self, report: GatewayReport, now: datetime) -> None:
        """Refused."""
        raise LostLease(_REFUSAL)

    def known(self, now: datetime) -> Sequence[GatewayStatus]:
        """None."""
        return ()
