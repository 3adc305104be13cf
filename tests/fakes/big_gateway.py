"""The gateway, the API keys and the GPUs' gauges of a fake fleet: plausible things for their pages."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from controller.api.deps import Offer
from controller.core.access import ENTROPY_BYTES, Grant, issue, revoke
from controller.core.gateways import GatewayReport
from controller.core.model import Address, GatewayPlan, PoolRoutes, ReplicaId, Server
from controller.core.policy import PoolPolicy
from controller.core.quota import Block, DayUsage, KeyUsage, QuotaKind, QuotaMemory, TokenLimits
from controller.core.revision import Configuration, Moment, Reverted, Revision, Standing, revise
from controller.ports import AccessState
from controller.ports.history import MetricHistory
from controller.reconcile.gateways import Gateways
from controller.records import Series
from tests.fakes.store import FakeKeys, FakeStore

_PLANS = {"gold": TokenLimits(200_000, 20_000_000), "silver": TokenLimits(40_000, 2_000_000), "free": TokenLimits()}
_NAMES = ("Ada's notebook", "checkout-bot", "search", "<b>bold & brave</b>", "研究组", "nightly batch", "mobile app")
_PART = re.compile(r'"part", "(\w+)"')
_CAUSES = {"rate": 310.0, "no_key": 120.0, "no_replica": 41.0, "tokens": 260.0, "body": 6.0}


class BigDesk:
    """See `Desk`: a history of revisions, and the way back."""

    def __init__(self, policies: Sequence[PoolPolicy], now: datetime) -> None:
        self.kept: list[Revision] = []
        self.pin: tuple[int, datetime, str] | None = None
        self.refused, self.now = "", now
        self.ends: datetime | None = now + timedelta(days=9)
        for number in range(12):
            self._take(policies, number, now - timedelta(hours=13 - number))

    def _take(self, policies: Sequence[PoolPolicy], number: int, at: datetime) -> None:
        pools = tuple(
            PoolRoutes(policy.pool, policy.model, tuple(_server(f"{policy.pool}-{one}", one) for one in range(1, 3)))
            for policy in policies[: 4 + number]
        )
        settings = {"gateway": {"read_timeout_s": 300 + 60 * (number > 6), "max_body_bytes": 1_000_000}}
        lines = [f"    server {server.address};  # {server.replica}" for routes in pools for server in routes.servers]
        head = [f"# generation {number}", f"proxy_read_timeout {settings['gateway']['read_timeout_s']}s;"]
        text = "\n".join([*head, "upstream all {", *lines, "}", ""])
        made = Configuration(f"{number:08x}", text, GatewayPlan(pools), settings)
        before = self.kept[0] if self.kept else None
        self.kept.insert(0, revise(before, made, {}, Moment(at, 100 + number, 1)))

    def standing(self) -> Standing:
        newest = self.kept[0]
        now = Standing(newest.number, newest.configuration.generation, refused=self.refused, certificate_ends=self.ends)
        now = replace(now, taken_at=newest.moment.at)
        return (
            now if self.pin is None else replace(now, reverted_to=self.pin[0], reverted_at=self.pin[1], why=self.pin[2])
        )

    def revisions(self) -> Sequence[Revision]:
        return self.kept

    def revision(self, number: int) -> Revision | None:
        return next((one for one in self.kept if one.number == number), None)

    def revert(self, number: int, why: str, usable_keys: int) -> Reverted:
        self.pin = (number, self.now, why)
        return Reverted(True, f"nginx goes back to the settings of {number}, with the servers of now.")

    def undo(self) -> Reverted:
        self.pin = None
        return Reverted(True, "nginx takes the settings of the file again.")


def _server(name: str, number: int) -> Server:
    return Server(ReplicaId(name), Address("10.0.0.9", 20000 + sum(map(ord, name)) % 900 * 10 + number))


def gateway_of(policies: Sequence[PoolPolicy], store: FakeStore, now: datetime) -> dict[str, Any]:
    """What the sources tell of it."""
    gateways = Gateways()
    gateways.hear(GatewayReport("edge-2", "0.1.0", "0000000b", error="nginx: [emerg] no such file <x>"), now)
    models = {policy.model: policy.model for policy in policies}
    return {
        "desk": BigDesk(policies, now),
        "gateways": gateways,
        "offer": Offer(_PLANS, models),
        "access": _used(store, models, now),
    }


def _used(store: FakeStore, models: dict[str, str], now: datetime) -> Callable[[], AccessState]:
    keys, usage, blocks = FakeKeys(store), {}, {}
    store.take_term()
    for number in range(130):
        plan = (*_PLANS, None)[number % 4]
        chosen = tuple(list(models)[:2]) if number % 5 == 0 else ()
        grant = Grant(
            f"{_NAMES[number % 7]} {number // 7}", plan, chosen, now + timedelta(days=9) if number % 6 == 0 else None
        )
        entropy = number.to_bytes(4, "big") * (ENTROPY_BYTES // 4) + bytes(ENTROPY_BYTES % 4)
        key = issue(grant, entropy, now - timedelta(hours=number))
        keys.add_key(revoke(key, now) if number % 11 == 10 else key)
        used = 2_100_000.0 if number == 1 else 40_000.0 * (number % 13)
        usage[key.id] = KeyUsage(DayUsage(key.id, now.date(), used, used, now), ((now, used / 90),))
        if number == 1:
            blocks[key.id] = Block(now + timedelta(hours=9), QuotaKind.DAY)
    state = AccessState(118, QuotaMemory(usage, blocks), counted=True)
    return lambda: state


class GatewayHistory:
    """See `MetricHistory`: traffic and gauges of GPUs; all else is asked of the other one."""

    def __init__(
        self,
        other: MetricHistory,
        policies: Sequence[PoolPolicy],
        gpus: Callable[[], Sequence[str]],
        keys: Sequence[str],
    ) -> None:
        self._other, self._policies, self._gpus, self._keys = other, policies, gpus, keys

    def query_range(self, promql: str, start: datetime, end: datetime, step_s: int) -> tuple[Series, ...]:
        moments = range(round(start.timestamp()), round(end.timestamp()) + 1, step_s)
        answer = self._other.query_range(promql, start, end, step_s)
        if "DCGM_FI_DEV_GPU_TEMP" in promql:
            return tuple(self._gauges(moments[-1]))
        if parts := _PART.findall(promql):
            return tuple(series for part in dict.fromkeys(parts) for series in self._part(part, moments))
        return answer

    def _gauges(self, at: int) -> Iterator[Series]:
        for uuid in self._gpus():
            index = uuid.rpartition("-")[2]
            load = 0.5 + 0.45 * math.sin(at / 300 + sum(map(ord, uuid)))
            told = {
                "temperature_c": 38 + 40 * load,
                "power_w": 90 + 560 * load,
                "power_limit_w": 700.0,
                "utilization": load,
            }
            for name, value in told.items():
                yield Series({"UUID": uuid, "gpu": index, "column": name}, {at: value})

    def _part(self, part: str, moments: Sequence[int]) -> Iterator[Series]:
        at = dict.fromkeys(moments, 1.0)
        for labels, height in self._told(part):
            waves = (
                {moment: height * (1 + 0.5 * math.sin(moment / 1500 + height)) for moment in at} if len(at) > 1 else {}
            )
            yield Series({"part": part, **labels}, waves or dict.fromkeys(at, height))

    def _told(self, part: str) -> list[tuple[dict[str, str], float]]:
        """Labels and how much, of each series of a part."""
        pools = [(str(policy.pool), 90.0 * (10 + number * 7 % 40)) for number, policy in enumerate(self._policies)]
        plans, layers = (("gold", 30_000.0), ("silver", 11_000.0), ("", 4_000.0)), (("nginx", 0.31), ("redis", 0.12))
        keys = [*self._keys[:8], "", "other"]
        failed = [({"pool": pool}, count / 400) for pool, count in pools[:9]]
        of_keys = [
            ({"plan": "gold", "key": key, "code_class": "2xx"}, 9000.0 / number) for number, key in enumerate(keys, 1)
        ]
        known: dict[str, list[tuple[dict[str, str], float]]] = {
            "pool": [({"pool": pool}, count) for pool, count in pools],
            "requests": [({"pool": pool}, count / 3600) for pool, count in pools],
            **dict.fromkeys(("pool_errors", "retries", "attempts"), failed),
            "refusals": [({"cause": cause}, n / 3600) for cause, n in _CAUSES.items()],
            "pool_refused": [({"pool": pools[0][0], "cause": cause}, n) for cause, n in _CAUSES.items()],
            "plan_refused": [({"plan": "silver", "cause": cause}, n) for cause, n in _CAUSES.items()],
            "plan": [({"plan": plan, "code_class": code}, n * part) for plan, n in plans for code, part in _CLASSES],
            "plan_tokens": [({"plan": plan}, count * 310) for plan, count in plans],
            "cache": [
                ({"layer": layer, "result": what}, 9000 * n)
                for layer, hit in layers
                for what, n in (("hit", hit), ("miss", 1 - hit))
            ],
            **dict.fromkeys(("keys", "key_tokens"), of_keys),
            "all_keys": [({"code_class": "2xx"}, 44_000.0)],
        }
        return known.get(part, [])


_CLASSES = (("2xx", 0.95), ("4xx", 0.05))
