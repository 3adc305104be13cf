"""OverrideStore and DrillStore: the same promises from memory, from SQLite and from PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.adapters.database.overrides import SqlDrills, SqlOverrides
from controller.core.drilled import Drilled, DrillLine, DrillState
from controller.core.errors import LostLease, TransientError
from controller.core.model import PoolName
from controller.core.overrides import Bounds, Override, Pause
from controller.ports.pools import DrillStore, OverrideStore
from tests.contract.databases import Database, InMemory
from tests.fakes.clock import START
from tests.fakes.overrides import FakeDrills, FakeOverrides
from tests.unit.core.build import POOL

PAUSE = Pause(START, "alice", 'a "launch" – für alle', START + timedelta(hours=1.5))
BOUNDS = Bounds(4, 8, START, "bob", "launch")
DRILL = Drilled(
    "1a2b",
    "kill",
    POOL,
    "alice",
    START,
    START,
    why="Friday",
    lines=(DrillLine(START, "load"),),
    figures={"out_s": None},
)


@pytest.fixture
def overrides(database: Database, store: Any) -> OverrideStore:
    return FakeOverrides(store) if isinstance(database, InMemory) else SqlOverrides(store)


@pytest.fixture
def drills(database: Database, store: Any) -> DrillStore:
    return FakeDrills(store) if isinstance(database, InMemory) else SqlDrills(store)


def test_what_is_wanted_comes_back_as_it_was_and_outlives_a_stoker_up(overrides: OverrideStore, store: Any) -> None:
    store.begin("first")
    assert overrides.overrides() == ()
    overrides.change_override(POOL, lambda known: replace(known, pause=PAUSE))
    overrides.change_override(POOL, lambda known: replace(known, bounds=BOUNDS))
    overrides.change_override(PoolName("a"), lambda known: replace(known, bounds=BOUNDS))
    store.begin("second")
    assert overrides.overrides() == (Override(PoolName("a"), None, BOUNDS), Override(POOL, PAUSE, BOUNDS))


def test_what_is_withdrawn_is_gone_and_a_refusal_changes_nothing(overrides: OverrideStore) -> None:
    overrides.change_override(POOL, lambda known: replace(known, pause=PAUSE))

    def refuse(known: Override) -> Override:
        raise ValueError(known.pool)

    with pytest.raises(ValueError, match=POOL):
        overrides.change_override(POOL, refuse)
    assert overrides.overrides() == (Override(POOL, PAUSE),)
    assert overrides.change_override(POOL, lambda known: replace(known, pause=None)).empty
    assert overrides.overrides() == ()
    overrides.change_override(POOL, lambda known: known)  # there was nothing, and there is nothing
    assert overrides.overrides() == ()


def test_only_the_leader_writes_either(
    overrides: OverrideStore, drills: DrillStore, store: Any, database: Database
) -> None:
    store.take_term()
    database.store().take_term()
    with pytest.raises(LostLease):
        overrides.change_override(POOL, lambda known: replace(known, pause=PAUSE))
    with pytest.raises(LostLease):
        drills.change_drill(DRILL.id, lambda known: DRILL)
    assert (overrides.overrides(), drills.drills(limit=9)) == ((), ())


def test_a_database_that_is_away_is_told_of(
    overrides: OverrideStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.adapters.database.sqlite._BUSY_S", 0.1)
    with database.gone(), pytest.raises(TransientError):
        overrides.change_override(POOL, lambda known: replace(known, pause=PAUSE))


def test_a_drill_is_kept_with_its_result_and_its_later_words(drills: DrillStore) -> None:
    assert (drills.drills(limit=9), drills.drill("1a2b")) == ((), None)
    drills.change_drill(DRILL.id, lambda known: known or DRILL, '{"outcome": "passed"}')
    ended = replace(DRILL, state=DrillState.PASSED, ended_at=START, figures={"out_s": 2.5, "whole_s": None})
    assert drills.change_drill(DRILL.id, lambda known: ended if known == DRILL else DRILL) == ended
    assert drills.drill("1a2b") == (ended, '{"outcome": "passed"}')


def test_the_newest_hundred_drills_are_kept_the_newest_first(drills: DrillStore) -> None:
    for number in range(102):
        made = replace(DRILL, id=f"{number:04}", at=START + timedelta(seconds=number))
        drills.change_drill(made.id, lambda known, made=made: made)  # type: ignore[misc]
    found = [drill.id for drill in drills.drills(limit=1000)]
    assert (found[0], found[-1], len(found)) == ("0101", "0002", 100)
    assert [drill.id for drill in drills.drills(limit=2)] == ["0101", "0100"]
