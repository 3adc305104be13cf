"""The nginx of other machines: what they are told, what is known of them, and who lags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.access import KeyId, version_of
from controller.core.gateways import GatewayAnswer, GatewayReport, KeysAnswer, TooManyGateways
from controller.core.quota import Block, QuotaKind
from controller.reconcile.gateways import MOST, Gateways
from controller.reconcile.parts import GatewayParts
from controller.reconcile.tick import Ticker
from controller.reconcile.watch import GatewayWatch
from controller.settings import GatewaySettings, PoolSettings, Settings
from tests.fakes.clock import START, FakeClock
from tests.scenarios.world import World
from tests.unit.core.test_revision import routes

SETTINGS = Settings(pools=(PoolSettings(name="llama", model="llama", checkpoint="m.gguf"),))
ONE, TWO = routes(llama_1=1), routes(llama_2=2)
RECORD = "key_000000000001 - 0 *"
BLOCK = Block(START + timedelta(hours=1), QuotaKind.DAY)


@dataclass
class Case:
    """Gateways, and one of them that follows as a good one does. `ask` is a second later."""

    clock: FakeClock = field(default_factory=FakeClock)
    gateways: Gateways = field(default_factory=Gateways)
    report: GatewayReport = field(default_factory=lambda: GatewayReport("second", "1.0"))

    def want(self, plan: object = ONE, settings: Settings = SETTINGS) -> None:
        self.gateways.want(plan, settings, self.clock.now())  # type: ignore[arg-type]

    def ask(self, seconds: float = 1, **changes: str) -> GatewayAnswer:
        """What it is answered; it takes all of that unless something is wrong with it."""
        self.clock.advance(seconds)
        self.report = replace(self.report, **changes)  # type: ignore[arg-type]
        answer = self.gateways.hear(self.report, self.clock.now())
        assert answer is not None
        if not self.report.error:
            keys = answer.keys.version if answer.keys else self.report.keys_version
            self.report = replace(self.report, plan_version=answer.version, keys_version=keys)
        return answer

    def watch(self, seconds: float = 0) -> list[str]:
        self.clock.advance(seconds)
        return [f"{event.event} {event.subject}" for event in self.gateways.watch(self.clock.now())]

    def lag(self) -> float:
        (status,) = self.gateways.known(self.clock.now())
        return status.lag(self.clock.now()).total_seconds()


@pytest.fixture
def case() -> Case:
    return Case()


def test_before_the_first_tick_nobody_knows(case: Case) -> None:
    assert case.gateways.hear(case.report, case.clock.now()) is None
    assert [status.report.name for status in case.gateways.known(case.clock.now())] == ["second"]


def test_what_it_has_is_not_told_again(case: Case) -> None:
    case.want()
    first = case.ask()
    assert first.plan == ONE
    assert first.settings is not None
    assert first.settings["pools"][0]["name"] == "llama"
    assert first.keys is None, "a database that never had a key leaves its keys alone"

    assert case.ask() == GatewayAnswer(first.version)
    case.want()
    assert case.ask() == GatewayAnswer(first.version)
    case.want(TWO)
    assert case.ask().plan == TWO
    other = SETTINGS.model_copy(update={"gateway": GatewaySettings(user_header="X-Session")})
    case.want(TWO, other)
    changed = case.ask().settings
    assert changed is not None
    assert changed["gateway"]["user_header"] == "X-Session"
    case.want(ONE)
    assert case.ask().version == first.version, "equal wishes have equal versions"


def test_keys_are_told_whole_and_then_by_what_changed(case: Case) -> None:
    case.want()
    one, two = {"a" * 64: RECORD}, {"a" * 64: RECORD, "b" * 64: RECORD}
    case.gateways.want_keys(one, {})
    first = case.ask().keys
    assert first == KeysAnswer(f"{version_of(one)}.{version_of({})}", {}, one)
    assert case.ask().keys is None

    case.gateways.want_keys(two, {})
    second = case.ask().keys
    assert second is not None
    assert (second.base, second.records, second.delete) == (version_of(one), {"b" * 64: RECORD}, ())
    case.gateways.want_keys(two, {KeyId("key_000000000001"): BLOCK})
    blocked = case.ask().keys
    assert blocked is not None
    assert (blocked.base, blocked.records, blocked.blocks) == (
        version_of(two),
        {},
        {"key_000000000001": BLOCK.text()},
    )
    assert case.ask(keys_version="").keys == KeysAnswer(blocked.version, blocked.blocks, two), "all, where it asks"


RECORDS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"))


@given(st.lists(RECORDS, min_size=1, max_size=8), st.data())
def test_a_difference_leads_to_what_is_wanted_from_wherever_one_is(
    steps: list[dict[str, str]], data: st.DataObject
) -> None:
    gateways, clock = Gateways(), FakeClock()
    gateways.want(ONE, SETTINGS, clock.now())
    has: dict[str, str] = {}
    report = GatewayReport("second", "1.0")
    for records in steps:
        gateways.want_keys(records, {})
        if data.draw(st.booleans()):  # another one asks meanwhile, so that this step is one of its own
            gateways.hear(GatewayReport("third", "1.0"), clock.now())
        if data.draw(st.booleans()):
            answer = gateways.hear(report, clock.now())
            has = after(has, answer.keys if answer else None)
            report = replace(report, keys_version=f"{version_of(has)}.{version_of({})}")
    answer = gateways.hear(report, clock.now())
    assert after(has, answer.keys if answer else None) == steps[-1]


def after(has: dict[str, str], keys: KeysAnswer | None) -> dict[str, str]:
    """What a gateway makes of it."""
    if keys is None:
        return has
    if keys.base is None:
        return dict(keys.records)
    assert keys.base == version_of(has)
    return {**{digest: text for digest, text in has.items() if digest not in keys.delete}, **keys.records}


def test_differences_that_are_many_are_not_remembered(case: Case) -> None:
    case.want()
    few = {f"{number:064x}": RECORD for number in range(10)}
    case.gateways.want_keys(few, {})
    case.ask()
    case.gateways.want_keys({f"{number:064x}": RECORD for number in range(20_011)}, {})

    keys = case.ask().keys
    assert keys is not None
    assert (keys.base, len(keys.records)) == (None, 20_011)


def test_one_that_follows_does_not_lag(case: Case) -> None:
    case.want()
    case.ask()
    assert case.watch() == ["gateway_joined gateway/second"]
    for number in range(1, 30):
        case.want(routes(llama_1=number))
        case.ask()
        assert case.lag() <= 2
    assert case.watch() == []


def test_one_that_is_silent_lags_and_is_told_once_and_back_once(case: Case) -> None:
    case.want()
    case.ask()
    case.ask()
    case.watch()
    assert case.watch(9) == []
    assert case.watch(2) == ["gateway_lags gateway/second"]
    assert case.lag() == 11
    assert case.watch(100) == []
    case.ask()
    assert case.watch() == ["gateway_current gateway/second"]
    assert case.watch() == []


def test_one_that_cannot_take_it_lags_with_its_error(case: Case) -> None:
    case.want()
    case.ask()
    case.ask()
    case.watch()
    case.want(TWO)
    for _ in range(12):
        case.ask(error="nginx refuses the configuration")
    (event,) = case.gateways.watch(case.clock.now())
    assert event.event == "gateway_lags"
    assert event.message == (
        "Has not taken what it should for 12 s, and was heard of 0 s ago: nginx refuses the configuration."
    )
    assert case.ask(error="").plan == TWO
    case.ask()
    assert case.watch() == ["gateway_current gateway/second"]


def test_one_that_has_an_old_version_lags_since_that_was_the_newest(case: Case) -> None:
    case.want()
    case.ask()
    case.ask()
    old = case.report
    case.want(TWO)
    case.clock.advance(6)
    case.gateways.hear(old, case.clock.now())
    assert case.lag() == 6
    case.gateways.hear(replace(old, plan_version="never-heard-of"), case.clock.now())
    assert case.lag() == 6


def test_one_that_was_refused_is_known_with_its_error_and_lags(case: Case) -> None:
    case.want()
    for _ in range(12):
        case.clock.advance(1)
        case.gateways.refuse(replace(case.report, error="install stoker==1.1"), case.clock.now())

    (status,) = case.gateways.known(case.clock.now())
    assert (status.report.error, status.lags(case.clock.now())) == ("install stoker==1.1", True)


def test_one_that_is_not_heard_of_for_an_hour_is_forgotten(case: Case) -> None:
    case.want()
    case.ask()
    case.watch()
    case.watch(11)
    assert case.watch(3600) == []
    assert case.gateways.known(case.clock.now()) == ()
    case.ask()
    assert case.watch() == ["gateway_joined gateway/second"]


def test_no_more_than_a_hundred_can_join(case: Case) -> None:
    case.want()
    for number in range(MOST):
        case.gateways.hear(GatewayReport(f"g-{number}", "1.0"), case.clock.now())

    with pytest.raises(TooManyGateways, match="forgotten after an hour"):
        case.ask()
    case.gateways.hear(GatewayReport("g-1", "1.0"), case.clock.now())


@dataclass
class Scraped:
    """What Prometheus was told, again and again. `full` is a disk without room."""

    told: list[Mapping[str, str]] = field(default_factory=list)
    full: bool = False

    def __call__(self, exporters: Mapping[str, str]) -> None:
        if self.full:
            raise OSError(28, "No space left on device", "edge.json")
        self.told.append(dict(exporters))


def test_prometheus_is_told_of_their_exporters_once_each(case: Case) -> None:
    scraped, watch = Scraped(), Case.watch
    assert watch(case) == []
    parts = GatewayParts(case.gateways, scraped, own="127.0.0.1:9401")
    keeper = GatewayWatch(parts)
    for name, address in (("a", "10.0.0.1:9401"), ("b", "10.0.0.1:9401"), ("c", None), ("d", "127.0.0.1:9401")):
        case.gateways.hear(GatewayReport(name, "1.0", metrics=address), case.clock.now())
    keeper.run(case.clock.now())

    assert scraped.told == [{"a": "10.0.0.1:9401"}], "not twice, and not the one that is scraped anyhow"


def test_a_new_controller_scrapes_on_what_the_old_one_did(case: Case) -> None:
    scraped = Scraped()
    parts = GatewayParts(case.gateways, scraped, scraped={"a": "10.0.0.1:1", "b": "10.0.0.2:1"})
    keeper = GatewayWatch(parts)
    keeper.run(case.clock.now())
    case.gateways.hear(GatewayReport("a", "1.0", metrics="10.0.0.9:1"), case.clock.now())
    keeper.run(case.clock.now())
    case.clock.advance(3601)
    case.gateways.hear(GatewayReport("a", "1.0", metrics="10.0.0.9:1"), case.clock.now())
    keeper.run(case.clock.now())

    assert scraped.told == [
        {"a": "10.0.0.1:1", "b": "10.0.0.2:1"},
        {"a": "10.0.0.9:1", "b": "10.0.0.2:1"},
        {"a": "10.0.0.9:1"},
    ]


def test_a_tick_tells_of_them() -> None:
    world, gateways, scraped = World().up(), Gateways(), Scraped()
    parts = replace(world.ticker._parts, gateways=GatewayParts(gateways, scraped))
    world.ticker = Ticker(parts, (world.policy,))
    gateways.hear(GatewayReport("second", "1.0", metrics="10.0.0.2:9401"), world.clock.now())
    world.ticker.run()
    assert ("gateway_joined", "gateway/second") in [(event.event, event.subject) for event in world.sink.told]
    assert world.store.events(limit=1)[0].event == "gateway_joined"
    assert scraped.told == [{"second": "10.0.0.2:9401"}]

    scraped.full = True
    world.ticker.run()
    assert world.sink.names()[-1] == "targets_failed"
    assert world.sink.reports[-1].failed is False
