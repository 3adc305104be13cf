"""Settings of a running nginx: changed, gone back to, refused; while its servers are always those of now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from controller.adapters.nginx import NginxGateway, NginxParts
from controller.adapters.nginx.rules import rules_of
from controller.core.decision import Memory, Plan
from controller.core.errors import GatewayRejected, GatewayUnavailable
from controller.core.gateways import GatewayReport
from controller.core.model import Address, GatewayPlan
from controller.core.revision import Moment, Revision
from controller.installation import Installation, Layout, PoolParts
from controller.reconcile.history import HistoryKeeper
from controller.reconcile.parts import HistoryParts
from controller.settings import PlanSettings, PoolSettings, PortSettings, Settings, parse
from controller.settings.front import front_of, written
from controller.stack.gateway_desk import GatewayDesk
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.fakes.running_nginx import RunningNginx, parts_in, plan, ports

FILE = """\
pools:
  - {name: smollm2, model: smollm2, checkpoint: small.gguf, gateway: {cache: "off"}}
plans:
  - {name: gold, tokens_per_day: TOKENS}
gateway:
  user_header: HEADER
"""
BAD_TLS = "  tls: {certificate: /nowhere/certificate.pem, key: /nowhere/key.pem}\n"
NOWHERE = Address("127.0.0.1", 9)


@dataclass
class Place:
    """An installation around one nginx. `lead` is what a controller that starts does."""

    layout: Layout
    clock: FakeClock = field(default_factory=FakeClock)
    ports: PortSettings = field(default_factory=ports)

    def __post_init__(self) -> None:
        self.layout.root.mkdir()
        Installation(runtime="process", pools={"smollm2": PoolParts(image="", checkpoint="/c.gguf")}).save(self.layout)
        self.write()
        first, folder, logs = self.settings(), self.layout.gateway, self.layout.logs
        parts = NginxParts(folder, logs, first.gateway, self.ports, self.clock, rules_of(first))
        self.nginx = RunningNginx(parts, self.clock)

    def write(self, header: str = "X-User-Id", tokens: int = 10, more: str = "") -> None:
        """What `stoker apply` leaves in the file."""
        text = FILE.replace("HEADER", header).replace("TOKENS", str(tokens))
        self.layout.config.write_text(text + more)

    def settings(self) -> Settings:
        found = parse(self.layout.config.read_text(), "stoker.yaml")
        return found.model_copy(update={"ports": self.ports})

    def lead(self) -> GatewayDesk:
        desk = GatewayDesk(self.layout, self.settings(), Installation.load(self.layout), self.clock)
        self.keeper = HistoryKeeper(HistoryParts(desk.current, desk.kept))
        return desk

    def tick(self, desk: GatewayDesk, wanted: GatewayPlan, number: int = 1) -> Revision | None:
        """Bring the plan to nginx, and keep what it took."""
        self.clock.advance(60)
        try:
            desk.gateway.apply(wanted)
        finally:
            decided = Plan((), wanted, Memory(), ())
            self.events = self.keeper.look(decided, Moment(self.clock.now(), number, 7))
        return desk.kept.newest()

    def text(self) -> str:
        return (self.layout.gateway / "nginx.conf").read_text()


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    made = FakeEngine()
    yield made
    made.close()


@pytest.fixture
def place(work: Path, tmp_path: Path) -> Iterator[Place]:
    made = Place(Layout(work / tmp_path.name[-12:]))  # the path of a unix socket has 108 bytes
    yield made
    made.nginx.stop()


def told(revision: Revision | None) -> list[str]:
    assert revision is not None
    return [cause.text for cause in revision.causes]


def test_equal_plans_are_rendered_anew_when_the_settings_changed(tmp_path: Path, engine: FakeEngine) -> None:
    clock = FakeClock()
    nginx = RunningNginx(parts_in(tmp_path, clock), clock)
    try:
        nginx.apply(plan(engine.address))
        before = nginx.gateway.running()
        assert before is not None
        nginx.gateway.use(replace(nginx.parts, gateway=nginx.parts.gateway.model_copy(update={"max_body_bytes": 2048})))
        assert nginx.gateway.running() is None, "it does not run that yet"
        clock.advance(60)
        nginx.gateway.apply(plan(engine.address))
        after = nginx.gateway.running()
        assert after is not None
        assert (after.plan, after.generation == before.generation) == (before.plan, False)
        assert nginx.post(b'{"model":"smollm2","x":"' + b"x" * 3000 + b'"}')[0] == 413

        # A new controller with other settings again finds that nginx runs the old ones.
        other = NginxGateway(nginx.parts)
        assert (other.state().applied, other.running()) == (plan(engine.address), None)
        other.apply(plan(engine.address))
        found = other.running()
        assert found is not None
        assert found.generation == before.generation
    finally:
        nginx.stop()


def test_going_back_and_forth(place: Place, engine: FakeEngine) -> None:
    desk = place.lead()
    place.tick(desk, plan())
    assert told(place.tick(desk, plan(engine.address), 2)) == ["smollm2-001 in"]

    place.write(header="X-Session", tokens=99)
    desk = place.lead()
    changed = place.tick(desk, plan(engine.address), 3)
    assert told(changed) == [
        "`stoker apply` has brought a changed file.",
        "gateway.user_header: X-User-Id -> X-Session",
        "plans.gold.tokens_per_day: 10 -> 99",
    ]
    assert [event.event for event in place.events] == ["gateway_settings_changed"]
    assert desk.offer().plans["gold"].per_day == 99

    gone = GatewayPlan((replace(plan().pools[0], servers=()),))
    place.tick(desk, gone, 4)
    place.tick(desk, plan(engine.address), 5)
    assert desk.revert(4, "for nothing", 0).changed is False
    done = desk.revert(2, "sessions are no users", 0)
    assert (done.changed, done.text) == (True, "nginx goes back to the settings of 2, with the servers of now.")
    assert "x_session" in place.text(), "not before the next tick"
    back = place.tick(desk, plan(engine.address), 6)
    assert told(back)[0] == "Went back to the settings of 2: sessions are no users."
    assert ("x_session" in place.text(), "x_user_id" in place.text()) == (False, True)
    assert desk.offer().plans["gold"].per_day == 10, "quotas, too"
    assert (desk.standing().reverted_to, desk.standing().why) == (2, "sessions are no users")
    assert desk.standing().taken_at == desk.revisions()[0].moment.at
    assert place.nginx.post()[0] == 200

    again = place.lead()  # a controller that was restarted
    place.tick(again, plan(), 1)
    assert "x_user_id" in place.text()
    assert again.standing().reverted_to == 2
    place.tick(again, plan(engine.address), 2)
    assert again.undo().changed is True
    end = place.tick(again, plan(engine.address), 3)
    assert told(end)[0] == "The settings are no longer those of 2."
    assert ("x_session" in place.text(), again.standing().reverted_to) == (True, None)
    assert again.undo().changed is False


def test_a_newer_file_is_a_newer_word(place: Place, engine: FakeEngine) -> None:
    desk = place.lead()
    place.tick(desk, plan(engine.address))
    place.write(header="X-Session")
    desk = place.lead()
    place.tick(desk, plan(engine.address))
    desk.revert(1, "a test", 0)
    place.tick(desk, plan(engine.address))

    place.write(header="X-Other")
    desk = place.lead()
    assert desk.standing().reverted_to is None
    assert told(place.tick(desk, plan(engine.address)))[0] == "The settings are no longer those of 1."
    assert "x_other" in place.text()

    place.write(header="X-Session")  # an apply that failed has put the old file back
    assert place.lead().standing().reverted_to == 1


def test_settings_that_nginx_refuses_are_refused_and_nothing_changes(place: Place, engine: FakeEngine) -> None:
    desk = place.lead()
    place.tick(desk, plan(engine.address))
    kept = desk.kept.newest()
    assert kept is not None
    spoilt = dict(kept.configuration.settings)
    spoilt["gateway"] = {**spoilt["gateway"], "tls": {"certificate": "/nowhere/c.pem", "key": "/nowhere/k.pem"}}
    desk.kept.keep(replace(kept, number=2, configuration=replace(kept.configuration, settings=spoilt)))
    before = place.text()

    with pytest.raises(GatewayRejected, match=r"/nowhere/c\.pem"):
        desk.revert(2, "a test", 0)
    with pytest.raises(GatewayRejected, match="no room for them"):
        desk.revert(2, "a test", 200_000)
    with pytest.raises(KeyError):
        desk.revert(3, "a test", 0)
    assert (place.text(), desk.standing().reverted_to) == (before, None)
    assert sorted(path.name for path in place.layout.gateway.glob("nginx.conf*")) == ["nginx.conf"]


def test_a_bad_file_keeps_no_dead_replica_in_nginx(place: Place, engine: FakeEngine) -> None:
    """`stoker apply` took a certificate that is not there: what nginx took last serves, with the servers of now."""
    desk = place.lead()
    place.tick(desk, plan(engine.address))
    good = place.text()
    place.write(header="X-Session", more=BAD_TLS)
    desk = place.lead()

    with pytest.raises(GatewayRejected, match="those that it took last serve until that is mended"):
        place.tick(desk, plan(engine.address, engine.address))
    assert desk.gateway.state().applied == plan(engine.address, engine.address)
    assert ("x_user_id" in place.text(), place.text() == good) == (True, False)
    assert "/nowhere/certificate.pem" in desk.standing().refused
    assert front_of(desk.gateway.settings).gateway.tls is None, "nor are the others told to use it"

    place.write(header="X-Session")
    desk = place.lead()
    place.tick(desk, plan(engine.address))
    assert ("x_session" in place.text(), desk.standing().refused) == (True, "")


def test_a_plan_that_is_impossible_is_no_fault_of_the_settings(place: Place) -> None:
    desk = place.lead()
    place.tick(desk, plan())
    before = place.text()
    wrong = plan(replace(NOWHERE, port=99999))

    with pytest.raises(GatewayRejected, match="invalid port"):
        place.tick(desk, wrong)
    assert (place.text(), desk.standing().refused) == (before, "")


def test_what_other_machines_are_told(place: Place, engine: FakeEngine) -> None:
    """Also where nginx here does not answer."""
    desk = place.lead()
    place.tick(desk, plan(engine.address))
    first = desk.others.hear(GatewayReport("second", "1"), place.clock.now())
    assert first is not None
    assert (first.plan, first.settings) == (plan(engine.address), written(front_of(place.settings())))

    place.nginx.kill()
    with pytest.raises(GatewayUnavailable):
        place.tick(desk, plan())
    second = desk.others.hear(GatewayReport("second", "1", plan_version=first.version), place.clock.now())
    assert second is not None
    assert second.plan == plan()


def test_a_pool_that_is_new_since_then_keeps_what_the_file_says(place: Place) -> None:
    settings = place.settings()
    front = front_of(settings)
    pool = PoolSettings(name="other", model="other", checkpoint="o.gguf")
    more = settings.model_copy(update={"pools": (*settings.pools, pool), "plans": (PlanSettings(name="silver"),)})
    desk = GatewayDesk(place.layout, more, Installation.load(place.layout), place.clock)

    tried = desk.gateway.try_out(front)
    assert ([pool.name for pool in tried.pools], [plan.name for plan in tried.plans]) == (
        ["smollm2", "other"],
        ["gold"],
    )
