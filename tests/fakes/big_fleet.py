"""A controller with 50 pools and 300 replicas on fakes, and its pages in a browser without a stack.

    python -m tests.fakes.big_fleet --port 8123            then open what it prints; a session comes by itself
    python -m tests.fakes.big_fleet --port 8123 --pools 3  a small one; --quiet: nothing happens by itself;
                                                           --still: and demand stays as it is

Real ticks of the real core run over fake containers and numbers, with the time of now. What happens can be asked for:

    /fake/login?role=viewer      another role (viewer, operator, admin); /fake/logout: nobody
    /fake/kill/POOL              a replica of it dies          /fake/load/POOL?factor=4   so much more demand
    /fake/metrics?up=false       Prometheus is away            /fake/ticks?on=false       the controller is stuck
    /fake/node/NODE?up=false     a node is silent              /fake/lead?on=false        another controller leads
    /fake/database?up=false      the database is away          /fake/tick   one now; answers with its end
    /fake/thread                 the number of the thread that ticks
"""

from __future__ import annotations

import argparse
import math
import random
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse

from controller.api.access import PUBLIC, cookie_name
from controller.api.app import create_app
from controller.api.deps import LEADS, Seen, Sources
from controller.api.kept_history import KeptHistory
from controller.core.decision import RemoveReplica
from controller.core.errors import TransientError
from controller.core.model import NodeName, PoolName, ReplicaId, Signal
from controller.core.people import Role, Session, User, digest_of
from controller.core.policy import LatencyPolicy, Mode, PoolPolicy, ScalingPolicy
from controller.ports import LastWords, ReplicaSpec
from controller.reconcile.fleet import Fleet
from controller.reconcile.parts import AlarmParts, Parts
from controller.reconcile.tick import Ticker
from tests.fakes.alarms import FakeAlarms
from tests.fakes.big_drills import FleetDesk, remembered
from tests.fakes.big_gateway import GatewayHistory, gateway_of
from tests.fakes.clock import FakeClock
from tests.fakes.fleet_history import FleetHistory
from tests.fakes.fleet_prober import FleetProber
from tests.fakes.gateway import FakeGateway
from tests.fakes.overrides import FakeOverrides
from tests.fakes.people import FakePeople
from tests.fakes.simulations import desk_of
from tests.fakes.store import FakeKeys, FakeLease, FakeStore, KeptSink, KeptTargets
from tests.fakes.world import FakeMetrics, FakeRuntime
from tests.unit.stack.drill_samples import KILLED

GPU_BYTES, NEEDS = 143771 * 1024**2, 24 * 1024**3
MODELS = ("llama-3.3-70b", "qwen3-32b", "mistral-small", "gemma-3-27b", "deepseek-v3", "phi-4", "granite-8b")
USES = ("chat", "code", "batch", "eu", "us", "agents", "rag", "beta")
TOKEN = "secret"


def spec(pool: PoolName, replica: ReplicaId, spec_hash: str) -> ReplicaSpec:
    return ReplicaSpec(replica, pool, "llama", "llamacpp", "image", "/m.gguf", spec_hash, 2, 512, 1, 30.0)


def policies(count: int) -> list[PoolPolicy]:
    """Of so many pools, the first ones with something special each."""
    rng, found = random.Random(7), []
    for number in range(count):
        model = MODELS[number % len(MODELS)]
        floor = rng.choice((3, 4, 5, 6, 8, 10))
        scaling = ScalingPolicy(
            floor=floor, ceiling=floor * 2 + 2, gpu_memory_bytes=NEEDS, scale_down_window=timedelta(minutes=2),
            latency=LatencyPolicy(threshold=rng.choice((0.3, 0.5, 1.0))),
        )  # fmt: skip
        name = PoolName(f"{model.replace('.', '-')}-{USES[number // 7 % 8]}")
        found.append(PoolPolicy(name, model, scaling, spec_hash=f"spec{number:08d}"))
    if count > 3:
        found[1] = replace(found[1], mode=Mode.SHADOW, shadow=replace(found[1].scaling, floor=2))
        found[2] = replace(found[2], mode=Mode.PAUSED)
        found[3] = replace(found[3], spec_hash="broken")
    return found


