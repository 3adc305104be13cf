"""An AccessGate in memory, and token counters as Prometheus tells them."""

from __future__ import annotations

from collections.abc import Mapping

from controller.core.access import KeyId
from controller.core.errors import GatewayUnavailable, MetricsUnavailable
from controller.core.quota import Block
from controller.ports import Clock, Sample
from controller.reconcile.access import TOKENS


class FakeGate:
    """See `AccessGate`. `down` makes it unavailable, `forget` is what a restart of nginx does."""

    def __init__(self) -> None:
        self.down = False
        self.records: Mapping[str, str] | None = None
        self.blocks: Mapping[KeyId, Block] | None = None
        self.looks: list[bool] = []

    def apply(self, records: Mapping[str, str], blocks: Mapping[KeyId, Block], *, look: bool = False) -> bool:
        self.looks.append(look)
        if self.down:
            raise GatewayUnavailable("nginx does not answer on control.sock (Connection refused)")
        told = (self.records, self.blocks) != (records, blocks)
        self.records, self.blocks = dict(records), dict(blocks)
        return told

    def forget(self) -> None:
        self.records = self.blocks = None

    def ids(self) -> list[str]:
        """Of the keys that it lets in."""
        return sorted(record.partition(" ")[0] for record in (self.records or {}).values())


class FakeTokens:
    """See `MetricSource`, for the one question about tokens. Not `scraped`: the exporter has no series at all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.counters: dict[str, float] = {}  # by the label `key`
        self.down = False
        self.scraped = True
        self.asked = 0

    def query(self, promql: str) -> tuple[Sample, ...]:
        assert promql == TOKENS
        self.asked += 1
        if self.down:
            raise MetricsUnavailable("Prometheus gave no answer")
        now = self._clock.now()
        if not self.scraped:
            return ()
        told = [Sample({"key": key}, value, now) for key, value in self.counters.items()]
        return (*told, Sample({}, 12.0, now))
