"""Lines of the access log -> numbers."""

from __future__ import annotations

import json

import pytest

from exporters.edge.collect import (
    BOUNDS,
    MAX_POOLS,
    MAX_SERIES,
    NEW_S,
    EdgeStats,
    Failed,
    Line,
    MalformedLine,
    Pool,
    in_flight,
    parse,
)

HEADER = b"<190>Nov 23 01:52:30 stoker: "


def line(**changes: object) -> bytes:
    values = {
        "pool": "smollm2",
        "replica": "smollm2-1",
        "status": "200",
        "duration": 0.512,
        "header_times": "0.312",
        "response_times": "0.510",
        "tried": "127.0.0.1:9001",
        "bytes": 99,
    }
    return HEADER + json.dumps({**values, **changes}).encode()


CASES = [
    pytest.param({}, Line("smollm2", "smollm2-1", "200", 0.512, 0.312, 1), id="one try"),
    pytest.param(
        {"header_times": "-, -, 0.300", "response_times": "0.001, 1.000, 0.500"},
        Line("smollm2", "smollm2-1", "200", 0.512, 1.301, 3),
        id="the user waited for the earlier tries too",
    ),
    pytest.param(
        {"header_times": "-, 0.300", "response_times": "1.000, 0.500", "tried": "127.0.0.1:9001, 127.0.0.1:9002"},
        Line("smollm2", "smollm2-1", "200", 0.512, 1.300, 3),
        id="begun anew, and another replica tried",
    ),
    pytest.param(
        {"header_times": "0.002", "response_times": "0.002", "replica": "", "tried": "", "status": "503"},
        Line("smollm2", "", "503", 0.512, None, 1),
        id="nginx answered itself",
    ),
    pytest.param(
        {"header_times": "-, -", "response_times": "0.001, 0.002", "status": "503"},
        Line("smollm2", "smollm2-1", "503", 0.512, None, 2),
        id="no replica answered",
    ),
    pytest.param(
        {"header_times": "", "response_times": "", "replica": "", "status": "503"},
        Line("smollm2", "", "503", 0.512, None, 1),
        id="no replica was tried",
    ),
    pytest.param(
        {"pool": "", "replica": "", "header_times": "", "response_times": "", "status": "404"},
        Line("", "", "404", 0.512, None, 1),
        id="no pool was chosen",
    ),
    pytest.param(
        {"header_times": "-, 0.010", "response_times": "-, 0.020"},
        Line("smollm2", "smollm2-1", "200", 0.512, 0.010, 2),
        id="a try without a time",
    ),
]


@pytest.mark.parametrize(("changes", "want"), CASES)
def test_parse(changes: dict[str, object], want: Line) -> None:
    assert parse(line(**changes)) == want


def failed(replicas: object = "smollm2-2", pool: object = "smollm2") -> bytes:
    return HEADER + json.dumps({"pool": pool, "failed": replicas}).encode()


def test_parse_attempts_in_vain() -> None:
    assert parse(failed("smollm2-2,smollm2-3")) == Failed("smollm2", ("smollm2-2", "smollm2-3"))


MALFORMED = [
    pytest.param(b"", id="empty"),
    pytest.param(b"no json at all", id="no json"),
    pytest.param(line()[:-9], id="cut off"),
    pytest.param(b"{" + b'"a":[' * 50_000, id="deep nesting"),
    pytest.param(HEADER + b"{}", id="no fields"),
    pytest.param(HEADER + b'{"pool":\xff}', id="not UTF-8"),
    pytest.param(line(status="000"), id="impossible status"),
    pytest.param(line(status=200), id="status as a number"),
    pytest.param(line(duration="soon"), id="no duration"),
    pytest.param(line(duration=-1), id="negative duration"),
    pytest.param(line(duration=float("nan")), id="NaN"),
    pytest.param(line(pool=["a"]), id="pool is a list"),
    pytest.param(line(header_times="x"), id="impossible time"),
    pytest.param(line(header_times=None), id="no times"),
    pytest.param(failed(""), id="an attempt on nobody"),
    pytest.param(failed("smollm2-1,"), id="an attempt on somebody and nobody"),
    pytest.param(failed(["smollm2-1"]), id="attempts as a list"),
    pytest.param(failed(pool=""), id="an attempt of no pool"),
    pytest.param(failed(pool=7), id="an attempt of a number"),
    pytest.param(HEADER + b'{"failed":"smollm2-1"}', id="an attempt of nobody"),
    pytest.param(HEADER + b'["failed"]', id="no object"),
]


@pytest.mark.parametrize("datagram", MALFORMED)
def test_parse_refuses(datagram: bytes) -> None:
    with pytest.raises(MalformedLine):
        parse(datagram)


@pytest.mark.parametrize("name", ["a b", 'x"', "é", "-a", "x" * 129], ids=repr)
def test_an_impossible_name_makes_no_series(name: str) -> None:
    stats = EdgeStats()

    stats.take(line(replica=name), now=1, wall=0)
    stats.take(line(pool=name), now=1, wall=0)
    stats.take(failed(name), now=1, wall=0)
    stats.take(failed(pool=name), now=1, wall=0)

    assert (stats.lines, stats.malformed, list(stats.series())) == (4, 4, [])


