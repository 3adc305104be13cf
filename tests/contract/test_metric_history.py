"""MetricHistory: the same promises from a real Prometheus and from the fake; and it takes what the pages ask."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.adapters.prometheus import PrometheusHistory, read_matrix
from controller.api.history_promql import COLUMN, NUMBERS, filled, question
from controller.api.marks import alerts_query
from controller.api.traffic import asked_by_traffic
from controller.core.errors import MetricsUnavailable
from controller.core.timeline import Axis, axis, axis_of
from controller.ports.history import MOST_POINTS, MetricHistory
from tests.e2e.stack import free_ports
from tests.fakes.history import FakeHistory
from tests.waiting import wait_for

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
END = round(NOW.timestamp())
TIME = "vector(time() + 0)"


class Recorded:
    """A Prometheus that scrapes nothing, over what `promtool` made of some samples."""

    def __init__(self, folder: Path, samples: str) -> None:
        (folder / "samples.txt").write_text(samples + "# EOF\n")
        made = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=1024h")
        subprocess.run([*made, folder / "samples.txt", folder / "data"], check=True, capture_output=True, timeout=120)
        (folder / "prometheus.yml").write_text("global: {}\n")
        (port,) = free_ports(1)
        self._process = subprocess.Popen(
            (
                *("prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
                *("--storage.tsdb.retention.time=10y", f"--web.listen-address=127.0.0.1:{port}"),
            ),
            stderr=subprocess.DEVNULL,
        )
        self.history = PrometheusHistory(f"http://127.0.0.1:{port}")
        wait_for(lambda: answers(self.history), 30, "Prometheus to answer")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)


def answers(history: MetricHistory) -> bool:
    try:
        return bool(history.query_range("vector(1)", NOW, NOW, 1))
    except MetricsUnavailable:
        return False


def told(history: MetricHistory, promql: str, drawn: Axis) -> dict[str, tuple[float | None, ...]]:
    """Each number of an answer on its axis."""
    asked = [datetime.fromtimestamp(at, UTC) for at in (drawn.asked[0], drawn.asked[-1])]
    found = history.query_range(promql, asked[0], asked[1], drawn.step)
    return {series.labels[COLUMN]: drawn.column(series.points) for series in found}


def samples(name: str, *values: float | None, every: int = 60, **labels: str) -> str:
    """A series whose last value is 40 s old by `END`."""
    begin = END - 40 - every * (len(values) - 1)
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    lines = (f"{name}{{{text}}} {value} {begin + every * at}" for at, value in enumerate(values) if value is not None)
    return "".join(f"{line}\n" for line in lines)


def buckets(*counts: float) -> str:
    """Of answers in each minute that took up to 1 s, and of all."""
    name, labels = "stoker:pool_latency_seconds_bucket:increase1m", {"pool": "p", "measure": "first_byte"}
    zero = [0.0 for _ in counts]
    return (
        samples(name, *zero, le="0.5", **labels)
        + samples(name, *counts, le="1.0", **labels)
        + samples(name, *counts, le="+Inf", **labels)
    )


MINUTES = (
    samples("stoker:pool_in_flight:avg1m", 2, 4, None, None, 8, 6, pool="p")
    + samples("stoker:pool_in_flight:avg1m", 9, 9, 9, 9, 9, 9, pool="q")
    + samples("stoker:pool_in_flight:max1m", 3, 7, 1, 1, 9, 6, pool="p")
    + samples("stoker:pool_desired_replicas:avg1m", *[3] * 6, pool="p")
    + samples("stoker:pool_replicas:avg1m", 3, 3, 1, 2, 3, 3, pool="p", state="ready")
    + samples("stoker:pool_replicas:avg1m", None, None, 2, 1, None, None, pool="p", state="starting")
    + samples("stoker:pool_target_requests_in_flight:avg1m", *[4] * 6, pool="p")
    + samples("stoker:pool_requests:increase1m", 0, 0, 60, 60, 120, 0, pool="p")
    + samples("stoker:pool_failures:increase1m", 0, 0, 3, 0, 60, 0, pool="p")
    + buckets(0, 0, 10, 10, 4, 0)
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricHistory]:
    running = Recorded(tmp_path_factory.mktemp("prometheus"), MINUTES)
    yield running.history
    running.stop()


@pytest.fixture(params=["real", "fake"])
def history(request: pytest.FixtureRequest) -> MetricHistory:
    if request.param == "real":
        made: MetricHistory = request.getfixturevalue("recorded")
        return made
    nothing = {(): lambda at: None}
    return FakeHistory({TIME: {(): float}, "vector(1) > 2": nothing, "vector(time()) > ": {(): _after}})


def _after(at: int) -> float | None:
    return float(at) if at > END - 10 else None


def test_numbers_of_the_moments_that_were_asked_for(history: MetricHistory) -> None:
    (series,) = history.query_range(TIME, NOW - timedelta(seconds=20), NOW, 10)
    assert dict(series.points) == {END - 20: END - 20, END - 10: END - 10, END: END}

    (gaps,) = history.query_range(f"vector(time()) > {END - 10}", NOW - timedelta(seconds=20), NOW, 10)
    assert dict(gaps.points) == {END: END}, "where there is nothing there is no number"
    assert history.query_range("vector(1) > 2", NOW, NOW, 1) == ()


@pytest.mark.parametrize(("seconds", "fits"), [(MOST_POINTS - 1, True), (MOST_POINTS, False), (-1, False)])
def test_no_more_points_than_a_chart_has_room_for(history: MetricHistory, seconds: int, fits: bool) -> None:
    start = NOW - timedelta(seconds=seconds)
    if fits:
        (series,) = history.query_range(TIME, start, NOW, 1)
        assert len(series.points) == MOST_POINTS
    else:
        with pytest.raises(ValueError, match="points"):
            history.query_range(TIME, start, NOW, 1)


def test_a_pool_made_of_minutes(recorded: MetricHistory) -> None:
    """Means and peaks of two minutes each, gaps, a quantile of all requests, and errors of all of them."""
    drawn = axis_of(END - 360, END, 120)
    found = told(recorded, question(NUMBERS, drawn, "p"), drawn)

    assert found["demand"] == (3, None, 7)
    assert found["demand_peak"] == (7, 1, 9)
    assert found["ready"] == (3, 1.5, 3)
    assert found["starting"] == (0, 1.5, 0)
    assert found["draining"] == (0, 0, 0)
    assert found["capacity"] == (12, 6, 12)
    assert found["requests_per_second"] == (0, 1, 1)
    assert found["error_ratio"] == (0, 0.025, 0.5)
    assert found["first_byte_p50"] == (None, 0.75, 0.75)
    assert "duration_p50" not in found

    assert told(recorded, question(["demand"], drawn), drawn)["demand"] in ((3, None, 7), (9, 9, 9)), "of all pools"


@pytest.mark.parametrize("hours", [0.25, 24 * 30])
def test_prometheus_takes_what_pages_ask(recorded: MetricHistory, hours: float) -> None:
    drawn = axis(END - hours * 3600, END)
    span = timedelta(hours=hours)
    asked = (question(NUMBERS, drawn, "p"), question(NUMBERS, drawn), filled(alerts_query("p"), f"{drawn.step}s"))
    for promql in (*asked, *asked_by_traffic(span, drawn)):
        recorded.query_range(promql, NOW, NOW, 60)


def test_a_query_that_is_none_is_unavailable(recorded: MetricHistory) -> None:
    with pytest.raises(MetricsUnavailable):
        recorded.query_range("sum(", NOW, NOW, 1)
    assert recorded.query_range("vector(0) / 0", NOW, NOW, 1) == (), "NaN is left out"


def test_nobody_there_is_unavailable() -> None:
    (port,) = free_ports(1)
    with pytest.raises(MetricsUnavailable):
        PrometheusHistory(f"http://127.0.0.1:{port}").query_range("up", NOW, NOW, 1)


@pytest.mark.parametrize("answer", [None, "up", [{"metric": {}}], [{"metric": {}, "values": [["now", "1"]]}]])
def test_what_is_no_range_is_refused(answer: object) -> None:
    with pytest.raises(MetricsUnavailable):
        read_matrix(answer)
