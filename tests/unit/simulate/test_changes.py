"""Stoker's changes of the count, with their reasons."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.simulate import changes
from controller.simulate.contest import play, rivals
from controller.simulate.errors import SimulateError
from controller.simulate.setup import Setup
from controller.simulate.synthetic import Kind, Synthetic

TRACE = Synthetic(Kind.BURST, hours=0.05, rps=12, seed=1)


def test_each_change_follows_the_one_before_and_says_why() -> None:
    contest = play(TRACE, Setup(), [])
    kept, run = contest.changes.kept, contest.results[0]

    assert kept
    assert kept[0].before == Setup().policy.floor
    assert all(first.after == second.before for first, second in zip(kept, kept[1:], strict=False))
    assert all(change.reasons and change.before != change.after for change in kept)
    assert all(0 <= change.at_s <= run.duration_s for change in kept)
    assert contest.changes.count == len(kept) >= run.scale_ups + run.scale_downs
    assert set(kept[0].as_dict()) == {"at_s", "from", "to", "reasons"}


def test_only_the_first_are_kept_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = play(TRACE, Setup(), []).changes
    monkeypatch.setattr(changes, "MOST", 1)

    found = play(TRACE, Setup(), []).changes

    assert (found.kept, found.count) == (whole.kept[:1], whole.count)


def test_the_order_of_the_runs_and_their_names() -> None:
    setup = Setup()
    shadow = replace(setup, policy=replace(setup.policy, floor=1))
    seen: list[str] = []

    def watch(name: str) -> object:
        seen.append(name)
        return lambda done, total: None

    others = rivals(["static", "stoker", "static:6", "kpa", "kpa"], setup, TRACE)
    contest = play(TRACE, setup, others, {"shadow": shadow}, watch)  # type: ignore[arg-type]

    assert [run.scaler for run in contest.results] == seen == ["stoker", "shadow", "static:6", "kpa"]
    assert set(contest.second_changes) == {"shadow"}
    assert contest.second_changes["shadow"].kept[0].before == 1


def test_a_rival_that_nobody_knows() -> None:
    with pytest.raises(SimulateError, match="there is no autoscaler 'nobody'"):
        rivals(["nobody"], Setup(), TRACE)