def test_counts_by_code_and_bucket() -> None:
    stats = EdgeStats()
    for status, duration in (("200", 0.3), ("200", 0.31), ("503", 400)):
        stats.take(line(status=status, duration=duration, header_times="-", response_times="0.1, 0.2"), now=1, wall=0)

    [(pool, replica, series)] = stats.series()

    assert (pool, replica, series.codes, series.retries) == ("smollm2", "smollm2-1", {"200": 2, "503": 1}, 3)
    buckets = dict(series.durations.cumulated())
    assert (buckets["0.2"], buckets["0.3"], buckets["0.5"], buckets["120.0"], buckets["+Inf"]) == (0, 1, 2, 2, 3)
    assert series.durations.total == pytest.approx(400.61)
    assert series.first_bytes.cumulated()[-1] == ("+Inf", 0)


def test_attempts_in_vain_count_for_each_replica_and_are_no_requests() -> None:
    stats = EdgeStats()
    stats.take(failed("smollm2-1,smollm2-2"), now=1, wall=0)
    stats.take(failed("smollm2-2"), now=2, wall=0)

    told = {replica: (series.failed, series.codes, series.seen_at) for _, replica, series in stats.series()}
    assert told == {"smollm2-1": (1, {}, 1), "smollm2-2": (2, {}, 2)}
    assert (stats.lines, stats.malformed, stats.pools) == (2, 0, {})


def test_the_objectives_are_bucket_edges() -> None:
    assert {0.3, 0.5} <= set(BOUNDS)
    assert list(BOUNDS) == sorted(BOUNDS)


def test_a_replica_of_long_ago_vanishes() -> None:
    stats = EdgeStats()
    stats.take(line(replica="old"), now=100, wall=0)
    stats.take(line(replica="new"), now=200, wall=0)

    stats.forget(before=150)

    assert [replica for _, replica, _ in stats.series()] == ["new"]


def test_what_is_new_is_told_as_zero_for_a_while() -> None:
    stats = EdgeStats()
    stats.take(line(), now=1, wall=0)
    stats.take(line(), now=1, wall=0)

    def told(now: float) -> tuple[dict[str, int], float, float]:
        [(_, _, series)] = stats.series()
        page = series.tell(now)
        return page.codes, page.durations.cumulated()[-1][1], page.first_bytes.total

    for now in (5, 5 + NEW_S / 2):
        assert told(now) == ({"200": 0}, 0, 0), "it counts from when it was first told"
    assert told(5 + NEW_S) == ({"200": 2}, 2, pytest.approx(0.624))
    stats.take(line(status="500"), now=7, wall=0)
    assert told(8)[:2] == ({"200": 2, "500": 0}, 3)
    assert told(8 + NEW_S)[:2] == ({"200": 2, "500": 1}, 3)


def test_attempts_in_vain_are_told_as_zero_while_the_replica_is_new() -> None:
    stats = EdgeStats()
    stats.take(failed("smollm2-1"), now=1, wall=0)
    [(_, _, series)] = stats.series()

    assert [series.tell(now).failed for now in (5, 5 + NEW_S / 2, 5 + NEW_S)] == [0, 0, 1]
    stats.take(line(), now=7, wall=0)
    assert (series.tell(7).failed, series.tell(7).codes) == (1, {"200": 0}), "its first request is new, too"
    assert series.tell(7).durations.total == 0
    stats.take(failed("smollm2-1"), now=7, wall=0)
    assert series.tell(7).failed == 2, "it has been told of before"


def test_a_pool_outlives_its_replicas_and_counts_whatever_came_of_a_request() -> None:
    stats = EdgeStats()
    stats.take(line(pool="a"), now=1, wall=1000)
    stats.take(line(pool="a", replica="", status="503"), now=2, wall=1001)
    stats.take(line(pool="b"), now=2, wall=1002)
    stats.take(b"nonsense", now=4, wall=1004)

    stats.forget(before=100)

    assert list(stats.series()) == []
    assert {name: pool.last_request for name, pool in stats.pools.items()} == {"a": 1001, "b": 1002}
    assert stats.pools["a"].durations.cumulated()[-1] == ("+Inf", 2)
    assert stats.pools["a"].first_bytes.cumulated()[-1] == ("+Inf", 1), "nginx answered the other one itself"


def test_the_last_request_of_a_new_pool_is_told_before_its_counts() -> None:
    stats = EdgeStats()
    stats.take(line(), now=1, wall=1000)
    pool = stats.pools["smollm2"]

    assert pool.tell(5) == Pool(1000)
    assert pool.tell(5 + NEW_S).durations.total == 0.512


def test_of_too_many_pools_the_one_idle_for_longest_is_forgotten() -> None:
    stats = EdgeStats()
    for number in range(MAX_POOLS):
        stats.take(line(pool=f"p{number}"), now=1, wall=number)
    stats.take(line(pool="p0"), now=1, wall=MAX_POOLS)
    stats.take(line(pool="new"), now=1, wall=MAX_POOLS + 1)

    assert set(stats.pools) == {f"p{number}" for number in range(MAX_POOLS) if number != 1} | {"new"}


def test_the_number_of_series_is_bounded() -> None:
    stats = EdgeStats()
    for number in range(MAX_SERIES + 5):
        stats.take(line(replica=f"r{number}"), now=1, wall=0)
    stats.take(line(replica="r0"), now=1, wall=0)

    stats.take(failed("r0"), now=1, wall=0)
    stats.take(failed("another"), now=1, wall=0)

    assert (len(list(stats.series())), stats.malformed) == (MAX_SERIES, 6)


def test_in_flight() -> None:
    assert in_flight(b'{"pools":{"smollm2":3,"no name":1}}') == {"smollm2": 3}


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"pools":[]}', b'{"pools":{"a":"x"}}'], ids=repr)
def test_in_flight_refuses(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        in_flight(answer)