@dataclass
class BigFleet:
    """The world and its controller. `step` makes one tick."""

    pools: int = 50
    nodes: int = 20
    start: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.rng = random.Random(11)
        self.lock = threading.Lock()
        self.clock = FakeClock(self.start - timedelta(minutes=20))
        self.policies = policies(self.pools)
        self.store = FakeStore()
        self.names = [NodeName(f"gpu-{number:02d}") for number in range(1, self.nodes + 1)]
        self.runtimes = {name: FakeRuntime(self.clock, 25.0, name) for name in self.names}
        for runtime in self.runtimes.values():
            runtime.broken.add("broken")
        self.metrics = FakeMetrics(self.clock)
        self.people, self.overrides = FakePeople(self.store), FakeOverrides(self.store)
        self.factor: dict[PoolName, float] = {}
        self.ticking, self.leads, self.quiet = True, True, False
        self.still: datetime | None = None  # the time whose demand stays
        self.thread = 0  # that ticks
        parts = Parts(
            clock=self.clock,
            fleet=Fleet(self.runtimes, self.clock),
            prober=FleetProber(*self.runtimes.values()),
            metrics=self.metrics,
            gateway=FakeGateway(self.clock),
            store=self.store,
            lease=FakeLease(self.store),
            sink=KeptSink(),
            targets=KeptTargets(),
            spec_for=spec,
            alarms=AlarmParts(FakeAlarms(self.store)),
            overrides=self.overrides,
        )
        self.ticker = Ticker(parts, self.policies)
        past = FleetHistory(self.policies, self.clock.now, lambda: not self.metrics.down)
        self.gateway = gateway_of(self.policies, self.store, self.start)
        gpus, keys = self.metrics.gpus, [key.id for key in FakeKeys(self.store).find_keys(limit=8)]
        self.history = GatewayHistory(past, self.policies, lambda: [uuid for _, uuid in gpus], keys)
        self.simulations = desk_of(self.policies, self.clock.now)
        self.drill_desk = FleetDesk(self, self.store, self.clock.now)

    def warm_up(self, ticks: int = 60) -> BigFleet:
        """Some minutes of a past, and then a few things that are the matter."""
        every = (self.start - self.clock.now()) / ticks
        for number in range(ticks):
            if number == ticks - 12:
                self._mishaps()
            self.step(every.total_seconds())
        return self

    def _mishaps(self) -> None:
        if self.pools < 8:
            return
        self.factor[self.policies[4].pool] = 5.0
        self.factor[self.policies[5].pool] = 16.0  # more than its ceiling can take
        first, second = self.names[0], self.names[1]
        self.metrics.signs[first, f"GPU-{first}-0"] = {"xid": 1.0, "xid79": 1.0}
        self.metrics.signs[second, f"GPU-{second}-1"] = {"stoker_gpu_thermal_throttled": 1.0}
        self.kill(self.policies[6].pool)

    def step(self, seconds: float) -> None:
        """Let so much time pass, and tick."""
        with self.lock:
            self.clock.advance(seconds)
            self._measure()
            if self.ticking:
                self.ticker.run()
            self._keep_words()

    def kill(self, pool: PoolName, replica: ReplicaId | None = None) -> None:
        """The first replica of it that lives dies, or that one."""
        for runtime in self.runtimes.values():
            for name, entry in runtime.replicas.items():
                if entry.container.pool == pool and entry.container.exit_code is None and replica in (None, name):
                    entry.words = "CUDA error: an illegal memory access was encountered\nAborted (core dumped)"
                    return runtime.kill(name)
        return None

    def _measure(self) -> None:
        now = (self.still or self.clock.now()).timestamp()
        ready = self._ready()
        for number, policy in enumerate(self.policies):
            mine = [name for pool, name in ready if pool == policy.pool]
            wave = 0.55 + 0.25 * math.sin(now / 900 + number) + (0 if self.still else self.rng.uniform(-0.05, 0.05))
            demand = max(0.0, wave * policy.scaling.floor * 4 * self.factor.get(policy.pool, 1.0))
            each = demand / max(len(mine), 1)
            self.metrics.gateway[policy.pool] = round(demand)
            self.metrics.last_request[policy.pool] = self.clock.now()
            self.metrics.sent[policy.pool] = demand * 20
            self.metrics.pool[policy.pool, Signal.LATENCY] = 0.12 + 0.02 * each**1.5 if mine else None
            self.metrics.pool[policy.pool, Signal.ERRORS] = 0.0004 * max(0.0, each - 5) ** 2
            for name in mine:
                key = (policy.pool, name)
                self.metrics.replicas[key] = round(each)
                self.metrics.replica[(*key, Signal.UTILIZATION)] = min(0.99, each / 6)
                self.metrics.replica[(*key, Signal.TOKENS)] = self.metrics.tokens[key] = each * 28
                self.metrics.replica[(*key, Signal.MEMORY)] = 0.55 + 0.02 * (hash(name) % 7)
        self._gpus()

    def _ready(self) -> list[tuple[PoolName, ReplicaId]]:
        seen = self.ticker.latest
        known = seen.plan.memory.replicas.values() if seen else ()
        living = {name for runtime in self.runtimes.values() for name in runtime.replicas}
        for key in list(self.metrics.replicas):
            if key[1] not in living:
                del self.metrics.replicas[key]
        return [(one.pool, one.replica) for one in known if one.ready_at and one.replica in living]

    def _gpus(self) -> None:
        for name, runtime in self.runtimes.items():
            for index in range(8):
                uuid = f"GPU-{name}-{index}"
                on = sum(1 for entry in runtime.replicas.values() if entry.container.gpu == uuid)
                free = GPU_BYTES - on * NEEDS
                self.metrics.gpus[name, uuid] = free
                mib = {"DCGM_FI_DEV_FB_USED": (GPU_BYTES - free) / 1024**2, "DCGM_FI_DEV_FB_FREE": free / 1024**2}
                self.metrics.signs[name, uuid] = self.metrics.signs.get((name, uuid), {}) | mib

    def _keep_words(self) -> None:
        newest = self.store.decisions(limit=5)
        known = {words.replica for words in self.store.database.words}
        for item in newest:
            gone = item.decision
            if isinstance(gone, RemoveReplica) and gone.replica not in known:
                text = "error: out of memory\nAborted (core dumped)"
                self.store.keep_last_words(
                    LastWords(item.at, gone.pool, gone.replica, gone.reasons[-1].code.value, text)
                )

    def seen(self) -> Seen | None:
        tick = self.ticker.latest
        return Seen(tick.snapshot, tick.plan, tick.routed, tick.policies, tick.overrides) if tick else None

    def sources(self) -> Sources:
        """What the API tells of it. `latest` is the same object until the next tick, as with the real one."""
        kept: list[tuple[object, Seen | None]] = [(None, None)]

        def latest() -> Seen | None:
            if kept[0][0] is not self.ticker.latest:
                kept[0] = (self.ticker.latest, self.seen())
            return kept[0][1]

        def healthy() -> bool:
            tick = self.ticker.latest
            return tick is not None and self.clock.now() - tick.snapshot.at < timedelta(seconds=15)

        told = Sources(
            policies=self.policies,
            nodes=self.names,
            store=self.store,
            latest=latest,
            healthy=healthy,
            metrics=lambda: b"",
            now=self.clock.now,
            lead=lambda: LEADS if self.leads else "stands by; the controller at 10.0.0.7:8000 leads",
            token=TOKEN,
            keys=FakeKeys(self.store),
            alarms=self.ticker.alarms,
            people=self.people,
            overrides=self.overrides,
            simulations=self.simulations,
            history=KeptHistory(self.history, self.clock.now),
            drills=remembered(self.store, self.policies[0], (KILLED,), self.clock.now()),
            drill_desk=self.drill_desk,
            alertmanager="http://127.0.0.1:9093",
            **self.gateway,
        )
        self.drill_desk.sources = told
        return told


