"""How an evaluation is explained: what stands in each row, and what to type to have it explained again."""

from __future__ import annotations

import pytest

from controller.api.web.explanation import Edge, SignalRow, amount, commands, explained
from controller.core.evaluation import Evaluation
from controller.core.model import PoolName, Signal
from controller.core.policy import Mode, ScalingPolicy
from controller.core.scaling import decide_scale
from controller.core.sensitivity import with_flip
from tests.fakes.clock import START
from tests.unit.core.build import only, readings, view


def evaluation(policy: ScalingPolicy, in_flight: float | None, busy: float | None, desired: int = 3) -> Evaluation:
    seen = readings({Signal.IN_FLIGHT: in_flight}, {Signal.UTILIZATION: [busy] * desired})
    return with_flip(decide_scale(view(desired, seen), policy, START, Mode.ACTIVE)[0])


BOTH = only(Signal.IN_FLIGHT, Signal.UTILIZATION)


def test_the_signal_that_asks_for_the_most_stands_out() -> None:
    known = explained(evaluation(BOTH, 40, 0.5))
    assert (known.current, known.desired, known.ready) == (3, known.steps[-1].after, 3)
    rows = {row.signal: row for row in known.signals}
    assert rows["in_flight"] == SignalRow("in_flight", "value", "40", "4", True, True, "1.0 s", 10, True)
    assert (rows["utilization"].value, rows["utilization"].in_all, rows["utilization"].most) == ("50 %", False, False)
    assert known.steps[0].before == 3
    assert known.steps[0].code == "AboveTarget"


def test_what_is_unknown_is_no_zero_and_asks_for_nothing() -> None:
    (row,) = explained(evaluation(only(Signal.IN_FLIGHT), None, None)).signals
    assert (row.value, row.known, row.in_all, row.wanted, row.most) == ("–", "unknown", False, None, False)


def test_the_edge_says_what_it_would_have_been() -> None:
    known = explained(evaluation(only(Signal.IN_FLIGHT), 12, None))
    assert known.edge == Edge("in_flight", "12", known.edge.needed if known.edge else "", False, 4)


@pytest.mark.parametrize(
    ("signal", "value", "text"),
    [
        (Signal.UTILIZATION, 0.5, "50 %"),
        (Signal.ERRORS, 0.004, "0.4 %"),
        (Signal.LATENCY, 0.42, "420 ms"),
        (Signal.TOKENS, 1234.0, "1,234"),
        (Signal.IN_FLIGHT, 17.0, "17"),
        (Signal.LATENCY, None, "–"),
    ],
)
def test_an_amount_has_its_unit(signal: Signal, value: float | None, text: str) -> None:
    assert amount(signal, value) == text


def test_the_commands_can_be_pasted_whatever_the_pool_is_called() -> None:
    known = evaluation(only(Signal.IN_FLIGHT), 12, None)
    fetch, again = commands(PoolName("a; rm -rf '$HOME'"), known)
    assert fetch == """stoker why 'a; rm -rf '"'"'$HOME'"'"'' --at 2026-01-05T12:00:00Z --json > why.json"""
    assert known.flip is not None
    assert again == f"stoker explain --snapshot why.json --set in_flight={known.flip.needed:.6g}"


def test_without_a_flip_the_command_changes_what_there_is() -> None:
    known = evaluation(only(Signal.IN_FLIGHT), None, None)
    assert commands("llama", known)[1].endswith("--set in_flight=10")
