"""Lines of the access log -> numbers."""

from __future__ import annotations

import pytest

from exporters.edge.collect import MAX_POOLS, MAX_SERIES, EdgeStats, Pool
from exporters.edge.sums import BOUNDS, NEW_S, Histogram
from tests.unit.exporters.texts import access, failed, line


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


@pytest.mark.parametrize("word", ["HIT", "STALE", "UPDATING", "REVALIDATED"])
def test_an_answer_from_the_cache_is_no_work_of_the_replica_that_once_gave_it(word: str) -> None:
    stats = EdgeStats()
    stats.take(access(cache=word, layer="nginx", tried="127.0.0.1:9001, 127.0.0.1:9002"), now=1, wall=0)

    [(pool, replica, series)] = stats.series()

    assert (pool, replica, series.codes, series.retries) == ("smollm2", "", {"200": 1}, 0)
    assert series.first_bytes == Histogram()


def test_requests_of_a_cache_by_layer_and_result() -> None:
    stats = EdgeStats()
    words = [("HIT", "nginx"), ("STALE", "nginx"), ("HIT", "redis"), ("MISS", ""), ("EXPIRED", ""), ("BYPASS", "nginx")]
    for word, layer in (*words, ("", ""), ("SOMETHING", "nginx"), ("HIT", "disk")):
        stats.take(access(cache=word, layer=layer), now=1, wall=0)

    assert stats.pools["smollm2"].cache.values == {
        ("nginx", "hit"): 2,
        ("redis", "hit"): 1,
        ("", "miss"): 2,
        ("nginx", "bypass"): 1,
        ("other", "hit"): 1,
    }
    assert stats.malformed == 0


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
