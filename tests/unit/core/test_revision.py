"""Why a configuration of nginx is another than the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.core.decision import DrainReplica, Memory, Plan, ScalePool, StateChange
from controller.core.model import Address, GatewayPlan, PoolRoutes, ReplicaId, ReplicaState, Server
from controller.core.plan_json import plan_from_json, plan_to_json
from controller.core.reason import Reason, ReasonCode
from controller.core.revision import (
    Cause,
    Configuration,
    Moment,
    Revision,
    differences,
    reasons_in,
    revise,
)
from tests.fakes.clock import START
from tests.unit.core.build import POOL

ONE, TWO = ReplicaId("llama-1"), ReplicaId("llama-2")
MOMENT = Moment(START, 9, 2)
SETTINGS: dict[str, Any] = {"gateway": {"host": "a", "tls": None}, "plans": [{"name": "gold", "burst": 1}]}


def routes(**ports: int) -> GatewayPlan:
    """`llama_1=9`: that replica at that port."""
    servers = tuple(
        Server(ReplicaId(name.replace("_", "-")), Address("10.0.0.1", port)) for name, port in ports.items()
    )
    return GatewayPlan((PoolRoutes(POOL, "llama", servers),))


def configuration(plan: GatewayPlan, **changes: Any) -> Configuration:
    return replace(Configuration("g", "text", plan, SETTINGS), **changes)


FIRST = revise(None, configuration(routes(llama_1=9)), {}, MOMENT)


def texts(revision: Revision) -> list[tuple[str, str]]:
    return [(cause.code, cause.text) for cause in revision.causes]


def test_the_first_one() -> None:
    assert (FIRST.number, FIRST.moment, FIRST.entered, FIRST.left) == (1, MOMENT, (ONE,), ())
    assert texts(FIRST) == [("FirstKnown", "The first one that is known."), ("RoutesChanged", "llama-1 in")]


def test_servers_come_and_go_with_the_reasons_that_are_known() -> None:
    reasons = {ONE: Cause("ProbesFailed", "unready: 3 of 3 failed"), ReplicaId("llama-9"): Cause("Drained", "no")}
    after = revise(FIRST, configuration(routes(llama_2=9)), reasons, MOMENT)

    assert (after.number, after.entered, after.left) == (2, (TWO,), (ONE,))
    assert texts(after) == [
        ("RoutesChanged", "llama-2 in"),
        ("ProbesFailed", "llama-1 out: unready: 3 of 3 failed"),
    ]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (configuration(routes(llama_1=8)), [("RoutesChanged", "llama-1 is at 10.0.0.1:8")]),
        (
            configuration(routes(llama_1=9), settings={**SETTINGS, "gateway": {"host": "b", "tls": {"key": "/k"}}}),
            [
                ("Applied", "`stoker apply` has brought a changed file."),
                ("SettingsChanged", "gateway.host: a -> b"),
                ("SettingsChanged", "gateway.tls.key: none -> /k"),
            ],
        ),
        (
            configuration(routes(), settings={**SETTINGS, "gateway": {"host": "b", "tls": None}}, run="another"),
            [
                ("Started", "`stoker up` has started everything anew."),
                ("SettingsChanged", "gateway.host: a -> b"),
                ("RoutesChanged", "llama-1 out"),
            ],
        ),
        (
            configuration(routes(llama_1=9), reverted_to=3, why="slow"),
            [("Reverted", "Went back to the settings of 3: slow.")],
        ),
        (
            configuration(routes(llama_1=9), reverted_to=3),
            [("Reverted", "Went back to the settings of 3: no reason given.")],
        ),
        (
            configuration(routes(llama_1=9)),
            [("RenderedAnew", "Of the same servers and settings, by another version or on another machine.")],
        ),
    ],
    ids=["another address", "settings", "a start", "a revert", "a revert without a reason", "nothing that is known"],
)
def test_what_else_there_may_be(now: Configuration, expected: list[tuple[str, str]]) -> None:
    assert texts(revise(FIRST, now, {}, MOMENT)) == expected


def test_a_revert_that_holds_is_told_once_and_so_is_its_end() -> None:
    back = replace(FIRST, configuration=configuration(routes(llama_1=9), reverted_to=3))
    still = revise(back, configuration(routes(llama_1=9, llama_2=9), reverted_to=3), {}, MOMENT)
    further = revise(back, configuration(routes(llama_1=9), reverted_to=2, why="worse"), {}, MOMENT)
    over = revise(back, configuration(routes(llama_1=9)), {}, MOMENT)

    assert texts(still) == [("RoutesChanged", "llama-2 in")]
    assert texts(further) == [("Reverted", "Went back to the settings of 2: worse.")]
    assert texts(over) == [("RevertEnded", "The settings are no longer those of 3.")]


def test_reasons_of_a_tick() -> None:
    def why(code: ReasonCode, text: str) -> Reason:
        return Reason(code, text)

    failed = StateChange(ONE, POOL, ReplicaState.READY, ReplicaState.UNREADY, why(ReasonCode.PROBES_FAILED, "3 of 3"))
    up = StateChange(TWO, POOL, None, ReplicaState.READY, why(ReasonCode.PROBE_PASSED, "answers"))
    scale = ScalePool(POOL, 2, 1, (why(ReasonCode.BELOW_TARGET, "idle"),))
    drain = DrainReplica(POOL, ONE, (why(ReasonCode.BELOW_TARGET, "idle"), why(ReasonCode.ABOVE_DESIRED, "one less")))

    assert reasons_in(Plan((scale, drain), GatewayPlan(), Memory(), (failed, up))) == {
        ONE: Cause("AboveDesired", "drain_replica: idle; one less"),
        TWO: Cause("ProbePassed", "ready: answers"),
    }


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (SETTINGS, SETTINGS, []),
        ({}, {"a": {"b": True}}, ["a.b: none -> true"]),
        ({"a": {"b": True}}, {}, ["a.b: true -> none"]),
        ({"a": []}, {"a": ["x", "y"]}, ["a: none -> x, y"]),
        ({"a": None}, {"a": 0}, ["a: none -> 0"]),
        ({"p": [{"name": "x", "n": 1}]}, {"p": [{"name": "y", "n": 1}]}, ["p.x.n: 1 -> none", "p.y.n: none -> 1"]),
    ],
)
def test_differences(before: dict[str, Any], after: dict[str, Any], lines: list[str]) -> None:
    assert differences(before, after) == lines


def test_a_plan_comes_back_from_its_json() -> None:
    plan = routes(llama_1=9, llama_2=10)

    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_from_json(plan_to_json(GatewayPlan())) == GatewayPlan()


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"pools": [{"pool": "a", "model": "b"}]},
        {"pools": [{"pool": 1, "model": "b", "servers": []}]},
        {"pools": [{"pool": "a", "model": "b", "servers": [{"replica": "r", "host": None, "port": 1}]}]},
        {"pools": [{"pool": "a", "model": "b", "servers": [{"replica": "r", "host": "h", "port": "x"}]}]},
    ],
)
def test_what_is_no_plan_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="this is no plan of a gateway"):
        plan_from_json(data)
