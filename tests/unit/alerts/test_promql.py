"""Which metrics an expression asks for."""

from __future__ import annotations

import pytest

from tests.unit.alerts.promql import is_plain, names

CASES = [
    ("up", {"up"}),
    ("up == 0", {"up"}),
    ('a{b="c", d=~"e|f"} > bool 1e3', {"a"}),
    ("sum by (pool, replica) (rate(a_total[5m])) / on (pool) group_left (x) b", {"a_total", "b"}),
    ("sum(a) by (pool)", {"a"}),
    ("max without (instance) (a) unless on () b", {"a", "b"}),
    ("avg_over_time(stoker:pool_x:rate1m[30s:1s] offset 1h30m)", {"stoker:pool_x:rate1m"}),
    ('{__name__=~"a:b|c_d", pool!=""}', {"a:b", "c_d"}),
    ('{__name__="a", e="f"}', {"a"}),
    ('label_replace(a, "to", "$1", "from", "(.+)") or vector(0)', {"a"}),
    ("a # a comment with other names\n and b", {"a", "b"}),
    ("histogram_quantile(0.95, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
    ("a * $__interval_ms + $n", {"a"}),
    ("time() - a > 0x1F or -b ^ 2 % c", {"a", "b", "c"}),
    ("clamp_max(14.4 * max by (pool) (a), 0.9)", {"a"}),
    ("absent(a == 1 or b == Inf)", {"a", "b"}),
    ("a @ end() + b @ 1609746000", {"a", "b"}),
    ("topk(5, a) or quantile by (x) (0.5, b)", {"a", "b"}),
    ("by_pool + on_time", {"by_pool", "on_time"}),
    ("round(a, 0.001) * 86400", {"a"}),
    ("count_values without (instance) (\"version\", a{b='c'})", {"a"}),
]


@pytest.mark.parametrize(("expression", "asked"), CASES, ids=[case[0] for case in CASES])
def test_names(expression: str, asked: set[str]) -> None:
    assert names(expression) == asked


def test_an_alternative_that_is_no_name_is_given_as_it_stands() -> None:
    assert names('{__name__=~"stoker:node_gpu.*|up"}') == {"stoker:node_gpu.*", "up"}
    assert (is_plain("stoker:node_gpu"), is_plain("stoker:node_gpu.*")) == (True, False)


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="no PromQL"):
        names("a ; b")