def run(fleet: BigFleet, interval: float) -> None:
    """Ticks for good, with the time of now, and a mishap now and then."""
    number = 0
    while True:
        time.sleep(interval)
        number += 1
        behind = (datetime.now(UTC) - fleet.clock.now()).total_seconds()
        if number % 20 == 0 and not fleet.quiet:
            fleet.kill(fleet.rng.choice(fleet.policies).pool)
        try:
            fleet.step(max(behind, 0.01))
        except TransientError as error:
            print("no tick:", error, flush=True)


def app_of(fleet: BigFleet) -> FastAPI:  # noqa: C901  a list of levers
    """The controller's application, and the levers of the fake world beside it."""
    app = create_app(fleet.sources())

    @app.get("/fake/login", dependencies=[PUBLIC])
    def login(request: Request, role: Role = Role.ADMIN, next: str = "/") -> RedirectResponse:
        name, now, secret = f"ada-{role}", fleet.clock.now(), f"session-of-{role}"
        fleet.people.rows.users[name] = User(name, role, now)
        fleet.people.rows.sessions[digest_of(secret)] = Session(digest_of(secret), name, now, now, "127.0.0.1")
        answer = RedirectResponse(next, 303)
        answer.set_cookie(cookie_name(request), secret, httponly=True, samesite="lax")
        return answer

    @app.get("/fake/logout", dependencies=[PUBLIC])
    def logout(request: Request) -> RedirectResponse:
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(cookie_name(request))
        return answer

    @app.get("/fake/kill/{pool}", dependencies=[PUBLIC])
    def kill(pool: str) -> str:
        fleet.kill(PoolName(pool))
        return "killed"

    @app.get("/fake/load/{pool}", dependencies=[PUBLIC])
    def load(pool: str, factor: float = 4.0) -> str:
        fleet.factor[PoolName(pool)] = factor
        return "loaded"

    @app.get("/fake/metrics", dependencies=[PUBLIC])
    def metrics(up: bool = True) -> str:
        fleet.metrics.down = not up
        return "up" if up else "down"

    @app.get("/fake/ticks", dependencies=[PUBLIC])
    def ticks(on: bool = True) -> str:
        fleet.ticking = on
        return "on" if on else "off"

    @app.get("/fake/lead", dependencies=[PUBLIC])
    def lead(on: bool = True) -> str:
        fleet.leads = on
        return "on" if on else "off"

    @app.get("/fake/tick", dependencies=[PUBLIC])
    def tick() -> float:
        fleet.step(max((datetime.now(UTC) - fleet.clock.now()).total_seconds(), 0.01))
        return time.time()

    @app.get("/fake/thread", dependencies=[PUBLIC])
    def thread() -> int:
        return fleet.thread

    @app.get("/fake/node/{node}", dependencies=[PUBLIC])
    def node(node: str, up: bool = True) -> str:
        fleet.runtimes[NodeName(node)].down = not up
        return "up" if up else "down"

    @app.get("/fake/database", dependencies=[PUBLIC])
    def database(up: bool = True) -> str:
        fleet.store.database.gone = not up
        return "up" if up else "down"

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--pools", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--quiet", action="store_true", help="nothing happens by itself")
    parser.add_argument("--still", action="store_true", help="nor does demand change")
    given = parser.parse_args()
    fleet = BigFleet(given.pools, given.nodes).warm_up()
    fleet.quiet, fleet.still = given.quiet, fleet.clock.now() if given.still else None
    ticker = threading.Thread(target=run, args=(fleet, given.interval), daemon=True)
    ticker.start()
    fleet.thread = ticker.native_id or 0
    print(f"open http://127.0.0.1:{given.port}/fake/login  (or show the bearer token {TOKEN!r})", flush=True)
    uvicorn.run(app_of(fleet), port=given.port, access_log=False, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
