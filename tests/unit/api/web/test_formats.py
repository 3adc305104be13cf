"""Numbers as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from controller.api.web import formats


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0"),
        (3.0, "3"),
        (3.14159, "3.1"),
        (0.004, "0.004"),
        (1234567.0, "1,234,567"),
    ],
)
def test_number(given: float | None, told: str) -> None:
    assert formats.number(given) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "–"), (0.034, "34 ms"), (0.9996, "1.0 s"), (3.21, "3.2 s"), (9.97, "10 s"), (59.6, "1 min"),
        (192, "3 min 12 s"), (3600, "1 h"), (90061, "1 d 1 h"), (86400, "1 d"),
    ],
)  # fmt: skip
def test_seconds(given: float | None, told: str) -> None:
    assert formats.seconds(given) == told


@pytest.mark.parametrize(
    ("given", "told"), [(None, "–"), (0, "0 %"), (0.0001, "< 0.1 %"), (0.0123, "1.2 %"), (0.5, "50 %"), (1.0, "100 %")]
)
def test_percent(given: float | None, told: str) -> None:
    assert formats.percent(given) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (512, "512 B"), (24 * 1024**3, "24 GiB"), (3 * 1024**4, "3 TiB"), (1007 * 1024**3, "0.983 TiB"),
        (999 * 1024**2, "999 MiB"), (2000 * 1024**4, "2000 TiB"),
    ],
)  # fmt: skip
def test_size(given: float, told: str) -> None:
    assert formats.size(given) == told


def test_short_and_money() -> None:
    assert [formats.short(value) for value in (950, 12_345, 4_200_000, 7e9)] == ["950", "12.3k", "4.2M", "7G"]
    assert [formats.short(value) for value in (999_499, 999_500, 1e12, 1.5e15)] == ["999k", "1M", "1T", "1,500T"]
    assert formats.money(1234.5, "USD") == "1,234.50 USD"


def test_a_time_is_one_that_scripts_can_read() -> None:
    at = datetime(2026, 1, 5, 12, 0, 7, tzinfo=UTC)
    assert formats.ago(at) == (
        '<time datetime="2026-01-05T12:00:07.000+00:00" data-as="ago">2026-01-05 12:00 UTC</time>'
    )
    assert formats.moment(None) == "–"


def test_a_line_has_gaps_where_nothing_is_known() -> None:
    line = formats.line([0.0, 1.0, None, 2.0, 4.0], limit=4.0)
    assert line.path == "M0 27L30 22M90 17L120 6"
    assert (line.limit, line.over) == (6.2, False)


def test_a_line_says_when_its_newest_value_is_above() -> None:
    assert formats.line([0.0, 5.0], limit=4.0).over
    assert not formats.line([5.0, None], limit=4.0).over  # not known is not above
    assert formats.line([None, None], limit=4.0) == formats.Line("")


def test_slots() -> None:
    bar = formats.slots([("ready", 2), ("starting", 1)], floor=2, ceiling=4)
    assert [state for state, _ in bar.paths] == ["ready", "starting", "free"]
    assert (bar.width, bar.floor) == (36, 17)
    wide = formats.slots([("ready", 100)], floor=0, ceiling=200)
    assert (wide.width, wide.floor) == (180, None)
    assert wide.paths[0] == ("ready", "M0.5 1h89.0v8h-89.0z")
