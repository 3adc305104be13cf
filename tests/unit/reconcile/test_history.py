"""What a tick does about the history of nginx: every configuration is kept with its reasons, and no failure spreads."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from typing import NoReturn

import pytest

from controller.core.errors import TransientError
from controller.core.model import ReplicaId
from controller.core.revision import Configuration, Revision
from controller.reconcile.parts import HistoryParts
from controller.reconcile.tick import Ticker
from tests.fakes.gateway import FakeGateway
from tests.scenarios.world import World


@dataclass
class Kept:
    """See `RevisionStore`. `full` is a disk without room."""

    revisions: list[Revision] = field(default_factory=list)
    full: bool = False

    def newest(self) -> Revision | None:
        return self.revisions[-1] if self.revisions else None

    def keep(self, revision: Revision) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device", "/history/1.json")
        self.revisions.append(revision)

    def causes(self, index: int = -1) -> list[str]:
        return [f"{cause.code} {cause.text}" for cause in self.revisions[index].causes]


@dataclass
class Case:
    """A controller on fakes, and what its gateway runs. `settings` are those that it was rendered with."""

    world: World = field(default_factory=World)
    kept: Kept = field(default_factory=Kept)
    settings: dict[str, str] = field(default_factory=lambda: {"user_header": "X-User-Id"})
    known: bool = True

    def __post_init__(self) -> None:
        self.controller()

    def controller(self) -> Ticker:
        parts = replace(self.world.ticker._parts, history=HistoryParts(self.current, self.kept))
        self.world.ticker = Ticker(parts, (self.world.policy,))
        return self.world.ticker

    def current(self) -> Configuration | None:
        gateway: FakeGateway = self.world.gateway
        plan = gateway.state().applied
        generation = f"{hash((plan, *self.settings.values())):x}"
        return Configuration(generation, "text", plan, {"gateway": dict(self.settings)}) if self.known else None

    def up(self) -> Case:
        self.world.up()
        return self


@pytest.fixture
def case() -> Case:
    return Case().up()


def test_each_configuration_is_kept_with_what_led_to_it(case: Case) -> None:
    count = len(case.kept.revisions)
    assert count >= 2
    assert case.kept.revisions[0].number == 1
    joined = next(revision for revision in case.kept.revisions if ReplicaId("llama-3") in revision.entered)
    (cause,) = (cause for cause in joined.causes if "llama-3" in cause.text)
    assert (cause.code, cause.text[:18]) == ("ProbePassed", "llama-3 in: ready:")

    case.world.run(10)
    assert len(case.kept.revisions) == count, "nothing has changed"
    case.world.runtime.kill(ReplicaId("llama-2"))
    case.world.run(4)

    gone = case.kept.revisions[count]
    assert (gone.number, gone.left, gone.entered) == (count + 1, (ReplicaId("llama-2"),), ())
    assert case.kept.causes(count)[0].startswith("ContainerExited llama-2 out:")
    told = [event for event in case.world.store.events(limit=99) if event.tick == gone.moment.tick]
    assert {"gateway_reloaded", "replica_stopped"} <= {event.event for event in told}, "and leads to the ledger"
    assert {event.term for event in told} == {gone.moment.term}


def test_a_reason_is_not_lost_while_a_reload_has_to_wait(case: Case) -> None:
    """Two replicas fail within the interval between two reloads: the second one leaves nginx in a later tick."""
    case.world.runtime.kill(ReplicaId("llama-1"))
    case.world.ticker.run()
    case.world.runtime.kill(ReplicaId("llama-2"))
    case.world.ticker.run()
    assert [str(name) for name in case.kept.revisions[-1].left] == ["llama-1"]
    case.world.run(4)

    left = next(revision for revision in case.kept.revisions if ReplicaId("llama-2") in revision.left)
    assert any(text.text.startswith("llama-2 out:") for text in left.causes)


def test_other_settings_are_an_event_and_a_reload(case: Case) -> None:
    case.settings["user_header"] = "X-Session"
    case.world.sink.told.clear()
    case.world.ticker.run()

    assert case.kept.causes() == [
        "Applied `stoker apply` has brought a changed file.",
        "SettingsChanged gateway.user_header: X-User-Id -> X-Session",
    ]
    (event,) = case.world.sink.told
    assert (event.event, event.reason) == ("gateway_settings_changed", "Applied")
    assert event.message == ("`stoker apply` has brought a changed file; gateway.user_header: X-User-Id -> X-Session.")
    assert case.world.store.events(limit=1) == (event,)
    assert case.world.sink.reports[-1].changed_gateway is True
    case.world.ticker.run()
    assert case.world.sink.reports[-1].changed_gateway is False


def test_a_controller_that_was_restarted_goes_on(case: Case) -> None:
    count = len(case.kept.revisions)
    case.controller().run()
    assert len(case.kept.revisions) == count

    case.settings["user_header"] = "X-Session"
    case.controller().run()
    assert case.kept.revisions[-1].number == count + 1


def test_what_is_not_known_is_not_kept(case: Case) -> None:
    count = len(case.kept.revisions)
    case.known = False
    case.settings["user_header"] = "X-Session"
    case.world.ticker.run()

    assert len(case.kept.revisions) == count
    assert case.world.sink.reports[-1].failed is False


def test_a_full_disk_is_an_event_and_nothing_else(case: Case) -> None:
    case.kept.full = True
    case.world.sink.told.clear()
    case.world.runtime.kill(ReplicaId("llama-2"))
    case.world.run(10)

    assert case.world.routed() == ["llama-1", "llama-3", "llama-4"], "it heals"
    failed = [event for event in case.world.sink.told if event.event == "gateway_history_failed"]
    assert failed[0].message == "/history/1.json cannot be written: No space left on device"
    assert not any(report.failed for report in case.world.sink.reports[-4:])
    assert "gateway_history_failed" not in {event.event for event in case.world.store.events(limit=99)}

    case.kept.full = False
    case.world.ticker.run()
    newest = case.kept.revisions[-1]
    assert (newest.left, newest.entered) == ((ReplicaId("llama-2"),), (ReplicaId("llama-4"),))
    assert all("RoutesChanged" not in text for text in case.kept.causes()), "and no reason was lost"


def test_a_fault_of_it_keeps_nothing_from_healing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError("nobody expected this")

    monkeypatch.setattr(case.kept, "newest", broken)
    case.world.runtime.kill(ReplicaId("llama-2"))
    case.world.run(10)

    assert case.world.routed() == ["llama-1", "llama-3", "llama-4"]
    assert "tick_failed" in case.world.sink.names()


def test_a_database_that_is_away_keeps_no_decision_from_being_done(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events of the history are rows, too; but they are written after what was decided is done."""

    def away(events: object) -> NoReturn:
        raise TransientError("the database is away")

    case.settings["user_header"] = "X-Session"
    monkeypatch.setattr(case.world.store, "append", away)
    case.world.runtime.kill(ReplicaId("llama-2"))
    case.world.run(10)
    assert "llama-4" in case.world.running()

    monkeypatch.undo()
    case.world.ticker.run()
    assert "gateway_settings_changed" in {event.event for event in case.world.store.events(limit=99)}
