"""How it stands with a pool, and the three answers of the fleet page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from controller.api.web import fleet
from controller.api.web.fleet_rows import Hour, Said, doing, rank_of, row_of, users
from controller.api.web.latest import Last
from controller.api.web.overview import PoolFacts, Stand
from controller.api.web.pool import words_of
from controller.api.web.texts import catalogs
from controller.core.alerts import Alert, KnownAlert
from controller.core.model import PoolName, ReplicaState
from controller.core.overrides import Override, Pause
from controller.core.policy import Mode, ScalingPolicy
from controller.core.reason import ReasonCode

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
READY, STARTING, DRAINING = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.DRAINING
CALM = PoolFacts(
    PoolName("llama"), "llama", Mode.ACTIVE, ScalingPolicy(), 3, {READY: 3}, 4.0, 0.2, 0.0,
    (ReasonCode.ON_TARGET,),
)  # fmt: skip


def alert(severity: str) -> KnownAlert:
    labels = {"alertname": "StokerErrorsHigh", "severity": severity, "pool": "llama"}
    return KnownAlert(Alert("f", True, NOW, labels, {"summary": "too many"}), NOW, NOW, NOW)


def pool(**more: Any) -> PoolFacts:
    return replace(CALM, **more)


STANDS = [
    (pool(), Stand("calm", "calm")),
    (pool(counts={}), Stand("act", "down")),
    (pool(counts={}, desired=0), Stand("calm", "calm")),
    (pool(counts={STARTING: 3}), Stand("busy", "first_start")),
    (pool(counts={STARTING: 3}, alerts=(alert("critical"),)), Stand("act", "down")),
    (pool(latency=0.9), Stand("busy", "slow")),
    (pool(latency=0.9, codes=(ReasonCode.AT_CEILING,)), Stand("act", "slow")),
    (pool(latency=None), Stand("calm", "calm")),
    (pool(alerts=(alert("warning"),), codes=(ReasonCode.AT_CEILING,)), Stand("act", "stuck")),
    (pool(alerts=(alert("warning"),), codes=(ReasonCode.NO_GPU_FITS,), counts={READY: 2}), Stand("act", "stuck")),
    (pool(alerts=(alert("warning"),), codes=(ReasonCode.NO_NODE,)), Stand("act", "stuck")),
    (pool(alerts=(alert("warning"),), codes=(ReasonCode.PAUSED,)), Stand("busy", "warned")),
    (pool(codes=(ReasonCode.AT_CEILING,)), Stand("calm", "calm")),
    (pool(latency=None, errors=None, in_flight=None, alerts=(alert("warning"),)), Stand("unknown", "unknown")),
    (pool(latency=None, errors=None, in_flight=None), Stand("unknown", "unknown")),
    (pool(errors=0.5), Stand("busy", "failing")),
    (pool(errors=0.5, codes=(ReasonCode.NO_GPU_FITS,)), Stand("act", "failing")),
    (pool(alerts=(alert("critical"),)), Stand("act", "alert")),
    (pool(alerts=(alert("warning"),)), Stand("busy", "warned")),
    (pool(fuse=True), Stand("act", "fuse")),
    (pool(quarantined=True), Stand("act", "quarantined")),
    (pool(counts={READY: 2, STARTING: 1}), Stand("busy", "growing")),
    (pool(counts={READY: 2}, mode=Mode.PAUSED), Stand("busy", "short")),
    (pool(counts={READY: 3, DRAINING: 1}), Stand("busy", "shrinking")),
    (pool(counts={READY: 2, ReplicaState.UNREADY: 1}), Stand("busy", "replacing")),
    (pool(counts={READY: 3}, errors=0.001), Stand("calm", "calm")),
]


@pytest.mark.parametrize(("facts", "stand"), STANDS)
def test_stand(facts: PoolFacts, stand: Stand) -> None:
    assert facts.stand == stand


@pytest.mark.parametrize("language", sorted(catalogs()))
@pytest.mark.parametrize(("facts", "stand"), STANDS)
def test_there_are_words_for_how_it_stands(facts: PoolFacts, stand: Stand, language: str) -> None:
    texts = catalogs()[language]

    assert texts(f"stand.{stand.word}")
    assert "{" not in texts(f"pool.say_{stand.word}", **words_of(facts))
    assert stand.level != "act" or texts(f"pool.do_{stand.word}")


def test_the_stands_of_this_test_are_all_that_there_are() -> None:
    assert {stand.word for _, stand in STANDS} == {
        key.removeprefix("stand.") for key in catalogs()["en"].section("stand")
    }


def test_daily_work_moves_no_row() -> None:
    calm, growing, slow = pool(), pool(counts={READY: 2, STARTING: 1}), pool(latency=0.9)
    assert [rank_of(one) for one in (pool(counts={}), slow, growing, calm)] == [0, 1, 2, 2]


def test_a_pool_of_which_an_alert_fires_stands_above_the_calm_ones_also_while_it_grows() -> None:
    warned = {"alerts": (alert("warning"),)}
    unknown = {"latency": None, "errors": None, "in_flight": None}
    pools = pool(**warned), pool(counts={READY: 2, STARTING: 1}, **warned), pool(**warned, **unknown)
    assert [rank_of(one) for one in pools] == [1, 1, 1]


def test_users_are_told_of_by_what_hurts_them_most() -> None:
    facts = [pool(counts={}, errors=0.5), pool(errors=0.5, latency=0.9), pool(latency=0.9), pool()]
    answer = users(facts)
    assert answer.level == "act"
    assert [(said.key, said.n) for said in answer.said] == [("users_down", 1), ("users_failing", 1), ("users_slow", 1)]


def test_users_are_not_known_of_while_no_number_is() -> None:
    assert users([pool(in_flight=None)]).said[0].key == "users_unknown"
    assert users([pool()]).said[0].key == "users_calm"


def test_of_which_pools_nobody_knows_is_said_and_all_is_not_called_well() -> None:
    calm, empty = pool(), pool(name=PoolName("empty"), desired=0, counts={}, in_flight=None)
    dark = [pool(name=PoolName(f"dark-{number}"), in_flight=None, latency=None) for number in range(2)]
    answer = users([calm, empty, *dark])
    assert (answer.level, [(said.key, said.n, said.pools) for said in answer.said]) == (
        "unknown", [("users_untold", 2, ("dark-0", "dark-1"))],
    )  # fmt: skip
    assert users([empty, dark[0]]).level == "unknown"
    assert users([calm, empty]).said == (Said("users_calm", 2),)

    slow = pool(name=PoolName("slow"), latency=0.9)
    assert [(said.key, said.n) for said in users([slow, *dark]).said] == [
        ("users_slow", 1),
        ("users_others_unknown", 2),
    ]


def test_many_pools_are_counted() -> None:
    (said,) = users([pool(name=PoolName(f"p{number}"), latency=0.9) for number in range(5)]).said
    assert (said.n, said.pools, said.more) == (5, ("p0", "p1", "p2"), 2)


def test_what_is_done_leaves_out_what_is_not() -> None:
    answer = doing([pool(counts={READY: 2, STARTING: 2}), pool(counts={READY: 3, DRAINING: 1})])
    assert [(said.key, said.n) for said in answer.said] == [("doing_starting", 2), ("doing_draining", 1)]
    assert doing([pool()]).said[0].key == "doing_nothing"


def test_what_needs_somebody_is_said_first() -> None:
    """The mark of the level stands before it."""
    answer = doing([pool(counts={READY: 2, STARTING: 2}), pool(alerts=(alert("critical"),))])
    assert (answer.level, [said.key for said in answer.said]) == ("act", ["doing_act", "doing_starting"])


def test_a_row_names_critical_alerts_first() -> None:
    row = row_of(pool(alerts=(alert("warning"), alert("critical"))), None, Hour())
    assert [(name, severity) for name, severity, _ in row.head.alerts] == [
        ("ErrorsHigh", "critical"),
        ("ErrorsHigh", "warning"),
    ]


def test_a_row_stays_equal_where_nothing_that_it_shows_changed() -> None:
    assert row_of(pool(latency=0.2001), None, Hour()) == row_of(pool(latency=0.2003), None, Hour())


def test_where_nobody_asked_no_time_is_told() -> None:
    idle, unknown = pool(latency=0.0, idle=True), pool(latency=None)

    assert [row_of(one, None, Hour()).wait.value for one in (idle, unknown)] == ["", "–"]


LAST = Last(7, NOW, "scale_pool", "", 2, 3, "demand is 12", "done")
WISH = Override(PoolName("llama"), pause=Pause(NOW, "alice", "a launch"))


@pytest.mark.parametrize(
    "given",
    [
        (pool(latency=0.9), None, Hour(), None),
        (pool(counts={READY: 2, STARTING: 1}), None, Hour(), None),
        (pool(fuse=True), None, Hour(), None),
        (pool(drill="cafe"), None, Hour(), None),
        (pool(alerts=(alert("warning"),)), None, Hour(), None),
        (pool(), LAST, Hour(), None),
        (pool(), None, Hour((0.1, 0.3), (0.0, 0.0)), None),
        (pool(), None, Hour(), WISH),
    ],
)
def test_a_row_that_was_rendered_for_the_last_tick_is_not_shown_once_something_is_new(given: Any) -> None:
    before = fleet.cells_of((pool(), None, Hour(), None), "en")

    after = fleet.cells_of(given, "en")

    assert after != before
    assert fleet.cells_of(given, "zh") not in (before, after)
    assert fleet.cells_of((pool(), None, Hour(), None), "en") == before
