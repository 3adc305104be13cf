"""Rollouts over many ticks, in which every plan is carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core.model import OrderKind
from controller.core.model import ReplicaState as S
from controller.core.policy import HealthPolicy
from controller.core.reason import ReasonCode as R
from tests.unit.core.play import Play, policy_of


def rolling(count: int = 3, spec: str = "v2", nodes: str = "a") -> Play:
    """All serve v1, and from now on `spec` is wanted."""
    play = Play(policy_of(count, spec="v1"), nodes=tuple(nodes)).serving()
    assert play.pool.good_spec == "v1"
    change(play, spec)
    return play


def change(play: Play, spec: str) -> None:
    play.policy = replace(play.policy, spec_hash=spec)


def retired(told: list[str]) -> list[str]:
    return [step for line in told for step in line.split(", ") if step.startswith("retire")]


def test_one_at_a_time_new_first_and_never_below() -> None:
    play = rolling()

    told = play.run(60, at_least=3)

    assert told == [
        "retire 1, +4@a",
        "drain 1",
        "term 1",
        "retire 2, +5@a, -1",
        "drain 2",
        "term 2",
        "retire 3, +6@a, -2",
        "drain 3",
        "term 3",
        "-3",
    ]
    assert (play.specs(), play.pool.good_spec) == (["v2"] * 3, "v2")
    assert play.run(60) == []


def test_each_new_one_bakes_for_ten_seconds() -> None:
    play = rolling()
    play.until(lambda: "llama-4" in play.up)

    assert play.run(9) == []
    assert play.tick() == ["drain 1"]
    assert play.reasons("drain") == [R.SUCCESSOR_READY]
    assert play.run(2)[-1].startswith("retire 2"), "the next begins at once: the bake is over"


def test_the_good_spec_moves_at_the_very_end() -> None:
    play = rolling()
    play.until(lambda: play.specs() == ["v1", "v2", "v2"])
    play.run(13, at_least=3)
    assert play.pool.good_spec == "v1"

    play.until(lambda: play.specs() == ["v2", "v2", "v2"])
    play.tick()
    assert play.pool.good_spec == "v2"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_pools_of_every_size(count: int) -> None:
    play = rolling(count, nodes="ab")

    told = play.run(25 * count, at_least=count)

    assert retired(told) == [f"retire {number}" for number in range(1, count + 1)]
    assert play.specs() == ["v2"] * count


def test_starts_that_fail_lead_back() -> None:
    play = rolling()
    play.broken = {"v2"}

    assert play.run(120, at_least=3) == ["retire 1, +4@a", "-4", "+5@a", "-5"]
    assert (play.specs(), play.pool.refused_spec, play.pool.good_spec) == (["v1"] * 3, "v2", "v1")
    assert R.ROLLED_BACK in play.standing()
    assert all(known.retiring_since is None for known in play.memory.replicas.values())


def test_one_that_dies_within_its_bake_is_a_failed_start() -> None:
    play = rolling()
    for name in ("llama-4", "llama-5"):
        play.until(lambda name=name: name in play.up)  # type: ignore[misc]
        play.kill(name)
        play.tick()

    assert play.pool.refused_spec == "v2"
    play.run(30)
    assert play.specs() == ["v1"] * 3


def test_one_that_dies_later_is_replaced_like_any_other() -> None:
    play = rolling()
    play.until(lambda: play.specs() == ["v1", "v2", "v2"])
    play.kill("llama-4")

    play.run(60, at_least=2)

    assert (play.specs(), play.pool.refused_spec) == (["v2"] * 3, "")


def test_errors_of_the_new_ones_lead_back() -> None:
    play = rolling()
    play.until(lambda: "llama-4" in play.up)
    play.errors = {"v2": 0.3}

    assert play.run(60, at_least=3) == ["drain 4", "term 4", "-4"], "the old one that was to go stays"
    assert play.specs() == ["v1"] * 3
    assert play.said(R.ROLLED_BACK) == (
        "spec v2 was rolled back to v1: 30 % of its requests failed, 0 % of the old spec's"
    )


def test_errors_that_show_late_lead_back_one_by_one() -> None:
    play = rolling()
    play.until(lambda: play.specs() == ["v1", "v2", "v2"])
    play.errors = {"v2": 0.1}

    told = play.run(60, at_least=3)

    assert retired(told) == ["retire 4", "retire 5"]
    assert play.specs() == ["v1"] * 3


def test_errors_of_all_lead_nowhere() -> None:
    play = rolling()
    play.errors = {"v1": 0.5, "v2": 0.6}

    play.run(60, at_least=3)

    assert (play.specs(), play.pool.refused_spec) == (["v2"] * 3, "")


@pytest.mark.parametrize("after_s", range(0, 48, 3))
def test_a_new_controller_goes_on_at_any_step(after_s: int) -> None:
    play = rolling()
    play.run(after_s, at_least=3)
    play.new_controller()

    play.run(90, at_least=3)

    assert (play.specs(), play.pool.good_spec, play.pool.refused_spec) == (["v2"] * 3, "v2", "")
    assert play.pool.next_ordinal == 7, "no replica was started twice"


@pytest.mark.parametrize("after_s", range(0, 20, 2))
def test_a_new_controller_finds_the_way_back(after_s: int) -> None:
    play = rolling()
    play.broken = {"v2"}
    play.run(after_s, at_least=3)
    play.new_controller()

    play.run(60, at_least=3)

    assert (play.specs(), play.pool.refused_spec) == (["v1"] * 3, "v2")
    assert all(known.retiring_since is None for known in play.memory.replicas.values())


@pytest.mark.parametrize("after_s", [5, 14, 20, 40])
def test_a_second_change_while_the_first_one_rolls(after_s: int) -> None:
    play = rolling()
    play.run(after_s, at_least=3)
    change(play, "v3")

    play.run(100, at_least=3)

    assert (play.specs(), play.pool.good_spec) == (["v3"] * 3, "v3")


def test_a_second_change_that_fails_leads_back_to_what_was_good_before_both() -> None:
    play = rolling()
    play.until(lambda: play.specs() == ["v1", "v2", "v2"])
    change(play, "v3")
    play.broken = {"v3"}

    play.run(150, at_least=3)

    assert (play.specs(), play.pool.good_spec, play.pool.refused_spec) == (["v1"] * 3, "v1", "v3")


def test_back_to_the_good_one_half_way() -> None:
    play = rolling()
    play.until(lambda: play.specs() == ["v1", "v2", "v2"])
    change(play, "v1")

    play.run(90, at_least=3)

    assert (play.specs(), play.pool.good_spec, play.pool.refused_spec) == (["v1"] * 3, "v1", "")


def test_the_refused_one_is_tried_again_once_it_was_taken_back() -> None:
    play = rolling()
    play.broken = {"v2"}
    play.until(lambda: play.pool.refused_spec == "v2")
    change(play, "v1")
    assert play.run(30, at_least=3) == []
    assert (play.pool.refused_spec, R.ROLLED_BACK in play.standing()) == ("", False)

    play.broken = set()
    change(play, "v2")
    play.run(60, at_least=3)

    assert (play.specs(), play.pool.good_spec) == (["v2"] * 3, "v2")


def test_another_one_after_the_refused_one() -> None:
    play = rolling()
    play.broken = {"v2"}
    play.until(lambda: play.pool.refused_spec == "v2")
    change(play, "v3")

    play.run(60, at_least=3)

    assert (play.specs(), play.pool.good_spec, play.pool.refused_spec) == (["v3"] * 3, "v3", "")


def test_a_release_tries_the_refused_one_again() -> None:
    play = rolling()
    play.broken = {"v2"}
    play.run(60, at_least=3)
    play.broken = set()
    play.give(OrderKind.RELEASE, "pool/llama")

    play.run(60, at_least=3)

    assert (play.specs(), play.pool.refused_spec) == (["v2"] * 3, "")


def test_what_still_starts_of_the_refused_spec_is_no_failure_of_the_good_one() -> None:
    """They fail once more, and the next start of the good one must not wait for that."""
    play = Play(policy_of(4, spec="v1"), nodes=("a",)).serving()
    change(play, "v2")
    play.broken = {"v2"}
    for number in (1, 2, 3):
        play.kill(f"llama-{number}")
    play.until(lambda: play.pool.refused_spec == "v2")

    play.run(4)

    assert play.pool.start_failures == 0
    assert set(play.specs()) == {"v1"}
    assert len(play.up) == 4


def test_a_new_pool_has_nothing_to_go_back_to() -> None:
    play = Play(policy_of(3, spec="v1"))
    play.broken = {"v1"}

    play.run(120)

    assert (play.pool.refused_spec, play.pool.good_spec, play.up) == ("", "", [])
    assert play.pool.start_failures >= 3


def test_old_ones_that_fail_meanwhile_are_replaced_by_new_ones() -> None:
    play = rolling()
    play.tick()
    play.kill("llama-3")

    play.run(60, at_least=2)

    assert play.specs() == ["v2"] * 3


def test_a_pool_that_shrinks_half_way_loses_old_ones_first_and_none_that_is_needed() -> None:
    play = rolling(4)
    play.until(lambda: play.specs() == ["v1", "v1", "v1", "v2"])
    play.policy = policy_of(3, spec="v2")

    play.run(90, at_least=3)

    assert play.specs() == ["v2"] * 3


def test_no_old_one_goes_for_a_new_one_that_only_starts() -> None:
    """A lost node comes back while a new one starts: there is one too many, and it is not one that serves."""
    play = Play(policy_of(3, spec="v1"), nodes=("a", "b", "c")).serving()
    play.hush("a")
    play.dead.add("a")
    play.run(3)
    change(play, "v2")
    play.wake("a")

    play.run(120, at_least=2)

    assert play.specs() == ["v2"] * 3


def test_one_that_is_kept_is_not_replaced() -> None:
    play = rolling()
    play.give(OrderKind.QUARANTINE, "replica/llama-2")

    play.run(90, at_least=2)

    assert (play.specs(), play.pool.good_spec) == (["v2"] * 3, "v2")
    assert play.states()["llama-2"] is S.QUARANTINED


def test_a_rollout_waits_for_the_fuse() -> None:
    play = Play(policy_of(3, spec="v1", health=HealthPolicy(budget_actions=1)), nodes=("a",)).serving()
    play.kill("llama-1")
    play.run(20)
    play.kill("llama-2")
    play.run(20)
    change(play, "v2")

    assert play.run(60, at_least=2) == [], "the pool is not whole"
    play.give(OrderKind.RELEASE, "pool/llama")
    play.run(90, at_least=2)
    assert play.specs() == ["v2"] * 3
