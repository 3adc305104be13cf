"""Timelines of pools that heal: too many that look bad at once, and starts that fail again and again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from controller.core.decision import Decision, Memory, TerminateReplica
from controller.core.model import OrderKind, PoolMemory
from controller.core.model import ReplicaState as S
from controller.core.policy import HealthPolicy
from controller.core.reason import ReasonCode as R
from tests.fakes.clock import START
from tests.unit.core.build import POOL
from tests.unit.core.play import Play, policy_of

# --- the panic threshold


def test_two_of_three_hang_and_stay_until_half_of_all_serve() -> None:
    play = Play(policy_of(3)).serving()
    play.hung = {"llama-1", "llama-2"}

    assert play.run(3) == ["+4"], "one successor at a time"
    assert play.up == ["llama-1", "llama-2", "llama-3"]
    assert play.states()["llama-1"] is S.UNREADY
    assert R.PANIC_THRESHOLD in play.standing()
    assert play.run(2) == []
    assert play.tick() == ["+5"], "the first one serves: two of four hang"
    assert play.up == ["llama-3", "llama-4"]
    assert R.PANIC_THRESHOLD not in play.standing()
    assert play.run(10) == ["-1, -2"]
    assert play.up == ["llama-3", "llama-4", "llama-5"]


def test_all_hang_and_there_is_always_one_in_nginx() -> None:
    play = Play(policy_of(3)).serving()
    play.hung = {"llama-1", "llama-2", "llama-3"}

    told = play.run(40, at_least=3)

    assert told == ["+4", "+5", "+6", "-1, -2, -3"]
    assert play.up == ["llama-4", "llama-5", "llama-6"]


def test_they_were_only_slow_to_answer() -> None:
    """A stall of the machine is no reason to kill all: no successor serves before they answer again."""
    play = Play(policy_of(3)).serving()
    play.hung = {"llama-1", "llama-2", "llama-3"}
    play.run(4, at_least=3)
    play.hung = set()

    assert play.run(20, at_least=3) == ["drain 4", "term 4", "-4"]
    assert play.up == ["llama-1", "llama-2", "llama-3"]


def test_one_stopped_and_one_hung_of_three_both_go() -> None:
    play = Play(policy_of(3)).serving()
    play.kill("llama-1")
    play.hung = {"llama-2"}

    assert play.tick() == ["+4"]
    assert play.run(2) == ["-1", "+5"]
    assert play.up == ["llama-3"]
    assert play.run(10) == ["-2"]
    assert play.up == ["llama-3", "llama-4", "llama-5"]


def test_a_single_one_stays_until_its_successor_serves() -> None:
    play = Play(policy_of(1)).serving()
    play.hung = {"llama-1"}

    assert play.run(5, at_least=1) == ["+2"]
    assert play.up == ["llama-1"]
    assert play.run(10, at_least=1) == ["-1"]
    assert play.up == ["llama-2"]


def test_a_single_one_that_died_does_not() -> None:
    play = Play(policy_of(1)).serving()
    play.kill("llama-1")

    assert play.tick() == ["+2"]
    assert play.up == []


def test_its_successor_fares_no_better() -> None:
    """One at a time is tried, and the old one stays in nginx all the while."""
    play = Play(policy_of(1)).serving()
    play.hung = {f"llama-{number}" for number in range(1, 20)}

    told = play.run(299, at_least=1)

    assert told == ["+2"], "it has until the deadline of its start"
    assert play.up == ["llama-1"]


# --- starts that fail


def crashing(health: HealthPolicy | None = None, spec: str = "") -> Play:
    """A new pool of one whose starts all exit after three seconds."""
    play = Play(policy_of(1, spec=spec, health=health))
    play.broken = {spec or "abc"}
    return play


def starts_of(play: Play, seconds: int) -> list[int]:
    """In which seconds one was started."""
    found = []
    for second in range(1, seconds + 1):
        if any(short.startswith("+") for short in play.tick()):
            found.append(second)
    return found


def test_each_failed_start_doubles_the_wait_and_then_one_is_tried_every_five_minutes() -> None:
    play = crashing()

    found = starts_of(play, 1600)

    waits = [after - before for before, after in zip(found, found[1:], strict=False)]
    # Three seconds until it exits, and the wait: 10, 20, 40, 80 s, and from the fifth on 300 s.
    assert waits[:6] == [13, 23, 43, 83, 303, 303]
    assert (play.pool.start_failures >= 5, play.pool.quarantined_since is not None) == (True, True)
    assert R.CRASH_LOOP in play.standing()
    assert play.said(R.CRASH_LOOP) == (
        f"{play.pool.start_failures} starts in a row failed: one is tried every 300 s, "
        "`stoker release llama` tries at once"
    )


def test_one_that_gets_ready_ends_it() -> None:
    play = crashing()
    play.until(lambda: play.pool.quarantined_since is not None)
    play.broken = set()

    play.until(lambda: bool(play.up))

    assert (play.pool.start_failures, play.pool.quarantined_since) == (0, None)
    assert play.tick() == []
    assert R.CRASH_LOOP not in play.standing()


def test_an_old_one_that_flaps_does_not_end_it() -> None:
    play = Play(policy_of(3)).serving()
    for name, known in play.containers.items():
        play.containers[name] = replace(known, spec_hash="old")
    play.broken = {"abc"}
    play.kill("llama-1")

    found = 0
    for second in range(1800):
        play.hung = {"llama-2"} if second % 20 == 0 else set()
        found += sum(short.startswith("+") for short in play.tick())

    assert found == 10
    assert play.pool.quarantined_since is not None


def test_a_release_ends_it() -> None:
    play = crashing()
    play.until(lambda: play.pool.quarantined_since is not None)
    assert starts_of(play, 100) == []
    play.give(OrderKind.RELEASE, "pool/llama")

    assert play.tick() == ["+6"]
    assert (play.pool.start_failures, play.pool.quarantined_since, play.orders) == (0, None, [])


def test_another_spec_ends_it() -> None:
    play = crashing(spec="v1")
    play.until(lambda: play.pool.quarantined_since is not None)
    play.run(5)
    play.policy = replace(play.policy, spec_hash="v2")

    assert play.tick() == ["+6"]
    assert (play.pool.start_failures, play.pool.quarantined_since) == (0, None)


def test_a_new_controller_forgets_no_failed_start() -> None:
    play = crashing(spec="v1")
    play.until(lambda: play.pool.quarantined_since is not None)
    play.new_controller()

    assert starts_of(play, 100) == []
    assert play.pool.quarantined_since is not None


def test_another_spec_ends_it_also_for_a_new_controller() -> None:
    """A change comes with one: `stoker up` begins anew."""
    play = crashing(spec="v1")
    play.until(lambda: play.pool.quarantined_since is not None)
    play.run(5)
    play.new_controller()
    play.policy = replace(play.policy, spec_hash="v2")

    assert play.tick() == ["+6"]


def test_in_quarantine_one_starts_however_many_are_missing() -> None:
    play = Play(policy_of(3, health=HealthPolicy(quarantine_after=3, backoff_cap=timedelta(seconds=60))))
    play.broken = {"abc"}

    play.until(lambda: play.pool.quarantined_since is not None)
    found = [line for line in play.run(400) if line.startswith("+")]

    assert len(found) >= 4
    assert all(line.count("+") == 1 for line in found)


def test_it_ends_with_all_that_are_missing() -> None:
    play = Play(policy_of(3), memory=Memory({POOL: _quarantined()}))

    assert play.tick() == ["+9"]
    assert play.run(2) == []
    assert play.tick() == ["+10", "+11"]


def _quarantined() -> PoolMemory:
    return PoolMemory(
        POOL, 3, 9, start_failures=7, last_start_failure_at=START - timedelta(minutes=9), quarantined_since=START
    )


# --- one that cannot be removed


class Stuck(Play):
    """The kernel holds llama-1: neither SIGTERM nor a removal moves it."""

    def _do(self, decision: Decision) -> None:
        if not (isinstance(decision, TerminateReplica) and decision.replica in self.sticky):
            super()._do(decision)


def stuck() -> Play:
    play = Stuck(policy_of(3, spec="abc")).serving()
    play.sticky = {"llama-1"}
    return play


def test_one_that_cannot_be_removed_holds_up_no_rollout() -> None:
    play = stuck()
    play.policy = policy_of(3, spec="new")

    play.run(40, at_least=3)
    assert play.specs() == ["abc", "abc", "new"], "until its deadline it drains"
    play.run(180, at_least=3)
    assert play.specs() == ["new", "new", "new"]
    assert play.states()["llama-1"] is S.DRAINING


def test_one_that_cannot_be_removed_holds_up_no_shrinking() -> None:
    play = stuck()
    play.give(OrderKind.RESTART, "replica/llama-1")
    play.run(60)
    play.policy = policy_of(1, spec="abc")

    play.run(240)

    assert len(play.up) == 1
