"""What a tick does about the API keys: nginx knows them, quotas block, usage is saved, and no failure spreads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from controller.core.access import ApiKey, KeyId, revoke
from controller.core.errors import LostLease
from controller.core.model import ReplicaId
from controller.core.quota import Block, QuotaKind, TokenLimits
from controller.reconcile.access import AccessKeeper
from controller.reconcile.parts import AccessParts
from controller.reconcile.tick import Ticker
from tests.fakes.clock import START, FakeClock
from tests.fakes.gate import FakeGate, FakeTokens
from tests.fakes.store import FakeKeys, FakeStore
from tests.scenarios.world import World

MIDNIGHT = datetime(2026, 1, 6, tzinfo=UTC)
LIMITS = {"gold": TokenLimits(per_minute=100, per_day=1000)}


def key(number: int, plan: str | None = None, ends: timedelta | None = None) -> ApiKey:
    expires = None if ends is None else START + ends
    return ApiKey(KeyId(f"key_{number:012x}"), "ci", f"{number:064x}", plan, (), START, expires)


ONE, GOLD = key(1), key(2, "gold")


@dataclass
class Case:
    """A keeper on fakes. `run` is a tick, 2 s after the one before."""

    limits: dict[str, TokenLimits] = field(default_factory=lambda: dict(LIMITS))
    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStore = field(default_factory=FakeStore)
    gate: FakeGate = field(default_factory=FakeGate)

    def __post_init__(self) -> None:
        self.tokens = FakeTokens(self.clock)
        self.keys = FakeKeys(self.store)
        self.keeper = self.leader()

    def leader(self) -> AccessKeeper:
        """Another one, on the same database and the same nginx."""
        parts = replace(World().ticker._parts, clock=self.clock, metrics=self.tokens, store=self.store)
        self.keeper = AccessKeeper(parts, AccessParts(self.keys, self.gate, self.limits))
        return self.keeper

    def run(self, seconds: float = 2, **counters: float) -> list[str]:
        self.clock.advance(seconds)
        self.tokens.counters |= counters
        return [f"{event.event} {event.subject} {event.reason}" for event in self.keeper.run()]

    def saved(self) -> dict[str, float]:
        return {total.key: total.tokens for total in self.keys.usage(START.date())}


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_database_that_never_had_a_key_leaves_nginx_alone(case: Case) -> None:
    assert case.run() == []
    assert (case.gate.looks, case.tokens.asked) == ([], 0)


def test_nginx_knows_a_key_after_the_next_tick_and_no_more_once_it_is_revoked(case: Case) -> None:
    case.keys.add_key(ONE)
    assert case.run() == ["keys_applied gateway KeysChanged"]
    assert case.gate.ids() == [ONE.id]
    assert case.run() == []

    case.keys.change_key(ONE.id, lambda known: (revoke(known, START),))
    assert case.run() == ["keys_applied gateway KeysChanged"]
    assert case.gate.ids() == []


def test_keys_are_read_only_when_they_changed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.keys.add_key(ONE)
    case.run()
    asked: list[int] = []
    monkeypatch.setattr(
        case.keys, "list_keys", lambda since=0: asked.append(since) or FakeKeys.list_keys(case.keys, since)
    )
    case.run()
    assert (asked, case.keeper.state.usable) == ([], 1)

    case.keys.add_key(GOLD)
    case.run()
    assert (asked, case.keeper.state.usable) == ([1], 2), "and only those that did"


def test_a_database_that_came_back_from_an_older_copy_is_read_anew(case: Case) -> None:
    for one in (ONE, GOLD):
        case.keys.add_key(one)
    case.run()
    database = case.store.database
    del database.keys[GOLD.id], database.changed[GOLD.id]
    database.keys_version = 1

    assert case.run() == ["keys_applied gateway KeysChanged"]
    assert case.gate.ids() == [ONE.id]


def test_a_key_leaves_nginx_when_it_ends(case: Case) -> None:
    case.keys.add_key(ONE)
    case.keys.add_key(key(3, ends=timedelta(seconds=5)))
    assert case.run(2) == ["keys_applied gateway KeysChanged"]
    assert case.run(2) == []
    assert case.gate.ids() == [ONE.id, key(3).id]
    assert case.run(2) == ["keys_applied gateway KeysChanged"]
    assert case.gate.ids() == [ONE.id]
    assert case.run(2) == []


def test_an_nginx_that_forgot_is_told_again(case: Case) -> None:
    case.keys.add_key(ONE)
    case.run()
    case.gate.forget()

    assert case.run() == ["keys_applied gateway NginxForgot"]
    assert case.gate.ids() == [ONE.id]


def test_where_nginx_is_away_the_keys_come_as_soon_as_it_is_back(case: Case) -> None:
    case.keys.add_key(ONE)
    case.gate.down = True
    assert case.run() == case.run() == ["keys_apply_failed gateway GatewayUnavailable"]
    case.gate.down = False

    assert case.run() == ["keys_applied gateway KeysChanged"]


def test_where_the_database_is_away_nginx_keeps_what_it_knows(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.keys.add_key(ONE)
    case.store.database.gone = True
    case.gate.forget()
    assert case.run(**{GOLD.id: 100}) == [
        "keys_read_failed keys TransientError",
        f"key_blocked key/{GOLD.id} MinuteQuota",
    ]
    assert case.gate.ids() == [GOLD.id], "also one that was started meanwhile"
    assert case.gate.blocks == {GOLD.id: Block(case.clock.now() + timedelta(seconds=60), QuotaKind.MINUTE)}
    assert "usage_save_failed keys TransientError" in case.run(10)

    case.store.database.gone = False
    assert case.run() == ["keys_applied gateway KeysChanged"]
    assert case.gate.ids() == [ONE.id, GOLD.id]


def test_a_leader_that_cannot_read_the_keys_yet_tells_nginx_nothing(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.run(10, **{GOLD.id: 1000})
    case.run(10)
    blocks = case.gate.blocks
    assert list(blocks or ()) == [GOLD.id]

    case.leader()
    case.store.database.gone = True
    assert case.run() == ["keys_read_failed keys TransientError"]
    case.store.database.gone = False
    case.tokens.down = True
    assert case.run() == []
    assert case.gate.blocks == blocks == {GOLD.id: Block(MIDNIGHT, QuotaKind.DAY)}, "nobody is let in meanwhile"


def test_a_quota_blocks_and_lets_in_again(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    assert case.run(**{GOLD.id: 100}) == [f"key_blocked key/{GOLD.id} MinuteQuota"]
    assert list(case.gate.blocks or ()) == [GOLD.id]
    assert case.run(58) == []
    assert case.run(2) == [f"key_unblocked key/{GOLD.id} MinuteQuota"]
    assert case.gate.blocks == {}


def test_what_is_said_of_a_block(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.tokens.counters[GOLD.id] = 1234
    case.clock.advance(2)
    (event,) = case.keeper.run()

    assert event.message == "Used 1234 of 1000 tokens of this day; it is refused until 2026-01-06T00:00:00Z."
    assert event.numbers == {"used": 1234.0, "limit": 1000.0}


def test_a_blocked_key_that_is_revoked_is_not_let_in_again(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.run(**{GOLD.id: 100})
    case.keys.change_key(GOLD.id, lambda known: (revoke(known, START),))

    assert case.run() == ["keys_applied gateway KeysChanged"]
    assert (case.gate.ids(), case.gate.blocks) == ([], {})


def test_labels_that_are_no_keys_are_nobodys_tokens(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.run(other=1e9, **{"": 1e9})

    assert list(case.keeper.state.quota.usage) == [GOLD.id]


@pytest.mark.parametrize("away", ["down", "not scraped"])
def test_where_nobody_knows_the_counters_nothing_changes(case: Case, away: str) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.run(**{GOLD.id: 100})
    case.tokens.down, case.tokens.scraped = away == "down", away == "down"
    assert case.run(10, **{GOLD.id: 5000}) == []
    assert list(case.gate.blocks or ()) == [GOLD.id]
    assert case.keeper.state.quota.usage[GOLD.id].today(case.clock.now()) == 100


def test_without_a_quota_nobody_is_asked(case: Case) -> None:
    case.limits.clear()
    case.keys.add_key(GOLD)
    case.run()

    assert case.tokens.asked == 0
    assert (case.keeper.state.counted, case.keeper.state.usable) == (False, 1)


def test_usage_is_saved_every_ten_seconds_and_at_the_end(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    for tokens in (10, 20, 30):
        case.run(2, **{GOLD.id: tokens})
    assert case.saved() == {GOLD.id: 0}
    case.run(4, **{GOLD.id: 40})
    assert case.saved() == {GOLD.id: 40}
    case.run(2, **{GOLD.id: 50})
    assert case.keeper.close() == []
    assert case.saved() == {GOLD.id: 50}


def test_what_did_not_change_is_not_saved_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    monkeypatch.setattr(case.keys, "save_usage", lambda totals: pytest.fail(f"{totals}"))
    case.run(60)
    case.keeper.close()


def test_a_clock_that_went_back_does_not_put_off_the_saving(case: Case) -> None:
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.run(-3600, **{GOLD.id: 5})

    assert case.saved() == {GOLD.id: 5}


def test_a_day_that_ends_keeps_its_total(case: Case) -> None:
    case.clock.advance((MIDNIGHT - START).total_seconds() - 5)
    case.keys.add_key(GOLD)
    case.run(1, **{GOLD.id: 0})
    case.run(1, **{GOLD.id: 70})
    case.run(8, **{GOLD.id: 90})
    case.keeper.close()

    totals = case.keys.usage(START.date())
    assert [(total.day.day, total.tokens, total.counter) for total in totals] == [(5, 70, 70), (6, 20, 90)]


def test_a_new_leader_counts_on(case: Case) -> None:
    """The old one was killed: what it had counted since it saved last is counted by the next one."""
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    case.run(10, **{GOLD.id: 600})
    case.run(2, **{GOLD.id: 650})
    case.leader()
    case.run(2, **{GOLD.id: 700})

    assert case.keeper.state.quota.usage[GOLD.id].today(case.clock.now()) == 700


def test_who_has_lost_the_lead_says_so(case: Case) -> None:
    case.store.take_term()
    case.keys.add_key(GOLD)
    case.run(**{GOLD.id: 0})
    FakeStore(case.store.database).take_term()
    case.tokens.counters[GOLD.id] = 5
    case.clock.advance(10)
    with pytest.raises(LostLease):
        case.keeper.run()
    assert case.keeper.close() == [], "what is not saved, the next one counts on its own"


def test_a_record_that_nginx_could_misread_is_told_once(case: Case) -> None:
    case.keys.add_key(replace(ONE, plan="a b"))
    case.keys.add_key(GOLD)

    assert case.run() == [f"key_left_out key/{ONE.id} BadRecord", "keys_applied gateway KeysChanged"]
    case.keys.add_key(key(3))
    assert case.run() == ["keys_applied gateway KeysChanged"]
    assert case.gate.ids() == [GOLD.id, key(3).id]


class TestTicks:
    """With everything else of a tick around it."""

    @pytest.fixture
    def world(self) -> World:
        world = World().up()
        self.gate, self.keys = FakeGate(), FakeKeys(world.store)
        parts = replace(world.ticker._parts, access=AccessParts(self.keys, self.gate, {}))
        world.ticker = Ticker(parts, (world.policy,))
        self.keys.add_key(ONE)
        world.ticker.run()
        assert self.gate.ids() == [ONE.id]
        world.sink.told.clear()
        return world

    def test_changes_become_rows_and_failures_only_lines(self, world: World) -> None:
        self.keys.add_key(GOLD)
        world.ticker.run()
        told = [event for event in world.sink.told if event.event == "keys_applied"]
        assert [(event.subject, event.reason, event.message) for event in told] == [
            ("gateway", "KeysChanged", "Lets 2 keys in.")
        ]
        assert (told[0].tick, told[0].term) == (2, 2)
        assert world.store.events(limit=1) == (told[0],)

        self.gate.down = True
        world.ticker.run()
        assert world.sink.names()[-1] == "keys_apply_failed"
        assert world.store.events(limit=1) == (told[0],)
        assert world.sink.reports[-1].failed is False

    def test_a_fault_of_it_is_counted_after_all_was_healed(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.gate, "apply", broken)
        world.runtime.kill(ReplicaId("llama-2"))
        world.run(10)

        assert world.routed() == ["llama-1", "llama-3", "llama-4"]
        assert [event.reason for event in world.sink.told if event.event == "tick_failed"][0] == "ZeroDivisionError"
        assert world.sink.reports[-1].failed is True

    def test_a_key_is_revoked_also_where_nothing_can_be_healed(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(world.ticker._observer, "observe", broken)
        self.keys.change_key(ONE.id, lambda known: (revoke(known, START),))
        world.ticker.run()

        assert self.gate.ids() == []
        assert world.sink.reports[-1].failed is True

    def test_nginx_is_asked_after_it_was_reloaded(self, world: World) -> None:
        self.gate.looks.clear()
        world.ticker.run()
        world.runtime.kill(ReplicaId("llama-2"))
        world.run(4)

        assert self.gate.looks[0] is False
        assert True in self.gate.looks

    def test_who_does_not_lead_any_more_touches_nothing(self, world: World) -> None:
        FakeStore(world.store.database).take_term()
        self.gate.looks.clear()
        world.ticker.run()
        world.ticker.run()

        assert self.gate.looks == []
        assert world.ticker.lost_lease

    def test_the_end_of_the_lead_tells_what_could_not_be_saved(self, world: World) -> None:
        access = AccessParts(self.keys, self.gate, LIMITS)
        tokens = FakeTokens(world.clock)
        parts = replace(world.ticker._parts, access=access)
        ticker = Ticker(parts, (world.policy,))
        assert ticker._access is not None
        ticker._access._parts = replace(parts, metrics=tokens)
        tokens.counters[GOLD.id] = 0
        ticker.run()
        tokens.counters[GOLD.id] = 7
        ticker.run()
        world.store.database.gone = True
        world.sink.told.clear()
        ticker.close()

        assert world.sink.names() == ["usage_save_failed"]
        assert ticker.access().quota.usage[GOLD.id].today(world.clock.now()) == 7


def broken(*_: object, **__: object) -> NoReturn:
    raise ZeroDivisionError("nobody expected this")
