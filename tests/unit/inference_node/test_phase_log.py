"""Phases leave a trace: in /status and on stderr."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from inference_node.logfmt import line, timestamp
from inference_node.phases import Phase, PhaseLog


def test_changes_keep_their_order_and_time() -> None:
    log = PhaseLog("demo-1")
    for phase in (Phase.FETCHING, Phase.LOADING, Phase.FAILED):
        log.enter(phase)

    assert [change.phase for change in log.changes] == ["fetching", "loading", "failed"]
    assert sorted(change.at for change in log.changes) == [change.at for change in log.changes]
    assert log.current is Phase.FAILED


def test_one_line_per_change(capsys: pytest.CaptureFixture[str]) -> None:
    log = PhaseLog("demo-1")
    log.enter(Phase.FETCHING)
    log.enter(Phase.FAILED, "It is gone.")

    first, second = capsys.readouterr().err.splitlines()
    stamp = r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(stamp + r" event=phase_changed from=none to=fetching replica=demo-1 seconds=\d+\.\d\d", first)
    assert re.fullmatch(
        stamp + r' event=phase_changed from=fetching to=failed replica=demo-1 seconds=\d+\.\d\d msg="It is gone\."',
        second,
    )


def test_a_timestamp_is_utc_with_milliseconds() -> None:
    at = datetime(2026, 1, 5, 14, 0, 0, 1000, tzinfo=timezone(timedelta(hours=2)))

    assert timestamp(at) == "2026-01-05T12:00:00.001Z"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.714, "0.71", id="float"),
        pytest.param(3, "3", id="integer"),
        pytest.param("demo-1", "demo-1", id="plain"),
        pytest.param("", '""', id="empty"),
        pytest.param('a "b" c', '"a \\"b\\" c"', id="quotes"),
        pytest.param("a\nb", '"a\\nb"', id="a line break cannot forge a line"),
        pytest.param("a=b", '"a=b"', id="equals sign"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert line(datetime(2026, 1, 5, tzinfo=UTC), "x", {"key": value}).endswith(f" event=x key={text}")
